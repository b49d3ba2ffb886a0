package market

import (
	"cmp"
	"encoding/json"
	"fmt"
	"slices"
	"strconv"
	"strings"
	"testing"
	"time"

	gocmp "github.com/google/go-cmp/cmp"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/money"
	"github.com/kontor-cloud/kontor/placement"
	"github.com/kontor-cloud/kontor/policy"
	"github.com/kontor-cloud/kontor/tenant"
)

// ask has a tenant place something, whatever comes of it.
func (w *world) ask(t *testing.T, tenant string, r placement.Request) {
	t.Helper()
	if _, err := w.Place(t.Context(), tenant, r); err != nil && !slices.Contains([]fault.Kind{fault.Exhausted, fault.Unsupported}, fault.KindOf(err)) {
		t.Fatal(err)
	}
}

func (w *world) losses(t *testing.T, provider string) Losses {
	t.Helper()
	l, err := w.Losses(t.Context(), provider, time.Time{})
	if err != nil {
		t.Fatal(err)
	}
	return l
}

// lost is the row of a dimension; there must be one at most.
func (l Losses) lost(t *testing.T, d placement.Dimension) (row Loss) {
	t.Helper()
	for _, r := range l.Reasons {
		if r.Dimension == d {
			if row.Region != "" {
				t.Errorf("%s has two rows: %+v", d, l.Reasons)
			}
			row = r
		}
	}
	return row
}

// atMost is a request for a machine that may cost so much.
func atMost(price string) placement.Request {
	r := machines(1)
	most, err := money.Parse(price, money.EUR)
	if err != nil {
		panic(err)
	}
	r.MaxPrice = &most
	return r
}

// TestLossesAreOnesOwn has decisions that exclude a provider for reasons, one that chooses him, and
// wants his figures to say nothing of anybody else.
func TestLossesAreOnesOwn(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.region(t, "small", "FR", 2, "0.03")
		w.region(t, "large", "DE", 64, "0.04")
		elsewhere := machines(1)
		elsewhere.Only = []string{"large"}
		ruled := machines(1)
		ruled.Policies = []placement.PolicyUse{{Policy: &policy.Policy{Name: "acme-only-secret", Version: 1, Rule: `region.country == "XX"`}}}
		ruled.Near = &placement.Near{Place: "secret-place", At: placement.Point{Lat: 45_000_000, Lon: 4_000_000}, Max: 1}
		odd := machines(1)
		odd.Groups[0].Needs[0].SKU = "secret-size"
		odd.Groups[0].Kinds, odd.Groups[0].Features, odd.Groups[0].In = []string{"secret-kind"}, []string{"secret-feature"}, []string{"secret-zone"}
		for tenant, all := range map[string][]placement.Request{"acme": {machines(2), machines(1), ruled, odd}, "other": {machines(2), elsewhere}} {
			for _, r := range all {
				w.ask(t, tenant, r)
			}
		}
		got := w.losses(t, "small")
		by := map[placement.Dimension]int{}
		for _, r := range got.Reasons {
			by[r.Dimension] += r.Decisions
		}
		want := map[placement.Dimension]int{
			placement.Full: 2, placement.NotWanted: 1, policy.MissingFact: 1, placement.TooFar: 1, placement.NotOffered: 1, placement.Support: 1, placement.Zones: 1,
		}
		if d := gocmp.Diff(want, by); d != "" || got.Decisions != 6 || got.Chosen != 1 || got.Excluded != 5 || got.Outscored != 0 || got.Since.IsZero() {
			t.Errorf("%+v %s", got, d)
		}
		b, _ := json.Marshal(got)
		for _, word := range []string{"large", "acme", "other", "main", "secret", "XX"} {
			if strings.Contains(string(b), word) {
				t.Errorf("it tells %q: %s", word, b)
			}
		}
		if none := w.losses(t, "nobody"); none.Chosen+none.Excluded+len(none.Reasons) != 0 || none.Summary != "0 lost" {
			t.Errorf("somebody else has %+v", none)
		}
	})
}

