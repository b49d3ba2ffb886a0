package db_test

import (
	"context"
	"errors"
	"sync"
	"sync/atomic"
	"testing"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
)

// TestAloneIsAlone has many do one thing and some another at the same time.
func TestAloneIsAlone(t *testing.T) {
	d := dbtest.Postgres(t)
	var inside atomic.Int32
	var both sync.WaitGroup
	both.Add(2) // of different names, so they meet
	var all sync.WaitGroup
	for i := range 8 {
		all.Go(func() {
			err := d.Alone(t.Context(), "count", func(context.Context) error {
				if n := inside.Add(1); n != 1 {
					t.Errorf("%d are alone", n)
				}
				defer inside.Add(-1)
				if i == 0 {
					both.Done()
					both.Wait()
				}
				return nil
			})
			if err != nil {
				t.Error(err)
			}
		})
	}
	all.Go(func() {
		err := d.Alone(t.Context(), "other", func(context.Context) error { both.Done(); both.Wait(); return nil })
		if err != nil {
			t.Error(err)
		}
	})
	all.Wait()
}

// TestAloneTellsHowItWent holds with one process, too; and nobody waits longer than he wants.
func TestAloneTellsHowItWent(t *testing.T) {
	failed := errors.New("failed")
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		if err := d.Alone(t.Context(), "x", func(context.Context) error { return failed }); !errors.Is(err, failed) {
			t.Errorf("%v, want what it returned", err)
		}
		if err := d.Alone(t.Context(), "x", func(context.Context) error { return nil }); err != nil {
			t.Errorf("after one that failed: %v", err)
		}
		if !d.Postgres() {
			return
		}
		err := d.Alone(t.Context(), "x", func(ctx context.Context) error {
			late, cancel := context.WithCancel(ctx)
			cancel()
			return d.Alone(late, "x", func(context.Context) error { t.Error("two are alone"); return nil })
		})
		if !errors.Is(err, context.Canceled) {
			t.Errorf("who gave up: %v", err)
		}
	})
}

// TestAloneEndsWithItsConnection has the server forget who held the lock.
func TestAloneEndsWithItsConnection(t *testing.T) {
	d := dbtest.Postgres(t)
	err := d.Alone(t.Context(), "x", func(ctx context.Context) error {
		_, err := db.Exec(t.Context(), d, `
			SELECT pg_terminate_backend(pid) FROM pg_locks WHERE locktype = 'advisory' AND granted
			AND (classid::bigint << 32 | objid::bigint) = hashtextextended('kontor_' || current_schema() || ' x', 0)`)
		if err != nil {
			return err
		}
		<-ctx.Done()
		return ctx.Err()
	})
	if err == nil {
		t.Error("who was lost sight of knows nothing of it")
	}
}
