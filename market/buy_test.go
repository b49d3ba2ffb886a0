package market

import (
	"bytes"
	"context"
	"errors"
	"os"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/placement"
	"github.com/kontor-cloud/kontor/policy"
)

func TestTheCheapestIsQuotedAndOrderedOnce(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.region(t, "dear", "DE", 8, "0.05")
		w.region(t, "cheap", "FR", 8, "0.04")
		q, err := w.Quote(t.Context(), "acme", QuoteRequest{Request: machines(2), Documents: []byte(`[{"kind":"workspace"}]`)})
		if err != nil {
			t.Fatal(err)
		}
		if q.Chosen[0].Region != "cheap" || q.Hourly.String() != "0.08 EUR" || time.Duration(q.Term) != placement.Month {
			t.Errorf("quoted %+v", q.Terms)
		}
		placed := 0
		place := func(_ context.Context, _ *db.Tx, got *Quote) error {
			placed++
			if string(got.Documents) == "" || got.ID != q.ID {
				t.Errorf("places %+v", got)
			}
			return nil
		}
		first, err := w.Order(t.Context(), "acme", q.ID, place)
		if err != nil {
			t.Fatal(err)
		}
		again, err := w.Order(t.Context(), "acme", q.ID, place)
		if err != nil || again.ID != first.ID || placed != 1 {
			t.Errorf("ordered twice: %s and %s, placed %d times, error %v", first.ID, again.ID, placed, err)
		}
		if all, err := w.Orders(t.Context(), "acme"); err != nil || len(all) != 1 || all[0].Quote.Order != first.ID {
			t.Errorf("orders: %v %v", all, err)
		}
	})
}

func TestWhatIsPlacedBadlyIsNotOrdered(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.region(t, "r", "FR", 2, "0.04")
		q, err := w.Quote(t.Context(), "acme", QuoteRequest{Request: machines(1)})
		if err != nil {
			t.Fatal(err)
		}
		broken := errors.New("no room for a name")
		if _, err := w.Order(t.Context(), "acme", q.ID, func(context.Context, *db.Tx, *Quote) error { return broken }); !errors.Is(err, broken) {
			t.Fatalf("error %v", err)
		}
		if all, _ := w.Orders(t.Context(), "acme"); len(all) != 0 {
			t.Error("it was ordered all the same")
		}
		if _, err := w.Order(t.Context(), "acme", q.ID, nil); err != nil {
			t.Errorf("the quote is lost: %v", err)
		}
	})
}

func TestNoPlaceIsExplained(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.region(t, "small", "FR", 2, "0.04")
		r := machines(2)
		made, err := w.Place(t.Context(), "acme", r)
		if !errors.Is(err, fault.Exhausted) || !strings.Contains(err.Error(), "1 by capacity") || !strings.Contains(err.Error(), made.ID) {
			t.Errorf("error %v", err)
		}
		if kept, err := w.Decision(t.Context(), "acme", made.ID); err != nil || kept.Decision.Problem == nil {
			t.Errorf("not kept: %v", err)
		}
		r = machines(1)
		r.Only = []string{"elsewhere"}
		if _, err := w.Place(t.Context(), "acme", r); !errors.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), "choice") {
			t.Errorf("error %v", err)
		}
	})
}

func TestAQuoteKeepsItsPlaceWhileItIsValid(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.region(t, "r", "FR", 2, "0.04")
		q, err := w.Quote(t.Context(), "acme", QuoteRequest{Request: machines(1), ValidFor: time.Second})
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Quote(t.Context(), "other", QuoteRequest{Request: machines(1)}); !errors.Is(err, fault.Exhausted) {
			t.Errorf("the place is sold twice: %v", err)
		}
		time.Sleep(time.Until(q.ValidUntil))
		w.shelf.spoil()
		taken, err := w.Quote(t.Context(), "other", QuoteRequest{Request: machines(1)})
		if err != nil {
			t.Fatalf("the place of a quote that is over: %v", err)
		}
		if _, err := w.Order(t.Context(), "acme", q.ID, nil); !errors.Is(err, fault.Conflict) {
			t.Errorf("ordered too late: %v", err)
		}
		o, err := w.Order(t.Context(), "other", taken.ID, nil)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := w.Place(t.Context(), "acme", machines(1)); !errors.Is(err, fault.Exhausted) {
			t.Errorf("what is ordered is free: %v", err)
		}
		w.stock1(t, "r", 0) // the agent sees the machine
		if err := w.Settle(t.Context(), o.ID); err != nil {
			t.Fatal(err)
		}
		w.stock1(t, "r", 2) // it is gone
		w.shelf.spoil()
		if _, err := w.Place(t.Context(), "acme", machines(1)); err != nil {
			t.Errorf("what is free again is taken: %v", err)
		}
	})
}

