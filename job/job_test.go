package job

import (
	"context"
	"errors"
	"log/slog"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
)

var quiet = slog.New(slog.DiscardHandler)

func open(t *testing.T, url string) *db.DB {
	t.Helper()
	d, err := db.Open(t.Context(), url, quiet)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

// run runs jobs until the function that it returns is called.
func run(t *testing.T, d *db.DB, jobs ...Job) (stop func()) {
	ctx, cancel := context.WithCancel(t.Context())
	done := make(chan error, 1)
	go func() { done <- Run(ctx, d, quiet, jobs...) }()
	return func() {
		cancel()
		if err := <-done; err != nil {
			t.Error(err)
		}
	}
}

// await polls, as nobody tells when something has happened in a database.
func await(t *testing.T, what string, yes func() bool) {
	t.Helper()
	for deadline := time.Now().Add(20 * time.Second); !yes(); time.Sleep(5 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("waited in vain for %s", what)
		}
	}
}

func TestOneProcessDoesItAndAnotherTakesOver(t *testing.T) {
	url := dbtest.PostgresURL(t)
	var runs [2]atomic.Int64
	var stop [2]func()
	for i := range stop {
		count := func(context.Context, time.Time) error { runs[i].Add(1); return nil }
		stop[i] = run(t, open(t, url), Job{Name: "count", Every: time.Millisecond, Do: count})
	}
	await(t, "some runs", func() bool { return runs[0].Load()+runs[1].Load() > 20 })
	first, second := 0, 1
	if runs[first].Load() == 0 {
		first, second = second, first
	}
	if n := runs[second].Load(); n > 0 {
		t.Errorf("both do it: %d and %d runs", runs[first].Load(), n)
	}
	stop[first]()
	ended := runs[first].Load()
	await(t, "the other to take over", func() bool { return runs[second].Load() > 20 })
	if n := runs[first].Load(); n != ended {
		t.Errorf("%d runs after its end", n-ended)
	}
	stop[second]()
}

func TestLostConnectionEndsALeader(t *testing.T) {
	url := dbtest.PostgresURL(t)
	d := open(t, url)
	var began, ended atomic.Int64
	stop := run(t, d, Job{Name: "hold", Every: time.Millisecond, Do: func(ctx context.Context, _ time.Time) error {
		began.Add(1)
		<-ctx.Done()
		ended.Add(1)
		return ctx.Err()
	}})
	await(t, "a leader", func() bool { return began.Load() == 1 })
	_, err := d.ExecContext(t.Context(), `SELECT pg_terminate_backend(pid) FROM pg_locks
		WHERE locktype = 'advisory' AND granted AND pid <> pg_backend_pid()
			AND (classid::bigint << 32 | objid::bigint) = hashtextextended('kontor_' || current_schema() || ' leader', 0)`)
	if err != nil {
		t.Fatal(err)
	}
	await(t, "it to notice and to lead again", func() bool { return ended.Load() == 1 && began.Load() == 2 })
	stop()
}

func TestAJobIsDoneEverySoOften(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		var runs atomic.Int64
		hourly := Job{Name: "hourly", Every: time.Hour, Do: func(context.Context, time.Time) error { runs.Add(1); return nil }}
		for range 3 { // starts
			var marks atomic.Int64
			stop := run(t, d, hourly, Job{Name: "mark", Every: time.Millisecond, Do: func(context.Context, time.Time) error { marks.Add(1); return nil }})
			await(t, "it, and other work", func() bool { return runs.Load() > 0 && marks.Load() > 2 })
			stop()
		}
		if n := runs.Load(); n != 1 {
			t.Errorf("done %d times within an hour", n)
		}
	})
}

func TestWhatIsNotWantedCostsNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		var runs, asked atomic.Int64
		var wanted atomic.Bool
		stop := run(t, d, Job{
			Name: "rare", Every: time.Millisecond, Do: func(context.Context, time.Time) error { runs.Add(1); return nil },
			Wanted: func(time.Duration) bool { asked.Add(1); return wanted.Load() },
		})
		await(t, "it to be due", func() bool { return asked.Load() > 0 })
		before, times := d.Statements(), asked.Load()
		await(t, "it to be due often", func() bool { return asked.Load() > times+20 })
		if n := d.Statements() - before; n != 0 || runs.Load() != 0 {
			t.Errorf("%d statements and %d runs of what is not wanted", n, runs.Load())
		}
		wanted.Store(true)
		await(t, "it to run", func() bool { return runs.Load() > 1 })
		stop()
	})
}

func TestAFailureIsNotedAndTriedAgain(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		var runs atomic.Int64
		stop := run(t, d, Job{Name: "weak", Every: 10 * time.Millisecond, Do: func(context.Context, time.Time) error {
			switch runs.Add(1) {
			case 1:
				panic("out of order")
			case 2:
				return errors.New("not today")
			}
			return nil
		}})
		var worst int
		await(t, "it to go well", func() bool {
			all, err := Outcomes(t.Context(), d)
			if err != nil {
				t.Fatal(err)
			}
			if len(all) == 1 {
				worst = max(worst, all[0].Failures)
			}
			return len(all) == 1 && all[0].Error == "" && runs.Load() > 2
		})
		if worst == 0 {
			t.Error("the failures were not noted")
		}
		stop()
	})
}

func TestWait(t *testing.T) {
	now := time.Date(2026, 11, 26, 12, 0, 0, 0, time.UTC)
	j := Job{Every: time.Hour}
	for _, c := range []struct {
		what string
		last Outcome
		want time.Duration
	}{
		{"half an hour ago", Outcome{Ended: now.Add(-30 * time.Minute)}, 30 * time.Minute},
		{"failed now", Outcome{Ended: now, Failures: 1}, 2 * time.Second},
		{"failed often", Outcome{Ended: now, Failures: 1000}, time.Hour},
		{"by a clock that was ahead", Outcome{Ended: now.Add(48 * time.Hour)}, time.Hour},
	} {
		if got := j.wait(c.last, now); got != c.want {
			t.Errorf("%s: wait %v, want %v", c.what, got, c.want)
		}
	}
	if got := j.wait(Outcome{}, now); got > 0 {
		t.Errorf("never: wait %v", got)
	}
}
