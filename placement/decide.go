package placement

import (
	"encoding/json"
	"slices"

	"github.com/kontor-cloud/kontor/money"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/policy"
)

// A Decision is where to place, and why nowhere else. Its canonical bytes (Append) are its record.
type Decision struct {
	Engine   int           `json:"engine"`
	Market   policy.Digest `json:"market"`
	Request  policy.Digest `json:"request"`
	Now      int64         `json:"now"` // seconds since 1970
	Chosen   []Placement   `json:"chosen,omitempty"`
	Hourly   int64         `json:"hourly"` // of everything, in billionths of a euro
	Total    int64         `json:"total"`  // for the term
	Problem  *Miss         `json:"problem,omitempty"`
	Cut      bool          `json:"cut,omitempty"` // the search was cut short: there may be something better
	Allowed  []Allowed     `json:"allowed,omitempty"`
	Excluded []Exclusion   `json:"excluded,omitempty"`
}

// A Placement is where a copy of a group goes.
type Placement struct {
	Group    string        `json:"group"`
	Copy     int           `json:"copy"` // 1, 2, 3 …
	Region   string        `json:"region"`
	Provider string        `json:"provider"`
	Sheet    int           `json:"sheet"` // version of the provider's price sheet
	Digest   policy.Digest `json:"digest"`
	Hourly   int64         `json:"hourly"`
	Total    int64         `json:"total"`
	Lines    []Line        `json:"lines"`
}

// A Line is a need with the offer that fulfils it.
type Line struct {
	Need  offer.Need   `json:"need"`
	SKU   string       `json:"sku,omitempty"` // of the provider
	Price money.Amount `json:"price"`         // the rate
}

// Allowed is a candidate that fails nothing, and its score. They come best first.
type Allowed struct {
	Group    string `json:"group"`
	Region   string `json:"region"`
	Hourly   int64  `json:"hourly"`
	RTT      int64  `json:"rtt,omitempty"` // microseconds
	Measured bool   `json:"measured,omitempty"`
	Score    Score  `json:"score"`
}

// An Exclusion is a candidate with all that it lacks.
type Exclusion struct {
	Group    string `json:"group"`
	Region   string `json:"region"`
	Provider string `json:"provider"`
	Misses   []Miss `json:"misses"`
}

// UnmarshalJSON reads an exclusion: all its misses at once, which is most of the reading of a record.
func (x *Exclusion) UnmarshalJSON(b []byte) error {
	var in struct {
		Group, Region, Provider string
		Misses                  []readMiss
	}
	if err := json.Unmarshal(b, &in); err != nil {
		return err
	}
	*x = Exclusion{in.Group, in.Region, in.Provider, make([]Miss, len(in.Misses))}
	for i := range in.Misses {
		if err := x.Misses[i].take(in.Misses[i]); err != nil {
			return err
		}
	}
	return nil
}

// Decide chooses. Not to find a place is a decision, too: it has a Problem then. An
// error is about a request that means nothing.
func (e *Engine) Decide(m *Market, request Request) (*Decision, error) {
	o, err := e.understand(m, request)
	if err != nil {
		return nil, err
	}
	return e.decide(m, o), nil
}

func (e *Engine) decide(m *Market, o *order) *Decision {
	r := &run{engine: e, market: m, order: o, misses: make([]Miss, 0, e.usual.Load()*9/8+16)}
	defer func() { e.usual.Store(int64(len(r.misses))) }()
	d := &Decision{Engine: Version, Market: m.Digest(), Request: o.digest, Now: o.Now.Unix()}
	groups := make([]*ranked, len(o.Groups))
	for i := range o.Groups {
		groups[i] = &ranked{group: &o.Groups[i]}
		r.consider(d, groups[i])
	}
	for _, g := range groups {
		if len(g.fits) == 0 {
			d.Problem = new(miss(NoCandidate, "group "+g.group.Name, atLeast(1, count), amount(0, count), 0))
			return d
		}
	}
	s := r.assign(groups)
	if d.Cut = s.cut; s.best == nil {
		why := s.why()
		d.Problem = &why
		return d
	}
	s.settle(d)
	return d
}

// consider sorts candidates into those allowed for a group and those excluded.
func (r *run) consider(d *Decision, g *ranked) {
	if d.Excluded == nil {
		d.Excluded = make([]Exclusion, 0, len(r.market.all)*len(r.order.Groups))
	}
	for _, c := range r.market.all {
		rates := len(r.rates)
		f, misses := r.check(c, g.group)
		if len(misses) > 0 {
			r.rates = r.rates[:rates]
			d.Excluded = append(d.Excluded, Exclusion{g.group.Name, c.Region, c.Provider, misses})
		} else {
			g.fits = append(g.fits, f)
		}
	}
	r.rank(g.fits)
	d.Allowed = slices.Grow(d.Allowed, len(g.fits))
	for i := range g.fits {
		f := &g.fits[i]
		d.Allowed = append(d.Allowed, Allowed{g.group.Name, f.c.Region, f.hourly, f.rtt, f.measured, f.score})
	}
}

// settle writes down where everything goes.
func (s *search) settle(d *Decision) {
	number := map[string]int{}
	for i, u := range s.units {
		f := &u.fits[s.best[i]]
		number[u.group.Name]++
		p := Placement{
			Group: u.group.Name, Copy: number[u.group.Name], Region: f.c.Region, Provider: f.c.Provider,
			Sheet: f.c.Sheet.Version, Digest: f.c.Sheet.Digest, Hourly: f.hourly, Total: f.total,
		}
		for k, n := range u.group.Needs {
			o := &f.c.Offers[f.rates[k]]
			p.Lines = append(p.Lines, Line{n, o.SKU, o.Price})
		}
		d.Chosen = append(d.Chosen, p)
		d.Hourly, d.Total = plus(d.Hourly, f.hourly), plus(d.Total, f.total)
	}
}
