package resource

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/audit"
	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/failpoint"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/urn"
)

// A draft is an input on its way into the store.
type draft struct {
	kind   *Kind
	urn    urn.URN
	env    Env
	site   site
	in     Input
	spec   spec            // as its author wrote it, with defaults
	stored json.RawMessage // spec, encoded
	links  []link
	names  []urn.URN // what the links name, in their order; zero for none
	sku    json.RawMessage
	native string     // of the thing that it takes over, if it is an import
	power  seca.Power // of that
	at     string     // JSON pointer of it, if it is one of many
}

// prepare applies every rule that needs no look at other resources.
func prepare(k *Kind, u urn.URN, in Input, env Env) (*draft, error) {
	if err := k.admits(u, env); err != nil {
		return nil, err
	}
	sp, err := k.decode(in.Spec)
	if err != nil {
		return nil, err
	}
	var l fault.List
	sp.fill(env)
	sp.check(env, &l)
	checkMaps(in.Labels, in.Annotations, &l)
	checkExtensions(k, in.Extensions, env, &l)
	d := &draft{kind: k, urn: u, env: env, site: env.site(k, u.Tenant), in: in, spec: sp, links: sp.links()}
	d.site.counted = !k.Global
	d.resolve(&l)
	if err := l.Err(); err != nil {
		return nil, err
	}
	d.stored, err = json.Marshal(sp)
	return d, err
}

// admits checks the name, and that the region's platform has such things.
func (k *Kind) admits(u urn.URN, env Env) error {
	if err := CheckName(u.Name, k.longestName()); err != nil {
		return fault.Parameter(err, "name")
	}
	if k.Global && strings.HasPrefix(u.Name, "seca.") {
		return fault.Invalid.Errorf("names starting with seca. belong to the exchange")
	}
	if k.Kept && !slices.Contains(env.Kinds, k.Name) {
		return fault.Unsupported.Errorf("region %s has no %s", env.host(), k.Collection)
	}
	return nil
}

// longestName is 64 where the name is also an identifier in references.
func (k *Kind) longestName() int {
	if k.Collection == "workspaces" || k.Collection == "networks" {
		return 64
	}
	return 128
}

// resolve finds what the links name, and checks those that need no database.
func (d *draft) resolve(l *fault.List) {
	base := d.kind.Base(d.urn)
	d.names = make([]urn.URN, len(d.links))
	for i, k := range d.links {
		switch {
		case k.empty && k.ref.Resource == "":
			continue
		case k.address && isAddress(k.ref):
			continue
		case k.ref.Resource == "":
			l.Add(k.at+"/resource", "must name something")
			continue
		}
		u, err := resolve(k, base, d.env.Region)
		if err != nil {
			l.Add(k.at, "%s", err)
			continue
		}
		if u.Collection == "skus" {
			d.checkSKU(k, u, l)
			continue
		}
		d.names[i] = u
		d.checkShared(k, i, u, l)
	}
}

// checkShared refuses references into other tenants, but for what is shared.
func (d *draft) checkShared(k link, i int, u urn.URN, l *fault.List) {
	if u.Tenant == d.urn.Tenant {
		return
	}
	if u.Tenant == PublicTenant && u.Collection == "images" && d.env.offers(u.Name) {
		return
	}
	l.Add(k.at, "%q does not exist", k.ref.Resource)
}

// PublicTenant is the alias under which a region's images on offer are read.
const PublicTenant = "public"

func (e Env) offers(image string) bool {
	if e.Inventory != nil {
		for _, i := range e.Inventory.Images {
			if i.Name == image {
				return true
			}
		}
	}
	return false
}

func (d *draft) checkSKU(k link, u urn.URN, l *fault.List) {
	if d.env.Inventory == nil {
		return
	}
	var names []string
	switch k.in {
	case "seca.compute":
		for _, s := range d.env.Inventory.InstanceSKUs {
			if names = append(names, s.Name); s.Name == u.Name {
				d.sku, _ = json.Marshal(s)
			}
		}
	case "seca.storage":
		for _, s := range d.env.Inventory.StorageSKUs {
			names = append(names, s.Name)
		}
	case "seca.network":
		for _, s := range d.env.Inventory.NetworkSKUs {
			names = append(names, s.Name)
		}
	}
	if !slices.Contains(names, u.Name) || u.Provider != k.in+"/v1" {
		l.Add(k.at, "%q is not a sku of region %s; it has %s", k.ref.Resource, d.env.host(), strings.Join(names, ", "))
	}
}

