// Package policytest runs tests of policies that are written in a small text form.
// Tenants test their policies by it (kontor policy test FILE), and testdata beside this
// file is what the ready-made ones are held to.
//
//	# A comment. Indentation says what belongs to what.
//	at 2026-11-26                        the moment of what follows
//	provider rhone                       a provider and what is claimed of it
//	  provider.legal_country = FR | third-party by INPI until 2027-06-30
//	  certs = {scheme: hds, version: "2"} | third-party
//	region fr-lyon-rhone of rhone
//	  region.country = FR | contract
//	service vm in fr-lyon-rhone
//	  service.kind = iaas-vm
//	policy                               one to test, beside the ready-made ones
//	  name: mine
//	  version: 1
//	  rule: region.country == "FR"
//	judge mine with {limit: 3}           what is expected: of a service …
//	  vm
//	    allowed
//	  vm
//	    but region.country = DE | contract      … if this were claimed instead
//	    rule region.country == "FR"             … for just these reasons
//	  vm
//	    but region.country unknown
//	    fact region.country
//	sheet                                prices, as a provider writes them
//	  provider: rhone
//	  …
//	site fr-lyon-rhone                   takes part in placements: where it is, what it can do
//	  at: {lat: 45760000, lon: 4840000}
//	  state: {liveness: alive, zones: [a, b]}
//	order web                            what is to be placed
//	  groups: [{name: web, needs: [{kind: instance, sku: seca.d2xs, count: 1}]}]
//	  maxPrice: 0.06 EUR
//	place web under mine and eu-resident  what is expected of each region that has a site
//	  fr-lyon-rhone
//	    chosen
//	  de-berlin-spree
//	    price hour
//
// A claim is ATTRIBUTE = VALUE | LEVEL [by ISSUER] [from TIME] [until TIME]; without
// LEVEL it is self-declared, and += adds to what there is. A reason is a dimension
// and a text that must stand in its subject, in what was needed or in what was had.
// Each reason must be named, and no other.
package policytest

import (
	"encoding/json"
	"fmt"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/document"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/placement"
	"github.com/kontor-cloud/kontor/policy"
)

// A Result is what came of a file.
type Result struct {
	Checks   int
	Failures []string // each with file and line
}

// Run runs the tests in a file. An error means that it cannot be understood.
func Run(name string, text []byte, data *policy.Data) (Result, error) {
	t := &test{
		name: name, data: data, subjects: map[string]*subject{}, policies: map[string]*policy.Program{},
		sites: map[string]site{}, sheets: map[string]*offer.Sheet{}, orders: map[string]placement.Request{}, now: time.Date(2026, 1, 1, 0, 0, 0, 0, time.UTC),
	}
	for _, b := range blocks(string(text)) {
		if err := t.run(b); err != nil {
			return t.Result, fmt.Errorf("%s:%d: %w", name, b.number, err)
		}
	}
	return t.Result, nil
}

// A line is one with what is indented below it.
type line struct {
	number int
	text   string
	below  []line
	raw    string // of all below, as it stands
}

// blocks makes a tree of the lines.
func blocks(text string) []line { return tree(strings.Split(text, "\n"), 0) }

func tree(lines []string, first int) []line {
	var all []line
	for i := 0; i < len(lines); {
		if blank(lines[i]) {
			i++
			continue
		}
		end, last := i+1, i+1
		for ; end < len(lines) && (blank(lines[end]) || depth(lines[end]) > depth(lines[i])); end++ {
			if !blank(lines[end]) {
				last = end + 1
			}
		}
		below := lines[i+1 : last]
		all = append(all, line{first + i + 1, strings.TrimSpace(lines[i]), tree(below, first+i+1), strings.Join(below, "\n")})
		i = end
	}
	return all
}

func blank(s string) bool {
	return strings.TrimSpace(s) == "" || strings.HasPrefix(strings.TrimSpace(s), "#")
}
func depth(s string) int { return len(s) - len(strings.TrimLeft(s, " ")) }

// A subject is a provider, a region of one, or a service in one of those.
type subject struct {
	of     policy.Subject
	within *subject
	claims []policy.Claim
}

type test struct {
	Result
	name     string
	data     *policy.Data
	now      time.Time
	subjects map[string]*subject
	policies map[string]*policy.Program
	sites    map[string]site
	sheets   map[string]*offer.Sheet // by provider
	orders   map[string]placement.Request
}

