package agent

import (
	"math"
	"net/netip"
	"slices"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
)

func securityGroupKind(c *driver.Cloud) *kind {
	return define("security-group", row[seca.SecurityGroupSpec, driver.SecurityGroup]{
		keeper: c.SecurityGroups,
		want:   wantGroup,
		uses: func(g *driver.SecurityGroup) []string {
			var ids []string
			for _, r := range g.Rules {
				ids = append(ids, r.PeerGroups...)
			}
			return slices.DeleteFunc(ids, func(id string) bool { return id == g.ID })
		},
		status: func(_ *viewer, s *seca.SecurityGroupSpec, _ *driver.SecurityGroup) any {
			states := make([]seca.Status, len(s.Rules))
			for i := range states {
				states[i] = seca.Status{State: seca.Active, Conditions: []seca.Condition{}}
			}
			return seca.SecurityGroupStatus{Rules: states}
		},
	})
}

// ruleKind is for shared rules. They live in the groups that name them.
func ruleKind(c *driver.Cloud) *kind {
	return &kind{
		name: "security-group-rule", kept: c.SecurityGroups != nil, bare: true, loose: true,
		decode:  decode[seca.SecurityGroupRuleSpec],
		uses:    func(any) []string { return nil },
		listing: newListing(),
	}
}

func wantGroup(r *resolver, s *seca.SecurityGroupSpec) (driver.SecurityGroup, error) {
	var g driver.SecurityGroup
	specs := slices.Clone(s.Rules)
	for _, ref := range s.RuleRefs {
		x := r.look(ref)
		switch {
		case x != nil && x.bad == nil && !x.want.Deleting:
			if rule, ok := x.spec.(*seca.SecurityGroupRuleSpec); ok {
				specs = append(specs, *rule)
			}
		case x == nil && !r.m.lenient && r.e.have == nil:
			r.wait(ref, "does not exist yet")
		}
	}
	for _, spec := range specs {
		rules, err := r.rules(spec)
		if err != nil {
			return g, err
		}
		g.Rules = append(g.Rules, rules...)
	}
	return g, nil
}

// rules translates one rule of SECA. It becomes none while all the peers that
// it names are missing: without peers it would allow everybody.
func (r *resolver) rules(s seca.SecurityGroupRuleSpec) ([]driver.Rule, error) {
	rule := driver.Rule{Ingress: s.Direction == "ingress"}
	switch s.Version {
	case "IPv4":
		rule.Family = 4
	case "IPv6":
		rule.Family = 6
	}
	if s.ICMP != nil {
		rule.ICMP = &driver.ICMP{Type: uint8(s.ICMP.Type), Code: uint8(s.ICMP.Code)} //nolint:gosec // 0..8, 0..5
	}
	var err error
	if rule.Ports, err = ports(s.Ports); err != nil {
		return nil, err
	}
	if err := r.peers(&rule, s.SourceRef); err != nil {
		return nil, err
	}
	if len(s.SourceRef) > 0 && len(rule.Peers)+len(rule.PeerGroups) == 0 {
		return nil, nil
	}
	switch s.Protocol {
	case "tcp+udp":
		tcp, udp := rule, rule
		tcp.Protocol, udp.Protocol = driver.TCP, driver.UDP
		return []driver.Rule{tcp, udp}, nil
	default:
		rule.Protocol = driver.Protocol(s.Protocol)
		return []driver.Rule{rule}, nil
	}
}

func ports(p *seca.Ports) ([]driver.PortRange, error) {
	if p == nil {
		return nil, nil
	}
	var out []driver.PortRange
	add := func(from, to int) error {
		if from < 1 || to > math.MaxUint16 || from > to {
			return fault.Invalid.Errorf("ports %d to %d are no range", from, to)
		}
		out = append(out, driver.PortRange{From: uint16(from), To: uint16(to)}) //nolint:gosec // checked
		return nil
	}
	from, to := p.From, p.To
	if from == 0 {
		from = to
	}
	if to == 0 {
		to = from
	}
	if from != 0 {
		if err := add(from, to); err != nil {
			return nil, err
		}
	}
	for _, one := range p.List {
		if err := add(one, one); err != nil {
			return nil, err
		}
	}
	return out, nil
}

// peers resolves the other side of a rule. Groups may name each other, so none
// waits for another; it is looked at again when the other is there.
func (r *resolver) peers(rule *driver.Rule, refs []seca.Reference) error {
	for _, ref := range refs {
		if p, err := prefix(ref.Resource); err == nil {
			rule.Peers = append(rule.Peers, p)
			continue
		}
		x := r.look(ref)
		if x == nil || x.want.Deleting {
			continue
		}
		switch x.kind.name {
		case "security-group":
			if _, ok := r.soft(ref); ok || x == r.e {
				rule.PeerGroups = append(rule.PeerGroups, x.id())
			}
		case "instance":
			rule.Peers = append(rule.Peers, r.addresses(x)...)
		case "internet-gateway":
			rule.Peers = append(rule.Peers, netip.PrefixFrom(netip.IPv4Unspecified(), 0), netip.PrefixFrom(netip.IPv6Unspecified(), 0))
		default:
			return fault.Invalid.Errorf("a rule cannot be about %s", short(ref.Resource))
		}
	}
	return nil
}

// addresses are those of a machine's cards.
func (r *resolver) addresses(x *entry) []netip.Prefix {
	s, ok := x.spec.(*seca.InstanceSpec)
	if !ok {
		return nil
	}
	var out []netip.Prefix
	for _, ref := range nicRefs(s) {
		card := r.look(ref)
		if card == nil || card.have == nil {
			continue
		}
		if n, ok := card.have.(driver.NIC); ok {
			for _, a := range n.Addresses {
				out = append(out, netip.PrefixFrom(a, a.BitLen()))
			}
		}
	}
	return out
}
