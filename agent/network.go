package agent

import (
	"net/netip"
	"path"
	"slices"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/urn"
)

func networkKind(c *driver.Cloud) *kind {
	return define("network", row[seca.NetworkSpec, driver.Network]{
		keeper: c.Networks,
		want: func(_ *resolver, s *seca.NetworkSpec) (driver.Network, error) {
			ranges, err := prefixes(append([]seca.CIDR{s.CIDR}, s.AdditionalCIDRs...))
			return driver.Network{CIDRs: ranges, SKU: path.Base(s.SKURef.Resource)}, err
		},
		uses: func(*driver.Network) []string { return nil },
		status: func(_ *viewer, s *seca.NetworkSpec, have *driver.Network) any {
			ranges := pairs(append([]seca.CIDR{s.CIDR}, s.AdditionalCIDRs...), have.CIDRs)
			return seca.NetworkStatus{CIDR: ranges[0], AdditionalCIDRs: ranges[1:]}
		},
	})
}

func subnetKind(c *driver.Cloud) *kind {
	return define("subnet", row[seca.SubnetSpec, driver.Subnet]{
		keeper: c.Subnets,
		want: func(r *resolver, s *seca.SubnetSpec) (driver.Subnet, error) {
			ranges, err := prefixes([]seca.CIDR{s.CIDR})
			n := driver.Subnet{Network: r.need(networkOf(r.e.want.URN)), CIDRs: ranges, Zone: s.Zone}
			if s.RouteTableRef.Resource != "" && !r.losing(s.RouteTableRef) {
				n.RouteTable = r.need(s.RouteTableRef)
			}
			return n, err
		},
		uses: func(s *driver.Subnet) []string { return given(s.Network, s.RouteTable) },
		status: func(v *viewer, s *seca.SubnetSpec, have *driver.Subnet) any {
			return seca.SubnetStatus{CIDR: pairs([]seca.CIDR{s.CIDR}, have.CIDRs)[0], RouteTableRef: v.ref(have.RouteTable)}
		},
	})
}

// losing reports whether what is referred to is on its way out and nobody may
// wait for those who refer to it.
func (r *resolver) losing(ref seca.Reference) bool {
	x := r.look(ref)
	return r.m.lenient && x != nil && x.want.Deleting
}

// networkOf names the network that a resource's URN lies in.
func networkOf(name string) seca.Reference {
	u, err := urn.Parse(name)
	if err != nil {
		return seca.Ref(name)
	}
	u.Collection, u.Name, u.Network = "networks", u.Network, ""
	return seca.Ref(u.String())
}

func routeTableKind(c *driver.Cloud) *kind {
	return define("routing-table", row[seca.RouteTableSpec, driver.RouteTable]{
		keeper: c.RouteTables,
		want: func(r *resolver, s *seca.RouteTableSpec) (driver.RouteTable, error) {
			t := driver.RouteTable{Network: r.need(networkOf(r.e.want.URN))}
			for _, route := range s.Routes {
				to, err := prefix(route.DestinationCIDRBlock)
				if err != nil {
					return t, err
				}
				if d, ok := r.target(route.TargetRef); ok {
					d.Destination = to
					t.Routes = append(t.Routes, d)
				}
			}
			return t, nil
		},
		uses: func(t *driver.RouteTable) []string {
			ids := given(t.Network)
			for _, r := range t.Routes {
				ids = append(ids, given(r.Gateway, r.Instance)...)
			}
			return ids
		},
		status: routeTableStatus,
	})
}

// target resolves what a route leads to. One whose target is not there is left
// out: it leads nowhere, and must not keep the others from working.
func (r *resolver) target(ref seca.Reference) (driver.Route, bool) {
	if a, err := netip.ParseAddr(ref.Resource); err == nil {
		return driver.Route{Address: a}, true
	}
	x := r.look(ref)
	switch {
	case x == nil, x.want.Deleting:
	case x.kind.name == "internet-gateway":
		return driver.Route{Gateway: r.need(ref)}, true
	case x.kind.name == "instance": // it is not waited for: its own way leads through this table
		_, ok := r.soft(ref)
		return driver.Route{Instance: x.id()}, ok
	}
	return driver.Route{}, false
}

func routeTableStatus(v *viewer, s *seca.RouteTableSpec, have *driver.RouteTable) any {
	states := make([]seca.RouteStatus, len(s.Routes))
	for i, route := range s.Routes {
		states[i] = seca.RouteStatus{State: seca.Pending, Conditions: []seca.Condition{}}
		to, err := prefix(route.DestinationCIDRBlock)
		if err != nil {
			continue
		}
		target := route.TargetRef.Resource
		if x := v.m.byURN[target]; x != nil {
			target = x.id()
		}
		if slices.ContainsFunc(have.Routes, func(h driver.Route) bool {
			return h.Destination == to && (h.Gateway == target || h.Instance == target || h.Address.IsValid() && h.Address.String() == target)
		}) {
			states[i].State = seca.Active
		}
	}
	return seca.RouteTableStatus{Routes: states}
}

func gatewayKind(c *driver.Cloud) *kind {
	return define("internet-gateway", row[seca.InternetGatewaySpec, driver.Gateway]{
		keeper: c.Gateways,
		want: func(_ *resolver, s *seca.InternetGatewaySpec) (driver.Gateway, error) {
			return driver.Gateway{EgressOnly: s.EgressOnly}, nil
		},
		uses:   func(*driver.Gateway) []string { return nil },
		status: func(*viewer, *seca.InternetGatewaySpec, *driver.Gateway) any { return struct{}{} },
	})
}

