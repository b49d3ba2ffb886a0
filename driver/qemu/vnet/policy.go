package vnet

import (
	"net/netip"
	"slices"

	"github.com/kontor-cloud/kontor/driver"
)

// A policy is what the security groups of one NIC allow.
type policy struct {
	version uint64 // of the configuration it was made from
	open    bool   // no group, so nothing is filtered
	ingress []rule
	egress  []rule
}

// A rule is a driver.Rule made ready for packets.
type rule struct {
	any    bool // protocol
	proto  uint8
	family int
	ports  []driver.PortRange
	icmp   *driver.ICMP

	anybody bool
	peers   []netip.Prefix
	members map[netip.Addr]struct{} // of the peer groups
}

// newPolicy collects the rules of a NIC's groups. Members gives the addresses
// of the NICs in a group.
func newPolicy(cfg *Config, nic *NIC, members func(group string) []netip.Addr, version uint64) *policy {
	p := &policy{version: version, open: len(nic.Groups) == 0}
	for _, g := range nic.Groups {
		for _, r := range cfg.Groups[g] {
			if r.Ingress {
				p.ingress = append(p.ingress, newRule(r, members))
			} else {
				p.egress = append(p.egress, newRule(r, members))
			}
		}
	}
	return p
}

func newRule(r driver.Rule, members func(string) []netip.Addr) rule {
	c := rule{
		any: r.Protocol == driver.AnyProto, proto: protoNumber(r.Protocol), family: r.Family,
		ports: r.Ports, icmp: r.ICMP, peers: r.Peers,
		anybody: len(r.Peers) == 0 && len(r.PeerGroups) == 0,
	}
	for _, g := range r.PeerGroups {
		for _, a := range members(g) {
			if c.members == nil {
				c.members = make(map[netip.Addr]struct{})
			}
			c.members[a] = struct{}{}
		}
	}
	return c
}

func protoNumber(p driver.Protocol) uint8 {
	switch p {
	case driver.TCP:
		return protoTCP
	case driver.UDP:
		return protoUDP
	case driver.ICMPAny:
		return protoICMP
	default:
		return 0
	}
}

// An attempt is the beginning of a flow, as rules see it.
type attempt struct {
	ingress            bool
	proto              uint8
	port               uint16 // where it leads to
	icmpType, icmpCode uint8
	peer               netip.Addr
}

// allows reports whether a group of the NIC has a rule for the attempt.
func (p *policy) allows(a attempt) bool {
	if p.open {
		return true
	}
	rules := p.egress
	if a.ingress {
		rules = p.ingress
	}
	for i := range rules {
		if rules[i].matches(&a) {
			return true
		}
	}
	return false
}

func (r *rule) matches(a *attempt) bool {
	if !r.any && r.proto != a.proto {
		return false
	}
	if r.family == 4 && !a.peer.Is4() || r.family == 6 && !a.peer.Is6() {
		return false
	}
	if len(r.ports) > 0 && (a.proto != protoTCP && a.proto != protoUDP || !inRanges(r.ports, a.port)) {
		return false
	}
	if r.icmp != nil && (a.proto != protoICMP || r.icmp.Type != a.icmpType || r.icmp.Code != a.icmpCode) {
		return false
	}
	return r.knows(a.peer)
}

func (r *rule) knows(peer netip.Addr) bool {
	if r.anybody {
		return true
	}
	if _, ok := r.members[peer]; ok {
		return true
	}
	return slices.ContainsFunc(r.peers, func(p netip.Prefix) bool { return p.Contains(peer) })
}

func inRanges(ranges []driver.PortRange, port uint16) bool {
	return slices.ContainsFunc(ranges, func(r driver.PortRange) bool { return r.From <= port && port <= r.To })
}
