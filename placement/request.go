package placement

import (
	"bytes"
	"cmp"
	"crypto/sha256"
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"
	"time"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/money"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/policy"
)

// A Request is what is to be placed, and what must be so.
type Request struct {
	Now      time.Time   `json:"now"` // the moment of the decision; see Tick
	Groups   []Group     `json:"groups"`
	Policies []PolicyUse `json:"policies,omitempty"` // all must allow

	MaxPrice *money.Amount `json:"maxPrice,omitempty"` // of everything, for an hour
	Term     offer.Term    `json:"term,omitempty"`     // how long it is wanted; a month if nothing is said
	Budget   *money.Amount `json:"budget,omitempty"`   // of everything, for the term
	Deadline time.Time     `json:"deadline,omitzero"`  // when the term must be over
	Near     *Near         `json:"near,omitempty"`
	Spread   []Spread      `json:"spread,omitempty"`
	Ties     []Tie         `json:"ties,omitempty"`

	Only           []string `json:"only,omitempty"`           // regions; empty: all
	Not            []string `json:"not,omitempty"`            // regions or providers
	MinReliability int64    `json:"minReliability,omitempty"` // share of time, in millionths
	Silent         bool     `json:"silent,omitempty"`         // take regions whose agent has been silent for a moment

	Weights Weights `json:"weights"`
	Current string  `json:"current,omitempty"` // region where it runs; moving away must be worth Stay
	Stay    int64   `json:"stay,omitempty"`    // points
}

// A Group is placed as a whole in one region, and each of its copies likewise.
type Group struct {
	Name     string       `json:"name"`
	Copies   int          `json:"copies"`
	Needs    []offer.Need `json:"needs"`
	Zones    int          `json:"zones,omitempty"`    // how many its region must have
	In       []string     `json:"in,omitempty"`       // zones that its region must have, by name
	Kinds    []string     `json:"kinds,omitempty"`    // of resources that the platform must be able to keep
	Features []string     `json:"features,omitempty"` // that its driver must have
}

// A PolicyUse is a policy with the parameters of this order.
type PolicyUse struct {
	Policy     *policy.Policy             `json:"policy"`
	Parameters map[string]json.RawMessage `json:"parameters,omitempty"`
}

// text tells uses of policies with one name apart.
func (u PolicyUse) text() []byte {
	b, _ := json.Marshal(u) // wrong parameters are found when they are bound
	return b
}

// Near is a place from where it must be reached quickly.
type Near struct {
	Place string `json:"place"` // a name; round trips measured to it are preferred to distance
	At    Point  `json:"at"`
	Max   int64  `json:"max,omitempty"` // microseconds; 0: only the score counts it
}

// A Spread keeps copies apart: at most Max of them (of all groups) may have the same
// owner, country, region or provider.
type Spread struct {
	Over string `json:"over"`
	Max  int    `json:"max"`
}

// Weights say what counts how much, 0 to 100 each. Points are lost
// against the best allowed candidate: one for each percent of price, millisecond
// of round trip, 10 g of CO2 per kWh, point of SEAL score, and 100 millionths of reliability.
// If all are 0 the price decides.
type Weights struct {
	Price       int64 `json:"price,omitempty"`
	Latency     int64 `json:"latency,omitempty"`
	Carbon      int64 `json:"carbon,omitempty"`
	SEAL        int64 `json:"seal,omitempty"`
	Reliability int64 `json:"reliability,omitempty"`
}

const (
	maxGroups = 20
	maxCopies = 20
	maxNeeds  = 100
	maxTerm   = 10 * 365 * 24 * time.Hour
	// Month is what is meant where no term is said.
	Month = 730 * time.Hour
)

// Tick is the clock of decisions: whole minutes, so that verdicts of policies that look at the
// clock hold for a minute, and a certificate counts to the end of its minute.
func Tick(t time.Time) time.Time { return t.UTC().Truncate(time.Minute) }

