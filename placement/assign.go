package placement

import "math"

// maxSteps bounds the search for places of several copies. A search that was cut
// short is deterministic, too, and the record says so.
const maxSteps = 20_000

// A search looks for the places of all copies together: the least sum of scores that
// keeps copies apart, fits into what is left of each region, and costs no more than allowed.
type search struct {
	r     *run
	units []*ranked // a copy each; copies of one group follow each other
	steps int

	placed   []int // index into the fits of each unit
	best     []int
	score    int64
	cut      bool
	restFrom []bound // the least that units from here on score and cost
}

// ranked is what is allowed for a group, the best first.
type ranked struct {
	group *Group
	fits  []fit
}

type bound struct{ score, hourly, total int64 }

// assign gives the place of each unit, or nil.
func (r *run) assign(groups []*ranked) (s *search) {
	s = &search{r: r, score: math.MaxInt64}
	for _, g := range groups {
		for range g.group.Copies {
			s.units = append(s.units, g)
		}
	}
	s.placed, s.restFrom = make([]int, len(s.units)), make([]bound, len(s.units)+1)
	for i := len(s.units) - 1; i >= 0; i-- {
		least := bound{math.MaxInt64, math.MaxInt64, math.MaxInt64}
		for j := range s.units[i].fits {
			f := &s.units[i].fits[j]
			least = bound{min(least.score, f.score.Total), min(least.hourly, f.hourly), min(least.total, f.total)}
		}
		next := s.restFrom[i+1]
		s.restFrom[i] = bound{least.score + next.score, plus(least.hourly, next.hourly), plus(least.total, next.total)}
	}
	s.place(0, bound{})
	return s
}

// place tries the places of unit i, the best first.
func (s *search) place(i int, sum bound) {
	if i == len(s.units) {
		s.best, s.score = append([]int(nil), s.placed...), sum.score
		return
	}
	first := 0
	if i > 0 && s.units[i] == s.units[i-1] {
		first = s.placed[i-1] // copies are alike, so only one order of them matters
	}
	for j := first; j < len(s.units[i].fits); j++ {
		f := &s.units[i].fits[j]
		next := bound{sum.score + f.score.Total, plus(sum.hourly, f.hourly), plus(sum.total, f.total)}
		if s.best != nil && next.score+s.restFrom[i+1].score >= s.score {
			return // those that follow are no better
		}
		if s.steps++; s.steps > maxSteps {
			s.cut = true
			return
		}
		s.placed[i] = j
		if s.affordable(next, i+1) && s.apart(i) && s.tied(i) && s.fits(i) {
			s.place(i+1, next)
		}
	}
}

func (s *search) affordable(sum bound, rest int) bool {
	o := s.r.order
	return (o.MaxPrice == nil || plus(sum.hourly, s.restFrom[rest].hourly) <= o.MaxPrice.Nano) &&
		(o.Budget == nil || plus(sum.total, s.restFrom[rest].total) <= o.Budget.Nano)
}

// apart reports whether unit i has no more neighbours than it may.
func (s *search) apart(i int) bool {
	for _, spread := range s.r.order.Spread {
		of, same := spreads[spread.Over], 1
		for j := range i {
			if of(s.at(j).c) == of(s.at(i).c) {
				same++
			}
		}
		if same > spread.Max {
			return false
		}
	}
	return true
}

func (s *search) at(i int) *fit { return &s.units[i].fits[s.placed[i]] }

// fits reports whether the region of unit i has room for all that is placed there.
func (s *search) fits(i int) bool {
	c, all := s.at(i).c, taken{}
	for j := range i + 1 {
		if s.at(j).c == c {
			all = all.plus(s.at(j).takes)
		}
	}
	free := &c.State.Free
	room := func(need int64, free *int64) bool { return free == nil || need <= *free }
	return room(all.vcpu, free.VCPU) && room(all.ram, free.RAMGiB) && room(all.disk, free.DiskGiB) && room(all.ips, free.PublicIPs)
}

// why says what kept everything from being placed though each group has candidates.
func (s *search) why() Miss {
	o := s.r.order
	least := s.restFrom[0]
	switch {
	case o.MaxPrice != nil && least.hourly > o.MaxPrice.Nano:
		return miss(NotTogether, "hour", atMost(o.MaxPrice.Nano, euro), atLeast(least.hourly, euro), over(o.MaxPrice.Nano, least.hourly))
	case o.Budget != nil && least.total > o.Budget.Nano:
		return miss(NotTogether, "term", atMost(o.Budget.Nano, euro), atLeast(least.total, euro), over(o.Budget.Nano, least.total))
	}
	for _, spread := range o.Spread {
		values := map[string]bool{}
		for _, u := range s.units {
			for i := range u.fits {
				values[spreads[spread.Over](u.fits[i].c)] = true
			}
		}
		if need := (len(s.units) + spread.Max - 1) / spread.Max; len(values) < need {
			return miss(NotApart, spread.Over, atLeast(int64(need), count), amount(int64(len(values)), count), 0)
		}
	}
	for i := range o.Ties {
		if m, ok := s.untied(&o.Ties[i]); ok {
			return m
		}
	}
	return miss(NotApart, "copies", words("places for all within capacity, price and spread"), words("none found"), 0)
}
