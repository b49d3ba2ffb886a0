package placement

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"iter"
	"slices"
	"strconv"
	"sync"
	"time"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/policy"
)

// A Candidate is a region in which something can be placed.
type Candidate struct {
	Profile
	State State `json:"state"`
}

// A Profile is what changes seldom about a region: who runs it, where, what is claimed of it and what
// is sold there.
type Profile struct {
	Region   string         `json:"region"`
	Provider string         `json:"provider"`
	Owner    string         `json:"owner"`   // of the provider, in the end; what spreading over owners goes by
	Country  string         `json:"country"` // what spreading over countries goes by
	At       *Point         `json:"at,omitempty"`
	Claims   []policy.Claim `json:"claims,omitempty"` // about provider and region
	Services []Service      `json:"services,omitempty"`
	Sheet    SheetRef       `json:"sheet"`
	Offers   []Offer        `json:"offers,omitempty"`
}

// A Service is a kind of thing that is sold in a region, with what is claimed of it.
type Service struct {
	ID     string         `json:"id"`
	Kind   string         `json:"kind"` // service.kind: iaas-vm, iaas-block, iaas-network
	Claims []policy.Claim `json:"claims,omitempty"`
}

// A SheetRef names the price sheet that the offers are of.
type SheetRef struct {
	Version    int           `json:"version"`
	Digest     policy.Digest `json:"digest"`
	ValidFrom  time.Time     `json:"validFrom"`
	ValidUntil time.Time     `json:"validUntil"`
}

// An Offer is a price and what one takes of the region's capacity.
type Offer struct {
	offer.Rate
	VCPU   int64 `json:"vcpu,omitempty"`
	RAMGiB int64 `json:"ramGiB,omitempty"`
}

// A State is what changes often.
type State struct {
	Liveness    string           `json:"liveness"` // alive, silent or unknown
	Zones       []string         `json:"zones,omitempty"`
	Kinds       []string         `json:"kinds,omitempty"`    // of resources that the platform can keep
	Features    []string         `json:"features,omitempty"` // of its driver
	Free        Capacity         `json:"free"`
	Reliability *int64           `json:"reliability,omitempty"` // share of time that it was there, in millionths
	Start       int64            `json:"start,omitempty"`       // seconds from an order to a running machine
	RTT         map[string]int64 `json:"rtt,omitempty"`         // measured round trips to places, in microseconds
}

// Capacity is what is left, reservations taken off. Nil means that the platform does not say.
type Capacity struct {
	VCPU      *int64 `json:"vcpu,omitempty"`
	RAMGiB    *int64 `json:"ramGiB,omitempty"`
	DiskGiB   *int64 `json:"diskGiB,omitempty"`
	PublicIPs *int64 `json:"publicIPs,omitempty"`
}

// A Market is all candidates at one moment. It never changes: With and Without
// make another one, which shares what is the same.
type Market struct {
	data  *policy.Data
	all   []*candidate // by name
	slots *slots

	once   sync.Once
	digest policy.Digest
}

// A candidate is one that was understood.
type candidate struct {
	Candidate
	digest   policy.Digest // of the profile
	profile  []byte        // canonical
	line     []byte        // of the market's text
	services []*service    // one at least
	from     vector
	slot     int // in columns of verdicts, the same in all markets

	zones, kinds, features map[string]bool
}

// A service is what policies are put to.
type service struct {
	kind  string
	facts *policy.Facts
	slot  int
}

// slots gives each region and service its place in columns.
type slots struct {
	sync.Mutex
	of map[string]int
}

func (s *slots) slot(name string) int {
	s.Lock()
	defer s.Unlock()
	n, ok := s.of[name]
	if !ok {
		n = len(s.of)
		s.of[name] = n
	}
	return n
}

// NewMarket makes a market of candidates in any order.
func NewMarket(data *policy.Data, candidates ...Candidate) (*Market, error) {
	m := &Market{data: data, slots: &slots{of: map[string]int{}}}
	return m.With(candidates...)
}

// With gives a market in which candidates have taken the place of those with their names.
func (m *Market) With(candidates ...Candidate) (*Market, error) {
	next := &Market{data: m.data, slots: m.slots, all: slices.Clone(m.all)}
	fresh := make([]*candidate, 0, len(candidates))
	for i := range candidates {
		old, _ := m.find(candidates[i].Region)
		c, err := m.understand(candidates[i], old)
		if err != nil {
			return nil, err
		}
		fresh = append(fresh, c)
	}
	slices.SortStableFunc(fresh, func(a, b *candidate) int { return cmp.Compare(a.Region, b.Region) })
	for i, c := range fresh {
		if i > 0 && fresh[i-1].Region == c.Region {
			return nil, fault.Invalid.Errorf("region %s is a candidate twice", c.Region)
		}
	}
	if len(next.all) == 0 {
		next.all = fresh
		return next, nil
	}
	for _, c := range fresh {
		at, there := slices.BinarySearchFunc(next.all, c.Region, byRegion)
		if there {
			next.all[at] = c
		} else {
			next.all = slices.Insert(next.all, at, c)
		}
	}
	return next, nil
}

// Without gives a market that lacks some regions.
func (m *Market) Without(regions ...string) *Market {
	all := slices.DeleteFunc(slices.Clone(m.all), func(c *candidate) bool { return slices.Contains(regions, c.Region) })
	return &Market{data: m.data, slots: m.slots, all: all}
}

func byRegion(c *candidate, name string) int { return cmp.Compare(c.Region, name) }

