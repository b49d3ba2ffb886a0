package openstack

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/floatingips"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/portsecurity"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

func (a *account) portTable() table[ports.Port] {
	return table[ports.Port]{
		a: a, kind: "nic",
		list: func(ctx context.Context, mark string) ([]ports.Port, error) {
			o := ports.ListOpts{ProjectID: a.project, Description: mark, Limit: pageSize}
			return pages(ctx, ports.List(a.network, o), ports.ExtractPorts)
		},
		record: func(p *ports.Port) record { return record{p.ID, p.Description, p.CreatedAt} },
		drop: func(ctx context.Context, native string) error {
			return ports.Delete(ctx, a.network, native).ExtractErr()
		},
	}
}

// cardsIn lists our cards in a subnet.
func (a *account) cardsIn(ctx context.Context, subnet string) ([]ports.Port, error) {
	o := ports.ListOpts{ProjectID: a.project, FixedIPs: []ports.FixedIPOpts{{SubnetID: subnet}}, Limit: pageSize}
	all, err := pages(ctx, ports.List(a.network, o), ports.ExtractPorts)
	return slices.DeleteFunc(all, func(p ports.Port) bool { return a.idIn(p.Description, "nic") == "" }), err
}

// A fabric is what a port is seen against: native ids, and what leads where.
type fabric struct {
	subnets, groups map[string]string
	plugs           map[string]plug
	bound           map[string][]string // public addresses by native port
}

// fabric reads all of it, in a few lists.
func (a *account) fabric(ctx context.Context) (f fabric, err error) {
	if f.subnets, err = a.subnetTable().ids(ctx); err != nil {
		return f, err
	}
	if f.groups, err = a.groupTable().ids(ctx); err != nil {
		return f, err
	}
	if f.plugs, err = a.plugs(ctx, ""); err != nil {
		return f, err
	}
	f.bound = map[string][]string{}
	all, err := a.floatingTable().list(ctx, "")
	for _, x := range all {
		if id := a.idIn(x.Description, "public-ip"); id != "" && x.PortID != "" {
			f.bound[x.PortID] = append(f.bound[x.PortID], id)
		}
	}
	return f, err
}

func (a *account) nicKeeper() driver.Keeper[driver.NIC] {
	t := a.portTable()
	return keeper[driver.NIC, *driver.NIC]{
		a: a, kind: t.kind, ensure: a.ensureNIC, remove: a.removeNIC,
		list: func(ctx context.Context) ([]driver.NIC, error) {
			all, doubled, err := t.all(ctx)
			if err != nil || len(all) == 0 {
				return nil, err
			}
			f, err := a.fabric(ctx)
			if err != nil {
				return nil, err
			}
			var out []driver.NIC
			for id, p := range all {
				have := viewPort(id, p, f)
				doubt(&have.Meta, doubled[id])
				out = append(out, have)
			}
			return out, nil
		},
	}
}

// viewPort tells what is so, in the order of the note. A public address that
// cannot be bound, because there is no way to the internet, counts as there.
func viewPort(id string, p ports.Port, f fabric) (have driver.NIC) {
	readTags(p.Tags, &have)
	settled(&have.Meta, id, p.ID)
	have.MAC = p.MACAddress
	var fixed, in []string
	for _, ip := range p.FixedIPs {
		fixed, in = append(fixed, ip.IPAddress), append(in, ip.SubnetID)
	}
	have.Addresses = addresses(inOrder(fixed, texts(have.Addresses)))
	way := len(in) > 0 && f.plugs[in[0]].way
	if len(in) > 0 {
		have.Subnet = f.subnets[in[0]]
	}
	if way {
		have.PublicIPs = inOrder(f.bound[p.ID], have.PublicIPs)
	}
	var groups []string
	for _, g := range p.SecurityGroups {
		if id := f.groups[g]; id != "" {
			g = id
		}
		groups = append(groups, g)
	}
	have.SecurityGroups = inOrder(groups, have.SecurityGroups)
	return have
}

