package market

import (
	"slices"
	"time"

	"github.com/kontor-cloud/kontor/money"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/placement"
)

// remedy plans what would have to move: the places that must, or everything if what stays
// cannot stand beside them.
func (s *Store) remedy(m *stock, r placement.Request, places []placement.Placement, must []bool) (Plan, error) {
	if !slices.Contains(must, true) {
		return Plan{}, nil
	}
	r.Deadline = time.Time{} // it runs already
	all := slices.Repeat([]bool{true}, len(places))
	next, why, err := s.moved(m, r, places, must)
	if err == nil && next == nil && !slices.Equal(must, all) {
		next, why, err = s.moved(m, r, places, all)
	}
	switch {
	case err != nil:
		return Plan{}, err
	case next == nil:
		return Plan{Problem: why}, nil
	}
	return m.cost(places, next)
}

// moved gives all places as they would be once those that must have moved; nil, and why, if there is no such.
func (s *Store) moved(m *stock, r placement.Request, places []placement.Placement, must []bool) ([]placement.Placement, string, error) {
	d, err := s.engine.Decide(m.market, partOf(r, places, must))
	if err != nil {
		return nil, "", err
	}
	if d.Problem != nil {
		return nil, "no region fits: " + Summary(d), nil
	}
	next := slices.Clone(places)
	for i := range next {
		if !must[i] {
			continue
		}
		// What need not move after all stays: of the copies of a group, each keeps its region if that was chosen.
		at := slices.IndexFunc(d.Chosen, func(p placement.Placement) bool { return p.Group == next[i].Group && p.Region == next[i].Region })
		if at < 0 {
			at = slices.IndexFunc(d.Chosen, func(p placement.Placement) bool { return p.Group == next[i].Group })
		}
		n := next[i].Copy
		next[i] = d.Chosen[at]
		next[i].Copy = n
		d.Chosen = slices.Delete(d.Chosen, at, at+1)
	}
	reviewed, err := s.engine.Review(m.market, r, next)
	if err != nil {
		return nil, "", err
	}
	for _, x := range reviewed {
		if len(x.Misses) > 0 {
			return nil, "what stays cannot stand beside it: " + x.Misses[0].String(), nil
		}
	}
	return next, "", nil
}

// partOf is the request for the places that must move, for what is left of its price.
func partOf(r placement.Request, places []placement.Placement, must []bool) placement.Request {
	copies, staying := map[string]int{}, placement.Placement{}
	for i, p := range places {
		if must[i] {
			copies[p.Group]++
		} else {
			staying.Hourly, staying.Total = staying.Hourly+p.Hourly, staying.Total+p.Total
		}
	}
	var groups []placement.Group
	for _, g := range r.Groups {
		if g.Copies = copies[g.Name]; g.Copies > 0 {
			groups = append(groups, g)
		}
	}
	var ties []placement.Tie
	for _, t := range r.Ties {
		t.Groups = slices.DeleteFunc(slices.Clone(t.Groups), func(name string) bool { return copies[name] == 0 })
		if len(t.Groups) > 1 {
			ties = append(ties, t)
		}
	}
	r.Groups, r.Ties = groups, ties
	r.MaxPrice, r.Budget = less(r.MaxPrice, staying.Hourly), less(r.Budget, staying.Total)
	return r
}

func less(most *money.Amount, by int64) *money.Amount {
	if most == nil {
		return nil
	}
	return &money.Amount{Nano: max(0, most.Nano-by), Currency: most.Currency}
}

// cost says what it is to go from some places to others.
func (s *stock) cost(places, next []placement.Placement) (p Plan, err error) {
	p.After, p.Once = &money.Amount{Currency: money.EUR}, &money.Amount{Currency: money.EUR}
	for i, from := range places {
		to := next[i]
		p.After.Nano += to.Hourly
		if to.Region == from.Region {
			continue
		}
		m := Move{
			Group: from.Group, Copy: from.Copy, From: from.Region, To: to.Region, Provider: to.Provider,
			Before: money.Amount{Nano: from.Hourly, Currency: money.EUR}, After: money.Amount{Nano: to.Hourly, Currency: money.EUR},
		}
		for _, l := range from.Lines {
			if l.Need.Kind == offer.Volume {
				m.GiB += l.Need.GiB * l.Need.Count
			}
		}
		if m.Egress, err = s.egress(from.Region, m.GiB); err != nil {
			return p, err
		}
		if m.Egress != nil {
			p.Once.Nano += m.Egress.Nano
		}
		p.Moves = append(p.Moves, m)
	}
	return p, nil
}

// egress is what it costs to take so much out of a region; nil if that is not known.
func (s *stock) egress(region string, gib int64) (*money.Amount, error) {
	for _, r := range s.rates(region) {
		if r.Kind == offer.Traffic {
			a, err := r.Charge(offer.Need{Kind: offer.Traffic, Count: 1, GiB: gib}, placement.Month)
			return &a, err
		}
	}
	return nil, nil
}
