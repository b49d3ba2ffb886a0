package resource

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"net/netip"
	"slices"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/urn"
)

type network struct {
	none
	seca.NetworkSpec
}

func (n *network) check(e Env, l *fault.List) {
	checkCIDR(l, "/spec/cidr", n.CIDR, e)
	private(l, "/spec/cidr", n.CIDR)
	count(l, "/spec/additionalCidrs", len(n.AdditionalCIDRs), 0, 32)
	for i, c := range n.AdditionalCIDRs {
		checkCIDR(l, index("/spec/additionalCidrs", i), c, e)
		private(l, index("/spec/additionalCidrs", i), c)
	}
	all := ranges(append([]seca.CIDR{n.CIDR}, n.AdditionalCIDRs...))
	for i, a := range all {
		for _, b := range all[i+1:] {
			if a.Overlaps(b) && !a.Addr().IsUnspecified() && !b.Addr().IsUnspecified() {
				l.Add("/spec/additionalCidrs", "ranges %s and %s overlap", a, b)
			}
		}
	}
}

func (n *network) keep(was spec, l *fault.List) {
	old := was.(*network)
	same(l, "/spec/cidr", n.CIDR == old.CIDR)
	same(l, "/spec/skuRef", n.SKURef == old.SKURef)
}

func (n *network) links() []link { return []link{skuLink("/spec/skuRef", &n.SKURef, "seca.network")} }

// choose puts real ranges in the place of 0.0.0.0/n and ::/n.
func (n *network) choose(id string) {
	n.CIDR = chooseCIDR(n.CIDR, id)
	for i := range n.AdditionalCIDRs {
		n.AdditionalCIDRs[i] = chooseCIDR(n.AdditionalCIDRs[i], fmt.Sprint(id, i))
	}
}

func (n *network) status() any {
	return seca.NetworkStatus{CIDR: n.CIDR, AdditionalCIDRs: n.AdditionalCIDRs}
}

type subnet struct {
	none
	seca.SubnetSpec
}

func (s *subnet) fill(e Env) {
	if s.Zone == "" && e.Inventory != nil && len(e.Inventory.Zones) > 0 {
		s.Zone = e.Inventory.Zones[0]
	}
}

func (s *subnet) check(e Env, l *fault.List) {
	checkCIDR(l, "/spec/cidr", s.CIDR, e)
	zone(l, "/spec/zone", s.Zone, e)
}

// keep holds the range still: it is carved into every address of the subnet.
func (s *subnet) keep(was spec, l *fault.List) { same(l, "/spec/cidr", s.CIDR == was.(*subnet).CIDR) }

func (s *subnet) links() []link {
	ls := []link{{at: "/spec/routeTableRef", ref: &s.RouteTableRef, to: "route-tables", in: "seca.network", empty: true}}
	if s.SKURef != nil {
		ls = append(ls, skuLink("/spec/skuRef", s.SKURef, "seca.network"))
	}
	return ls
}

// relate holds the range within those of the network.
func (s *subnet) relate(u urn.URN, related map[string]*Resource, l *fault.List) {
	parent := related[networkOf(u).String()]
	if parent == nil {
		return
	}
	var in seca.NetworkSpec
	if json.Unmarshal(parent.wantedSpec(), &in) != nil {
		return
	}
	have := ranges(append([]seca.CIDR{in.CIDR}, in.AdditionalCIDRs...))
	for _, r := range ranges([]seca.CIDR{s.CIDR}) {
		if r.Addr().IsUnspecified() {
			l.Add("/spec/cidr", "must say which range of the network it takes")
		} else if !slices.ContainsFunc(have, func(n netip.Prefix) bool { return n.Bits() < r.Bits() && n.Overlaps(r) }) {
			l.Add("/spec/cidr", "%s must be a part of a range of network %s (%v)", r, u.Network, have)
		}
	}
}

func (s *subnet) zone() *string { return &s.Zone }

func (s *subnet) status() any { return seca.SubnetStatus{CIDR: s.CIDR} }

type routeTable struct {
	none
	seca.RouteTableSpec
}

func (r *routeTable) check(e Env, l *fault.List) {
	count(l, "/spec/routes", len(r.Routes), 1, 1000)
	for i, route := range r.Routes {
		at := index("/spec/routes", i)
		length(l, at+"/destinationCidrBlock", route.DestinationCIDRBlock, 1, 43)
		if !isRange(route.DestinationCIDRBlock) {
			l.Add(at+"/destinationCidrBlock", "%q is neither an address nor a range such as 0.0.0.0/0", route.DestinationCIDRBlock)
		}
	}
}

func (r *routeTable) links() []link {
	ls := make([]link, len(r.Routes))
	for i := range r.Routes {
		ls[i] = link{at: index("/spec/routes", i) + "/targetRef", ref: &r.Routes[i].TargetRef, when: onCreate, address: true}
	}
	return ls
}

func (r *routeTable) status() any { return nil }

type gateway struct {
	none
	seca.InternetGatewaySpec
}

type publicIP struct {
	none
	seca.PublicIPSpec
}

func (p *publicIP) check(e Env, l *fault.List) {
	oneOf(l, "/spec/version", p.Version, "IPv4", "IPv6")
	needIPv6(l, "/spec/version", p.Version == "IPv6", e)
	if p.Address == "" {
		return
	}
	length(l, "/spec/address", p.Address, 1, 39)
	a, err := netip.ParseAddr(p.Address)
	if err != nil || a.Is4() != (p.Version == "IPv4") {
		l.Add("/spec/address", "%q is not an %s address", p.Address, p.Version)
	}
	if e.Inventory != nil && !e.Has(driver.BringYourOwnIP) {
		l.Add("/spec/address", "region %s takes no addresses of one's own", e.host())
	}
}

