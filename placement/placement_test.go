package placement_test

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/money"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/placement"
	"github.com/kontor-cloud/kontor/policy"
)

var (
	november = time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	lyon     = placement.Point{Lat: 45_760_000, Lon: 4_840_000}
	berlin   = placement.Point{Lat: 52_520_000, Lon: 13_400_000}
)

func builtin(t testing.TB) *policy.Data {
	t.Helper()
	d, err := policy.Builtin()
	if err != nil {
		t.Fatal(err)
	}
	return d
}

func claim(attribute string, value any, level policy.Level) policy.Claim {
	b, err := json.Marshal(value)
	if err != nil {
		panic(err)
	}
	return policy.Claim{Attribute: attribute, Value: b, Evidence: policy.Evidence{Level: level, Until: november.AddDate(1, 0, 0)}}
}

func euros(s string) money.Amount {
	a, err := money.Parse(s, money.EUR)
	if err != nil {
		panic(err)
	}
	return a
}

// right is a candidate that fulfils what wanted asks for.
func right() placement.Candidate {
	return placement.Candidate{
		Profile: placement.Profile{
			Region: "fr-lyon-rhone", Provider: "rhone", Owner: "Rhône SARL", Country: "FR", At: &lyon,
			Claims: []policy.Claim{
				claim("region.country", "FR", policy.Contract),
				claim("provider.owner_chain", []string{"FR"}, policy.ThirdParty),
				claim("seal.sov5", 3, policy.ThirdParty),
				claim("region.carbon_gco2e_kwh", 40, policy.ThirdParty),
			},
			Services: []placement.Service{{ID: "vm", Kind: "iaas-vm"}},
			Sheet:    placement.SheetRef{Version: 3, ValidFrom: november.AddDate(0, -1, 0), ValidUntil: november.AddDate(1, 0, 0)},
			Offers: []placement.Offer{
				{Rate: offer.Rate{Kind: offer.Instance, SKU: "rhone.small", As: "seca.d2xs", Price: euros("0.04")}, VCPU: 2, RAMGiB: 4},
				{Rate: offer.Rate{Kind: offer.Volume, SKU: "rhone.ssd", As: "seca.rd100", Price: euros("0.073")}},
				{Rate: offer.Rate{Kind: offer.PublicIP, Price: euros("0.004")}},
			},
		},
		State: placement.State{
			Liveness: "alive", Zones: []string{"a", "b"}, Kinds: []string{"instance", "block-storage"}, Features: []string{"anti-affinity"},
			Free: placement.Capacity{VCPU: new(int64(4)), RAMGiB: new(int64(64)), DiskGiB: new(int64(1000)), PublicIPs: new(int64(1))}, Reliability: new(int64(999_900)), Start: 60,
		},
	}
}

func wanted() placement.Request {
	price, budget := euros("0.06"), euros("50")
	return placement.Request{
		Now: november,
		Groups: []placement.Group{{
			Name: "web", Needs: []offer.Need{{Kind: offer.Instance, SKU: "seca.d2xs", Count: 1}, {Kind: offer.Volume, SKU: "seca.rd100", Count: 1, GiB: 100}, {Kind: offer.PublicIP, Count: 1}},
			Zones: 2, Kinds: []string{"instance"}, Features: []string{"anti-affinity"},
		}},
		Policies: []placement.PolicyUse{{Policy: &policy.Policy{
			Name: "ours", Version: 1, Rule: `provider.owner_chain.all(c, c in geo.eea) && region.country in geo.eu`,
			Evidence: map[string]policy.Level{"provider.owner_chain": policy.ThirdParty}, SEAL: map[string]int64{"sov5": 2},
		}}},
		MaxPrice: &price, Budget: &budget, Deadline: november.AddDate(0, 2, 0), MinReliability: 999_000,
		Near: &placement.Near{Place: "Lyon", At: lyon, Max: 10_000},
	}
}

func decide(t testing.TB, r placement.Request, all ...placement.Candidate) *placement.Decision {
	t.Helper()
	m, err := placement.NewMarket(builtin(t), all...)
	if err != nil {
		t.Fatal(err)
	}
	d, err := new(placement.Engine).Decide(m, r)
	if err != nil {
		t.Fatal(err)
	}
	if again, err := placement.Parse(d.Append(nil)); err != nil || string(again.Append(nil)) != string(d.Append(nil)) {
		t.Fatalf("a record does not come back: %v\n%s", err, d.Append(nil))
	}
	return d
}

