package placement

import (
	"slices"

	"github.com/kontor-cloud/kontor/fault"
)

// comers are the dimensions that count only for what comes anew: what runs already has its place and its
// price, and an agent that is silent has not moved it.
var comers = []Dimension{NotWanted, Health, NotOffered, NotValid, Full, TooDear, OverBudget, TooLate}

// Review puts what a request demands to where it runs, by the market of now: what each place
// lacks by now, in the order of the places. A region that is not on the market lacks its offer, and nothing
// else is known of it.
func (e *Engine) Review(m *Market, in Request, places []Placement) ([]Exclusion, error) {
	o, err := e.understand(m, in)
	if err != nil {
		return nil, err
	}
	r := &run{engine: e, market: m, order: o}
	all, at := make([]Exclusion, len(places)), make([]*candidate, len(places))
	for i, p := range places {
		all[i] = Exclusion{p.Group, p.Region, p.Provider, nil}
		g := slices.IndexFunc(o.Groups, func(g Group) bool { return g.Name == p.Group })
		if g < 0 {
			return nil, fault.Invalid.Errorf("the request has no group %q", p.Group)
		}
		c, there := m.find(p.Region)
		if !there {
			all[i].Misses = []Miss{miss(NotOffered, "region", words("on sale"), words("not any more"), 0)}
			continue
		}
		at[i] = c
		_, misses := r.check(c, &o.Groups[g])
		all[i].Misses = slices.DeleteFunc(slices.Clone(misses), func(m Miss) bool { return slices.Contains(comers, m.Dimension) })
		all[i].Misses = append(all[i].Misses, o.beside(places[:i], at[:i], p.Group, c)...)
	}
	return all, nil
}

// beside gives what a place lacks as others are where they are.
func (o *order) beside(others []Placement, at []*candidate, group string, c *candidate) (misses []Miss) {
	for _, s := range o.Spread {
		same := int64(1)
		for _, other := range at {
			if other != nil && spreads[s.Over](other) == spreads[s.Over](c) {
				same++
			}
		}
		if same > int64(s.Max) {
			misses = append(misses, miss(NotApart, s.Over, atMost(int64(s.Max), count), amount(same, count), over(int64(s.Max), same)))
		}
	}
	for k := range o.Ties {
		t := &o.Ties[k]
		for j, other := range at {
			name := others[j].Group
			if other == nil || name == group || !slices.Contains(t.Groups, name) || !slices.Contains(t.Groups, group) || t.allows(other, c) {
				continue
			}
			misses = append(misses, miss(NotTied, name+" and "+group, words(t.String()), words("not so of "+other.Region+" and "+c.Region), 0))
		}
	}
	return misses
}