func texts(all []netip.Addr) []string {
	var out []string
	for _, a := range all {
		out = append(out, a.String())
	}
	return out
}

func addresses(all []string) []netip.Addr {
	var out []netip.Addr
	for _, text := range all {
		if a, err := netip.ParseAddr(text); err == nil {
			out = append(out, a)
		}
	}
	return out
}

func (a *account) ensureNIC(ctx context.Context, want driver.NIC) (driver.NIC, error) {
	for _, x := range want.Addresses {
		if !x.Is4() {
			return want, fault.Unsupported.Errorf("address %s: this driver has IPv4 only", x)
		}
	}
	groups := []string{}
	for _, id := range want.SecurityGroups {
		g, err := a.groupTable().need(ctx, id)
		if err != nil {
			return want, err
		}
		groups = append(groups, g)
	}
	p, err := a.portTable().single(ctx, want.ID)
	if err != nil {
		return want, err
	}
	if p == nil {
		p, err = a.createPort(ctx, want, groups)
	} else {
		p, err = a.changePort(ctx, p, want, groups)
	}
	if err != nil {
		return want, err
	}
	n := want
	n.Meta, n.MAC = plain(want.Meta), ""
	n.Addresses = assigned(p, want.Addresses)
	if err := a.note(ctx, "ports", p.ID, p.Tags, n); err != nil {
		return want, err
	}
	p.Tags = tagsOf(n)
	return a.finishNIC(ctx, *p, n)
}

// finishNIC binds the public addresses, if there is a way for them.
func (a *account) finishNIC(ctx context.Context, p ports.Port, n driver.NIC) (driver.NIC, error) {
	plugs, err := a.plugs(ctx, p.FixedIPs[0].SubnetID)
	if err != nil {
		return n, err
	}
	want := n.PublicIPs
	if !plugs[p.FixedIPs[0].SubnetID].way {
		want = nil
	}
	if err := a.rebind(ctx, p.ID, n.Addresses, want); err != nil {
		return n, err
	}
	f, err := a.fabric(ctx)
	return viewPort(n.ID, p, f), err
}

// assigned gives the addresses of a port the order in which they were wanted.
func assigned(p *ports.Port, want []netip.Addr) []netip.Addr {
	var have []netip.Addr
	for _, ip := range p.FixedIPs {
		have = append(have, addresses([]string{ip.IPAddress})...)
	}
	out := slices.Clone(want)
	for _, w := range want {
		have = slices.DeleteFunc(have, func(h netip.Addr) bool { return h == w })
	}
	for i, w := range out {
		if w.IsUnspecified() && len(have) > 0 {
			out[i], have = have[0], have[1:]
		}
	}
	return out
}

// fixedIPs asks for addresses in a subnet.
func fixedIPs(subnet string, want []netip.Addr) []ports.IP {
	var out []ports.IP
	for _, w := range want {
		ip := ports.IP{SubnetID: subnet}
		if !w.IsUnspecified() {
			ip.IPAddress = w.String()
		}
		out = append(out, ip)
	}
	if out == nil {
		return []ports.IP{{SubnetID: subnet}}
	}
	return out
}

func (a *account) createPort(ctx context.Context, want driver.NIC, groups []string) (*ports.Port, error) {
	s, err := a.subnetTable().find(ctx, want.Subnet)
	if err != nil {
		return nil, err
	}
	if s == nil {
		return nil, fault.Conflict.Errorf("subnet %s does not exist", want.Subnet)
	}
	o := ports.CreateOpts{
		NetworkID: s.NetworkID, Name: want.Name, Description: a.mark("nic", want.ID),
		FixedIPs: fixedIPs(s.ID, want.Addresses), SecurityGroups: &groups,
	}
	filtered, err := a.filtered(groups)
	if err != nil {
		return nil, err
	}
	var b ports.CreateOptsBuilder = o
	if a.extensions["port-security"] {
		b = portsecurity.PortCreateOptsExt{CreateOptsBuilder: o, PortSecurityEnabled: &filtered}
	}
	return ports.Create(ctx, a.network, b).Extract()
}

