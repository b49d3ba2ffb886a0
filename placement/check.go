package placement

import (
	"math"
	"slices"
	"time"

	"github.com/kontor-cloud/kontor/offer"
)

// A fit is a candidate for a group that fails nothing, or what it would cost if it did not.
type fit struct {
	c         *candidate
	rates     []int32 // index of the offer for each need
	hourly    int64   // billionths of a euro, for one copy
	total     int64   // likewise, for the term
	rtt       int64   // microseconds
	measured  bool
	facts     metrics
	score     Score
	takes     taken
	priceable bool
}

// taken is what a copy takes of a region's capacity.
type taken struct{ vcpu, ram, disk, ips int64 }

func (t taken) times(n int64) taken { return taken{t.vcpu * n, t.ram * n, t.disk * n, t.ips * n} }
func (t taken) plus(o taken) taken {
	return taken{t.vcpu + o.vcpu, t.ram + o.ram, t.disk + o.disk, t.ips + o.ips}
}

// A run is a decision being made.
type run struct {
	engine *Engine
	market *Market
	order  *order
	misses []Miss  // all of them, one after the other
	rates  []int32 // likewise

	demands []*Demand // each of them once, in the order in which they were missed first
	last    int       // the one that was missed last
}

// maxTries bounds the search for a demand, lest every region's be another.
const maxTries = 64

// add notes a miss.
func (r *run) add(d Dimension, subject string, needed, had Quantity, over int64) {
	r.misses = append(r.misses, Miss{r.demand(d, subject, needed), had, over})
}

// demand finds what was demanded already. Every candidate is put the same questions one after the other, so it
// is mostly soon after the last one.
func (r *run) demand(dimension Dimension, subject string, needed Quantity) *Demand {
	at := r.last
	for range min(len(r.demands), maxTries) {
		if at++; at >= len(r.demands) {
			at = 0
		}
		if r.demands[at].is(dimension, subject, needed) {
			r.last = at
			return r.demands[at]
		}
	}
	r.demands, r.last = append(r.demands, shared(dimension, subject, needed)), len(r.demands)
	return r.demands[r.last]
}

// check puts every constraint to a candidate, whatever it fails before: who lost must
// know all that he lacked. It gives what it lacks as a part of r.misses.
func (r *run) check(c *candidate, g *Group) (f fit, misses []Miss) {
	start := len(r.misses)
	f = fit{c: c}
	r.checkChoice(c)
	r.checkState(c, g)
	r.checkPolicies(c, g)
	r.price(&f, g)
	if f.priceable {
		r.checkPrice(&f)
	}
	r.checkCapacity(&f, g)
	r.checkTime(c)
	r.checkLatency(&f)
	f.facts = r.engine.metrics.measure(c.services[0], r.order.Now)
	return f, r.misses[start:len(r.misses):len(r.misses)]
}

func (r *run) checkChoice(c *candidate) {
	if o := r.order; len(o.only) > 0 && !o.only[c.Region] {
		r.add(NotWanted, "region", words("one of those named"), words(c.Region), 0)
	} else if o.not[c.Region] || o.not[c.Provider] {
		r.add(NotWanted, "region", words("none of those excluded"), words(c.Region+" of "+c.Provider), 0)
	}
}

func (r *run) checkState(c *candidate, g *Group) {
	s := &c.State
	if s.Liveness != "alive" && (!r.order.Silent || s.Liveness != "silent") {
		r.add(Health, "agent", words("alive"), words(s.Liveness), 0)
	}
	for _, k := range g.Kinds {
		if !c.kinds[k] {
			r.add(Support, "platform", words("keeps "+k), words("does not"), 0)
		}
	}
	for _, f := range g.Features {
		if !c.features[f] {
			r.add(Support, "driver", words(f), words("none"), 0)
		}
	}
	if len(s.Zones) < g.Zones {
		r.add(Zones, "zones", atLeast(int64(g.Zones), count), amount(int64(len(s.Zones)), count), 0)
	}
	for _, z := range g.In {
		if !c.zones[z] {
			r.add(Zones, "zones", words("zone "+z), words("none of that name"), 0)
		}
	}
	if need := r.order.MinReliability; need > 0 {
		switch {
		case s.Reliability == nil:
			r.add(Unreliable, "uptime", atLeast(need, millionths), words("not seen yet"), 0)
		case *s.Reliability < need:
			r.add(Unreliable, "uptime", atLeast(need, millionths), amount(*s.Reliability, millionths), over(1_000_000-need, 1_000_000-*s.Reliability))
		}
	}
}

// serviceKinds says of what kind of service a need is.
var serviceKinds = map[offer.Kind]string{
	offer.Instance: "iaas-vm", offer.Volume: "iaas-block", offer.Network: "iaas-network", offer.PublicIP: "iaas-network", offer.Traffic: "iaas-network",
}

