package agent

import (
	"cmp"
	"context"
	"fmt"
	"net/netip"
	"slices"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/wire"
)

// foreigners lists what belongs to nobody, in SECA's words.
func (a *agent) foreigners(ctx context.Context) ([]wire.Stray, error) {
	if a.cloud.Foreign == nil {
		return nil, fault.Unsupported.Errorf("this platform does not tell what belongs to nobody")
	}
	v, err := a.throttle.look(ctx, operation{"strays", ""}, func(ctx context.Context) (any, error) {
		offer, err := a.cloud.Inventory(ctx)
		if err != nil {
			return nil, err
		}
		found := []wire.Stray{}
		for s, err := range a.cloud.Foreign.List(ctx) {
			if err != nil {
				return nil, err
			}
			found = append(found, describe(s, offer))
		}
		return found, nil
	})
	if err != nil {
		return nil, fault.Unavailable.Errorf("list what belongs to nobody: %w", err)
	}
	found := v.([]wire.Stray)
	slices.SortFunc(found, func(x, y wire.Stray) int {
		return cmp.Or(cmp.Compare(x.Kind, y.Kind), cmp.Compare(x.Name, y.Name), cmp.Compare(x.Native, y.Native))
	})
	return found, nil
}

// A description is a stray on its way into SECA's words.
type description struct {
	wire.Stray
	offer *driver.Inventory
	own   bool // it is no stray: it belongs to our exchange
}

func describe(s driver.Stray, offer *driver.Inventory) wire.Stray {
	return (&description{offer: offer}).describe(s)
}

func describeOwn(s driver.Stray, offer *driver.Inventory) wire.Stray {
	return (&description{offer: offer, own: true}).describe(s)
}

func (d *description) describe(s driver.Stray) wire.Stray {
	d.Stray = wire.Stray{Kind: secaNames[s.Kind], Native: s.Native, Name: s.Name}
	var spec any
	switch t := s.Thing.(type) {
	case driver.Network:
		spec = d.network(t)
	case driver.Subnet:
		spec = d.subnet(t)
	case driver.RouteTable:
		spec = d.routeTable(t)
	case driver.Gateway:
		spec = seca.InternetGatewaySpec{EgressOnly: t.EgressOnly}
	case driver.SecurityGroup:
		spec = d.securityGroup(t)
	case driver.PublicIP:
		spec = seca.PublicIPSpec{Version: map[int]string{4: "IPv4", 6: "IPv6"}[t.Family]}
	case driver.NIC:
		spec = d.nic(t)
	case driver.Volume:
		spec = d.volume(t)
	case driver.Instance:
		spec = d.instance(t)
	case driver.Image:
		spec = d.image(t)
	default:
		d.problem("a thing of kind %s cannot be imported", s.Kind)
	}
	d.Spec = encode(spec)
	return d.Stray
}

func (d *description) problem(format string, args ...any) {
	d.Problems = append(d.Problems, fmt.Sprintf(format, args...))
}

func (d *description) note(format string, args ...any) {
	d.Notes = append(d.Notes, fmt.Sprintf(format, args...))
}

// foreign names a thing by its native id.
func foreign(native string) seca.Reference { return seca.Ref(wire.Foreign + native) }

func foreignAll(natives []string) []seca.Reference {
	var refs []seca.Reference
	for _, n := range natives {
		refs = append(refs, foreign(n))
	}
	return refs
}

func skuNamed(name string) seca.Reference { return seca.Ref("skus/" + name) }

// zone is where a thing is, or where all are if there is one zone.
func (d *description) zone(zone string) string {
	if zone == "" && len(d.offer.Zones) > 0 {
		zone = d.offer.Zones[0]
		if len(d.offer.Zones) > 1 {
			d.note("the platform does not say its zone; %s is taken", zone)
		}
	}
	return zone
}

// cidrs gives flat ranges SECA's shape, so that they become the same again.
func cidrs(flat []netip.Prefix) []seca.CIDR {
	var out []seca.CIDR
	for _, p := range flat {
		last := len(out) - 1
		switch {
		case p.Addr().Is4():
			out = append(out, seca.CIDR{IPv4: p.String()})
		case last >= 0 && out[last].IPv6 == "":
			out[last].IPv6 = p.String()
		default:
			out = append(out, seca.CIDR{IPv6: p.String()})
		}
	}
	return out
}

func (d *description) network(n driver.Network) seca.NetworkSpec {
	s := seca.NetworkSpec{}
	if all := cidrs(n.CIDRs); len(all) > 0 {
		s.CIDR, s.AdditionalCIDRs = all[0], all[1:]
	} else {
		d.problem("it has no address range")
	}
	var names []string
	for _, k := range d.offer.NetworkSKUs {
		names = append(names, k.Name)
	}
	s.SKURef = d.class("network", n.SKU, names)
	return s
}

// class finds a SKU by name; one that is not on offer becomes the first that is.
func (d *description) class(of, name string, offered []string) seca.Reference {
	switch {
	case slices.Contains(offered, name):
		return skuNamed(name)
	case len(offered) == 0:
		d.problem("the region offers no %s sku", of)
		return seca.Reference{}
	case name == "":
		d.note("the platform does not say its sku; %s is taken", offered[0])
	default:
		d.note("its sku %q is not on offer; %s is taken", name, offered[0])
	}
	return skuNamed(offered[0])
}