// customers makes tenants and names them.
func (w *world) customers(t *testing.T, n int) (names []string) {
	t.Helper()
	tenants, err := tenant.Open(t.Context(), w.DB, w.Box, "test")
	if err != nil {
		t.Fatal(err)
	}
	for i := range n {
		name := "customer-" + strconv.Itoa(i)
		if err := tenants.CreateTenant(t.Context(), tenant.Tenant{Name: name}, nil); err != nil {
			t.Fatal(err)
		}
		names = append(names, name)
	}
	return names
}

// TestByHowMuchIsToldOfManyCustomersAlone has five customers with different limits, of whom the last one
// asks often; before he has come nothing is told.
func TestByHowMuchIsToldOfManyCustomersAlone(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.region(t, "dear", "FR", 64, "0.11")
		for i, name := range w.customers(t, 5) {
			if got := w.losses(t, "dear").lost(t, placement.TooDear); got.By != nil {
				t.Errorf("of %d customers: %+v", i, got.By)
			}
			for range 1 + i*i {
				w.ask(t, name, atMost([]string{"0.1", "0.109", "0.088", "0.055", "0.001"}[i])) // 10, 0.92, 25, 100 and 10,900 % too dear
			}
		}
		got := w.losses(t, "dear")
		want := Loss{
			Region: "dear", Dimension: placement.TooDear, Decisions: 35, Alone: 35,
			By: &Shortfall{Median: 25, From: 10, To: 100, Unit: "%"}, // neither 1 nor 10,900
		}
		if d := gocmp.Diff([]Loss{want}, got.Reasons); d != "" || got.Summary != "35 lost: 35 price, median 25 % too high" {
			t.Errorf("%s %s", got.Summary, d)
		}
	})
}

// TestEachMeasureHasItsUnit asks for more than a region has, in each dimension that is a number.
func TestEachMeasureHasItsUnit(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.region(t, "poor", "FR", 3, "0.10", claim("region.country", `"FR"`, policy.SelfDeclared), claim("region.pue", `1.2`, policy.Contract))
		seller := w.sellers.all[0]
		seller.Claims = []policy.Claim{claim("seal.sov5", `1`, policy.SelfDeclared), claim("seal.sov4", `1`, policy.ThirdParty)}
		w.sellers.set(seller)
		w.shelf.spoil()
		w.region(t, "rich", "DE", 64, "0.08")
		for i, name := range w.customers(t, 6) {
			n := int64(i)
			for _, change := range []func(*placement.Request){
				func(r *placement.Request) { r.Groups[0].Needs[0].Count = 4 + n },
				func(r *placement.Request) { b := money.Cents(100*(50+n), money.EUR); r.Budget = &b },
				func(r *placement.Request) { r.Groups[0].Zones = 3 },
				func(r *placement.Request) {
					r.Policies = []placement.PolicyUse{{Policy: &policy.Policy{Name: "x", Version: 1, Rule: "true", Evidence: map[string]policy.Level{"seal.sov5": policy.ThirdParty}}}}
				},
				func(r *placement.Request) {
					r.Policies = []placement.PolicyUse{{Policy: &policy.Policy{Name: "y", Version: 1, Rule: "true", SEAL: map[string]int64{"sov4": 3}}}}
				},
				func(r *placement.Request) {
					r.Policies = []placement.PolicyUse{{Policy: &policy.Policy{Name: "z", Version: 1, Rule: "region.wue < 1.0"}}}
				},
				func(r *placement.Request) {
					p, err := w.Data.Preset("eu-resident")
					if err != nil {
						t.Fatal(err)
					}
					p = &policy.Policy{Name: p.Name, Version: p.Version, Rule: `region.country == "XX"`}
					r.Policies = []placement.PolicyUse{{Policy: p}}
				},
				func(r *placement.Request) { r.Deadline = time.Now().Add(placement.Month - 5*time.Hour) },
				func(*placement.Request) {},
			} {
				r := machines(1)
				change(&r)
				w.ask(t, name, r)
			}
		}
		got := w.losses(t, "poor")
		var lines []string
		for _, r := range got.Reasons {
			by := ""
			if r.By != nil {
				by = fmt.Sprintf("%d %s", r.By.Median, r.By.Unit)
			}
			lines = append(lines, strings.Join([]string{string(r.Dimension), r.Subject, cmp.Or(r.Needed, "-"), cmp.Or(r.Had, "-"), strconv.Itoa(r.Decisions), by}, " | "))
		}
		slices.Sort(lines)
		want := []string{
			"budget |  | - | - | 6 | 38 %",
			"capacity | vCPU | - | - | 6 | 9 vCPU",
			"deadline |  | - | - | 6 | 5 h",
			"evidence | seal.sov5 | third-party | self-declared | 6 | ",
			"fact | region.wue | self-declared | nothing | 6 | ",
			"rule | eu-resident | - | - | 6 | ",
			"score |  | - | - | 6 | 25 %",
			"seal | seal.sov4 | - | - | 6 | 2 levels",
			"zones |  | - | - | 6 | 1 zones",
		}
		if d := gocmp.Diff(want, lines); d != "" || got.Excluded != 48 || got.Outscored != 6 {
			t.Errorf("%+v %s", got, d)
		}
		for _, words := range []string{"54 lost: 6 budget, median 38 % too high; 6 capacity, median 9 vCPU too little; ", "; and 5 more"} {
			if !strings.Contains(got.Summary, words) {
				t.Errorf("the summary is %q, without %q", got.Summary, words)
			}
		}
	})
}

