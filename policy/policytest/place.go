package policytest

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strings"

	"github.com/kontor-cloud/kontor/document"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/placement"
	"github.com/kontor-cloud/kontor/policy"
)

// A site is what placements need to know of a region beside claims.
type site struct {
	Owner string           `json:"owner,omitempty"` // the provider if nothing is said
	At    *placement.Point `json:"at,omitempty"`
	State placement.State  `json:"state,omitzero"`
	Sizes map[string]size  `json:"sizes,omitempty"` // by common size
}

type size struct {
	VCPU   int64 `json:"vcpu"`
	RAMGiB int64 `json:"ramGiB"`
}

// site notes what a region is like beside claims.
func (t *test) site(b line, region string) error {
	if s := t.subjects[region]; s == nil || s.of != policy.OfRegion {
		return fault.Invalid.Errorf("%q is no region that was defined before", region)
	}
	var s site
	if _, err := document.Decode("site", []byte(b.raw), &s); err != nil {
		return err
	}
	t.sites[region] = s
	return nil
}

func (t *test) sheet(b line) error {
	s, err := offer.Parse("sheet", []byte(b.raw))
	if err == nil {
		t.sheets[s.Provider] = s
	}
	return err
}

func (t *test) order(b line, name string) error {
	var r placement.Request
	if _, err := document.Decode("order", []byte(b.raw), &r); err != nil {
		return err
	}
	t.orders[name] = r
	return nil
}

// place puts an order to all regions that have a site.
func (t *test) place(b line, rest string) error {
	name, under, _ := strings.Cut(rest, " under ")
	r, ok := t.orders[name]
	if !ok {
		return fault.Invalid.Errorf("%q is no order that was defined before", name)
	}
	r.Now, r.Policies = t.now, slices.Clone(r.Policies)
	for p := range strings.SplitSeq(under, " and ") {
		if p = strings.TrimSpace(p); p == "" {
			continue
		}
		prog, err := t.program(p)
		if err != nil {
			return err
		}
		r.Policies = append(r.Policies, placement.PolicyUse{Policy: prog.Policy})
	}
	var all []placement.Candidate
	for _, region := range slices.Sorted(maps.Keys(t.sites)) {
		all = append(all, t.candidate(region))
	}
	m, err := placement.NewMarket(t.data, all...)
	if err != nil {
		return err
	}
	d, err := new(placement.Engine).Decide(m, r)
	if err != nil {
		return err
	}
	return t.compare(b, d)
}

// candidate puts together what is known of a region.
func (t *test) candidate(region string) placement.Candidate {
	s, provider, here := t.subjects[region], "", t.sites[region]
	c := placement.Candidate{State: here.State}
	for name, other := range t.subjects {
		if other == s.within {
			provider = name
		}
		if other.of == policy.OfService && other.within == s {
			c.Services = append(c.Services, placement.Service{ID: name, Kind: claimed(other.claims, "service.kind"), Claims: without(without(other.claims, "service.id"), "service.kind")})
		}
	}
	c.Region, c.Provider, c.Owner, c.At = region, provider, here.Owner, here.At
	if c.Owner == "" {
		c.Owner = provider
	}
	c.Country = claimed(s.claims, "region.country")
	c.Claims = slices.Concat(s.within.claims, without(s.claims, "region.id"))
	if sheet := t.sheets[provider]; sheet != nil {
		c.Sheet = placement.SheetRef{Version: sheet.Version, Digest: sheet.Digest(), ValidFrom: sheet.ValidFrom, ValidUntil: sheet.ValidUntil}
		for _, rate := range sheet.Rates(region) {
			c.Offers = append(c.Offers, placement.Offer{Rate: rate, VCPU: here.Sizes[rate.As].VCPU, RAMGiB: here.Sizes[rate.As].RAMGiB})
		}
	}
	return c
}

// claimed gives the last text that is claimed of an attribute.
func claimed(claims []policy.Claim, attribute string) (text string) {
	for _, c := range claims {
		if c.Attribute == attribute {
			_ = json.Unmarshal(c.Value, &text) // another type is found when it is understood
		}
	}
	return text
}

// compare wants every region to be named with what became of it.
func (t *test) compare(b line, d *placement.Decision) error {
	got := map[string][]policy.Reason{}
	outcome := map[string]string{}
	for _, a := range d.Allowed {
		outcome[a.Region] = "allowed"
	}
	for _, p := range d.Chosen {
		outcome[p.Region] = "chosen"
	}
	for _, x := range d.Excluded {
		outcome[x.Region] = "excluded"
		for _, m := range x.Misses {
			got[x.Region] = append(got[x.Region], policy.Reason{Dimension: m.Dimension, Subject: m.Subject, Needed: m.Needed.String(), Had: m.Had.String()})
		}
	}
	for _, l := range b.below {
		if l.text == "nowhere" {
			t.Checks++
			if d.Problem == nil {
				t.fail(l, "nowhere", "a place")
			}
			continue
		}
		if outcome[l.text] == "" {
			return fmt.Errorf("line %d: %w", l.number, fault.Invalid.Errorf("%q is no region with a site", l.text))
		}
		var want []string
		for _, x := range l.below {
			want = append(want, x.text)
		}
		t.Checks++
		if !t.became(outcome[l.text], got[l.text], want) {
			t.fail(l, strings.Join(want, "\n\t\t"), described(outcome[l.text], got[l.text]))
		}
		delete(outcome, l.text)
	}
	for _, region := range slices.Sorted(maps.Keys(outcome)) {
		t.Checks++
		t.fail(b, region+" to be named", described(outcome[region], got[region]))
	}
	return nil
}

func (t *test) became(outcome string, got []policy.Reason, want []string) bool {
	if outcome != "excluded" {
		return len(want) == 1 && want[0] == outcome
	}
	return len(want) > 0 && meets(&policy.Verdict{Reasons: got}, want)
}

func described(outcome string, reasons []policy.Reason) string {
	if outcome != "excluded" {
		return outcome
	}
	return words(&policy.Verdict{Reasons: reasons})
}

func (t *test) fail(l line, want, got string) {
	t.Failures = append(t.Failures, fmt.Sprintf("%s:%d: expected %s\n\tgot %s", t.name, l.number, want, got))
}