// put is the part of Put within the transaction: one read, one write.
func (d *draft) put(ctx context.Context, tx *db.Tx, at revision, ifVersion *int64, now time.Time) (*Resource, bool, error) {
	self := d.urn.String()
	names := append([]string{self}, d.containers()...)
	for _, u := range d.names {
		if !u.IsZero() && u.Tenant == d.urn.Tenant {
			names = append(names, u.String())
		}
	}
	related, err := load(ctx, tx, d.site.region, names)
	if err != nil {
		return nil, false, err
	}
	old := related[self]
	if err := d.checkPresence(old, ifVersion, related); err != nil {
		return nil, false, err
	}
	if err := d.shorten(ctx, tx, related); err != nil {
		return nil, false, err
	}
	var l fault.List
	failpoint.Here(failpoint.PutRead)
	d.checkLinks(old == nil, related, &l)
	d.spec.relate(d.urn, related, &l)
	if old != nil {
		was, err := d.kind.decode(old.Spec)
		if err != nil {
			return nil, false, err
		}
		d.spec.keep(was, &l)
	}
	if err := l.Err(); err != nil {
		return nil, false, err
	}
	if old == nil {
		r, err := d.create(ctx, tx, at, now)
		return r, true, err
	}
	r, err := d.replace(ctx, tx, old, at, now)
	return r, false, err
}

// containers names the workspace and network that u is in.
func (d *draft) containers() []string {
	var names []string
	if d.urn.Workspace != "" {
		names = append(names, workspaceOf(d.urn).String())
	}
	if d.urn.Network != "" {
		names = append(names, networkOf(d.urn).String())
	}
	return names
}

func workspaceOf(u urn.URN) urn.URN {
	return urn.URN{Provider: "seca.workspace/v1", Tenant: u.Tenant, Collection: "workspaces", Name: u.Workspace}
}

func (d *draft) checkPresence(old *Resource, ifVersion *int64, related map[string]*Resource) error {
	for i, name := range d.containers() {
		parameter := []string{"workspace", "network"}[i]
		c := related[name]
		if c == nil {
			return fault.Parameter(fault.Missing.Errorf("%s %q does not exist; create it first", parameter, name[strings.LastIndex(name, "/")+1:]), parameter)
		}
		if c.Leaving() {
			return fault.Parameter(fault.Conflict.Errorf("%s %q is being deleted", parameter, c.URN.Name), parameter)
		}
		if err := d.site.holds(c); err != nil {
			return err
		}
	}
	switch {
	case ifVersion != nil && old == nil:
		return fault.Stale.Errorf("%s does not exist, so it has no version %d", d.urn.Resource(), *ifVersion)
	case old == nil:
		return nil
	case ifVersion != nil && *ifVersion != old.Version:
		return fault.Stale.Errorf("%s is at version %d, not %d; read it again", d.urn.Resource(), old.Version, *ifVersion)
	case old.Leaving():
		return fault.Conflict.Errorf("%s is being deleted; wait until it is gone", d.urn.Resource())
	}
	return d.site.holds(old)
}

// shorten finds subnets that are named without their network, where one of
// that name is all that the workspace has.
func (d *draft) shorten(ctx context.Context, tx *db.Tx, related map[string]*Resource) error {
	for i, u := range d.names {
		if u.Collection != "subnets" || u.Network != "" {
			continue
		}
		all, err := db.All(ctx, tx, scan, `SELECT `+columns+` FROM resource
			WHERE region = $1 AND tenant = $2 AND workspace = $3 AND kind = 'subnet' AND gone_at IS NULL`,
			d.env.Region, u.Tenant, u.Workspace)
		if err != nil {
			return err
		}
		all = slices.DeleteFunc(all, func(r *Resource) bool { return r.URN.Name != u.Name })
		if len(all) > 1 {
			return fault.At(fault.Invalid.Errorf("%s is a subnet of %d networks; write networks/NETWORK/subnets/%s", u.Name, len(all), u.Name), d.links[i].at)
		}
		if len(all) == 1 {
			d.names[i] = all[0].URN
			related[all[0].URN.String()] = all[0]
		}
	}
	return nil
}

