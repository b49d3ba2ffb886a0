package openstack

import (
	"context"
	"net/netip"
	"slices"

	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/attributestags"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// note writes a note into the tags of a thing in Neutron, where it is not there
// yet. Tags that people have given it stay.
func (a *account) note(ctx context.Context, collection, native string, tags []string, thing any) error {
	others := slices.DeleteFunc(slices.Clone(tags), isNote)
	want := slices.Concat(others, tagsOf(thing))
	if slices.Equal(slices.Sorted(slices.Values(tags)), slices.Sorted(slices.Values(want))) {
		return nil
	}
	return attributestags.ReplaceAll(ctx, a.network, collection, native, attributestags.ReplaceAllOpts{Tags: want}).Err
}

// settled sets what is observed in a thing of Neutron whose note has been read.
func settled(m *driver.Meta, id, native string) {
	m.State = driver.Ready
	if m.ID == "" { // the note comes after the thing itself
		m.State, m.Detail = driver.Building, "not described yet"
	}
	m.ID, m.Native = id, native
}

func onlyIPv4(ranges []netip.Prefix) error {
	for _, c := range ranges {
		if !c.Addr().Is4() {
			return fault.Unsupported.Errorf("range %s: this driver makes IPv4 networks only", c)
		}
	}
	return nil
}

func (a *account) networkTable() table[networks.Network] {
	return table[networks.Network]{
		a: a, kind: "network",
		list: func(ctx context.Context, mark string) ([]networks.Network, error) {
			o := networks.ListOpts{ProjectID: a.project, Description: mark, Limit: pageSize}
			return pages(ctx, networks.List(a.network, o), networks.ExtractNetworks)
		},
		record: func(n *networks.Network) record { return record{n.ID, n.Description, n.CreatedAt} },
		drop: func(ctx context.Context, native string) error {
			return networks.Delete(ctx, a.network, native).ExtractErr()
		},
	}
}

func (a *account) networkKeeper() driver.Keeper[driver.Network] {
	t := a.networkTable()
	return keeper[driver.Network, *driver.Network]{
		a: a, kind: t.kind, remove: t.remove,
		list: func(ctx context.Context) ([]driver.Network, error) {
			all, doubled, err := t.all(ctx)
			var out []driver.Network
			for id, n := range all {
				have := viewNetwork(id, n)
				doubt(&have.Meta, doubled[id])
				out = append(out, have)
			}
			return out, err
		},
		ensure: a.ensureNetwork,
	}
}

func viewNetwork(id string, n networks.Network) (have driver.Network) {
	readTags(n.Tags, &have)
	settled(&have.Meta, id, n.ID)
	return have
}

func (a *account) ensureNetwork(ctx context.Context, want driver.Network) (driver.Network, error) {
	if err := onlyIPv4(want.CIDRs); err != nil {
		return want, err
	}
	n, err := a.networkTable().single(ctx, want.ID)
	if err != nil {
		return want, err
	}
	if n == nil {
		n, err = networks.Create(ctx, a.network, networks.CreateOpts{Name: want.Name, Description: a.mark("network", want.ID)}).Extract()
		if err != nil {
			return want, err
		}
	}
	want.Meta = plain(want.Meta)
	if err := a.note(ctx, "networks", n.ID, n.Tags, want); err != nil {
		return want, err
	}
	n.Tags = tagsOf(want)
	return viewNetwork(want.ID, *n), nil
}

func (a *account) subnetTable() table[subnets.Subnet] {
	return table[subnets.Subnet]{
		a: a, kind: "subnet",
		list: func(ctx context.Context, mark string) ([]subnets.Subnet, error) {
			o := subnets.ListOpts{ProjectID: a.project, Description: mark, Limit: pageSize}
			return pages(ctx, subnets.List(a.network, o), subnets.ExtractSubnets)
		},
		record: func(s *subnets.Subnet) record { return record{s.ID, s.Description, s.CreatedAt} },
		drop: func(ctx context.Context, native string) error {
			return subnets.Delete(ctx, a.network, native).ExtractErr()
		},
	}
}

func (a *account) subnetKeeper() driver.Keeper[driver.Subnet] {
	t := a.subnetTable()
	return keeper[driver.Subnet, *driver.Subnet]{
		a: a, kind: t.kind, ensure: a.ensureSubnet, remove: a.removeSubnet,
		list: func(ctx context.Context) ([]driver.Subnet, error) {
			all, doubled, err := t.all(ctx)
			if err != nil {
				return nil, err
			}
			plugs, err := a.plugs(ctx, "")
			if err != nil {
				return nil, err
			}
			var out []driver.Subnet
			for id, s := range all {
				have := viewSubnet(id, s, plugs)
				doubt(&have.Meta, doubled[id])
				out = append(out, have)
			}
			return out, nil
		},
	}
}

// viewSubnet tells what is so: the range, and the table whose router is in it.
func viewSubnet(id string, s subnets.Subnet, plugs map[string]plug) (have driver.Subnet) {
	readTags(s.Tags, &have)
	settled(&have.Meta, id, s.ID)
	if p, err := netip.ParsePrefix(s.CIDR); err == nil {
		have.CIDRs = []netip.Prefix{p}
	}
	have.RouteTable = plugs[s.ID].table
	return have
}

func (a *account) ensureSubnet(ctx context.Context, want driver.Subnet) (driver.Subnet, error) {
	if err := onlyIPv4(want.CIDRs); err != nil {
		return want, err
	}
	if len(want.CIDRs) != 1 {
		return want, fault.Unsupported.Errorf("a subnet of %d ranges: it has one here", len(want.CIDRs))
	}
	s, err := a.subnetTable().single(ctx, want.ID)
	if err != nil {
		return want, err
	}
	if s == nil {
		if s, err = a.createSubnet(ctx, want); err != nil {
			return want, err
		}
	}
	if s.CIDR != want.CIDRs[0].String() {
		return want, fault.Unsupported.Errorf("a subnet keeps its range, %s", s.CIDR)
	}
	want.Meta = plain(want.Meta)
	if err := a.note(ctx, "subnets", s.ID, s.Tags, want); err != nil {
		return want, err
	}
	s.Tags = tagsOf(want)
	plugs, err := a.replug(ctx, *s, want)
	return viewSubnet(want.ID, *s, plugs), err
}

// createSubnet leaves the gateway's address to Neutron, which takes the first.
func (a *account) createSubnet(ctx context.Context, want driver.Subnet) (*subnets.Subnet, error) {
	network, err := a.networkTable().need(ctx, want.Network)
	if err != nil {
		return nil, err
	}
	dhcp := true
	return subnets.Create(ctx, a.network, subnets.CreateOpts{
		NetworkID: network, CIDR: want.CIDRs[0].String(), IPVersion: 4, EnableDHCP: &dhcp,
		Name: want.Name, Description: a.mark("subnet", want.ID), DNSNameservers: a.config.DNS,
	}).Extract()
}

func (a *account) removeSubnet(ctx context.Context, id string) error {
	all, err := a.subnetTable().some(ctx, id)
	if err != nil {
		return err
	}
	for _, s := range all {
		cards, err := a.cardsIn(ctx, s.ID)
		if err != nil {
			return err
		}
		if len(cards) > 0 {
			return fault.Conflict.Errorf("it has network card %s in it", a.idIn(cards[0].Description, "nic"))
		}
		plugs, err := a.plugs(ctx, s.ID)
		if err != nil {
			return err
		}
		if err := a.unplug(ctx, s, plugs[s.ID]); err != nil {
			return err
		}
	}
	return a.subnetTable().remove(ctx, id)
}
