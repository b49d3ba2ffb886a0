package market

import (
	"context"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/fault"
)

// TestRetention makes decisions of each sort on markets of their own, and lets time pass.
func TestRetention(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx := t.Context()
		w := newWorld(t, d)
		w.region(t, "fr", "FR", 100, "0.02")
		count := func(query string, args ...any) int {
			t.Helper()
			n, err := db.One(ctx, d, db.Scan[int], `SELECT count(*) FROM `+query, args...)
			if err != nil {
				t.Fatal(err)
			}
			return n
		}
		place := func() *Decided {
			t.Helper()
			made, err := w.Place(ctx, "acme", machines(1))
			if err != nil {
				t.Fatal(err)
			}
			return made
		}
		quote := func() *Quote {
			t.Helper()
			q, err := w.Quote(ctx, "acme", QuoteRequest{Request: machines(1)})
			if err != nil {
				t.Fatal(err)
			}
			return q
		}
		prune := func(after time.Duration) {
			t.Helper()
			now := time.Now().Add(after)
			if err := w.Prune(ctx, now, now.Add(-MinRetention)); err != nil {
				t.Fatal(err)
			}
		}

		running, idle := place(), place()
		w.stock1(t, "fr", 90)
		w.shelf.spoil()
		lapsed := quote()
		w.stock1(t, "fr", 80)
		w.shelf.spoil()
		ordered := quote()
		if _, err := w.Order(ctx, "acme", ordered.ID, func(context.Context, *db.Tx, *Quote) error { return nil }); err != nil {
			t.Fatal(err)
		}
		w.Placed = func(context.Context) ([]Placed, error) {
			return []Placed{{Tenant: "acme", Region: "fr", Workspace: "w", Decision: running.ID}}, nil
		}
		if _, err := db.Exec(ctx, d, `UPDATE decision SET market = NULL`); err != nil { // as before that was kept
			t.Fatal(err)
		}
		markets := count(`decision_input WHERE kind = 'market'`)
		prune(MinRetention - time.Hour)
		if n := count(`decision`); n != 4 {
			t.Fatalf("%d decisions before their time is over, want all 4", n)
		}
		prune(MinRetention + time.Hour) // a lapsed quote is one that was valid for a while
		for _, id := range []string{idle.ID, lapsed.Decision} {
			if _, err := w.Decision(ctx, "acme", id); fault.KindOf(err) != fault.Missing {
				t.Errorf("a decision that nobody needs: %v", err)
			}
		}
		if _, err := w.FindQuote(ctx, "acme", lapsed.ID); fault.KindOf(err) != fault.Missing {
			t.Errorf("its quote: %v", err)
		}
		if n := count(`decision_input WHERE kind = 'market'`); n != markets {
			t.Errorf("%d markets, want %d: somebody may be about to depend on one", n, markets)
		}
		if n := count(`decision_input WHERE kind = 'market' AND unused_at IS NOT NULL`); n != 1 {
			t.Errorf("%d markets are idle, want that of the lapsed quote alone", n)
		}

		w.stock1(t, "fr", 92) // with what was ordered, the market of the lapsed quote comes back
		w.shelf.spoil()
		w.storedSince = time.Time{} // an hour later
		back := place()
		if n := count(`decision_input WHERE kind = 'market' AND unused_at IS NOT NULL`); n != 0 {
			t.Errorf("%d markets are idle, and one is needed again", n)
		}
		prune(MinRetention + 2*idleInput)
		if n := count(`decision WHERE id = $1`, back.ID); n != 0 {
			t.Error("the last decision outlives its time")
		}
		prune(MinRetention + 4*idleInput)
		if n := count(`decision_input WHERE kind = 'market'`); n != 2 {
			t.Errorf("%d markets are left, want those of two decisions", n)
		}
		if n := count(`decision_input WHERE kind = 'request' AND digest NOT IN (SELECT request FROM decision)`); n != 0 {
			t.Errorf("%d requests of no decision are left", n)
		}
		for _, id := range []string{running.ID, ordered.Decision} {
			if _, err := w.Replay(ctx, "acme", id); err != nil {
				t.Errorf("a decision that is kept is not made again: %v", err)
			}
		}
	})
}