func (m *Market) find(region string) (*candidate, bool) {
	at, ok := slices.BinarySearchFunc(m.all, region, byRegion)
	if !ok {
		return nil, false
	}
	return m.all[at], true
}

// understand normalizes and checks a candidate. What is as in old is taken from there, so that
// a change of capacity leaves facts and verdicts alone.
func (m *Market) understand(in Candidate, old *candidate) (*candidate, error) {
	c := &candidate{Candidate: normal(in), slot: m.slots.slot(in.Region)}
	var l fault.List
	c.check(&l)
	if err := l.Err(); err != nil {
		return nil, fault.Invalid.Errorf("region %q: %w", in.Region, err)
	}
	var err error
	if c.profile, err = json.Marshal(c.Profile); err != nil {
		return nil, err
	}
	state, err := json.Marshal(c.State)
	if err != nil {
		return nil, err
	}
	c.digest = sha256.Sum256(c.profile)
	c.line = slices.Concat([]byte(`{"profile":"`+c.digest.String()+`","state":`), state, []byte("}\n"))
	c.zones, c.kinds, c.features = set(c.State.Zones), set(c.State.Kinds), set(c.State.Features)
	if old != nil && old.digest == c.digest {
		c.Profile, c.profile, c.services, c.from = old.Profile, old.profile, old.services, old.from
		return c, nil
	}
	if c.At != nil {
		c.from = c.At.vector()
	}
	return c, m.takeFacts(c)
}

// takeFacts puts the claims about provider, region and each service together.
func (m *Market) takeFacts(c *candidate) error {
	services := c.Services
	if len(services) == 0 {
		services = []Service{{}}
	}
	for _, s := range services {
		known := []policy.Claim{exchangeSays("region.id", c.Region)}
		if s.ID != "" {
			known = append(known, exchangeSays("service.id", s.ID), exchangeSays("service.kind", s.Kind))
		}
		facts, err := m.data.Facts(c.Claims, s.Claims, known)
		if err != nil {
			return fault.Invalid.Errorf("claims about %s: %w", c.Region, err)
		}
		c.services = append(c.services, &service{s.Kind, facts, m.slots.slot(c.Region + "/" + s.ID)})
	}
	return nil
}

// exchangeSays claims what the exchange itself has defined.
func exchangeSays(attribute, value string) policy.Claim {
	b, _ := json.Marshal(value) // a text
	return policy.Claim{Attribute: attribute, Value: b, Evidence: policy.Evidence{Level: policy.Measured}}
}

func set(names []string) map[string]bool {
	all := make(map[string]bool, len(names))
	for _, n := range names {
		all[n] = true
	}
	return all
}

// normal gives a candidate its only order.
func normal(c Candidate) Candidate {
	c.Claims = sortedClaims(c.Claims)
	c.Services = slices.Clone(c.Services)
	for i := range c.Services {
		c.Services[i].Claims = sortedClaims(c.Services[i].Claims)
	}
	slices.SortFunc(c.Services, func(a, b Service) int { return cmp.Compare(a.ID, b.ID) })
	c.Offers = slices.Clone(c.Offers)
	slices.SortFunc(c.Offers, func(a, b Offer) int {
		return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.SKU, b.SKU))
	})
	c.Sheet.ValidFrom, c.Sheet.ValidUntil = c.Sheet.ValidFrom.UTC(), c.Sheet.ValidUntil.UTC()
	for _, names := range []*[]string{&c.State.Zones, &c.State.Kinds, &c.State.Features} {
		*names = slices.Compact(slices.Sorted(slices.Values(*names)))
	}
	return c
}

func sortedClaims(in []policy.Claim) []policy.Claim {
	type line struct {
		claim policy.Claim
		text  []byte
	}
	lines := make([]line, len(in))
	for i, c := range in {
		c.From, c.Until = c.From.UTC(), c.Until.UTC()
		text, _ := json.Marshal(c) // a wrong value is found when it is understood
		lines[i] = line{c, text}
	}
	slices.SortFunc(lines, func(a, b line) int { return bytes.Compare(a.text, b.text) })
	out := make([]policy.Claim, len(in))
	for i := range lines {
		out[i] = lines[i].claim
	}
	return out
}

func (c *candidate) check(l *fault.List) {
	if c.Region == "" || c.Provider == "" || c.Owner == "" {
		l.Add("", "must have a region, a provider and an owner")
	}
	if c.At != nil {
		c.At.check(l, "/at")
	}
	for i, o := range c.Offers {
		at := "/offers/" + strconv.Itoa(i)
		if o.Price.Nano < 0 || o.Price.Currency != "EUR" {
			l.Add(at+"/price", "must be in EUR and not below 0")
		}
		if i > 0 && c.Offers[i-1].Kind == o.Kind && c.Offers[i-1].SKU == o.SKU {
			l.Add(at, "must not be there twice: %s %s", o.Kind, o.SKU)
		}
	}
}

// Digest names the market: the profiles and states of all candidates, and the data that
// policies are compiled with.
func (m *Market) Digest() policy.Digest {
	m.once.Do(func() {
		h := sha256.New()
		for line := range m.lines() {
			h.Write(line)
		}
		h.Sum(m.digest[:0])
	})
	return m.digest
}

// lines are the market's text: its data, then each candidate.
func (m *Market) lines() iter.Seq[[]byte] {
	return func(yield func([]byte) bool) {
		if !yield([]byte(`{"data":"` + m.data.Digest.String() + `"}` + "\n")) {
			return
		}
		for _, c := range m.all {
			if !yield(c.line) {
				return
			}
		}
	}
}
