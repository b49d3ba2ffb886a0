package placement_test

import (
	"bytes"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/placement"
	"github.com/kontor-cloud/kontor/policy"
)

// A world makes random markets and requests in which much is missing, wrong or scarce.
type world struct{ *rand.Rand }

func newWorld(seed uint64) world { return world{rand.New(rand.NewPCG(seed, 26))} }

func pick[T any](w world, all ...T) T { return all[w.IntN(len(all))] }

func (w world) maybe(n int64) *int64 {
	if w.IntN(4) == 0 {
		return nil
	}
	return new(w.Int64N(n + 1))
}

func (w world) claim(attribute string, value any) policy.Claim {
	c := claim(attribute, value, pick(w, policy.SelfDeclared, policy.Contract, policy.ThirdParty, policy.Regulator))
	c.From = november.AddDate(0, 0, w.IntN(40)-35)
	c.Until = c.From.AddDate(0, 0, 1+w.IntN(400))
	return c
}

func (w world) candidate(n int) placement.Candidate {
	provider := n / 2
	c := placement.Candidate{
		Profile: placement.Profile{
			Region: fmt.Sprintf("r%03d", n), Provider: fmt.Sprintf("p%03d", provider), Owner: fmt.Sprintf("o%03d \"quoted\" é", provider/2), Country: pick(w, "FR", "DE", "US"),
			Sheet: placement.SheetRef{Version: 1 + w.IntN(5), ValidFrom: november.AddDate(0, 0, w.IntN(30)-28), ValidUntil: november.AddDate(0, 0, w.IntN(300))},
		},
		State: placement.State{
			Liveness: pick(w, "alive", "alive", "alive", "silent", "unknown"), Zones: []string{"a", "b", "c"}[:1+w.IntN(3)],
			Kinds: []string{"instance", "block-storage"}[:1+w.IntN(2)], Features: []string{"anti-affinity", "ipv6"}[:w.IntN(3)],
			Free:        placement.Capacity{VCPU: w.maybe(32), RAMGiB: w.maybe(128), DiskGiB: w.maybe(2000), PublicIPs: w.maybe(4)},
			Reliability: w.maybe(1_000_000), Start: w.Int64N(600),
		},
	}
	if w.IntN(5) > 0 {
		c.At = &placement.Point{Lat: 36_000_000 + w.Int64N(30_000_000), Lon: -9_000_000 + w.Int64N(40_000_000)}
	}
	if w.IntN(3) == 0 {
		c.State.RTT = map[string]int64{"Lyon": w.Int64N(60_000), "Oslo": w.Int64N(60_000)}
	}
	for _, claim := range []policy.Claim{
		w.claim("region.country", c.Country), w.claim("provider.owner_chain", []string{pick(w, "FR", "US")}), w.claim("provider.hq_country", pick(w, "FR", "NO", "US")),
		w.claim("certs", policy.Certificate{Scheme: "hds", Version: "2", Activities: []string{"1", "2"}[:1+w.IntN(2)]}),
		w.claim("region.pue", 1+w.Float64()), w.claim("region.carbon_gco2e_kwh", float64(w.IntN(600))/7), w.claim("seal.score", w.Float64()*100), w.claim("seal.sov5", w.IntN(5)),
	} {
		if w.IntN(6) > 0 {
			c.Claims = append(c.Claims, claim)
		}
	}
	for i, kind := range []string{"iaas-vm", "iaas-block"}[:w.IntN(3)] {
		c.Services = append(c.Services, placement.Service{ID: fmt.Sprint(kind, i), Kind: kind, Claims: []policy.Claim{w.claim("service.notice_days", w.IntN(90))}})
	}
	for _, o := range []placement.Offer{
		{Rate: offer.Rate{Kind: offer.Instance, SKU: "small", As: "seca.d2xs"}, VCPU: 2, RAMGiB: 4},
		{Rate: offer.Rate{Kind: offer.Instance, SKU: "seca.d2xs"}, VCPU: 2, RAMGiB: 8},
		{Rate: offer.Rate{Kind: offer.Volume, SKU: "ssd", As: "seca.rd100"}},
		{Rate: offer.Rate{Kind: offer.PublicIP}},
	} {
		if w.IntN(8) > 0 {
			o.Price = euros("0.01")
			o.Price.Nano = 1 + w.Int64N(100_000_000)
			o.Rounding, o.Minimum = pick(w, offer.BySecond, offer.ByHour), offer.Term(time.Duration(w.IntN(48))*time.Hour)
			c.Offers = append(c.Offers, o)
		}
	}
	return c
}

