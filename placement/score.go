package placement

import (
	"cmp"
	"math"
	mathbits "math/bits"
	"slices"
)

// What is taken for what nobody knows: as bad as it gets.
const (
	worstCarbon      = 1_000_000 // thousandths of a gram per kWh
	worstRTT         = 500_000   // microseconds
	worstReliability = 990_000   // millionths
)

// A Score is points lost against the best allowed candidate, in thousandths, each
// times its weight. The least total wins.
type Score struct {
	Total       int64 `json:"total"`
	Price       int64 `json:"price,omitempty"`
	Latency     int64 `json:"latency,omitempty"`
	Carbon      int64 `json:"carbon,omitempty"`
	SEAL        int64 `json:"seal,omitempty"`
	Reliability int64 `json:"reliability,omitempty"`
	Stay        int64 `json:"stay,omitempty"` // what the region gets where it runs now
}

// ratio is a × b ÷ c for numbers that are not negative, cut to what fits.
func ratio(a, b, c int64) int64 {
	if a <= 0 || b <= 0 {
		return 0
	}
	hi, lo := mathbits.Mul64(uint64(a), uint64(b))
	if hi >= uint64(c) {
		return math.MaxInt64 / 1024
	}
	q, _ := mathbits.Div64(hi, lo, uint64(c))
	return int64(min(q, math.MaxInt64/1024))
}

func reliability(c *candidate) int64 {
	if r := c.State.Reliability; r != nil {
		return min(max(*r, 0), 1_000_000)
	}
	return worstReliability
}

// rank scores those that are allowed, and puts the best first. Equals go by price, then by name.
func (r *run) rank(fits []fit) {
	if len(fits) == 0 {
		return
	}
	best := fits[0]
	reliable := reliability(best.c)
	for i := range fits {
		f := &fits[i]
		best.hourly, best.rtt = min(best.hourly, f.hourly), min(best.rtt, f.rtt)
		best.facts.carbon, best.facts.seal = min(best.facts.carbon, f.facts.carbon), max(best.facts.seal, f.facts.seal)
		reliable = max(reliable, reliability(f.c))
	}
	w := &r.order.Weights
	for i := range fits {
		f := &fits[i]
		s := Score{
			Price:       w.Price * min(ratio(f.hourly-best.hourly, 100_000, max(best.hourly, 1)), 1e12),
			Latency:     w.Latency * (f.rtt - best.rtt),
			Carbon:      w.Carbon * (f.facts.carbon - best.facts.carbon) / 10,
			SEAL:        w.SEAL * (best.facts.seal - f.facts.seal),
			Reliability: w.Reliability * (reliable - reliability(f.c)) * 10,
		}
		if f.c.Region == r.order.Current {
			s.Stay = -1000 * r.order.Stay
		}
		s.Total = s.Price + s.Latency + s.Carbon + s.SEAL + s.Reliability + s.Stay
		f.score = s
	}
	slices.SortFunc(fits, func(a, b fit) int {
		return cmp.Or(cmp.Compare(a.score.Total, b.score.Total), cmp.Compare(a.hourly, b.hourly), cmp.Compare(a.c.Region, b.c.Region))
	})
}