// checkPolicies puts every policy to each service that the group needs. A region that does not describe
// a kind of service apart is judged by the first.
func (r *run) checkPolicies(c *candidate, g *Group) {
	start := len(r.misses)
	for _, column := range r.order.policies {
		for i, s := range c.services {
			if i > 0 && !slices.ContainsFunc(g.Needs, func(n offer.Need) bool { return serviceKinds[n.Kind] == s.kind }) {
				continue
			}
			for _, m := range column.judge(s, r.order.Now) {
				if i == 0 || !slices.ContainsFunc(r.misses[start:], func(n Miss) bool { return n.same(&m) }) {
					r.misses = append(r.misses, m)
				}
			}
		}
	}
}

// price finds the cheapest offer for each need, and sums up.
func (r *run) price(f *fit, g *Group) {
	first := len(r.rates)
	f.priceable = true
	for _, n := range g.Needs {
		best, hourly, total := int32(-1), int64(math.MaxInt64), int64(0)
		for i := range f.c.Offers {
			o := &f.c.Offers[i]
			if !o.Fulfils(n) {
				continue
			}
			h, err := o.Hourly(n)
			if err != nil || h.Nano >= hourly {
				continue
			}
			if t, err := o.Charge(n, time.Duration(r.order.Term)); err == nil {
				best, hourly, total = int32(i), h.Nano, t.Nano
			}
		}
		if best < 0 {
			subject := string(n.Kind)
			if n.SKU != "" {
				subject += " " + n.SKU
			}
			r.add(NotOffered, subject, words("on sale"), words("none"), 0)
			f.priceable = false
			continue
		}
		r.rates = append(r.rates, best)
		f.hourly, f.total = plus(f.hourly, hourly), plus(f.total, total)
		f.takes = f.takes.plus(takes(n, &f.c.Offers[best]))
	}
	f.rates = r.rates[first:len(r.rates):len(r.rates)]
}

// plus adds what is not below zero, and stops at the largest number.
func plus(a, b int64) int64 {
	if a > math.MaxInt64-b {
		return math.MaxInt64
	}
	return a + b
}

func takes(n offer.Need, o *Offer) taken {
	switch n.Kind {
	case offer.Instance:
		return taken{vcpu: o.VCPU, ram: o.RAMGiB}.times(n.Count)
	case offer.Volume:
		return taken{disk: n.GiB * n.Count}
	case offer.PublicIP:
		return taken{ips: n.Count}
	default:
		return taken{}
	}
}

func (r *run) checkPrice(f *fit) {
	if most := r.order.MaxPrice; most != nil && f.hourly > most.Nano {
		r.add(TooDear, "hour", atMost(most.Nano, euro), amount(f.hourly, euro), over(most.Nano, f.hourly))
	}
	if most := r.order.Budget; most != nil && f.total > most.Nano {
		r.add(OverBudget, "term", atMost(most.Nano, euro), amount(f.total, euro), over(most.Nano, f.total))
	}
}

func (r *run) checkCapacity(f *fit, g *Group) {
	free := &f.c.State.Free
	for _, x := range [...]struct {
		subject string
		need    int64
		free    *int64
	}{{"vCPU", f.takes.vcpu, free.VCPU}, {"RAM GiB", f.takes.ram, free.RAMGiB}, {"disk GiB", f.takes.disk, free.DiskGiB}, {"public IPs", f.takes.ips, free.PublicIPs}} {
		if x.free != nil && x.need > *x.free {
			r.add(Full, x.subject, amount(x.need, count), amount(max(0, *x.free), count), over(max(1, *x.free), x.need))
		}
	}
}

// checkTime compares with the validity of the offer, and with the deadline.
func (r *run) checkTime(c *candidate) {
	now := r.order.Now
	switch s := &c.Sheet; {
	case len(c.Offers) == 0: // said already, of each need
	case now.Before(s.ValidFrom):
		r.add(NotValid, "price sheet", amount(now.Unix(), second), words("from "+s.ValidFrom.Format(time.RFC3339)), 0)
	case !now.Before(s.ValidUntil):
		r.add(NotValid, "price sheet", amount(now.Unix(), second), words("until "+s.ValidUntil.Format(time.RFC3339)), 0)
	}
	if end := r.order.Deadline; !end.IsZero() {
		over := now.Add(time.Duration(c.State.Start)*time.Second + time.Duration(r.order.Term))
		if over.After(end) {
			r.add(TooLate, "end", amount(end.Unix(), second), amount(over.Unix(), second), 0)
		}
	}
}

func (r *run) checkLatency(f *fit) {
	near := r.order.Near
	if near == nil {
		return
	}
	f.rtt, f.measured = f.c.State.RTT[near.Place]
	switch {
	case f.measured:
	case f.c.At == nil:
		f.rtt = worstRTT
		if near.Max > 0 {
			r.add(TooFar, near.Place, atMost(near.Max, microseconds), words("unknown: it does not say where it stands"), 0)
		}
		return
	default:
		f.rtt = estimate(metres(r.order.near, f.c.from))
	}
	if near.Max > 0 && f.rtt > near.Max {
		subject := near.Place
		if !f.measured {
			subject += " (by distance)"
		}
		r.add(TooFar, subject, atMost(near.Max, microseconds), amount(f.rtt, microseconds), over(near.Max, f.rtt))
	}
}
