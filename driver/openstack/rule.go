package openstack

import (
	"fmt"

	"github.com/kontor-cloud/kontor/driver"
)

// A span is a range of ports, or type and code of ICMP; nil ends mean any.
type span struct{ from, to any }

func ranges(r driver.Rule) []span {
	if r.ICMP != nil {
		return []span{{int(r.ICMP.Type), int(r.ICMP.Code)}}
	}
	var out []span
	for _, p := range r.Ports {
		from := int(p.From)
		if r.Protocol == driver.TCP || r.Protocol == driver.UDP {
			from = max(from, 1) // Neutron knows no port 0
		}
		out = append(out, span{from, int(p.To)})
	}
	if out == nil {
		return []span{{}}
	}
	return out
}

// A peer is the other side of a rule: a range, a group, or anybody.
type peer struct{ prefix, group string }

// peersOf lists those of a family. A rule whose peers are all of the other
// family says nothing about this one.
func peersOf(r driver.Rule, family int) []peer {
	if len(r.Peers)+len(r.PeerGroups) == 0 {
		return []peer{{}}
	}
	var out []peer
	for _, p := range r.Peers {
		if p.Addr().Is4() == (family == 4) {
			out = append(out, peer{prefix: p.Masked().String()})
		}
	}
	for _, g := range r.PeerGroups {
		out = append(out, peer{group: g})
	}
	return out
}

// native makes one rule of Neutron and the description that tells it from others.
func native(r driver.Rule, family int, s span, p peer, group string) (string, rule) {
	n := rule{"direction": "egress", "ethertype": fmt.Sprintf("IPv%d", family)}
	if r.Ingress {
		n["direction"] = "ingress"
	}
	protocol := string(r.Protocol)
	if r.Protocol == driver.ICMPAny && family == 6 {
		protocol = "ipv6-icmp"
	}
	text := fmt.Sprintf("kontor: %s IPv%d", n["direction"], family)
	if protocol != "" {
		n["protocol"] = protocol
		text += " " + protocol
	}
	if s.from != nil {
		n["port_range_min"], n["port_range_max"] = s.from, s.to
		text += fmt.Sprintf(" %d-%d", s.from, s.to)
	}
	if p.prefix != "" {
		n["remote_ip_prefix"] = p.prefix
		text += " " + p.prefix
	}
	if group != "" {
		n["remote_group_id"] = group
		text += " group " + group
	}
	n["description"] = text
	return text, n
}
