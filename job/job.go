// Package job runs what the exchange does by itself, now and then. Of the
// processes that share a database, the leader does (db.DB.Lead).
//
// There is no queue: a job looks at the state of things and does what is due, so
// one that was missed, died or ran twice is made good by the next run.
package job

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"runtime/debug"
	"sync"
	"time"

	"github.com/kontor-cloud/kontor/db"
)

// A Job is done by the leader every so often, also over restarts and changes of
// the leader. It may be done twice at once, for a moment.
type Job struct {
	Name  string // lower case, with dashes
	Every time.Duration
	Do    func(ctx context.Context, now time.Time) error

	// Wanted, if not nil, tells whether a run that is due may have anything to do, the
	// last one having begun so long ago. One that has not takes no statement and is
	// not noted.
	Wanted func(since time.Duration) bool

	// Keep, if not nil, runs instead all the while, until its context ends. How
	// it goes is not noted; when it fails, it is called again.
	Keep func(ctx context.Context) error
}

// A run that failed is tried again after firstRetry, then after twice that and
// so on, but not later than it would be due anyway.
const firstRetry = time.Second

// The note of a run may hold up the end of a process this long.
const noteWithin = 3 * time.Second

// Run does jobs whenever this process leads, until ctx ends.
func Run(ctx context.Context, d *db.DB, log *slog.Logger, jobs ...Job) error {
	return d.Lead(ctx, func(ctx context.Context) {
		var all sync.WaitGroup
		for _, j := range jobs {
			if j.Keep != nil {
				all.Go(func() { j.keep(ctx, log) })
				continue
			}
			all.Go(func() { j.repeat(ctx, d, log) })
		}
		all.Wait()
	})
}

// repeat runs one job when it is due. While this process leads, nobody else notes
// how it went.
func (j Job) repeat(ctx context.Context, d *db.DB, log *slog.Logger) {
	var last Outcome
	known := false
	for ctx.Err() == nil {
		var err error
		if !known {
			last, err = find(ctx, d, j.Name)
		}
		if err == nil && sleep(ctx, j.wait(last, time.Now())) {
			last, err = j.again(ctx, d, last)
		}
		if known = err == nil; !known && ctx.Err() == nil {
			log.WarnContext(ctx, "job failed", "job", j.Name, "failures", last.Failures+1, "error", err)
			sleep(ctx, firstRetry) // the failure may not be noted
		}
	}
}

// again runs a job that is due, or passes over one that is not wanted.
func (j Job) again(ctx context.Context, d *db.DB, last Outcome) (Outcome, error) {
	if j.Wanted != nil && last.Failures == 0 && !j.Wanted(time.Since(last.Began)) {
		last.Ended = time.Now() // as if it had run: it is due again a period from now
		return last, nil
	}
	return j.run(ctx, d, last)
}

// keep runs a job that has no end.
func (j Job) keep(ctx context.Context, log *slog.Logger) {
	run := j
	run.Do = func(ctx context.Context, _ time.Time) error { return j.Keep(ctx) }
	for ctx.Err() == nil {
		if err := run.attempt(ctx, time.Now()); err != nil && ctx.Err() == nil {
			log.WarnContext(ctx, "job failed", "job", j.Name, "error", err)
			sleep(ctx, firstRetry)
		}
	}
}

// wait is the time until a job is due. A last run in the future was dated by a
// clock that was wrong.
func (j Job) wait(last Outcome, now time.Time) time.Duration {
	pause := j.Every
	if last.Failures > 0 {
		pause = min(pause, firstRetry<<min(last.Failures, 20))
	}
	return min(last.Ended.Add(pause).Sub(now), pause)
}

// run does a job once and notes what came of it. What went well is noted although
// ctx has ended meanwhile, so that the next leader does not do it again; what
// failed then may have failed for that reason.
func (j Job) run(ctx context.Context, d *db.DB, last Outcome) (Outcome, error) {
	began := time.Now()
	err := j.attempt(ctx, began)
	if err != nil && ctx.Err() != nil {
		return last, err // the next leader will
	}
	next := Outcome{Name: j.Name, Began: began, Ended: time.Now()}
	if err != nil {
		next.Error, next.Failures = err.Error(), last.Failures+1
	}
	ctx, cancel := context.WithTimeout(context.WithoutCancel(ctx), noteWithin)
	defer cancel()
	return next, errors.Join(err, note(ctx, d, next))
}

// attempt makes a panic an error: one job must not end the others.
func (j Job) attempt(ctx context.Context, now time.Time) (err error) {
	defer func() {
		if p := recover(); p != nil {
			err = fmt.Errorf("panic: %v\n%s", p, debug.Stack())
		}
	}()
	return j.Do(ctx, now)
}

// sleep reports whether ctx is still alive after a pause.
func sleep(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return ctx.Err() == nil
	case <-ctx.Done():
		return false
	}
}