// constraints can each be left out.
var constraints = []func(w world, r *placement.Request){
	func(w world, r *placement.Request) {
		p := euros("0.5")
		p.Nano = w.Int64N(500_000_000)
		r.MaxPrice = &p
	},
	func(w world, r *placement.Request) {
		p := euros("90")
		p.Nano = w.Int64N(300_000_000_000)
		r.Budget = &p
	},
	func(w world, r *placement.Request) {
		r.Deadline = november.Add(time.Duration(r.Term) + time.Duration(w.IntN(700))*time.Second)
	},
	func(w world, r *placement.Request) { r.Near.Max = 5_000 + w.Int64N(40_000) },
	func(w world, r *placement.Request) { r.MinReliability = w.Int64N(900_000) },
	func(w world, r *placement.Request) { r.Groups[0].Zones = 1 + w.IntN(3) },
	func(w world, r *placement.Request) { r.Groups[0].Features = []string{pick(w, "ipv6", "anti-affinity")} },
	func(w world, r *placement.Request) { r.Groups[0].Kinds = []string{"block-storage"} },
	func(w world, r *placement.Request) {
		r.Not = []string{fmt.Sprintf("p%03d", w.IntN(10)), fmt.Sprintf("r%03d", w.IntN(20))}
	},
	func(w world, r *placement.Request) { r.Groups[0].In = []string{pick(w, "a", "b")} },
	func(w world, r *placement.Request) {
		r.Policies = append(r.Policies, placement.PolicyUse{Policy: &policy.Policy{Name: "where", Version: 1, Rule: pick(w, `region.country in geo.eu`, `region.country == "FR" || provider.hq_country == "FR"`, `now < timestamp("2026-12-01T00:00:00Z") && region.country != "US"`)}})
	},
	func(w world, r *placement.Request) {
		r.Policies = append(r.Policies, placement.PolicyUse{
			Policy: &policy.Policy{
				Name: "whose", Version: 2, Rule: `provider.owner_chain.all(c, c in geo.eea) && region.pue < request.pue`, SEAL: map[string]int64{"sov5": int64(w.IntN(3))},
				Parameters: map[string]policy.Parameter{"pue": {Type: "double", Default: json.RawMessage("1.9")}}, Evidence: map[string]policy.Level{"provider.*": policy.Contract},
			},
			Parameters: map[string]json.RawMessage{"pue": json.RawMessage(fmt.Sprint(1.2 + float64(w.IntN(8))/10))},
		})
	},
	func(w world, r *placement.Request) {
		r.Policies = append(r.Policies, placement.PolicyUse{Policy: &policy.Policy{Name: "cert", Version: 1, Rule: `certs.exists(c, c.scheme == "hds" && "2" in c.activities)`}})
	},
}

// request makes one, with about half of the constraints; it tells which.
func (w world) request() (placement.Request, []int) {
	r := placement.Request{
		Now: placement.Tick(november.Add(time.Duration(w.IntN(10_000)) * time.Minute)), Term: offer.Term(time.Duration(1+w.IntN(2000)) * time.Hour),
		Groups: []placement.Group{{Name: "web", Copies: 1 + w.IntN(2), Needs: []offer.Need{
			{Kind: offer.Instance, SKU: "seca.d2xs", Count: 1 + w.Int64N(3)}, {Kind: offer.Volume, SKU: "seca.rd100", Count: 1, GiB: 1 + w.Int64N(300)},
		}}},
		Near:    &placement.Near{Place: pick(w, "Lyon", "Oslo", "Bath"), At: lyon},
		Weights: placement.Weights{Price: w.Int64N(10), Latency: w.Int64N(5), Carbon: w.Int64N(3), SEAL: w.Int64N(3), Reliability: w.Int64N(2)},
		Silent:  w.IntN(2) == 0, Current: fmt.Sprintf("r%03d", w.IntN(10)), Stay: w.Int64N(20),
	}
	if w.IntN(3) == 0 {
		r.Groups = append(r.Groups, placement.Group{Name: "standby", Needs: []offer.Need{{Kind: offer.Volume, SKU: "ssd", Count: 1, GiB: 10}}})
	}
	if w.IntN(2) == 0 {
		r.Spread = []placement.Spread{{Over: pick(w, "owner", "country", "region", "provider"), Max: 1 + w.IntN(2)}}
	}
	var chosen []int
	for i := range constraints {
		if w.IntN(5) < 2 {
			chosen = append(chosen, i)
		}
	}
	return r, chosen
}

