package openstack

import (
	"fmt"
	"net/netip"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/rules"

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

// said tells what a rule of Neutron is about, in the words of native. Rules never
// change, so the description that one of ours was made with still says it.
func said(r rules.SecGroupRule) string {
	if strings.HasPrefix(r.Description, "kontor: ") {
		return r.Description
	}
	d := ruleOf(r)
	var other peer
	if all := peersOf(d, d.Family); len(all) > 0 {
		other = all[0]
	}
	key, _ := native(d, d.Family, ranges(d)[0], other, other.group)
	return key
}

// ruleOf reads a rule that others have made. Of ICMP, the SDK cannot tell type 0
// from any.
func ruleOf(r rules.SecGroupRule) driver.Rule {
	d := driver.Rule{Ingress: r.Direction == "ingress", Family: 4, Protocol: driver.Protocol(r.Protocol)}
	if r.EtherType == "IPv6" {
		d.Family = 6
	}
	from, to := r.PortRangeMin, r.PortRangeMax
	switch r.Protocol {
	case "icmp", "icmpv6", "ipv6-icmp":
		d.Protocol = driver.ICMPAny
		if from != 0 || to != 0 {
			d.ICMP = &driver.ICMP{Type: uint8(from), Code: uint8(to)} //nolint:gosec // Neutron has checked it
		}
	default:
		if from != 0 {
			d.Ports = []driver.PortRange{{From: uint16(from), To: uint16(to)}} //nolint:gosec // likewise
		}
	}
	if p, err := netip.ParsePrefix(r.RemoteIPPrefix); err == nil {
		d.Peers = []netip.Prefix{p}
	}
	if group := r.RemoteGroupID + r.RemoteAddressGroupID; group != "" {
		d.PeerGroups = []string{group}
	}
	return d
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