// filtered reports whether a port drops what its groups do not allow. A card
// without groups is open, which Neutron calls to lack port security.
func (a *account) filtered(groups []string) (bool, error) {
	if len(groups) == 0 && !a.extensions["port-security"] {
		return true, fault.Unsupported.Errorf("a network card without a security group: this cloud filters all")
	}
	return len(groups) > 0, nil
}

// changePort gives a port other groups or addresses.
func (a *account) changePort(ctx context.Context, p *ports.Port, want driver.NIC, groups []string) (*ports.Port, error) {
	s, err := a.subnetTable().find(ctx, want.Subnet)
	if err != nil {
		return nil, err
	}
	if s == nil || len(p.FixedIPs) == 0 || p.FixedIPs[0].SubnetID != s.ID {
		return nil, fault.Unsupported.Errorf("a network card stays in its subnet")
	}
	var o ports.UpdateOpts
	same := slices.Equal(slices.Sorted(slices.Values(p.SecurityGroups)), slices.Sorted(slices.Values(groups)))
	if !same {
		o.SecurityGroups = &groups
	}
	now := assigned(p, want.Addresses)
	if want.Addresses != nil && !slices.Equal(slices.Sorted(slices.Values(texts(now))), slices.Sorted(slices.Values(texts(addressesOf(p))))) {
		o.FixedIPs = fixedIPs(s.ID, now)
		same = false
	}
	if same {
		return p, nil
	}
	filtered, err := a.filtered(groups)
	if err != nil {
		return nil, err
	}
	var b ports.UpdateOptsBuilder = o
	if a.extensions["port-security"] {
		b = portsecurity.PortUpdateOptsExt{UpdateOptsBuilder: o, PortSecurityEnabled: &filtered}
	}
	next, err := ports.Update(ctx, a.network, p.ID, b).Extract()
	if err != nil {
		return nil, err
	}
	next.Tags = p.Tags
	return next, nil
}

func addressesOf(p *ports.Port) []netip.Addr {
	var out []string
	for _, ip := range p.FixedIPs {
		out = append(out, ip.IPAddress)
	}
	return addresses(out)
}

func (a *account) removeNIC(ctx context.Context, id string) error {
	all, err := a.portTable().some(ctx, id)
	if err != nil {
		return err
	}
	for _, p := range all {
		if p.DeviceID != "" && strings.HasPrefix(p.DeviceOwner, "compute:") {
			// Nova may have lost a machine and left its name behind.
			if _, err := servers.Get(ctx, a.compute, p.DeviceID).Extract(); unlessGone(err) != nil {
				return err
			} else if err == nil {
				return fault.Conflict.Errorf("a machine has it, server %s", p.DeviceID)
			}
		}
		if a.external == "" {
			continue
		}
		if err := a.letGo(ctx, floatingips.ListOpts{PortID: p.ID}); err != nil {
			return err
		}
	}
	return a.portTable().remove(ctx, id)
}

// addressOf finds the address that a machine has in a network.
func (a *account) addressOf(ctx context.Context, instance, network string) (netip.Addr, error) {
	var none netip.Addr
	server, err := a.serverTable().need(ctx, instance)
	if err != nil {
		return none, err
	}
	native, err := a.networkTable().need(ctx, network)
	if err != nil {
		return none, err
	}
	all, err := pages(ctx, ports.List(a.network, ports.ListOpts{DeviceID: server, NetworkID: native, Limit: pageSize}), ports.ExtractPorts)
	if err != nil {
		return none, err
	}
	for _, p := range all {
		if found := addressesOf(&p); len(found) > 0 {
			return found[0], nil
		}
	}
	return none, fault.Conflict.Errorf("instance %s has no address in network %s", instance, network)
}