// A buyer whose clock is behind must not order what was given to another since.
func TestWhatLapsedCannotBeOrdered(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.region(t, "r", "FR", 2, "0.04")
		q, err := w.Quote(t.Context(), "acme", QuoteRequest{Request: machines(1)})
		if err != nil {
			t.Fatal(err)
		}
		if err := w.Lapse(t.Context(), q.ValidUntil); err != nil { // by another's clock it is over
			t.Fatal(err)
		}
		if _, err := w.Order(t.Context(), "acme", q.ID, nil); !errors.Is(err, fault.Conflict) {
			t.Errorf("error %v", err)
		}
	})
}

func TestTenantsDoNotSeeEachOther(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.region(t, "r", "FR", 8, "0.04")
		q, err := w.Quote(t.Context(), "acme", QuoteRequest{Request: machines(1)})
		if err != nil {
			t.Fatal(err)
		}
		o, err := w.Order(t.Context(), "acme", q.ID, nil)
		if err != nil {
			t.Fatal(err)
		}
		_, quote := w.FindQuote(t.Context(), "other", q.ID)
		_, order := w.FindOrder(t.Context(), "other", o.ID)
		_, ordered := w.Order(t.Context(), "other", q.ID, nil)
		_, decision := w.Decision(t.Context(), "other", q.Decision)
		_, replay := w.Replay(t.Context(), "other", q.Decision)
		export := w.Export(t.Context(), "other", q.Decision, &bytes.Buffer{})
		for what, err := range map[string]error{"quote": quote, "order": order, "ordering": ordered, "decision": decision, "replay": replay, "export": export} {
			if !errors.Is(err, fault.Missing) {
				t.Errorf("%s: %v", what, err)
			}
		}
		if quotes, _ := w.Quotes(t.Context(), "other"); len(quotes) > 0 {
			t.Error("it lists quotes of others")
		}
	})
}

func TestADecisionIsMadeAgainAndForgeriesAreNot(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.region(t, "fr", "FR", 8, "0.05", claim("region.country", `"FR"`, policy.Contract))
		w.region(t, "us", "US", 8, "0.01", claim("region.country", `"US"`, policy.Contract))
		r := machines(1)
		r.Policies = []placement.PolicyUse{{Policy: &policy.Policy{Name: "mine", Version: 1, Rule: `region.country in geo.eu`}}}
		made, err := w.Place(t.Context(), "acme", r)
		if err != nil || made.Decision.Chosen[0].Region != "fr" {
			t.Fatalf("placed %+v: %v", made, err)
		}
		later := open(t, d, &sellers{}) // another process, another market
		if _, err := later.Replay(t.Context(), "acme", made.ID); err != nil {
			t.Errorf("replay: %v", err)
		}
		var bundle bytes.Buffer
		if err := later.Export(t.Context(), "acme", made.ID, &bundle); err != nil {
			t.Fatal(err)
		}
		all, err := ReplayBundle(bytes.NewReader(bundle.Bytes()))
		if err != nil || len(all) != 1 || all[0].ID != made.ID || all[0].Tenant != "acme" {
			t.Errorf("replay of an export: %+v %v", all, err)
		}
		for _, forged := range []string{`\"FR\"`, made.ID, `"tenant`, `acme`, `0.05`, `\"hourly\":50000000`} {
			other := map[string]string{`\"FR\"`: `\"DE\"`, made.ID: "d-" + strings.Repeat("a", 20), `"tenant`: `"tenent`, `acme`: "evil", `0.05`: `0.04`, `\"hourly\":50000000`: `\"hourly\":40000000`}[forged]
			text := strings.ReplaceAll(bundle.String(), forged, other)
			if text == bundle.String() {
				continue
			}
			if _, err := ReplayBundle(strings.NewReader(text)); err == nil {
				t.Errorf("an export in which %s became %s is believed", forged, other)
			}
		}
	})
}