func (d *description) subnet(n driver.Subnet) seca.SubnetSpec {
	d.Within = n.Network
	s := seca.SubnetSpec{Zone: d.zone(n.Zone)}
	if all := cidrs(n.CIDRs); len(all) == 1 {
		s.CIDR = all[0]
	} else {
		d.problem("it has %d address ranges, not one of each family", len(all))
	}
	if n.RouteTable != "" {
		s.RouteTableRef = foreign(n.RouteTable)
	}
	return s
}

func (d *description) routeTable(t driver.RouteTable) seca.RouteTableSpec {
	d.Within = t.Network
	var s seca.RouteTableSpec
	for _, r := range t.Routes {
		route := seca.Route{DestinationCIDRBlock: r.Destination.String()}
		switch {
		case r.Gateway != "":
			route.TargetRef = foreign(r.Gateway)
		case r.Address.IsValid():
			route.TargetRef = seca.Ref(r.Address.String())
		default:
			d.problem("its route to %s leads to a machine", r.Destination)
		}
		s.Routes = append(s.Routes, route)
	}
	if len(s.Routes) == 0 {
		d.problem("it has no routes, and SECA wants one at least")
	}
	return s
}

func (d *description) securityGroup(g driver.SecurityGroup) seca.SecurityGroupSpec {
	var s seca.SecurityGroupSpec
	for i, r := range g.Rules {
		if len(r.PeerGroups) > 0 && !d.own {
			d.problem("its rule %d is about other groups", i+1)
		}
		rule := seca.SecurityGroupRuleSpec{
			Direction: "egress", Version: map[int]string{4: "IPv4", 6: "IPv6"}[r.Family], Protocol: string(r.Protocol), Ports: portsOf(r.Ports),
		}
		if r.Ingress {
			rule.Direction = "ingress"
		}
		if r.ICMP != nil {
			rule.ICMP = &seca.ICMP{Type: int(r.ICMP.Type), Code: int(r.ICMP.Code)}
		}
		for _, p := range r.Peers {
			rule.SourceRef = append(rule.SourceRef, seca.Ref(p.String()))
		}
		if d.own {
			rule.SourceRef = append(rule.SourceRef, foreignAll(r.PeerGroups)...)
		}
		s.Rules = append(s.Rules, rule)
		if d.own && len(r.PeerGroups) > 0 {
			continue
		}
		if back, err := (&resolver{m: newMirror()}).rules(rule); err != nil || len(back) != 1 ||
			len(r.PeerGroups) == 0 && !(driver.SecurityGroup{Rules: back}).Satisfies(driver.SecurityGroup{Rules: g.Rules[i : i+1]}) {
			d.problem("SECA has no words for its rule %d", i+1)
		}
	}
	return s
}

// portsOf gives ranges SECA's shape, which is one range and then single ports.
func portsOf(all []driver.PortRange) *seca.Ports {
	if len(all) == 0 {
		return nil
	}
	p := &seca.Ports{From: int(all[0].From), To: int(all[0].To)}
	for _, r := range all[1:] {
		p.List = append(p.List, int(r.From))
	}
	return p
}

func (d *description) nic(n driver.NIC) seca.NICSpec {
	s := seca.NICSpec{SubnetRef: foreign(n.Subnet), PublicIPRefs: foreignAll(n.PublicIPs), SecurityGroupRefs: foreignAll(n.SecurityGroups)}
	for _, a := range n.Addresses {
		s.Addresses = append(s.Addresses, a.String())
	}
	if n.Subnet == "" || len(s.Addresses) == 0 {
		d.problem("it is in no subnet, or has no address")
	}
	return s
}

func (d *description) volume(v driver.Volume) seca.BlockStorageSpec {
	var names []string
	for _, k := range d.offer.StorageSKUs {
		names = append(names, k.Name)
	}
	return seca.BlockStorageSpec{SizeGB: v.SizeGB, SKURef: d.class("storage", v.SKU, names), SourceImageRef: d.source(v.Image)}
}

func (d *description) instance(i driver.Instance) seca.InstanceSpec {
	d.Power = seca.Off
	if i.On {
		d.Power = seca.On
	}
	s := seca.InstanceSpec{SKURef: d.size(i), Zone: d.zone(i.Zone), BootVolume: seca.VolumeReference{DeviceRef: foreign(i.BootVolume)}}
	if i.BootVolume == "" {
		d.problem("it does not start from a volume")
	}
	for _, v := range i.DataVolumes {
		s.DataVolumes = append(s.DataVolumes, seca.VolumeReference{DeviceRef: foreign(v)})
	}
	if refs := foreignAll(i.NICs); len(refs) > 0 {
		s.PrimaryNICRef, s.AdditionalNICRefs = &refs[0], refs[1:]
	}
	d.secrets(&s, i)
	return s
}

// size finds the SKU of a machine: by name if it is that large, else by size.
func (d *description) size(i driver.Instance) seca.Reference {
	var found string
	for _, s := range d.offer.InstanceSKUs {
		if s.VCPU != i.VCPU || s.RAMGiB != i.RAMGiB || s.GPU != nil && s.Name != i.SKU {
			continue
		}
		if s.Name == i.SKU {
			return skuNamed(s.Name)
		}
		found = cmp.Or(found, s.Name)
	}
	if found == "" {
		d.problem("no sku on offer has %d vcpu and %d GiB", i.VCPU, i.RAMGiB)
		return seca.Reference{}
	}
	d.note("its size %q is not on offer; %s has as much", i.SKU, found)
	return skuNamed(found)
}