func constrained(seed uint64, r placement.Request, which []int) placement.Request {
	r.Groups, r.Policies, r.Not = slices.Clone(r.Groups), nil, nil
	near := *r.Near
	r.Near = &near
	for _, i := range which {
		constraints[i](newWorld(seed+uint64(i)*1000), &r) // the same whatever else is there
	}
	return r
}

func market(t testing.TB, w world, data *policy.Data, n int) (*placement.Market, []placement.Candidate) {
	t.Helper()
	all := make([]placement.Candidate, n)
	for i := range all {
		all[i] = w.candidate(i)
	}
	m, err := placement.NewMarket(data, all...)
	if err != nil {
		t.Fatal(err)
	}
	return m, all
}

func allowed(d *placement.Decision) map[string]bool {
	all := map[string]bool{}
	for _, a := range d.Allowed {
		all[a.Group+"/"+a.Region] = true
	}
	return all
}

// TestDecisionsReplay makes 10,000 random decisions and makes them again to the byte: by an engine that knows nothing
// from an archive as after a restart, and from a file as on another machine.
func TestDecisionsReplay(t *testing.T) {
	const markets, each = 100, 100
	data, engine := builtin(t), &placement.Engine{}
	var archive placement.Bundle
	chosen, refused := 0, 0
	for i := range uint64(markets) {
		w := newWorld(i)
		m, _ := market(t, w, data, 8+w.IntN(8))
		for j := range uint64(each) {
			r, which := w.request()
			r = constrained(i*each+j, r, which)
			d, err := engine.Decide(m, r)
			if err != nil {
				t.Fatal(err)
			}
			inputs, err := engine.Inputs(m, r)
			if err != nil {
				t.Fatal(err)
			}
			archive.Add(d.Append(nil), inputs...)
			if d.Problem == nil {
				chosen++
			} else {
				refused++
			}
		}
	}
	if len(archive.Records) != markets*each || chosen < 500 || refused < 500 {
		t.Fatalf("the trial says little: %d decisions, %d with a place, %d without", len(archive.Records), chosen, refused)
	}
	var file bytes.Buffer
	if _, err := archive.WriteTo(&file); err != nil {
		t.Fatal(err)
	}
	elsewhere, err := placement.ReadBundle(&file)
	if err != nil || len(elsewhere.Records) != len(archive.Records) {
		t.Fatalf("%d records in the file, %v", len(elsewhere.Records), err)
	}
	for _, b := range []*placement.Bundle{&archive, elsewhere} {
		replayer := placement.NewReplayer(b)
		for i, record := range b.Records {
			if _, err := replayer.Replay(record); err != nil {
				t.Fatalf("decision %d: %v", i, err)
			}
		}
	}
}

// TestWhatWasJustChosenLacksNothing reviews decisions on the market that they were made on.
func TestWhatWasJustChosenLacksNothing(t *testing.T) {
	data, placed := builtin(t), 0
	for seed := range uint64(300) {
		w, e := newWorld(seed), &placement.Engine{}
		m, _ := market(t, w, data, 20)
		r, which := w.request()
		r = constrained(seed, r, which[:len(which)/2])
		d, err := e.Decide(m, r)
		if err != nil {
			t.Fatal(err)
		}
		reviewed, err := e.Review(m, r, d.Chosen)
		if err != nil {
			t.Fatal(err)
		}
		for _, x := range reviewed {
			if placed++; len(x.Misses) > 0 {
				t.Errorf("world %d: %s was chosen, and lacks %s", seed, x.Region, x.Misses[0])
			}
		}
		for _, x := range d.Excluded { // and nothing that was excluded by a rule is let in
			reviewed, err := e.Review(m, r, []placement.Placement{{Group: x.Group, Region: x.Region, Provider: x.Provider}})
			if err != nil {
				t.Fatal(err)
			}
			lacks := func(all []placement.Miss) bool {
				return slices.ContainsFunc(all, func(m placement.Miss) bool { return m.Dimension == policy.Rule })
			}
			if lacks(x.Misses) != lacks(reviewed[0].Misses) {
				t.Errorf("world %d: %s lacks %v, by its review %v", seed, x.Region, x.Misses, reviewed[0].Misses)
			}
		}
	}
	if placed < 50 {
		t.Errorf("%d places: the worlds are no test", placed)
	}
}

