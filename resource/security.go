package resource

import (
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
)

type rule struct {
	none
	seca.SecurityGroupRuleSpec
}

func (r *rule) check(e Env, l *fault.List) { checkRule(l, "/spec", r.SecurityGroupRuleSpec, e) }

func (r *rule) links() []link { return sourceLinks("/spec", &r.SecurityGroupRuleSpec) }

type securityGroup struct {
	none
	seca.SecurityGroupSpec
}

func (g *securityGroup) check(e Env, l *fault.List) {
	count(l, "/spec/rules", len(g.Rules), 0, 500)
	count(l, "/spec/ruleRefs", len(g.RuleRefs), 0, 500)
	for i, r := range g.Rules {
		checkRule(l, index("/spec/rules", i), r, e)
	}
}

func (g *securityGroup) links() []link {
	var ls []link
	for i := range g.RuleRefs {
		ls = append(ls, link{at: index("/spec/ruleRefs", i), ref: &g.RuleRefs[i], to: "security-group-rules", in: "seca.network"})
	}
	for i := range g.Rules {
		ls = append(ls, sourceLinks(index("/spec/rules", i), &g.Rules[i])...)
	}
	return ls
}

func sourceLinks(at string, r *seca.SecurityGroupRuleSpec) []link {
	ls := make([]link, len(r.SourceRef))
	for i := range r.SourceRef {
		ls[i] = link{at: index(at+"/sourceRef", i), ref: &r.SourceRef[i], when: later, address: true}
	}
	return ls
}

func checkRule(l *fault.List, at string, r seca.SecurityGroupRuleSpec, e Env) {
	oneOf(l, at+"/direction", r.Direction, "ingress", "egress")
	oneOf(l, at+"/version", r.Version, "", "IPv4", "IPv6")
	oneOf(l, at+"/protocol", r.Protocol, "", "tcp", "udp", "tcp+udp", "icmp")
	count(l, at+"/sourceRef", len(r.SourceRef), 0, 32)
	if r.Ports != nil {
		checkPorts(l, at+"/ports", *r.Ports)
	}
	if r.ICMP != nil {
		between(l, at+"/icmp/type", r.ICMP.Type, 0, 8)
		between(l, at+"/icmp/code", r.ICMP.Code, 0, 5)
	}
	if r.Ports != nil && r.Protocol == "icmp" {
		l.Add(at+"/ports", "have no meaning for icmp")
	}
	if r.ICMP != nil && r.Protocol != "icmp" && r.Protocol != "" {
		l.Add(at+"/icmp", "has no meaning for %s", r.Protocol)
	}
}

// checkPorts refuses an empty object too: clients leave out a port 0, which is
// a mistake and not a wish for every port.
func checkPorts(l *fault.List, at string, p seca.Ports) {
	if p.From == 0 && p.To == 0 && len(p.List) == 0 {
		l.Add(at, "must name ports between 1 and 65535: from, to or list")
		return
	}
	if p.From != 0 {
		between(l, at+"/from", p.From, 1, 65535)
	}
	if p.To != 0 {
		between(l, at+"/to", p.To, 1, 65535)
	}
	if p.From != 0 && p.To != 0 && p.From > p.To {
		l.Add(at+"/to", "must not be below from")
	}
	count(l, at+"/list", len(p.List), 0, 100)
	for i, n := range p.List {
		between(l, index(at+"/list", i), n, 1, 65535)
	}
}
