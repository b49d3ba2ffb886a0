package db_test

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"path/filepath"
	"sync"
	"testing"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/fault"
)

// make gives a test a table of its own.
func makeTable(tb testing.TB, d *db.DB) {
	tb.Helper()
	for _, q := range []string{
		`CREATE TABLE thing (id BIGINT PRIMARY KEY, name TEXT NOT NULL UNIQUE, spec JSONB, flag BOOLEAN NOT NULL DEFAULT FALSE, raw BYTEA)`,
		`CREATE TABLE part (id BIGINT PRIMARY KEY, thing BIGINT NOT NULL REFERENCES thing (id))`,
	} {
		if _, err := db.Exec(context.Background(), d, q); err != nil {
			tb.Fatal(err)
		}
	}
}

func insert(ctx context.Context, q db.Querier, id int) error {
	_, err := db.Exec(ctx, q, `INSERT INTO thing (id, name) VALUES ($1, $2)`, id, fmt.Sprint("thing-", id))
	return err
}

func count(tb testing.TB, q db.Querier) int {
	tb.Helper()
	n, err := db.One(context.Background(), q, db.Scan[int], `SELECT count(*) FROM thing`)
	if err != nil {
		tb.Fatal(err)
	}
	return n
}

func TestInTxKeepsAllOrNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		makeTable(t, d)
		ctx := t.Context()
		stop := errors.New("stop")
		err := d.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
			if err := insert(ctx, tx, 1); err != nil {
				return err
			}
			if n := count(t, tx); n != 1 {
				t.Errorf("the transaction sees %d of its rows, want 1", n)
			}
			return stop
		})
		if !errors.Is(err, stop) || count(t, d) != 0 {
			t.Fatalf("error %v and %d rows, want %v and 0", err, count(t, d), stop)
		}
		if err := d.InTx(ctx, func(ctx context.Context, tx *db.Tx) error { return insert(ctx, tx, 1) }); err != nil {
			t.Fatal(err)
		}
		if n := count(t, d); n != 1 {
			t.Fatalf("%d rows, want 1", n)
		}
	})
}

// One of three writers fails, panics, ends its goroutine or is cancelled half
// way; the other two are not hurt.
func TestWritersDoNotHurtEachOther(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		makeTable(t, d)
		const writers, rounds = 64, 6
		var wg sync.WaitGroup
		for w := range writers {
			wg.Go(func() {
				for r := range rounds {
					// An inner goroutine, as one round ends its own.
					var inner sync.WaitGroup
					inner.Go(func() { disturb(t, d, w*rounds+r) })
					inner.Wait()
				}
			})
		}
		wg.Wait()
		ids, err := db.All(t.Context(), d, db.Scan[int], `SELECT id FROM thing ORDER BY id`)
		if err != nil {
			t.Fatal(err)
		}
		want := 0
		for id := range writers * rounds {
			if id%6 > 3 {
				want++
			}
		}
		if len(ids) != want {
			t.Errorf("%d rows, want %d", len(ids), want)
		}
		for _, id := range ids {
			if id%6 <= 3 {
				t.Errorf("row %d stays although its transaction did not succeed", id)
			}
		}
	})
}

func disturb(t *testing.T, d *db.DB, id int) {
	ctx, cancel := context.WithCancel(t.Context())
	defer cancel()
	defer func() {
		if p := recover(); p != nil && p != "on purpose" {
			t.Errorf("panic %v", p)
		}
	}()
	err := d.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := insert(ctx, tx, id); err != nil {
			return err
		}
		switch id % 6 {
		case 0:
			return fault.Stale.Errorf("on purpose")
		case 1:
			panic("on purpose")
		case 2:
			return insert(ctx, tx, id) // twice
		case 3:
			cancel()
			return insert(ctx, tx, -id)
		}
		return nil
	})
	wants := map[int]fault.Kind{0: fault.Stale, 2: fault.Conflict, 3: fault.Unavailable}
	if got, want := fault.KindOf(err), wants[id%6]; got != want {
		t.Errorf("writer %d: %v, want kind %q", id, err, want)
	}
}