func publicIPKind(c *driver.Cloud) *kind {
	return define("public-ip", row[seca.PublicIPSpec, driver.PublicIP]{
		keeper: c.PublicIPs,
		want: func(_ *resolver, s *seca.PublicIPSpec) (driver.PublicIP, error) {
			p := driver.PublicIP{Family: 4}
			if s.Version == "IPv6" {
				p.Family = 6
			}
			var err error
			if s.Address != "" {
				p.Address, err = address(s.Address)
			}
			return p, err
		},
		uses: func(*driver.PublicIP) []string { return nil },
		status: func(v *viewer, _ *seca.PublicIPSpec, have *driver.PublicIP) any {
			s := seca.PublicIPStatus{AttachedTo: v.holder("nic")}
			if have.Address.IsValid() {
				s.IPAddress = have.Address.String()
			}
			return s
		},
	})
}

func nicKind(c *driver.Cloud) *kind {
	k := define("nic", row[seca.NICSpec, driver.NIC]{
		keeper: c.NICs,
		want:   wantNIC,
		uses: func(n *driver.NIC) []string {
			return slices.Concat(given(n.Subnet), n.PublicIPs, n.SecurityGroups)
		},
		status: func(v *viewer, s *seca.NICSpec, have *driver.NIC) any {
			st := seca.NICStatus{MACAddress: have.MAC}
			for _, a := range have.Addresses {
				st.Addresses = append(st.Addresses, a.String())
			}
			for _, id := range have.PublicIPs {
				if ref := v.ref(id); ref != nil {
					st.PublicIPRefs = append(st.PublicIPRefs, *ref)
				}
			}
			return st
		},
	})
	k.loose = true
	return k
}

func wantNIC(r *resolver, s *seca.NICSpec) (driver.NIC, error) {
	n := driver.NIC{Subnet: r.need(s.SubnetRef)}
	for _, text := range s.Addresses {
		a, err := address(text)
		if err != nil {
			return n, err
		}
		n.Addresses = append(n.Addresses, a)
	}
	for _, ref := range s.PublicIPRefs {
		if x := r.look(ref); r.m.lenient && (x == nil || x.want.Deleting) {
			continue
		}
		n.PublicIPs = append(n.PublicIPs, r.need(ref))
	}
	for _, ref := range slices.Concat(s.SecurityGroupRefs, r.instanceGroups()) {
		if id := r.need(ref); !slices.Contains(n.SecurityGroups, id) {
			n.SecurityGroups = append(n.SecurityGroups, id)
		}
	}
	return n, nil
}

// instanceGroups are the groups of the machines that the card is in. They stay
// until the machine is gone: a card without a group is open to everybody.
func (r *resolver) instanceGroups() []seca.Reference {
	var refs []seca.Reference
	for id := range r.m.users[r.e.want.URN] {
		if x := r.m.byID[id]; x != nil {
			if s, ok := x.spec.(*seca.InstanceSpec); ok && s.SecurityGroupRef != nil {
				refs = append(refs, *s.SecurityGroupRef)
			}
		}
	}
	slices.SortFunc(refs, func(a, b seca.Reference) int { return compare(a.Resource, b.Resource) })
	return refs
}

func compare(a, b string) int {
	switch {
	case a < b:
		return -1
	case a > b:
		return 1
	}
	return 0
}

// prefixes flattens ranges, IPv4 before IPv6 in each.
func prefixes(cs []seca.CIDR) ([]netip.Prefix, error) {
	var out []netip.Prefix
	for _, c := range cs {
		for _, text := range given(c.IPv4, c.IPv6) {
			p, err := netip.ParsePrefix(text)
			if err != nil {
				return nil, fault.Invalid.Errorf("%q is no address range", text)
			}
			out = append(out, p.Masked())
		}
	}
	return out, nil
}

// pairs gives flat ranges the shape that they have in the spec.
func pairs(spec []seca.CIDR, have []netip.Prefix) []seca.CIDR {
	out := make([]seca.CIDR, len(spec))
	next := func(to *string, asked string) {
		if asked != "" && len(have) > 0 {
			*to, have = have[0].String(), have[1:]
		}
	}
	for i, c := range spec {
		next(&out[i].IPv4, c.IPv4)
		next(&out[i].IPv6, c.IPv6)
	}
	return out
}

// prefix reads a range, or a single address as one.
func prefix(text string) (netip.Prefix, error) {
	if a, err := netip.ParseAddr(text); err == nil {
		return netip.PrefixFrom(a, a.BitLen()), nil
	}
	p, err := netip.ParsePrefix(text)
	if err != nil {
		return p, fault.Invalid.Errorf("%q is neither an address nor a range", text)
	}
	return p.Masked(), nil
}

func address(text string) (netip.Addr, error) {
	a, err := netip.ParseAddr(text)
	if err != nil {
		return a, fault.Invalid.Errorf("%q is no address", text)
	}
	return a.Unmap(), nil
}

func given(texts ...string) []string {
	return slices.DeleteFunc(texts, func(s string) bool { return s == "" })
}