// TestForgeriesAreSeen changes a record, an input, and what a record says of its inputs.
func TestForgeriesAreSeen(t *testing.T) {
	m, err := placement.NewMarket(builtin(t), right())
	if err != nil {
		t.Fatal(err)
	}
	engine := &placement.Engine{}
	d, err := engine.Decide(m, wanted())
	if err != nil {
		t.Fatal(err)
	}
	inputs, err := engine.Inputs(m, wanted())
	if err != nil {
		t.Fatal(err)
	}
	record := d.Append(nil)
	var b placement.Bundle
	b.Add(record, inputs...)
	if _, err := placement.NewReplayer(&b).Replay(record); err != nil {
		t.Fatal(err)
	}
	for _, c := range []struct{ old, new string }{
		{`"region":"fr-lyon-rhone"`, `"region":"fr-lyon-spree"`},
		{`"hourly":54`, `"hourly":53`},
		{`"chosen":[`, `"chosen": [`},
		{`"engine":1`, `"engine":2`},
		{d.Request.String(), d.Market.String()},
	} {
		forged := bytes.Replace(record, []byte(c.old), []byte(c.new), 1)
		if bytes.Equal(forged, record) {
			t.Errorf("%s is not in the record", c.old)
		}
		if _, err := placement.NewReplayer(&b).Replay(forged); err == nil {
			t.Errorf("%s became %s unseen", c.old, c.new)
		}
	}
	for i, in := range inputs {
		var forged placement.Bundle
		other := slices.Clone(inputs)
		other[i].Body = bytes.Replace(in.Body, []byte("1"), []byte("2"), 1)
		forged.Add(record, other...)
		if _, err := placement.NewReplayer(&forged).Replay(record); err == nil {
			t.Errorf("another %s was taken for the one that decided", in.Kind)
		}
	}
}

// TestOrderOfInputsMeansNothing shuffles candidates, claims, offers, groups, policies.
func TestOrderOfInputsMeansNothing(t *testing.T) {
	data := builtin(t)
	for seed := range uint64(300) {
		w := newWorld(seed)
		m, all := market(t, w, data, 10)
		r, which := w.request()
		r = constrained(seed, r, which)
		d, err := new(placement.Engine).Decide(m, r)
		if err != nil {
			t.Fatal(err)
		}
		shuffle(w, all)
		for i := range all {
			all[i].Claims, all[i].Offers, all[i].Services = shuffled(w, all[i].Claims), shuffled(w, all[i].Offers), shuffled(w, all[i].Services)
			all[i].State.Zones, all[i].State.Features = shuffled(w, all[i].State.Zones), shuffled(w, all[i].State.Features)
		}
		r.Groups, r.Policies, r.Not, r.Spread = shuffled(w, r.Groups), shuffled(w, r.Policies), shuffled(w, r.Not), shuffled(w, r.Spread)
		for i := range r.Groups {
			r.Groups[i].Needs = shuffled(w, r.Groups[i].Needs)
		}
		cut := w.IntN(len(all))
		other, err := placement.NewMarket(data, all[:cut]...) // the rest comes later
		if err != nil {
			t.Fatal(err)
		}
		if other, err = other.With(all[cut:]...); err != nil {
			t.Fatal(err)
		}
		again, err := new(placement.Engine).Decide(other, r)
		if err != nil || !bytes.Equal(again.Append(nil), d.Append(nil)) {
			t.Fatalf("seed %d: %v\n%s\n%s", seed, err, d.Append(nil), again.Append(nil))
		}
	}
}

func shuffle[T any](w world, all []T) {
	w.Shuffle(len(all), func(i, j int) { all[i], all[j] = all[j], all[i] })
}

func shuffled[T any](w world, all []T) []T {
	all = slices.Clone(all)
	shuffle(w, all)
	return all
}