// violations are one wrong thing each, what is said of it, and what must be given up so that it does not matter.
var violations = []struct {
	name    string
	spoil   func(*placement.Candidate)
	want    string
	relaxed func(*placement.Request)
}{
	{
		"owner", func(c *placement.Candidate) {
			c.Claims[1] = claim("provider.owner_chain", []string{"FR", "US"}, policy.ThirdParty)
		},
		`rule ours: ours: needed provider.owner_chain.all(c, c in geo.eea), had provider.owner_chain = ["FR","US"]`,
		func(r *placement.Request) { r.Policies[0].Policy.Rule = "region.country in geo.eu" },
	},
	{
		"evidence", func(c *placement.Candidate) {
			c.Claims[1] = claim("provider.owner_chain", []string{"FR"}, policy.Contract)
		},
		`evidence ours: provider.owner_chain: needed a value, third-party or better, had ["FR"], contract`,
		func(r *placement.Request) { r.Policies[0].Policy.Evidence = nil },
	},
	{
		"fact", func(c *placement.Candidate) { c.Claims[0] = claim("region.climate", "cool", policy.Contract) },
		`fact ours: region.country: needed a value, self-declared or better, had nothing`,
		func(r *placement.Request) { r.Policies[0].Policy.Rule = "provider.owner_chain.all(c, c in geo.eea)" },
	},
	{
		"seal", func(c *placement.Candidate) { c.Claims[2] = claim("seal.sov5", 1, policy.ThirdParty) },
		"seal ours: seal.sov5: needed at least 2, had 1", func(r *placement.Request) { r.Policies[0].Policy.SEAL = nil },
	},
	{
		"price", func(c *placement.Candidate) { c.Offers[0].Price = euros("0.05") },
		"price hour: needed at most 0.06 EUR, had 0.064 EUR", func(r *placement.Request) { r.MaxPrice = nil },
	},
	{
		"budget", func(c *placement.Candidate) { c.Offers[0].Minimum = offer.Term(1000 * time.Hour) },
		"budget term: needed at most 50.00 EUR, had 50.22 EUR", func(r *placement.Request) { r.Budget = nil },
	},
	{
		"latency", func(c *placement.Candidate) { c.At = &berlin },
		"latency Lyon (by distance): needed at most 10.0 ms, had ", func(r *placement.Request) { r.Near.Max = 0 },
	},
	{
		"measured latency", func(c *placement.Candidate) { c.State.RTT = map[string]int64{"Lyon": 10_001} },
		"latency Lyon: needed at most 10.0 ms, had 10.001 ms", func(r *placement.Request) { r.Near.Max = 0 },
	},
	{
		"capacity", func(c *placement.Candidate) { c.State.Free.VCPU = new(int64(1)) },
		"capacity vCPU: needed 2, had 1", nil,
	},
	{
		"health", func(c *placement.Candidate) { c.State.Liveness = "silent" },
		"health agent: needed alive, had silent", func(r *placement.Request) { r.Silent = true },
	},
	{
		"driver", func(c *placement.Candidate) { c.State.Features = nil },
		"capability driver: needed anti-affinity, had none", func(r *placement.Request) { r.Groups[0].Features = nil },
	},
	{
		"platform", func(c *placement.Candidate) { c.State.Kinds = []string{"block-storage"} },
		"capability platform: needed keeps instance, had does not", func(r *placement.Request) { r.Groups[0].Kinds = nil },
	},
	{
		"zones", func(c *placement.Candidate) { c.State.Zones = []string{"a"} },
		"zones zones: needed at least 2, had 1", func(r *placement.Request) { r.Groups[0].Zones = 0 },
	},
	{
		"reliability", func(c *placement.Candidate) { c.State.Reliability = new(int64(998_000)) },
		"reliability uptime: needed at least 99.90 %, had 99.80 %", func(r *placement.Request) { r.MinReliability = 0 },
	},
	{
		"deadline", func(c *placement.Candidate) { c.State.Start = 40 * 86400 },
		"deadline end: needed 2027-01-26T12:00:00Z, had 2027-02-0", func(r *placement.Request) { r.Deadline = time.Time{} },
	},
	{
		"offer", func(c *placement.Candidate) { c.Offers[0].As = "seca.d4xs" },
		"offer instance seca.d2xs: needed on sale, had none", nil,
	},
	{
		"validity", func(c *placement.Candidate) { c.Sheet.ValidUntil = november },
		"validity price sheet: needed 2026-11-26T12:00:00Z, had until 2026-11-26T12:00:00Z", nil,
	},
	{
		"choice", func(c *placement.Candidate) { c.Provider = "spree" },
		"choice region: needed none of those excluded, had x-choice of spree", func(r *placement.Request) { r.Not = nil },
	},
}

