package placement_test

import (
	"fmt"
	"slices"
	"syscall"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/placement"
	"github.com/kontor-cloud/kontor/policy"
)

// bigMarket has so many regions of so many providers, with five offers each, of which most fail something.
func bigMarket(b *testing.B, providers, regions int) *placement.Market {
	b.Helper()
	w := newWorld(1)
	all := make([]placement.Candidate, regions)
	for i := range all {
		c := w.candidate(i)
		c.Provider = fmt.Sprintf("p%04d", i%providers)
		c.Offers = nil
		for j, as := range []string{"seca.d2xs", "seca.d4xs", "seca.d8xs"} {
			c.Offers = append(c.Offers, placement.Offer{Rate: offer.Rate{Kind: offer.Instance, SKU: fmt.Sprint("own", j), As: as, Price: euros("0.04")}, VCPU: 2 << j, RAMGiB: 4 << j})
			c.Offers[j].Price.Nano += w.Int64N(40_000_000)
		}
		c.Offers = append(c.Offers, placement.Offer{Rate: offer.Rate{Kind: offer.Volume, SKU: "ssd", As: "seca.rd100", Price: euros("0.08")}}, placement.Offer{Rate: offer.Rate{Kind: offer.PublicIP, Price: euros("0.004")}})
		all[i] = c
	}
	m, err := placement.NewMarket(builtin(b), all...)
	if err != nil {
		b.Fatal(err)
	}
	return m
}

// twelve constraints: four parts of a policy and a SEAL level, and zones, features, health, capacity, price, budget, latency, and
// more.
func twelve() placement.Request {
	r := wanted()
	r.Policies = []placement.PolicyUse{{Policy: &policy.Policy{
		Name: "bench", Version: 1, SEAL: map[string]int64{"sov5": 1}, Evidence: map[string]policy.Level{"provider.*": policy.Contract},
		Rule: `region.country in geo.eu && provider.owner_chain.all(c, c in geo.eea) && region.pue < 1.8 && certs.exists(c, c.scheme == "hds")`,
	}}}
	r.Weights = placement.Weights{Price: 5, Latency: 2, Carbon: 1, SEAL: 1, Reliability: 1}
	r.Near.Max = 20_000
	return r
}

// BenchmarkDecide is a decision with all reasons and its record in canonical bytes, on as many
// processors as there are. The goal is 5,000 a second on two at 1,000 offers, and 5 ms for the
// slowest hundredth at 5,000.
func BenchmarkDecide(b *testing.B) {
	for _, offers := range []int{1000, 5000} {
		b.Run(fmt.Sprintf("offers=%d", offers), func(b *testing.B) {
			m, e := bigMarket(b, 200, offers/5), &placement.Engine{}
			d, err := e.Decide(m, twelve())
			if err != nil {
				b.Fatal(err)
			}
			record := d.Append(nil)
			b.ReportMetric(float64(len(d.Excluded)), "excluded")
			b.ReportAllocs()
			b.ResetTimer()
			start := processorTime(b)
			b.RunParallel(func(pb *testing.PB) {
				buffer := make([]byte, 0, 2*len(record))
				for pb.Next() {
					d, err := e.Decide(m, twelve())
					if err != nil {
						b.Error(err)
						return
					}
					buffer = d.Append(buffer[:0])
				}
			})
			b.ReportMetric(float64(b.N)/b.Elapsed().Seconds(), "decisions/s")
			b.ReportMetric(2*float64(b.N)/(processorTime(b)-start).Seconds(), "decisions/s-of-2-cores")
			b.ReportMetric(float64(len(record)), "record-B")
		})
	}
}

// processorTime is what this process has used: what a machine that others use, too, can tell.
func processorTime(b *testing.B) time.Duration {
	b.Helper()
	var u syscall.Rusage
	if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
		b.Fatal(err)
	}
	return time.Duration(u.Utime.Nano() + u.Stime.Nano())
}

// BenchmarkDecideP99 reports the slowest hundredth of decisions made one after the other while a
// region's capacity changes before each.
func BenchmarkDecideP99(b *testing.B) {
	for _, offers := range []int{1000, 5000} {
		b.Run(fmt.Sprintf("offers=%d", offers), func(b *testing.B) {
			m, e, w := bigMarket(b, 200, offers/5), &placement.Engine{}, newWorld(1)
			changed := w.candidate(3)
			var took []time.Duration
			for b.Loop() {
				changed.State.Free.VCPU = new(w.Int64N(100))
				var err error
				if m, err = m.With(changed); err != nil {
					b.Fatal(err)
				}
				start := time.Now()
				if _, err := e.Decide(m, twelve()); err != nil {
					b.Fatal(err)
				}
				took = append(took, time.Since(start))
			}
			slices.Sort(took)
			b.ReportMetric(float64(took[len(took)*99/100].Microseconds()), "p99-µs")
			b.ReportMetric(float64(took[len(took)/2].Microseconds()), "p50-µs")
		})
	}
}

// BenchmarkPolicy is a decision whose policy is compiled already, and one whose is not.
func BenchmarkPolicy(b *testing.B) {
	m := bigMarket(b, 1, 1)
	e := &placement.Engine{}
	b.Run("compiled", func(b *testing.B) {
		for b.Loop() {
			if _, err := e.Decide(m, twelve()); err != nil {
				b.Fatal(err)
			}
		}
	})
	b.Run("new", func(b *testing.B) {
		n := 1
		for b.Loop() {
			r := twelve()
			r.Policies[0].Policy.Version = n
			n++
			if _, err := e.Decide(m, r); err != nil {
				b.Fatal(err)
			}
		}
	})
}

// BenchmarkNewMinute is the first decision of a minute, when policies that look at the clock are asked anew.
func BenchmarkNewMinute(b *testing.B) {
	m, e := bigMarket(b, 200, 200), &placement.Engine{}
	r := twelve()
	r.Policies[0].Policy.Rule += ` && now < timestamp("2050-01-01T00:00:00Z")`
	for b.Loop() {
		r.Now = r.Now.Add(time.Minute)
		if _, err := e.Decide(m, r); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkChange is a region's report of its capacity.
func BenchmarkChange(b *testing.B) {
	m, w := bigMarket(b, 200, 1000), newWorld(1)
	c := w.candidate(3)
	b.ReportAllocs()
	for b.Loop() {
		c.State.Free.VCPU = new(w.Int64N(100))
		var err error
		if m, err = m.With(c); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkParse reads the record of a decision: what looking back at many of them costs.
func BenchmarkParse(b *testing.B) {
	for _, offers := range []int{1000, 5000} {
		b.Run(fmt.Sprintf("offers=%d", offers), func(b *testing.B) {
			d, err := (&placement.Engine{}).Decide(bigMarket(b, 200, offers/5), twelve())
			if err != nil {
				b.Fatal(err)
			}
			record := d.Append(nil)
			b.SetBytes(int64(len(record)))
			b.ReportAllocs()
			for b.Loop() {
				if _, err := placement.Parse(record); err != nil {
					b.Fatal(err)
				}
			}
		})
	}
}
