package market

import (
	"context"
	"errors"
	"strconv"
	"strings"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/money"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/placement"
	"github.com/kontor-cloud/kontor/policy"
)

// governed asks for a machine with a volume, by a rule.
func governed(rule string) placement.Request {
	r := machines(1)
	r.Groups[0].Needs = append(r.Groups[0].Needs, offer.Need{Kind: offer.Volume, SKU: "seca.disk", Count: 2, GiB: 50})
	r.Policies = []placement.PolicyUse{{Policy: &policy.Policy{Name: "mine", Version: 1, Rule: rule}}}
	return r
}

// orders buys something.
func (w *world) orders(t *testing.T, r placement.Request) *Order {
	t.Helper()
	q, err := w.Quote(t.Context(), "acme", QuoteRequest{Request: r})
	if err != nil {
		t.Fatal(err)
	}
	o, err := w.Order(t.Context(), "acme", q.ID, nil)
	if err != nil {
		t.Fatal(err)
	}
	return o
}

// sweeps looks for drift, and gives what there is of acme.
func (w *world) sweeps(t *testing.T, now time.Time) []*Drift {
	t.Helper()
	if err := w.Sweep(t.Context(), now); err != nil {
		t.Fatal(err)
	}
	all, err := w.Drifts(t.Context(), "acme")
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// sheet changes the newest sheet of a seller, and publishes that as the next version.
func (w *world) sheet(name string, change func(*offer.Sheet)) {
	one := w.seller(name)
	next := *one.Sheets[len(one.Sheets)-1].Sheet
	next.Version++
	change(&next)
	one.Sheets = append(one.Sheets, offer.Published{Sheet: &next, At: time.Now()})
	w.sellers.set(one)
}

func (w *world) seller(name string) Seller {
	all, _ := w.sellers.Sellers(context.Background())
	for _, one := range all {
		if one.Name == name {
			one.Sheets = append([]offer.Published(nil), one.Sheets...)
			return one
		}
	}
	panic("no seller " + name)
}

func TestExpiredEvidenceIsDrift(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		audited := claim("region.pue", "1.2", policy.ThirdParty)
		audited.Until = time.Now().Add(30 * 24 * time.Hour).UTC()
		w.region(t, "cheap", "FR", 8, "0.04", audited)
		w.region(t, "dear", "DE", 8, "0.05", claim("region.pue", "1.3", policy.ThirdParty))
		w.sheet("cheap", func(s *offer.Sheet) {
			p := s.Regions["cheap"]
			p.Egress = &offer.Egress{GiB: 10_000_000, FreeGiB: 20} // 0.01 EUR
			s.Regions = map[string]offer.Prices{"cheap": p}
		})
		w.shelf.spoil()
		o := w.orders(t, governed(`region.pue < 1.5`))
		if all := w.sweeps(t, time.Now()); len(all) != 0 {
			t.Fatalf("it has drifted already: %+v", all[0])
		}
		later := audited.Until.Add(time.Minute)
		all := w.sweeps(t, later)
		if len(all) != 1 || all[0].Name != o.ID || all[0].Order != o.ID || len(all[0].Reasons) != 1 {
			t.Fatalf("drifted: %+v", all)
		}
		got := all[0]
		if r := got.Reasons[0]; r.Region != "cheap" || r.Dimension != policy.WeakEvidence || !strings.Contains(r.Subject, "region.pue") {
			t.Errorf("as %+v", r)
		}
		if len(got.Plan.Moves) != 1 {
			t.Fatalf("plan %+v", got.Plan)
		}
		m := got.Plan.Moves[0]
		if m.From != "cheap" || m.To != "dear" || m.GiB != 100 || m.Egress == nil || m.Egress.String() != "0.80 EUR" || got.Plan.Once.String() != "0.80 EUR" {
			t.Errorf("plan %+v", m)
		}
		if before, after := got.Plan.Hourly.Nano, got.Plan.After.Nano; after-before != 10_000_000 { // a machine is a cent dearer there
			t.Errorf("it costs %s and then %s", got.Plan.Hourly, got.Plan.After)
		}
		if again := w.sweeps(t, later.Add(time.Hour)); !again[0].Since.Equal(got.Since) {
			t.Errorf("since %s, then since %s", got.Since, again[0].Since)
		}
		if _, err := w.FindDrift(t.Context(), "other", o.ID); !errors.Is(err, fault.Missing) {
			t.Errorf("another tenant sees it: %v", err)
		}
		w.sell(t, "cheap", "0.04", 3, claim("region.pue", "1.2", policy.ThirdParty))
		if all := w.sweeps(t, later.Add(time.Hour)); len(all) != 0 {
			t.Errorf("it is well again, but for %+v", all[0].Reasons)
		}
	})
}