// TestOneViolationEach has one right candidate and others that are wrong in one thing each: each is
// refused for just that, and giving that up admits just that one.
func TestOneViolationEach(t *testing.T) {
	all := []placement.Candidate{right()}
	for _, v := range violations {
		c := right()
		c.Region = "x-" + v.name
		c.Claims = slices.Clone(c.Claims)
		c.Offers = slices.Clone(c.Offers)
		v.spoil(&c)
		all = append(all, c)
	}
	request := func() placement.Request {
		r := wanted()
		r.Not = []string{"spree"}
		return r
	}
	d := decide(t, request(), all...)
	if len(d.Chosen) != 1 || d.Chosen[0].Region != "fr-lyon-rhone" || len(d.Allowed) != 1 || d.Hourly != euros("0.054").Nano {
		t.Fatalf("chosen %+v of %+v for %d", d.Chosen, d.Allowed, d.Hourly)
	}
	why := map[string][]placement.Miss{}
	for _, x := range d.Excluded {
		why[x.Region] = x.Misses
	}
	for _, v := range violations {
		misses := why["x-"+v.name]
		if len(misses) != 1 || !strings.HasPrefix(misses[0].String(), v.want) {
			t.Errorf("%s: refused for %v\nwant %s", v.name, misses, v.want)
		}
		if v.relaxed == nil {
			continue
		}
		r := request()
		v.relaxed(&r)
		admitted := map[string]bool{}
		for _, a := range decide(t, r, all...).Allowed {
			admitted[a.Region] = true
		}
		same := strings.Contains(v.name, "latency") // two lack that
		if !admitted["x-"+v.name] || len(admitted) != 2 && !same || len(admitted) > 3 {
			t.Errorf("without the constraint of %s: %v", v.name, admitted)
		}
	}
}

func TestWeights(t *testing.T) {
	cheap, near, clean := right(), right(), right()
	cheap.Region, near.Region, clean.Region = "a-cheap", "b-near", "c-clean"
	cheap.Offers = slices.Clone(cheap.Offers)
	cheap.Offers[0].Price = euros("0.03")
	near.State.RTT = map[string]int64{"Lyon": 500}
	clean.Claims = slices.Clone(clean.Claims)
	clean.Claims[3] = claim("region.carbon_gco2e_kwh", 5, policy.ThirdParty)
	for want, w := range map[string]placement.Weights{
		"a-cheap": {}, "b-near": {Latency: 1}, "c-clean": {Carbon: 1, Latency: 0},
	} {
		r := wanted()
		r.Weights = w
		if d := decide(t, r, near, clean, cheap); d.Chosen[0].Region != want {
			t.Errorf("%+v chooses %s: %+v", w, d.Chosen[0].Region, d.Allowed)
		}
	}
	r := wanted()
	r.Current, r.Stay = "b-near", 30
	if d := decide(t, r, near, clean, cheap); d.Chosen[0].Region != "b-near" {
		t.Errorf("it moves for 23 %%: %+v", d.Allowed)
	}
}

func TestSpread(t *testing.T) {
	var all []placement.Candidate
	for i, place := range []struct{ owner, country, price string }{{"A", "FR", "0.01"}, {"A", "DE", "0.011"}, {"B", "FR", "0.02"}, {"C", "DE", "0.03"}} {
		c := right()
		c.Region, c.Owner, c.Country = fmt.Sprintf("r%d", i), place.owner, place.country
		c.Offers = slices.Clone(c.Offers)
		c.Offers[0].Price = euros(place.price)
		all = append(all, c)
	}
	request := func(copies int, spread ...placement.Spread) placement.Request {
		r := wanted()
		r.MaxPrice, r.Budget, r.Spread = nil, nil, spread
		r.Groups[0].Copies = copies
		return r
	}
	for _, c := range []struct {
		r    placement.Request
		want string
	}{
		{request(1), "r0"},
		{request(2, placement.Spread{Over: "region", Max: 1}), "r0 r1"},
		{request(2, placement.Spread{Over: "owner", Max: 1}), "r0 r2"},
		{request(2, placement.Spread{Over: "owner", Max: 1}, placement.Spread{Over: "country", Max: 1}), "r1 r2"}, // not the first of all, and better than r0 r3
		{request(3, placement.Spread{Over: "owner", Max: 1}), "r0 r2 r3"},
		{request(3, placement.Spread{Over: "region", Max: 2}), "spread copies: needed places for all within capacity, price and spread, had none found"}, // one public address each
		{request(4, placement.Spread{Over: "owner", Max: 1}), "spread owner: needed at least 4, had 3"},
	} {
		if c.want[0] == 's' && c.r.Groups[0].Copies == 3 {
			c.r.Only = []string{"r0", "r1"}
		}
		d := decide(t, c.r, all...)
		var got []string
		for _, p := range d.Chosen {
			got = append(got, p.Region)
		}
		slices.Sort(got)
		if d.Problem != nil {
			got = []string{d.Problem.String()}
		}
		if strings.Join(got, " ") != c.want {
			t.Errorf("%d copies over %v: %v, want %s", c.r.Groups[0].Copies, c.r.Spread, got, c.want)
		}
	}
}