func (p *publicIP) keep(was spec, l *fault.List) {
	same(l, "/spec/version", p.Version == was.(*publicIP).Version)
}

type nic struct {
	none
	seca.NICSpec
}

func (n *nic) check(e Env, l *fault.List) {
	texts(l, "/spec/addresses", n.Addresses, 1, 32, 1, 39)
	for i, a := range n.Addresses {
		at := index("/spec/addresses", i)
		parsed, err := netip.ParseAddr(a)
		if err != nil {
			l.Add(at, "%q is not an IP address; 0.0.0.0 asks for one", a)
		}
		needIPv6(l, at, err == nil && parsed.Is6(), e)
	}
	count(l, "/spec/publicIpRefs", len(n.PublicIPRefs), 0, 16)
	count(l, "/spec/securityGroupRefs", len(n.SecurityGroupRefs), 0, 16)
}

func (n *nic) keep(was spec, l *fault.List) {
	old := was.(*nic)
	same(l, "/spec/subnetRef", n.SubnetRef == old.SubnetRef)
	same(l, "/spec/skuRef", old.SKURef == nil || equal(n.SKURef, old.SKURef))
}

func (n *nic) links() []link {
	ls := []link{{at: "/spec/subnetRef", ref: &n.SubnetRef, to: "subnets", in: "seca.network"}}
	for i := range n.PublicIPRefs {
		ls = append(ls, link{at: index("/spec/publicIpRefs", i), ref: &n.PublicIPRefs[i], to: "public-ips", in: "seca.network", when: later})
	}
	for i := range n.SecurityGroupRefs {
		ls = append(ls, link{at: index("/spec/securityGroupRefs", i), ref: &n.SecurityGroupRefs[i], to: "security-groups", in: "seca.network"})
	}
	if n.SKURef != nil {
		ls = append(ls, skuLink("/spec/skuRef", n.SKURef, "seca.network"))
	}
	return ls
}

func checkCIDR(l *fault.List, at string, c seca.CIDR, e Env) {
	if c.IPv4 == "" && c.IPv6 == "" {
		l.Add(at, "needs ipv4, ipv6 or both")
	}
	if c.IPv4 != "" {
		length(l, at+"/ipv4", c.IPv4, 9, 18)
		checkPrefix(l, at+"/ipv4", c.IPv4, true)
	}
	if c.IPv6 != "" {
		length(l, at+"/ipv6", c.IPv6, 4, 43)
		checkPrefix(l, at+"/ipv6", c.IPv6, false)
		needIPv6(l, at+"/ipv6", true, e)
	}
}

func checkPrefix(l *fault.List, at, s string, v4 bool) {
	p, err := netip.ParsePrefix(s)
	if err != nil || p.Addr().Is4() != v4 {
		l.Add(at, "%q is not a range of that family", s)
	}
}

var privateRanges = []netip.Prefix{
	netip.MustParsePrefix("10.0.0.0/8"), netip.MustParsePrefix("172.16.0.0/12"), netip.MustParsePrefix("192.168.0.0/16"), // RFC 1918
	netip.MustParsePrefix("fc00::/7"), // RFC 4193
}

func private(l *fault.List, at string, c seca.CIDR) {
	for _, r := range ranges([]seca.CIDR{c}) {
		inside := func(p netip.Prefix) bool { return p.Bits() <= r.Bits() && p.Overlaps(r) }
		if !r.Addr().IsUnspecified() && !slices.ContainsFunc(privateRanges, inside) {
			l.Add(at, "%s is not a private range (RFC 1918, RFC 4193)", r)
		}
	}
}

func needIPv6(l *fault.List, at string, wanted bool, e Env) {
	if wanted && e.Inventory != nil && !e.Has(driver.IPv6) {
		l.Add(at, "region %s has no IPv6", e.host())
	}
}

// ranges gives what parses.
func ranges(cs []seca.CIDR) []netip.Prefix {
	var out []netip.Prefix
	for _, c := range cs {
		for _, s := range []string{c.IPv4, c.IPv6} {
			if p, err := netip.ParsePrefix(s); err == nil {
				out = append(out, p)
			}
		}
	}
	return out
}

func isRange(s string) bool {
	if _, err := netip.ParseAddr(s); err == nil {
		return true
	}
	_, err := netip.ParsePrefix(s)
	return err == nil
}

// chooseCIDR replaces an unspecified address by one out of 10.0.0.0/8 or
// fd00::/8 (RFC 4193) that depends on the seed alone.
func chooseCIDR(c seca.CIDR, seed string) seca.CIDR {
	h := fnv.New64a()
	h.Write([]byte(seed))
	n := h.Sum64()
	if p, err := netip.ParsePrefix(c.IPv4); err == nil && p.Addr().IsUnspecified() && p.Bits() >= 8 {
		a := [4]byte{10, byte(n >> 16), byte(n >> 8), byte(n)}
		c.IPv4 = netip.PrefixFrom(netip.AddrFrom4(a), p.Bits()).Masked().String()
	}
	if p, err := netip.ParsePrefix(c.IPv6); err == nil && p.Addr().IsUnspecified() && p.Bits() >= 8 {
		a := [16]byte{0xfd}
		for i := range 7 {
			a[i+1] = byte(n >> (8 * i))
		}
		c.IPv6 = netip.PrefixFrom(netip.AddrFrom16(a), p.Bits()).Masked().String()
	}
	return c
}

// networkOf names the network that contains u.
func networkOf(u urn.URN) urn.URN {
	return urn.URN{Provider: "seca.network/v1", Tenant: u.Tenant, Workspace: u.Workspace, Collection: "networks", Name: u.Network}
}