func TestAnOwnerThatChangesIsDrift(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		for i, name := range []string{"a", "b", "c"} {
			w.region(t, name, "FR", 8, "0.0"+strconv.Itoa(i+4), claim("provider.ultimate_owner_country", `"FR"`, policy.Contract))
		}
		lone := w.orders(t, governed(`provider.ultimate_owner_country in geo.eu`))
		apart := governed("true")
		apart.Groups[0].Copies = 2
		apart.Spread = []placement.Spread{{Over: "owner", Max: 1}}
		pair := w.orders(t, apart) // at a and b
		sold := w.seller("a")
		sold.Owner = "b-holding"
		w.sellers.set(sold)
		all := w.sweeps(t, time.Now())
		if len(all) != 2 {
			t.Fatalf("%d have drifted", len(all))
		}
		for _, x := range all {
			switch x.Name {
			case lone.ID: // its rule knows no names
				if len(x.Reasons) != 1 || x.Reasons[0].Dimension != OwnerChanged || x.Reasons[0].Needed != "a-holding" || x.Reasons[0].Had != "b-holding" || len(x.Plan.Moves) != 0 || x.Plan.Problem != "" {
					t.Errorf("alone: %+v", x)
				}
			case pair.ID:
				if x.Summary() != "owner, spread" || len(x.Plan.Moves) != 1 || x.Plan.Moves[0].To != "c" {
					t.Errorf("two that must be apart: %s, %+v", x.Summary(), x.Plan)
				}
			}
		}
		sold.Regions = map[string][]policy.Claim{"a": {claim("provider.ultimate_owner_country", `"US"`, policy.Contract)}}
		w.sellers.set(sold)
		for _, x := range w.sweeps(t, time.Now()) {
			if x.Name == lone.ID && (x.Summary() != "owner, rule" && x.Summary() != "rule, owner" || len(x.Plan.Moves) != 1 || x.Plan.Moves[0].To != "b") {
				t.Errorf("owned elsewhere: %s, %+v", x.Summary(), x.Plan)
			}
		}
	})
}

func TestAPriceThatRisesIsDrift(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.region(t, "a", "FR", 8, "0.04")
		w.region(t, "b", "FR", 8, "0.05")
		free := w.orders(t, machines(1))
		r := machines(1)
		r.MaxPrice = &money.Amount{Nano: 50_000_000, Currency: money.EUR}
		bound := w.orders(t, r)
		w.sell(t, "a", "0.03", 2)
		if all := w.sweeps(t, time.Now()); len(all) != 0 {
			t.Errorf("what is cheaper has drifted: %+v", all[0].Reasons)
		}
		w.sell(t, "a", "0.06", 3)
		all := w.sweeps(t, time.Now())
		if len(all) != 2 {
			t.Fatalf("%d have drifted", len(all))
		}
		for _, x := range all {
			if x.Reasons[0].Dimension != placement.TooDear || x.Reasons[0].Had != "0.06 EUR" || !strings.Contains(x.Reasons[0].Subject, "from 20") || x.Plan.Hourly.String() != "0.04 EUR" {
				t.Errorf("as %+v, at %s", x.Reasons[0], x.Plan.Hourly)
			}
			if moves := len(x.Plan.Moves); x.Name == free.ID && moves != 0 || x.Name == bound.ID && (moves != 1 || x.Plan.Moves[0].To != "b") {
				t.Errorf("%d moves: %+v", moves, x)
			}
		}
	})
}

func TestARegionThatIsGoneIsDrift(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.region(t, "a", "FR", 8, "0.04", claim("region.country", `"FR"`, policy.Contract))
		made, err := w.Place(t.Context(), "acme", governed(`region.country in geo.eu`))
		if err != nil {
			t.Fatal(err)
		}
		w.Placed = func(context.Context) ([]Placed, error) {
			return []Placed{{"acme", "eu", "shop", made.ID}, {"acme", "eu", "older", "d-older"}}, nil
		}
		ended := func(s *offer.Sheet) { s.ValidUntil = time.Now().Add(-time.Minute) }
		w.sheet("a", ended) // he sells no more, and what runs goes on
		if all := w.sweeps(t, time.Now()); len(all) != 0 {
			t.Errorf("drifted: %+v", all[0].Reasons)
		}
		gone := w.seller("a")
		gone.Regions = nil
		w.sellers.set(gone)
		all := w.sweeps(t, time.Now())
		if len(all) != 1 || all[0].Name != "eu.shop" || all[0].Order != "" || all[0].Workspaces[0] != "eu/shop" || all[0].Summary() != "offer" {
			t.Fatalf("drifted: %+v", all)
		}
		if !strings.Contains(all[0].Plan.Problem, "nothing is for sale") {
			t.Errorf("plan: %+v", all[0].Plan)
		}
		flag := func(tenant, region, workspace string) *Flag {
			f, err := w.Flag(t.Context(), tenant, region, workspace)
			if err != nil {
				t.Fatal(err)
			}
			return f
		}
		if f := flag("acme", "eu", "shop"); f == nil || f.Drift != "eu.shop" || f.Why != "offer" || f.Since.IsZero() {
			t.Errorf("flagged as %+v", f)
		}
		before := d.Statements()
		for _, none := range []*Flag{flag("acme", "eu", "older"), flag("other", "eu", "shop"), flag("acme", "a", "shop")} {
			if none != nil {
				t.Errorf("flagged, too: %+v", none)
			}
		}
		if n := d.Statements() - before; n != 0 {
			t.Errorf("%d statements to look at flags again", n)
		}
		w.Placed = nil // the workspace is deleted
		if all := w.sweeps(t, time.Now()); len(all) != 0 {
			t.Errorf("drifted: %+v", all[0])
		}
		if f := flag("acme", "eu", "shop"); f != nil {
			t.Errorf("still flagged: %+v", f)
		}
	})
}

// TestASweepAsksLittle counts statements: what runs as it should costs none.
func TestASweepAsksLittle(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.region(t, "a", "FR", 800, "0.04")
		count := func() int64 {
			w.sweeps(t, time.Now()) // requests are read
			before := d.Statements()
			w.sweeps(t, time.Now())
			return d.Statements() - before
		}
		w.orders(t, machines(1))
		one := count()
		for range 30 {
			w.orders(t, machines(1))
		}
		if many := count(); many != one {
			t.Errorf("a sweep over 31 orders takes %d statements, over one %d", many, one)
		}
	})
}