func (t *test) run(b line) error {
	word, rest, _ := strings.Cut(b.text, " ")
	rest = strings.TrimSpace(rest)
	switch word {
	case "at":
		now, err := moment(rest)
		t.now = now
		return err
	case "provider":
		return t.define(b, policy.OfParticipant, rest, "")
	case "region":
		name, of, _ := strings.Cut(rest, " of ")
		return t.define(b, policy.OfRegion, name, of)
	case "service":
		name, in, _ := strings.Cut(rest, " in ")
		return t.define(b, policy.OfService, name, in)
	case "policy":
		prog, err := t.data.Parse("policy", []byte(b.raw))
		if err == nil {
			t.policies[prog.Policy.Name] = prog
		}
		return err
	case "judge":
		return t.judge(b, rest)
	case "site":
		return t.site(b, rest)
	case "sheet":
		return t.sheet(b)
	case "order":
		return t.order(b, rest)
	case "place":
		return t.place(b, rest)
	}
	return fault.Invalid.Errorf("unknown word %q%s", word, fault.DidYouMean(word, []string{"at", "provider", "region", "service", "policy", "judge", "site", "sheet", "order", "place"}))
}

// define notes a subject with its claims.
func (t *test) define(b line, of policy.Subject, name, within string) error {
	s := &subject{of: of}
	switch of {
	case policy.OfRegion:
		s.claims = []policy.Claim{named("region.id", name)}
	case policy.OfService:
		s.claims = []policy.Claim{named("service.id", name)}
	case policy.OfParticipant:
	}
	if of != policy.OfParticipant {
		if s.within = t.subjects[within]; s.within == nil {
			return fault.Invalid.Errorf("%s stands in no subject that was defined before: %q", name, within)
		}
	}
	for _, l := range b.below {
		var err error
		if s.claims, err = change(s.claims, l.text); err != nil {
			return fmt.Errorf("line %d: %w", l.number, err)
		}
	}
	t.subjects[name] = s
	return t.data.Check(of, s.claims)
}

// named is a claim that the exchange itself makes.
func named(attribute, name string) policy.Claim {
	value, _ := json.Marshal(name) // a text
	return policy.Claim{Attribute: attribute, Value: value, Evidence: policy.Evidence{Level: policy.Measured}}
}

// judge puts a policy to services.
func (t *test) judge(b line, rest string) error {
	name, with, _ := strings.Cut(rest, " with ")
	prog, err := t.program(name)
	if err != nil {
		return err
	}
	var parameters map[string]json.RawMessage
	if with != "" {
		if _, err := document.Decode("parameters", []byte(with), &parameters); err != nil {
			return err
		}
	}
	bound, err := prog.Bind(parameters)
	if err != nil {
		return err
	}
	for _, l := range b.below {
		if err := t.check(bound, l); err != nil {
			return fmt.Errorf("line %d: %w", l.number, err)
		}
	}
	return nil
}

// program finds a policy of this file, or a ready-made one.
func (t *test) program(name string) (*policy.Program, error) {
	if prog := t.policies[name]; prog != nil {
		return prog, nil
	}
	preset, err := t.data.Preset(name)
	if err != nil {
		return nil, err
	}
	return t.data.Compile(preset)
}

// check compares the verdict on one service with what is expected.
func (t *test) check(bound *policy.Bound, l line) error {
	s := t.subjects[l.text]
	if s == nil || s.of != policy.OfService {
		return fault.Invalid.Errorf("%q is no service that was defined before", l.text)
	}
	claims := append(append(append([]policy.Claim{}, s.within.within.claims...), s.within.claims...), s.claims...)
	var want []string
	for _, x := range l.below {
		but, ok := strings.CutPrefix(x.text, "but ")
		if !ok {
			want = append(want, x.text)
			continue
		}
		var err error
		if claims, err = change(claims, but); err != nil {
			return err
		}
	}
	facts, err := t.data.Facts(claims)
	if err != nil {
		return err
	}
	if len(want) == 0 {
		return fault.Invalid.Errorf("nothing is expected: say allowed, or the reasons")
	}
	t.Checks++
	if v := bound.Judge(facts.At(t.now)); !meets(v, want) {
		t.fail(l, strings.Join(want, "\n\t\t"), words(v))
	}
	return nil
}

func words(v *policy.Verdict) string {
	if v.Allowed {
		return "allowed"
	}
	lines := make([]string, len(v.Reasons))
	for i, r := range v.Reasons {
		lines[i] = r.String()
	}
	return strings.Join(lines, "\n\t\t")
}

// meets reports whether each reason is named once, and no other.
func meets(v *policy.Verdict, want []string) bool {
	if v.Allowed || want[0] == "allowed" {
		return v.Allowed && len(want) == 1 && want[0] == "allowed"
	}
	left := append([]policy.Reason{}, v.Reasons...)
	for _, w := range want {
		dimension, text, _ := strings.Cut(w, " ")
		found := -1
		for i, r := range left {
			if string(r.Dimension) == dimension && strings.Contains(r.String(), strings.TrimSpace(text)) {
				found = i
			}
		}
		if found < 0 {
			return false
		}
		left = append(left[:found], left[found+1:]...)
	}
	return len(left) == 0
}
