package main

import (
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/resource"
)

// quotaKind is what a tenant may have, and has.
var quotaKind = kind{
	name: "quota", collection: "quotas", provider: "kontor.exchange", need: needTenant, verbs: []string{"apply"},
	at: func(_ context.Context, c *client.Client, p client.Place) (string, error) {
		return c.Exchange("tenants", p.Tenant, "quotas"), nil
	},
}

type quotaSpec struct {
	Limit *int64 `json:"limit,omitempty"`
}

func (a *app) tenantQuota() *cobra.Command {
	return family("quota", "Show and set what a tenant may have", a.quotaShow(), a.quotaSet())
}

func (a *app) quotaShow() *cobra.Command {
	return &cobra.Command{
		Use: "show [TENANT]", Short: "Show what a tenant may have, and has", Args: cobra.MaximumNArgs(1),
		ValidArgsFunction: a.completes(a.tenantNames),
		RunE: func(c *cobra.Command, args []string) error {
			if err := a.checkOutput(); err != nil {
				return err
			}
			if err := a.inTenant(args); err != nil {
				return err
			}
			return a.getLists(c.Context(), []kind{quotaKind}, listing{})
		},
	}
}

// inTenant has a command be about the tenant that is named, if one is.
func (a *app) inTenant(args []string) error {
	s, err := a.resolve()
	if err == nil && len(args) > 0 {
		s.Tenant = args[0]
	}
	return err
}

func (a *app) quotaSet() *cobra.Command {
	return &cobra.Command{
		Use: "set TENANT WHAT=N…", Short: "Limit what a tenant may have (operators)", Args: cobra.MinimumNArgs(2),
		Long: `Limit how many things of a kind a tenant may have in all regions together, or what they add up to: ` + strings.Join(resource.Meters(), ", ") + `.
none takes a limit away. A limit may be less than what the tenant has: nothing is removed then, and nothing more is admitted.`,
		Example:           "  kontor tenant quota set acme instances=20 vcpu=64 ram-gib=256 storage-gb=10000\n  kontor tenant quota set acme gpu=none",
		ValidArgsFunction: a.completes(a.tenantNames),
		RunE: func(c *cobra.Command, args []string) error {
			limits, err := readLimits(args[1:])
			if err != nil {
				return err
			}
			if err := a.inTenant(args); err != nil {
				return err
			}
			return a.setQuotas(c.Context(), args[0], limits)
		},
	}
}

type limit struct {
	meter string
	most  *int64
}

// readLimits reads all before anything is set.
func readLimits(args []string) (all []limit, err error) {
	for _, arg := range args {
		word, number, _ := strings.Cut(arg, "=")
		l := limit{}
		known := false
		if l.meter, known = resource.MeterNamed(word); !known {
			return nil, usagef("there is no quota of %q%s; there are %s", word, fault.DidYouMean(word, resource.Meters()), strings.Join(resource.Meters(), ", "))
		}
		if number != "none" {
			n, err := strconv.ParseInt(number, 10, 64)
			if err != nil || n < 0 {
				return nil, usagef("%s: write %s=N with a whole number, or %s=none", arg, word, word)
			}
			l.most = &n
		}
		if slices.ContainsFunc(all, func(other limit) bool { return other.meter == l.meter }) {
			return nil, usagef("%s is given twice", l.meter)
		}
		all = append(all, l)
	}
	return all, nil
}

func (a *app) setQuotas(ctx context.Context, tenant string, limits []limit) error {
	c, err := a.connect()
	if err != nil {
		return err
	}
	var set []client.Item
	for _, l := range limits {
		at := c.Exchange("tenants", tenant, "quotas", l.meter)
		i, _, err := c.Put(ctx, at, map[string]any{"metadata": bodyMetadata{l.meter}, "spec": quotaSpec{l.most}}, 0)
		if err != nil {
			return fmt.Errorf("set %s: %w", l.meter, err)
		}
		set = append(set, i)
	}
	if a.structured() {
		return a.write(set)
	}
	for n, i := range set {
		var status struct{ Used int64 }
		if err := json.Unmarshal(i.Status, &status); err != nil {
			return fault.Malformed.Errorf("read quota %s: %w", limits[n].meter, err)
		}
		a.told(tenant, limits[n], status.Used)
	}
	return nil
}

// told says what was set, and what it means if that is less than is there.
func (a *app) told(tenant string, l limit, used int64) {
	if l.most == nil {
		fmt.Fprintf(a.stdout, "tenant/%s: %s without limit, %d used\n", tenant, l.meter, used)
		return
	}
	fmt.Fprintf(a.stdout, "tenant/%s: %s at most %d, %d used\n", tenant, l.meter, *l.most, used)
	if used > *l.most {
		fmt.Fprintf(a.stderr, "%d more than that are there: nothing is removed, and nothing more is admitted until they are gone\n", used-*l.most)
	}
}

// quotaLimits reads the limits of the tenant in the settings.
func (a *app) quotaLimits(ctx context.Context) (map[string]int64, error) {
	items, err := a.collect(ctx, quotaKind, listing{})
	all := map[string]int64{}
	for _, i := range items {
		var spec quotaSpec
		if err := json.Unmarshal(i.Spec, &spec); err != nil {
			return nil, fault.Malformed.Errorf("read quota %s: %w", i.Metadata.Name, err)
		}
		if spec.Limit != nil {
			all[i.Metadata.Name] = *spec.Limit
		}
	}
	return all, err
}

// otherLimits names the limits of a tenant that are not as a file says.
func (a *app) otherLimits(ctx context.Context, f tenantFile) (differing []string, err error) {
	if err := a.inTenant([]string{f.Name}); err != nil {
		return nil, err
	}
	have, err := a.quotaLimits(ctx)
	for _, l := range f.limits() {
		if n, limited := have[l.meter]; limited && n != *l.most {
			differing = append(differing, fmt.Sprintf("quota/%s differs in spec.limit", l.meter))
		}
	}
	return differing, err
}
