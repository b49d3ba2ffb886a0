package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"maps"
	"os"
	"slices"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
)

// A tenantFile is a tenant on its way to another exchange: what its resources
// shall be, who is a member, and what roles allow. It holds no credential, and
// nothing of what is in volumes.
type tenantFile struct {
	Format  int        `json:"kontorTenant"`
	Name    string     `json:"name"`
	Display string     `json:"displayName,omitempty"`
	Admins  []string   `json:"admins"`
	Members []string   `json:"members"`
	Items   []manifest `json:"items"`

	Quotas map[string]int64 `json:"quotas,omitempty"` // limits
}

const tenantFormat = 1

// MarshalJSON writes the author's part and the place alone.
func (m manifest) MarshalJSON() ([]byte, error) {
	type place struct {
		Name      string `json:"name"`
		Tenant    string `json:"tenant,omitempty"`
		Region    string `json:"region,omitempty"`
		Workspace string `json:"workspace,omitempty"`
		Network   string `json:"network,omitempty"`
	}
	at := m.Metadata
	return json.Marshal(struct {
		Kind string `json:"kind"`
		body
		Metadata place `json:"metadata"`
	}{m.Kind, m.body(), place{at.Name, at.Tenant, at.Region, at.Workspace, at.Network}})
}

func (a *app) tenantExport() *cobra.Command {
	return &cobra.Command{
		Use: "export NAME", Short: "Write a tenant as a file for another exchange", Args: cobra.ExactArgs(1),
		Long: `Write a tenant to standard output: the documents of all its resources, its roles, and its members. There
are no credentials in it, and nothing of what volumes hold. You must be an operator, and a member who may read everything.`,
		Example:           "  kontor tenant export acme > acme.tenant.json",
		ValidArgsFunction: a.completes(a.tenantNames),
		RunE: func(c *cobra.Command, args []string) error {
			f, err := a.exportTenant(c.Context(), args[0])
			if err != nil {
				return err
			}
			fmt.Fprintf(a.stderr, "tenant %s: %d resources, %d members\n", f.Name, len(f.Items), len(f.Members))
			return writeJSON(a.stdout, f)
		},
	}
}

func (a *app) exportTenant(ctx context.Context, name string) (f tenantFile, err error) {
	s, err := a.resolve()
	if err != nil {
		return f, err
	}
	s.Tenant, s.Region, s.Workspace = name, "", "" // all of them
	i, err := a.read(ctx, target{kind: mustKind("tenant"), name: name})
	if err != nil {
		return f, err
	}
	f = tenantFile{Format: tenantFormat, Name: name, Admins: []string{}, Members: []string{}, Items: []manifest{}}
	for _, part := range [][]byte{i.Spec, i.Status} {
		if err := json.Unmarshal(part, &f); err != nil {
			return f, fault.Malformed.Errorf("read tenant %s: %w", name, err)
		}
	}
	if f.Quotas, err = a.quotaLimits(ctx); err != nil {
		return f, err
	}
	for _, k := range kinds() {
		if k.need == nothing || k.name == quotaKind.name || !k.can("apply") {
			continue
		}
		items, err := a.collect(ctx, k, listing{everywhere: true})
		if err != nil && !errors.Is(err, fault.Unsupported) {
			return f, fmt.Errorf("export %s: %w", k.collection, err)
		}
		for _, i := range items {
			if !f.leaves(k, i) {
				f.Items = append(f.Items, manifest{
					Kind: k.name, Labels: i.Labels, Annotations: i.Annotations, Extensions: i.Extensions, Metadata: i.Metadata, Spec: i.Spec,
				})
			}
		}
	}
	return f, nil
}

// leaves reports what is no part of the file: what is being deleted, what every
// tenant has, and the assignment that stands in Admins.
func (f *tenantFile) leaves(k kind, i client.Item) bool {
	return i.State() == seca.Deleting || k.name == "role" && strings.HasPrefix(i.Metadata.Name, "seca.") ||
		k.name == "role-assignment" && i.Metadata.Name == "admins"
}

func (a *app) tenantImport() *cobra.Command {
	var dryRun bool
	c := &cobra.Command{
		Use: "import FILE|-", Short: "Make a tenant as a file from another exchange says", Args: cobra.ExactArgs(1),
		Long: `Make a tenant as "kontor tenant export" wrote it: its accounts, members, roles and resources, in regions of the same
names. Nothing that is there is changed: what differs is named, and then nothing is written. You become one of its
administrators. Accounts get no tokens; volumes are empty, or begin as their images; machines are off.`,
		Example: "  kontor tenant import acme.tenant.json --dry-run",
		RunE: func(c *cobra.Command, args []string) error {
			f, err := a.readTenant(args[0])
			if err != nil {
				return err
			}
			return a.importTenant(c.Context(), f, dryRun)
		},
	}
	c.Flags().BoolVar(&dryRun, "dry-run", false, "only say what would be made, and what is in the way")
	return c
}

func (a *app) readTenant(name string) (f tenantFile, err error) {
	var b []byte
	if name == "-" {
		b, err = io.ReadAll(a.stdin)
	} else {
		b, err = os.ReadFile(name)
	}
	if err != nil {
		return f, fault.Invalid.Errorf("read the tenant: %w", err)
	}
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(&f); err != nil || f.Format == 0 {
		return f, fault.Invalid.Errorf("%s is no tenant that was exported", name)
	}
	if f.Format > tenantFormat {
		return f, fault.Unsupported.Errorf("%s was exported by a later Kontor", name)
	}
	return f, nil
}