// TestNewProvidersForbidNothing adds one and compares what is allowed.
func TestNewProvidersForbidNothing(t *testing.T) {
	data := builtin(t)
	engine := &placement.Engine{}
	admitted := 0
	for seed := range uint64(300) {
		w := newWorld(seed)
		m, _ := market(t, w, data, 8)
		r, which := w.request()
		r = constrained(seed, r, which)
		before, err := engine.Decide(m, r)
		if err != nil {
			t.Fatal(err)
		}
		more, err := m.With(w.candidate(8), w.candidate(9))
		if err != nil {
			t.Fatal(err)
		}
		after, err := engine.Decide(more, r)
		if err != nil {
			t.Fatal(err)
		}
		for name := range allowed(before) {
			if !allowed(after)[name] {
				t.Fatalf("seed %d: %s was allowed before others came", seed, name)
			}
			admitted++
		}
		if before.Problem == nil && after.Problem != nil && !after.Cut {
			t.Fatalf("seed %d: there was a place before others came: %v", seed, after.Problem)
		}
	}
	if admitted < 100 {
		t.Errorf("the trial says little: %d were allowed", admitted)
	}
}

// TestFewerConstraintsAllowMore gives each up in turn.
func TestFewerConstraintsAllowMore(t *testing.T) {
	data := builtin(t)
	engine := &placement.Engine{}
	grown := 0
	for seed := range uint64(200) {
		w := newWorld(seed)
		m, _ := market(t, w, data, 12)
		r, which := w.request()
		strict, err := engine.Decide(m, constrained(seed, r, which))
		if err != nil {
			t.Fatal(err)
		}
		for i := range which {
			fewer := slices.Delete(slices.Clone(which), i, i+1)
			loose, err := engine.Decide(m, constrained(seed, r, fewer))
			if err != nil {
				t.Fatal(err)
			}
			for name := range allowed(strict) {
				if !allowed(loose)[name] {
					t.Fatalf("seed %d: %s is forbidden without constraint %d", seed, name, which[i])
				}
			}
			if len(loose.Allowed) > len(strict.Allowed) {
				grown++
			}
		}
	}
	if grown < 50 {
		t.Errorf("the trial says little: giving up a constraint allowed more %d times", grown)
	}
}

// TestMemoryChangesNoDecision compares an engine that has decided much, on markets that changed bit by
// bit, with one that knows nothing.
func TestMemoryChangesNoDecision(t *testing.T) {
	data := builtin(t)
	old := &placement.Engine{}
	w := newWorld(7)
	m, _ := market(t, w, data, 10)
	for i := range uint64(300) {
		var err error
		if m, err = m.With(w.candidate(w.IntN(12))); err != nil {
			t.Fatal(err)
		}
		if w.IntN(10) == 0 {
			m = m.Without(fmt.Sprintf("r%03d", w.IntN(12)))
		}
		r, which := w.request()
		r = constrained(i%20, r, which)
		a, err := old.Decide(m, r)
		if err != nil {
			t.Fatal(err)
		}
		b, err := new(placement.Engine).Decide(m, r)
		if err != nil || !bytes.Equal(a.Append(nil), b.Append(nil)) {
			t.Fatalf("decision %d: %v\n%s\n%s", i, err, a.Append(nil), b.Append(nil))
		}
	}
}

// TestManyDecideAtOnce has one engine used by many while the market changes, policies come and the
// clock goes on.
func TestManyDecideAtOnce(t *testing.T) {
	data, engine := builtin(t), &placement.Engine{}
	m, _ := market(t, newWorld(3), data, 10)
	var group errgroup.Group
	for worker := range uint64(8) {
		group.Go(func() error {
			w, mine := newWorld(worker), m
			for i := range uint64(40) {
				var err error
				if mine, err = mine.With(w.candidate(w.IntN(80))); err != nil {
					return err
				}
				r, which := w.request()
				r = constrained(i%5, r, which)
				a, err := engine.Decide(mine, r)
				if err != nil {
					return err
				}
				b, err := new(placement.Engine).Decide(mine, r)
				if err != nil {
					return err
				}
				if !bytes.Equal(a.Append(nil), b.Append(nil)) {
					return fmt.Errorf("worker %d, decision %d: an engine that others use decides otherwise", worker, i)
				}
			}
			return nil
		})
	}
	if err := group.Wait(); err != nil {
		t.Error(err)
	}
}