func TestTogetherItMayCostTooMuch(t *testing.T) {
	r := wanted()
	r.Groups[0].Copies = 2
	r.Spread = []placement.Spread{{Over: "region", Max: 1}}
	other := right()
	other.Region = "fr-paris-rhone"
	d := decide(t, r, right(), other)
	if d.Problem == nil || d.Problem.String() != "together hour: needed at most 0.06 EUR, had at least 0.108 EUR" || d.Problem.Over != 800 {
		t.Errorf("%v %+v", d.Problem, d.Chosen)
	}
}

// TestPoliciesOfOneName come in either order, as two versions or with two parameters.
func TestPoliciesOfOneName(t *testing.T) {
	use := func(country string) placement.PolicyUse {
		return placement.PolicyUse{
			Policy:     &policy.Policy{Name: "in", Version: 1, Rule: "region.country == request.country", Parameters: map[string]policy.Parameter{"country": {Type: "string"}}},
			Parameters: map[string]json.RawMessage{"country": json.RawMessage(`"` + country + `"`)},
		}
	}
	r, other := wanted(), wanted()
	r.Policies, other.Policies = []placement.PolicyUse{use("DE"), use("IT")}, []placement.PolicyUse{use("IT"), use("DE")}
	a, b := decide(t, r, right()), decide(t, other, right())
	if string(a.Append(nil)) != string(b.Append(nil)) || len(a.Excluded) != 1 {
		t.Errorf("%s\n%s", a.Append(nil), b.Append(nil))
	}
}

func TestNobody(t *testing.T) {
	d := decide(t, wanted())
	if d.Problem == nil || d.Problem.Dimension != placement.NoCandidate || len(d.Chosen) != 0 {
		t.Errorf("%+v", d)
	}
}

func TestWrongRequestsAreRefused(t *testing.T) {
	m, err := placement.NewMarket(builtin(t), right())
	if err != nil {
		t.Fatal(err)
	}
	for want, spoil := range map[string]func(*placement.Request){
		"now must be said":          func(r *placement.Request) { r.Now = time.Time{} },
		"groups must be 1 to 20":    func(r *placement.Request) { r.Groups = nil },
		"groups.0.needs.0.count":    func(r *placement.Request) { r.Groups[0].Needs[0].Count = 0 },
		"groups.0.needs.0.sku":      func(r *placement.Request) { r.Groups[0].Needs[0].SKU = "" },
		"more than 20 copies":       func(r *placement.Request) { r.Groups = append(r.Groups, r.Groups[0]); r.Groups[1].Copies = 20 },
		"spread.0.over must be one": func(r *placement.Request) { r.Spread = []placement.Spread{{Over: "planet", Max: 1}} },
		"maxPrice must be in EUR":   func(r *placement.Request) { r.MaxPrice = &money.Amount{Nano: 1, Currency: "SEK"} },
		"weights.seal must be":      func(r *placement.Request) { r.Weights.SEAL = 101 },
		"undefined field 'contry'":  func(r *placement.Request) { r.Policies[0].Policy.Rule = "region.contry == 'x'" },
		"is no parameter of ours": func(r *placement.Request) {
			r.Policies[0].Parameters = map[string]json.RawMessage{"x": json.RawMessage("1")}
		},
		"near.at must be in million": func(r *placement.Request) { r.Near.At.Lat = 95_000_000 },
	} {
		r := wanted()
		spoil(&r)
		if _, err := new(placement.Engine).Decide(m, r); err == nil || !strings.Contains(err.Error(), want) {
			t.Errorf("%v; want %s", err, want)
		}
	}
}