func (a *app) importTenant(ctx context.Context, f tenantFile, dryRun bool) error {
	orders, err := a.tenantOrders(ctx, f)
	if err != nil {
		return err
	}
	c, err := a.connect()
	if err != nil {
		return err
	}
	_, err = c.Get(ctx, c.Exchange("tenants", f.Name))
	isNew := errors.Is(err, fault.Missing)
	switch {
	case err != nil && !isNew:
		return err
	case isNew && dryRun:
		for _, o := range orders {
			a.applied(a.progress(), o, "created", dry)
		}
		return nil
	case !isNew:
		if err := a.conflicts(ctx, orders, f); err != nil {
			return err
		}
	}
	if dryRun {
		return a.apply(ctx, orders, dry, waiter{})
	}
	if err := a.importPeople(ctx, f); err != nil {
		return err
	}
	if err := a.apply(ctx, orders, keepExisting, waiter{}); err != nil {
		return err
	}
	return a.setQuotas(ctx, f.Name, f.limits()) // last: a tenant may have more than it might get
}

// limits are the quotas of the file.
func (f tenantFile) limits() (all []limit) {
	for _, meter := range slices.Sorted(maps.Keys(f.Quotas)) {
		all = append(all, limit{meter, new(f.Quotas[meter])})
	}
	return all
}

// tenantOrders are what the file asks for, containers first, in regions that
// must be there.
func (a *app) tenantOrders(ctx context.Context, f tenantFile) ([]order, error) {
	have, err := a.regions(ctx, client.Place{})
	if err != nil {
		return nil, err
	}
	var orders []order
	for n, m := range f.Items {
		m.origin = fmt.Sprintf("item %d", n+1)
		if r := m.Metadata.Region; r != "" && !slices.Contains(have, r) {
			return nil, fault.Missing.Errorf("%s %s is in region %s, and this exchange has none of that name", m.Kind, m.Metadata.Name, r)
		}
		if m.Metadata.Tenant != f.Name {
			return nil, fault.Invalid.Errorf("%s is of tenant %s, not of %s", m.origin, m.Metadata.Tenant, f.Name)
		}
		o, err := a.order(ctx, m)
		if err != nil {
			return nil, err
		}
		orders = append(orders, o)
	}
	slices.SortStableFunc(orders, func(x, y order) int { return rank(x.kind) - rank(y.kind) })
	return orders, nil
}

// conflicts names everything that is there and is not as the file says.
func (a *app) conflicts(ctx context.Context, orders []order, f tenantFile) error {
	all, err := a.otherLimits(ctx, f)
	if err != nil {
		return err
	}
	for _, o := range orders {
		have, err := a.read(ctx, o.target)
		if errors.Is(err, fault.Missing) {
			continue
		}
		if err != nil {
			return err
		}
		if differing := changes(o.manifest, have); len(differing) > 0 {
			all = append(all, fmt.Sprintf("%s differs in %s", o.target, strings.Join(differing, ", ")))
		}
	}
	if len(all) > 0 {
		return fault.Conflict.Errorf("nothing was imported: %s", strings.Join(all, "; "))
	}
	return nil
}

// importPeople makes the accounts, the tenant, and its members.
func (a *app) importPeople(ctx context.Context, f tenantFile) error {
	me, err := a.whoami(ctx)
	if err != nil {
		return err
	}
	c, err := a.connect()
	if err != nil {
		return err
	}
	specs := map[string]accountSpec{}
	for _, id := range slices.Concat(f.Members, f.Admins) {
		i, err := c.Get(ctx, c.Exchange("accounts", id))
		var spec accountSpec
		switch {
		case errors.Is(err, fault.Missing):
			err = a.putPart(ctx, c.Exchange("accounts", id), id, spec)
		case err == nil:
			err = json.Unmarshal(i.Spec, &spec)
		}
		if err != nil {
			return fmt.Errorf("account %s: %w", id, err)
		}
		specs[id] = spec
	}
	admins := slices.Compact(slices.Sorted(slices.Values(append(slices.Clone(f.Admins), me.Subject))))
	if err := a.putPart(ctx, c.Exchange("tenants", f.Name), f.Name, map[string]any{"displayName": f.Display, "admins": admins}); err != nil {
		return fmt.Errorf("tenant %s: %w", f.Name, err)
	}
	for id, spec := range specs {
		if !slices.Contains(spec.Tenants, f.Name) && id != me.Subject {
			spec.Tenants = append(spec.Tenants, f.Name)
			if err := a.putPart(ctx, c.Exchange("accounts", id), id, spec); err != nil {
				return fmt.Errorf("account %s: %w", id, err)
			}
		}
	}
	fmt.Fprintf(a.stderr, "tenant %s has %d members, and you among its administrators; they need tokens (kontor token create --account ID)\n", f.Name, len(specs))
	return nil
}

func (a *app) putPart(ctx context.Context, at, name string, spec any) error {
	c, err := a.connect()
	if err == nil {
		_, _, err = c.Put(ctx, at, map[string]any{"metadata": bodyMetadata{name}, "spec": spec}, 0)
	}
	return err
}
