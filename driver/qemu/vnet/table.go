package vnet

import (
	"net"
	"net/netip"
	"slices"
)

// A table is everything the router looks up, made from one Config and never
// changed after.
type table struct {
	cfg     Config
	domain  string
	mtu     int
	subnets []*subnet
	byAddr  map[netip.Addr]*seat
	byMAC   map[macAddr]*seat
	names   map[string][]netip.Addr // by hostname in lower case
	hosts   map[netip.Addr]string   // the reverse
}

// A subnet is a Subnet with its routes in the order of their prefixes' length.
type subnet struct {
	Subnet
	ranges []netip.Prefix // IPv4
	routes []Route
}

// A seat is what a configuration says of a NIC, beside its port.
type seat struct {
	NIC
	mac    macAddr
	port   *port
	subnet *subnet
	table  *table
	relays []netip.Prefix // may send from here too, because routes lead through it
}

// newTable builds the table of a valid configuration. Ports maps the ids of
// NICs to where they are connected.
func newTable(cfg Config, ports map[string]*port) *table {
	t := &table{
		cfg: cfg, domain: cfg.Domain, mtu: cfg.MTU,
		byAddr: make(map[netip.Addr]*seat), byMAC: make(map[macAddr]*seat),
		names: make(map[string][]netip.Addr), hosts: make(map[netip.Addr]string),
	}
	if t.domain == "" {
		t.domain = "internal"
	}
	if t.mtu == 0 {
		t.mtu = DefaultMTU
	}
	subnets := make(map[string]*subnet)
	for _, s := range cfg.Subnets {
		sub := newSubnet(s)
		t.subnets = append(t.subnets, sub)
		subnets[s.ID] = sub
	}
	for _, n := range cfg.NICs {
		t.add(n, ports[n.ID], subnets[n.Subnet])
	}
	return t
}

func newSubnet(s Subnet) *subnet {
	sub := &subnet{Subnet: s, routes: slices.Clone(s.Routes)}
	for _, p := range s.CIDRs {
		if p.Addr().Is4() {
			sub.ranges = append(sub.ranges, p.Masked())
		}
	}
	slices.SortStableFunc(sub.routes, func(a, b Route) int { return b.Destination.Bits() - a.Destination.Bits() })
	return sub
}

func (t *table) add(n NIC, p *port, sub *subnet) {
	mac, _ := net.ParseMAC(n.MAC) // valid: Validate has parsed it
	s := &seat{NIC: n, mac: macAddr(mac), port: p, subnet: sub, table: t}
	t.byMAC[s.mac] = s
	for _, a := range n.Addresses {
		if !a.Is4() {
			continue
		}
		t.byAddr[a] = s
		if n.Hostname != "" {
			name := lower(n.Hostname)
			t.names[name] = append(t.names[name], a)
			t.hosts[a] = name
		}
		s.relays = append(s.relays, t.relayed(a)...)
	}
}

// relayed lists the destinations to which routes lead through the address:
// answers from there come back through the same NIC.
func (t *table) relayed(via netip.Addr) (to []netip.Prefix) {
	for _, s := range t.cfg.Subnets {
		for _, r := range s.Routes {
			if r.Via == via {
				to = append(to, r.Destination)
			}
		}
	}
	return to
}

// members lists the addresses of the NICs in a security group.
func (t *table) members(group string) (addrs []netip.Addr) {
	for _, n := range t.cfg.NICs {
		if slices.Contains(n.Groups, group) {
			addrs = append(addrs, n.Addresses...)
		}
	}
	return addrs
}

// gatewayOf returns the subnet whose gateway has the address, or nil.
func (t *table) gatewayOf(a netip.Addr) *subnet {
	for _, s := range t.subnets {
		if s.isGateway(a) {
			return s
		}
	}
	return nil
}

// inside reports whether an address belongs to the network.
func (t *table) inside(a netip.Addr) bool {
	return slices.ContainsFunc(t.subnets, func(s *subnet) bool { return s.contains(a) })
}

// route finds where the subnet sends what leaves the network.
func (s *subnet) route(dst netip.Addr) (Route, bool) {
	for _, r := range s.routes {
		if r.Destination.Contains(dst) {
			return r, true
		}
	}
	return Route{}, false
}

// hasInternet reports whether a route leads out; both asks for one that lets
// public addresses in as well.
func (s *subnet) hasInternet(both bool) bool {
	return slices.ContainsFunc(s.routes, func(r Route) bool { return r.Internet && (!both || !r.EgressOnly) })
}

func (s *subnet) isGateway(a netip.Addr) bool {
	return slices.ContainsFunc(s.ranges, func(p netip.Prefix) bool { return Gateway(p) == a })
}

func (s *subnet) contains(a netip.Addr) bool {
	return slices.ContainsFunc(s.ranges, func(p netip.Prefix) bool { return p.Contains(a) })
}

// rangeOf returns the range of the subnet that has the address.
func (s *subnet) rangeOf(a netip.Addr) netip.Prefix {
	for _, p := range s.ranges {
		if p.Contains(a) {
			return p
		}
	}
	return netip.Prefix{}
}

// address returns the first IPv4 address of the NIC.
func (s *seat) address() (netip.Addr, bool) {
	i := slices.IndexFunc(s.Addresses, netip.Addr.Is4)
	if i < 0 {
		return netip.Addr{}, false
	}
	return s.Addresses[i], true
}

// maySend reports whether the guest may use the source address.
func (s *seat) maySend(src netip.Addr) bool {
	if slices.Contains(s.Addresses, src) {
		return true
	}
	return !s.table.inside(src) && slices.ContainsFunc(s.relays, func(p netip.Prefix) bool { return p.Contains(src) })
}