func TestWhatIsAcknowledgedSurvivesReopening(t *testing.T) {
	dbtest.EachURL(t, func(t *testing.T, url string) {
		log := slog.New(slog.DiscardHandler)
		d, err := db.Open(t.Context(), url, log)
		if err != nil {
			t.Fatal(err)
		}
		makeTable(t, d)
		var wg sync.WaitGroup
		for id := range 32 {
			wg.Go(func() {
				if err := insert(t.Context(), d, id); err != nil {
					t.Error(err)
				}
				// Acknowledged, so any other reader must see it.
				if _, err := db.One(t.Context(), d, db.Scan[int], `SELECT id FROM thing WHERE id = $1`, id); err != nil {
					t.Errorf("row %d was acknowledged: %v", id, err)
				}
			})
		}
		wg.Wait()
		if err := d.Close(); err != nil {
			t.Fatal(err)
		}
		if err := insert(t.Context(), d, 99); err == nil {
			t.Error("a closed database takes writes")
		}
		if d, err = db.Open(t.Context(), url, log); err != nil {
			t.Fatal(err)
		}
		defer d.Close()
		if n := count(t, d); n != 32 {
			t.Errorf("%d rows after reopening, want 32", n)
		}
	})
}

func TestClashingWritersAreTriedAgain(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		makeTable(t, d)
		ctx := t.Context()
		for id := range 2 {
			if err := insert(ctx, d, id); err != nil {
				t.Fatal(err)
			}
		}
		touch := func(ctx context.Context, tx *db.Tx, id int) error {
			_, err := db.Exec(ctx, tx, `UPDATE thing SET name = name || '.' WHERE id = $1`, id)
			return err
		}
		var wg sync.WaitGroup
		for first := range 2 { // in opposite order: PostgreSQL finds deadlocks
			wg.Go(func() {
				for range 20 {
					err := d.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
						if err := touch(ctx, tx, first); err != nil {
							return err
						}
						return touch(ctx, tx, 1-first)
					})
					if err != nil {
						t.Error(err)
					}
				}
			})
		}
		wg.Wait()
		n, err := db.One(ctx, d, db.Scan[int], `SELECT length(name) FROM thing WHERE id = 0`)
		if want := len("thing-0") + 40; err != nil || n != want {
			t.Errorf("length %d, %v; want %d", n, err, want)
		}
	})
}

func TestTransactionWithinTransactionIsRefused(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		err := d.InTx(t.Context(), func(ctx context.Context, tx *db.Tx) error {
			return d.InTx(ctx, func(context.Context, *db.Tx) error { return nil })
		})
		if err == nil {
			t.Error("no error")
		}
	})
}

func TestTransactionIsOfNoUseAfterItsEnd(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		makeTable(t, d)
		var leaked *db.Tx
		if err := d.InTx(t.Context(), func(_ context.Context, tx *db.Tx) error { leaked = tx; return nil }); err != nil {
			t.Fatal(err)
		}
		if err := insert(t.Context(), leaked, 1); err == nil {
			t.Error("no error")
		}
	})
}

func TestCancelledBeforeItsTurnWritesNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		err := d.InTx(ctx, func(context.Context, *db.Tx) error { t.Error("called"); return nil })
		if !errors.Is(err, context.Canceled) || fault.KindOf(err) != fault.Unavailable {
			t.Errorf("error %v", err)
		}
	})
}

func TestTwoProcessesShareAnSQLiteFile(t *testing.T) {
	path := filepath.Join(t.TempDir(), "deep", "er", "kontor.db")
	log := slog.New(slog.DiscardHandler)
	var wg sync.WaitGroup
	open := make([]*db.DB, 2)
	for i := range open {
		wg.Go(func() {
			var err error
			if open[i], err = db.Open(t.Context(), "sqlite:"+path, log); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if t.Failed() {
		t.FailNow()
	}
	defer open[0].Close()
	defer open[1].Close()
	makeTable(t, open[0])
	for id := range 40 {
		wg.Go(func() {
			if err := insert(t.Context(), open[id%2], id); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	if n := count(t, open[0]); n != 40 {
		t.Errorf("%d rows, want 40", n)
	}
}
