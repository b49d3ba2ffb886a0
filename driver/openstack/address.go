package openstack

import (
	"context"
	"net/netip"
	"slices"

	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/floatingips"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

func (a *account) floatingTable() table[floatingips.FloatingIP] {
	return table[floatingips.FloatingIP]{
		a: a, kind: "public-ip",
		list: func(ctx context.Context, mark string) ([]floatingips.FloatingIP, error) {
			if a.external == "" {
				return nil, nil
			}
			o := floatingips.ListOpts{ProjectID: a.project, Description: mark, Limit: pageSize}
			return pages(ctx, floatingips.List(a.network, o), floatingips.ExtractFloatingIPs)
		},
		record: func(f *floatingips.FloatingIP) record { return record{f.ID, f.Description, f.CreatedAt} },
		drop: func(ctx context.Context, native string) error {
			return floatingips.Delete(ctx, a.network, native).ExtractErr()
		},
	}
}

func (a *account) publicIPKeeper() driver.Keeper[driver.PublicIP] {
	t := a.floatingTable()
	return keeper[driver.PublicIP, *driver.PublicIP]{
		a: a, kind: t.kind, ensure: a.ensurePublicIP,
		list: func(ctx context.Context) ([]driver.PublicIP, error) {
			all, doubled, err := t.all(ctx)
			if err != nil {
				return nil, err
			}
			claims, err := a.claims(ctx)
			if err != nil {
				return nil, err
			}
			var out []driver.PublicIP
			for id, f := range all {
				have := viewFloating(id, f, claims)
				doubt(&have.Meta, doubled[id])
				out = append(out, have)
			}
			return out, nil
		},
		remove: func(ctx context.Context, id string) error {
			claims, err := a.claims(ctx)
			if err != nil {
				return err
			}
			if card := claims[id]; card != "" {
				return fault.Conflict.Errorf("network card %s has it", card)
			}
			return t.remove(ctx, id)
		},
	}
}

// claims tells which card names which public address. The card's note counts
// and not the floating IP's port, because Neutron refuses to bind an address
// that no router leads to, and takes it off when the way goes.
func (a *account) claims(ctx context.Context) (map[string]string, error) {
	all, _, err := a.portTable().all(ctx)
	claims := map[string]string{}
	for id, p := range all {
		var n driver.NIC
		readTags(p.Tags, &n)
		for _, ip := range n.PublicIPs {
			claims[ip] = id
		}
	}
	return claims, err
}

func viewFloating(id string, f floatingips.FloatingIP, claims map[string]string) (have driver.PublicIP) {
	readTags(f.Tags, &have)
	settled(&have.Meta, id, f.ID)
	have.Address, _ = netip.ParseAddr(f.FloatingIP) // Neutron's own
	have.AttachedTo = claims[id]
	if f.Status == "ERROR" {
		have.State, have.Detail = driver.Failed, "the platform could not bind it"
	}
	return have
}

func (a *account) ensurePublicIP(ctx context.Context, want driver.PublicIP) (driver.PublicIP, error) {
	if want.Family != 4 {
		return want, fault.Unsupported.Errorf("a public address of IPv%d", want.Family)
	}
	f, err := a.floatingTable().single(ctx, want.ID)
	if err != nil {
		return want, err
	}
	if want.Address.IsValid() && (f == nil || f.FloatingIP != want.Address.String()) {
		return want, fault.Unsupported.Errorf("address %s: this cloud assigns its own", want.Address)
	}
	if f == nil {
		f, err = floatingips.Create(ctx, a.network, floatingips.CreateOpts{
			FloatingNetworkID: a.external, Description: a.mark("public-ip", want.ID),
		}).Extract()
		if err != nil {
			return want, err
		}
	}
	n := driver.PublicIP{Meta: plain(want.Meta), Family: want.Family}
	if err := a.note(ctx, "floatingips", f.ID, f.Tags, n); err != nil {
		return want, err
	}
	f.Tags = tagsOf(n)
	claims, err := a.claims(ctx)
	return viewFloating(want.ID, *f, claims), err
}

// bind puts a floating IP on an address of a port, or takes it off.
func (a *account) bind(ctx context.Context, native, port, address string) error {
	return floatingips.Update(ctx, a.network, native, floatingips.UpdateOpts{PortID: &port, FixedIP: address}).Err
}

// bound lists the public addresses that a port has, by id.
func (a *account) bound(ctx context.Context, port string) (map[string]floatingips.FloatingIP, error) {
	if a.external == "" {
		return nil, nil
	}
	o := floatingips.ListOpts{ProjectID: a.project, PortID: port, Limit: pageSize}
	all, err := pages(ctx, floatingips.List(a.network, o), floatingips.ExtractFloatingIPs)
	found := map[string]floatingips.FloatingIP{}
	for _, f := range all {
		if id := a.idIn(f.Description, "public-ip"); id != "" {
			found[id] = f
		}
	}
	return found, err
}

// rebind gives a port the public addresses that its card names, each on a fixed
// address of its own.
func (a *account) rebind(ctx context.Context, port string, fixed []netip.Addr, want []string) error {
	have, err := a.bound(ctx, port)
	if err != nil {
		return err
	}
	taken := map[string]bool{}
	for id, f := range have {
		if slices.Contains(want, id) {
			taken[f.FixedIP] = true
		} else if err := a.bind(ctx, f.ID, "", ""); err != nil {
			return err
		}
	}
	for _, id := range want {
		if _, done := have[id]; done {
			continue
		}
		at := slices.IndexFunc(fixed, func(x netip.Addr) bool { return x.Is4() && !taken[x.String()] })
		if at < 0 {
			return fault.Unsupported.Errorf("a card with more public addresses than its own")
		}
		taken[fixed[at].String()] = true
		if err := a.bindByID(ctx, id, port, fixed[at].String()); err != nil {
			return err
		}
	}
	return nil
}

func (a *account) bindByID(ctx context.Context, id, port, address string) error {
	f, err := a.floatingTable().find(ctx, id)
	if err != nil {
		return err
	}
	switch {
	case f == nil:
		return fault.Conflict.Errorf("public address %s does not exist", id)
	case f.PortID != "" && f.PortID != port:
		return fault.Conflict.Errorf("public address %s is on another card", id)
	}
	return a.bind(ctx, f.ID, port, address)
}