func TestPriceOfAnOrderWaitsForTheNotice(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		w := newWorld(t, d)
		w.region(t, "r", "FR", 8, "0.04")
		q, err := w.Quote(t.Context(), "acme", QuoteRequest{Request: machines(1)})
		if err != nil {
			t.Fatal(err)
		}
		w.sell(t, "r", "0.06", 2) // 30 days of notice
		o, err := w.Order(t.Context(), "acme", q.ID, nil)
		if err != nil {
			t.Fatal(err)
		}
		now := time.Now()
		p, err := w.OrderPrice(t.Context(), o, now)
		if err != nil || p.Hourly.String() != "0.04 EUR" || p.Sheets["r"] != 1 || p.NextHourly == nil || p.NextHourly.String() != "0.06 EUR" {
			t.Errorf("price now %+v %v", p, err)
		}
		if days := p.Next.Sub(now).Hours() / 24; days < 29 || days > 30 {
			t.Errorf("it changes in %.1f days", days)
		}
		if p, err = w.OrderPrice(t.Context(), o, p.Next); err != nil || p.Hourly.String() != "0.06 EUR" || p.Sheets["r"] != 2 {
			t.Errorf("price then %+v %v", p, err)
		}
		fresh, err := w.Quote(t.Context(), "acme", QuoteRequest{Request: machines(1)})
		if err != nil || fresh.Hourly.String() != "0.06 EUR" {
			t.Errorf("who buys now pays %+v %v", fresh, err)
		}
	})
}

// rush has buyers at several replicas want the one place that is left, again and again.
func rush(t *testing.T, rounds int) {
	dbtest.EachURL(t, func(t *testing.T, url string) {
		d := reopen(t, url)
		first := newWorld(t, d)
		first.region(t, "r", "FR", 3, "0.04") // room for one that takes two
		other := d
		if strings.HasPrefix(url, "postgres") {
			other = reopen(t, url)
		}
		replicas := []*world{first, open(t, other, first.sellers)}
		replicas[1].Providers.Seen("r", time.Now())
		for round := range rounds {
			won, lost := contend(t, replicas)
			if won != 1 || lost != buyers-1 {
				t.Fatalf("round %d: %d got the one place, %d a clear answer, of %d", round, won, lost, buyers)
			}
			if _, err := db.Exec(t.Context(), d, `DELETE FROM reservation`); err != nil {
				t.Fatal(err)
			}
			for _, w := range replicas {
				w.Providers.Seen("r", time.Now())
				w.shelf.spoil()
			}
		}
	})
}

const buyers = 64

func contend(t *testing.T, replicas []*world) (won, lost int) {
	t.Helper()
	var mu sync.Mutex
	var all sync.WaitGroup
	start := make(chan struct{})
	for i := range buyers {
		all.Go(func() {
			<-start
			q, err := replicas[i%len(replicas)].Quote(t.Context(), "acme", QuoteRequest{Request: machines(1)})
			mu.Lock()
			defer mu.Unlock()
			switch {
			case err == nil && q.Chosen[0].Region == "r":
				won++
			case errors.Is(err, fault.Exhausted) && strings.Contains(err.Error(), "capacity"):
				lost++
			default:
				t.Errorf("neither a place nor a clear answer: %v", err)
			}
		})
	}
	close(start)
	all.Wait()
	return won, lost
}

func TestOnePlaceIsSoldOnce(t *testing.T) { rush(t, 20) }

func TestLabOnePlaceIsSoldOnce(t *testing.T) {
	if os.Getenv("KONTOR_LAB") == "" {
		t.Skip("KONTOR_LAB is not set")
	}
	rush(t, 1000)
}

func reopen(t *testing.T, url string) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), url, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}