// normal gives the request its only order.
func (r Request) normal() Request {
	r.Now, r.Deadline = r.Now.UTC(), r.Deadline.UTC()
	if r.Term == 0 {
		r.Term = offer.Term(Month)
	}
	r.Groups = slices.Clone(r.Groups)
	for i := range r.Groups {
		g := &r.Groups[i]
		g.Copies = max(g.Copies, 1)
		g.Needs = slices.Clone(g.Needs)
		slices.SortFunc(g.Needs, func(a, b offer.Need) int {
			return cmp.Or(cmp.Compare(a.Kind, b.Kind), cmp.Compare(a.SKU, b.SKU), cmp.Compare(a.GiB, b.GiB), cmp.Compare(a.Count, b.Count))
		})
		for _, names := range []*[]string{&g.In, &g.Kinds, &g.Features} {
			*names = slices.Compact(slices.Sorted(slices.Values(*names)))
		}
	}
	slices.SortFunc(r.Groups, func(a, b Group) int { return cmp.Compare(a.Name, b.Name) })
	r.Policies = slices.Clone(r.Policies)
	slices.SortFunc(r.Policies, func(a, b PolicyUse) int {
		return cmp.Or(cmp.Compare(a.Policy.Name, b.Policy.Name), bytes.Compare(a.text(), b.text()))
	})
	r.Spread = slices.Clone(r.Spread)
	slices.SortFunc(r.Spread, func(a, b Spread) int { return cmp.Compare(a.Over, b.Over) })
	r.Only, r.Not = slices.Sorted(slices.Values(r.Only)), slices.Sorted(slices.Values(r.Not))
	r.Ties = slices.Clone(r.Ties)
	for i := range r.Ties {
		r.Ties[i] = r.Ties[i].normal()
	}
	slices.SortFunc(r.Ties, func(a, b Tie) int { return bytes.Compare(a.text(), b.text()) })
	if r.Weights == (Weights{}) {
		r.Weights.Price = 1
	}
	return r
}

// Validate reports what is wrong with the request.
func (r Request) Validate() error {
	var l fault.List
	if r.Now.IsZero() {
		l.Add("/now", "must be said")
	}
	if len(r.Groups) == 0 || len(r.Groups) > maxGroups {
		l.Add("/groups", "must be 1 to %d", maxGroups)
	}
	copies := 0
	seen := map[string]bool{}
	for i, g := range r.Groups {
		at := "/groups/" + strconv.Itoa(i)
		g.check(&l, at)
		if seen[g.Name] {
			l.Add(at+"/name", "must not be %q twice", g.Name)
		}
		seen[g.Name] = true
		copies += max(g.Copies, 1)
	}
	if copies > maxCopies {
		l.Add("/groups", "must not have more than %d copies together", maxCopies)
	}
	for i, u := range r.Policies {
		if u.Policy == nil {
			l.Add(fmt.Sprintf("/policies/%d/policy", i), "must be there")
		}
	}
	checkAmount(&l, "/maxPrice", r.MaxPrice)
	checkAmount(&l, "/budget", r.Budget)
	if r.Term < 0 || time.Duration(r.Term) > maxTerm {
		l.Add("/term", "must be at most %s", maxTerm)
	}
	if r.Near != nil {
		r.Near.At.check(&l, "/near/at")
	}
	r.checkSpread(&l)
	for i, t := range r.Ties {
		t.Check(&l, "/ties/"+strconv.Itoa(i), seen)
	}
	for i, w := range []int64{r.Weights.Price, r.Weights.Latency, r.Weights.Carbon, r.Weights.SEAL, r.Weights.Reliability} {
		if w < 0 || w > 100 {
			l.Add("/weights/"+[]string{"price", "latency", "carbon", "seal", "reliability"}[i], "must be 0 to 100")
		}
	}
	if r.Stay < 0 || r.Stay > 1000 {
		l.Add("/stay", "must be 0 to 1000 points")
	}
	return l.Err()
}

func checkAmount(l *fault.List, at string, a *money.Amount) {
	if a != nil && (a.Currency != money.EUR || a.Nano < 0) {
		l.Add(at, "must be in EUR and not below 0")
	}
}

func (r Request) checkSpread(l *fault.List) {
	seen := map[string]bool{}
	for i, s := range r.Spread {
		at := "/spread/" + strconv.Itoa(i)
		if spreads[s.Over] == nil {
			l.Add(at+"/over", "must be one of %v", slices.Sorted(maps.Keys(spreads)))
		}
		if s.Max < 1 {
			l.Add(at+"/max", "must be 1 or more")
		}
		if seen[s.Over] {
			l.Add(at+"/over", "must not be %q twice", s.Over)
		}
		seen[s.Over] = true
	}
}

func (g Group) check(l *fault.List, at string) {
	if g.Name == "" || len(g.Name) > 64 {
		l.Add(at+"/name", "must be 1 to 64 bytes")
	}
	if g.Copies < 0 || g.Copies > maxCopies {
		l.Add(at+"/copies", "must be 1 to %d", maxCopies)
	}
	if len(g.Needs) == 0 || len(g.Needs) > maxNeeds {
		l.Add(at+"/needs", "must be 1 to %d", maxNeeds)
	}
	for i, n := range g.Needs {
		n.Check(l, at+"/needs/"+strconv.Itoa(i))
	}
}

// spreads are what copies can be spread over.
var spreads = map[string]func(*candidate) string{
	"owner":    func(c *candidate) string { return c.Owner },
	"provider": func(c *candidate) string { return c.Provider },
	"country":  func(c *candidate) string { return c.Country },
	"region":   func(c *candidate) string { return c.Region },
}

// canonical is the request's only spelling, and its digest.
func (r Request) canonical() ([]byte, policy.Digest, error) {
	b, err := json.Marshal(r)
	return b, sha256.Sum256(b), err
}