// TestWordsOfLosses has each kind of reason said to people.
func TestWordsOfLosses(t *testing.T) {
	for want, l := range map[string]Loss{
		"no third-party evidence for seal.sov5":    {Dimension: policy.WeakEvidence, Subject: "seal.sov5", Needed: "third-party"},
		"nothing claimed as region.pue":            {Dimension: policy.MissingFact, Subject: "region.pue"},
		"rule of a customer":                       {Dimension: policy.Rule},
		"no offer of instance seca.d2xs":           {Dimension: placement.NotOffered, Subject: "instance seca.d2xs"},
		"seal.sov5 too low, median 2 levels short": {Dimension: policy.SEALTooLow, Subject: "seal.sov5", By: &Shortfall{Median: 2, Unit: "levels"}},
		"outscored, median 3 % cheaper":            {Dimension: byScore, By: &Shortfall{Median: -3, Unit: "%"}},
		"latency, median 12 ms too long":           {Dimension: placement.TooFar, By: &Shortfall{Median: 12, Unit: "ms"}},
		"tie":                                      {Dimension: placement.NotTied},
	} {
		if got := l.words(); got != want {
			t.Errorf("%q, want %q", got, want)
		}
	}
}

// TestLossesAreReadInPages has more decisions than a page, and wants each to be counted once, back to a moment and
// no further than the bound.
func TestLossesAreReadInPages(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.region(t, "dear", "FR", 64, "0.11")
		w.ask(t, "acme", atMost("0.1"))
		const n = 3*lookedPage + 7
		for i := range n - 1 { // copies of it, three at each moment, an hour apart
			if _, err := db.Exec(t.Context(), d, `
				INSERT INTO decision (id, tenant, record, key, signature, created_at)
				SELECT $1, tenant, record, key, signature, $2 FROM decision WHERE id NOT LIKE 'copy%'`,
				"copy"+strconv.Itoa(i), db.Micros(time.Now().Add(-time.Duration(i/3+1)*time.Hour))); err != nil {
				t.Fatal(err)
			}
		}
		if got := w.losses(t, "dear"); got.Decisions != n || got.Excluded != n || got.Cut || got.Since.After(time.Now().Add(-n/3*time.Hour)) {
			t.Errorf("%d decisions give %+v", n, got)
		}
		got, err := w.Losses(t.Context(), "dear", time.Now().Add(-10*time.Hour))
		if err != nil || got.Decisions < 1+10*3 || got.Decisions > 1+11*3 {
			t.Errorf("of ten hours: %+v, %v", got, err)
		}
		for i := range maxLooked {
			if _, err := db.Exec(t.Context(), d, `
				INSERT INTO decision (id, tenant, record, key, signature, created_at)
				SELECT $1, tenant, record, key, signature, 1 FROM decision WHERE id = 'copy1'`, "old"+strconv.Itoa(i)); err != nil {
				t.Fatal(err)
			}
		}
		if got := w.losses(t, "dear"); got.Decisions != maxLooked || !got.Cut {
			t.Errorf("of more than can be looked at: %d, cut %t", got.Decisions, got.Cut)
		}
	})
}