func (d *draft) checkLinks(isNew bool, related map[string]*Resource, l *fault.List) {
	for i, u := range d.names {
		k := d.links[i]
		if u.IsZero() || u.Tenant != d.urn.Tenant || k.when == later || k.when == onCreate && !isNew {
			continue
		}
		if k.when == onCreate && u.Collection != "internet-gateways" {
			continue // a route may run ahead of its instance
		}
		if r := related[u.String()]; r == nil {
			l.Add(k.at, "%q does not exist", k.ref.Resource)
		} else if r.Leaving() {
			l.Add(k.at, "%q is being deleted", k.ref.Resource)
		} else if r.Host != d.site.host {
			l.Add(k.at, "%q lies in region %s, and this in %s: they cannot be used together", k.ref.Resource, r.Host, d.site.host)
		}
	}
}

func (d *draft) create(ctx context.Context, tx *db.Tx, at revision, now time.Time) (*Resource, error) {
	r := &Resource{ID: NewID(), Kind: d.kind, Region: d.site.region, Host: d.site.host, URN: d.urn, CreatedAt: now}
	if d.kind == workspaces {
		r.Decision = d.env.Decision
	}
	if len(d.kind.Actions) > 0 {
		r.Power = cmp.Or(d.power, seca.Off)
	}
	r.Observed.Imported = d.native
	if err := d.fill(r); err != nil {
		return nil, err
	}
	if err := admit(ctx, tx, at, r, nil); err != nil {
		return nil, err
	}
	r.accept(now)
	r.touch(at, now)
	r.want(ctx, at)
	r.note(ctx, nil, audit.Change{Status: 201})
	return r, insert(ctx, tx, r)
}

func (d *draft) replace(ctx context.Context, tx *db.Tx, r *Resource, at revision, now time.Time) (*Resource, error) {
	version, shown, before := r.Version, *r, r.document(ctx)
	if err := d.fill(r); err != nil {
		return nil, err
	}
	if err := admit(ctx, tx, at, r, &shown); err != nil {
		return nil, err
	}
	r.change("UpdateRequested", now)
	r.touch(at, now)
	r.want(ctx, at)
	r.note(ctx, before, audit.Change{})
	if err := update(ctx, tx, r, version); err != nil {
		return nil, err
	}
	if err := relabel(ctx, tx, r, shown.Labels); err != nil {
		return nil, err
	}
	if shown.State == seca.Active {
		r = &Resource{}
		*r = shown
		if err := d.fill(r); err != nil {
			return nil, err
		}
		r.touch(at, now)
	}
	return r, nil
}

// fill writes the draft into r: what its author wrote, and what that means.
func (d *draft) fill(r *Resource) error {
	r.Labels, r.Annotations, r.Extensions = d.in.Labels, d.in.Annotations, d.in.Extensions
	r.Spec = d.stored
	if len(d.sku) > 0 {
		r.sku = d.sku
	}
	meant, err := d.kind.decode(d.stored)
	if err != nil {
		return fmt.Errorf("read back the spec of %s: %w", d.urn, err)
	}
	for i, k := range meant.links() {
		if u := d.names[i]; !u.IsZero() {
			*k.ref = seca.Ref(u.String())
		} else if k.to == "skus" {
			d.env.nativeSKU(k)
		}
	}
	if z, ok := meant.(interface{ zone() *string }); ok {
		d.env.nativeZone(z.zone())
	}
	meant.choose(r.ID)
	if r.wanted, err = json.Marshal(meant); err != nil {
		return err
	}
	if r.Status == nil || !r.Kind.Kept {
		if fields := meant.status(); fields != nil {
			r.Status, err = json.Marshal(fields)
		}
	}
	return err
}
