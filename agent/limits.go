package agent

import (
	"context"
	"errors"
	"strings"
	"time"

	"github.com/sony/gobreaker/v2"
	"golang.org/x/time/rate"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/telemetry"
)

// unlimited is from where on a declared rate is none.
const unlimited = 1e6

// A throttle keeps calls to the platform within what it tolerates, and lets it
// alone for a while when it does not answer.
type throttle struct {
	rate    *rate.Limiter
	slots   chan struct{}
	breaker *gobreaker.CircuitBreaker[any]
	destroy *rate.Limiter
	calls   *telemetry.Calls
}

// An operation is what a call to the platform does, for who watches.
type operation struct{ name, kind string }

// breakFor is how long the platform is left alone.
const breakFor = 5 * time.Second

func newThrottle(c Config, l driver.Limits, changed func(open bool)) *throttle {
	if l.PerSecond == 0 {
		l.PerSecond = 50
	}
	if l.Burst == 0 {
		l.Burst = 50
	}
	if l.Parallel == 0 {
		l.Parallel = 8
	}
	t := &throttle{rate: rate.NewLimiter(rate.Limit(l.PerSecond), l.Burst), slots: make(chan struct{}, l.Parallel)}
	if l.PerSecond >= unlimited {
		t.rate = rate.NewLimiter(rate.Inf, 0)
	}
	t.destroy = rate.NewLimiter(rate.Limit(float64(c.DestroyPerMinute)/60), c.DestroyBurst)
	if c.DestroyPerMinute == 0 {
		t.destroy = rate.NewLimiter(1, 120)
		if l.PerSecond >= unlimited { // nothing real is at stake
			t.destroy = rate.NewLimiter(rate.Inf, 0)
		}
	}
	t.breaker = gobreaker.NewCircuitBreaker[any](gobreaker.Settings{
		Timeout:       breakFor,
		MaxRequests:   1,
		ReadyToTrip:   func(n gobreaker.Counts) bool { return n.ConsecutiveFailures >= 10 },
		IsSuccessful:  func(err error) bool { return !down(err) },
		IsExcluded:    func(err error) bool { return errors.Is(err, context.Canceled) },
		OnStateChange: func(_ string, _, to gobreaker.State) { changed(to == gobreaker.StateOpen) },
	})
	return t
}

// down reports whether an error says that the platform does not work, rather
// than that it does not want this call now.
func down(err error) bool {
	k := fault.KindOf(err)
	return err != nil && (k == fault.Unavailable || k == "") && fault.After(err) == 0
}

// look makes a call that changes nothing.
func (t *throttle) look(ctx context.Context, op operation, do func(context.Context) (any, error)) (any, error) {
	return t.call(ctx, op, func(ctx context.Context) (any, error) {
		ctx, cancel := context.WithTimeout(ctx, callWithin)
		defer cancel()
		return do(ctx)
	})
}

// act makes a call that may change something. It is not broken off at once
// when the agent ends.
func (t *throttle) act(ctx context.Context, op operation, do func(context.Context) (any, error)) (any, error) {
	return t.call(ctx, op, func(ctx context.Context) (any, error) {
		ctx, done := patient(ctx)
		defer done()
		return do(ctx)
	})
}

// call makes a call to the platform when it is its turn.
func (t *throttle) call(ctx context.Context, op operation, do func(context.Context) (any, error)) (any, error) {
	came := time.Now()
	if err := t.rate.Wait(ctx); err != nil {
		return nil, fault.Unavailable.Errorf("wait for a turn: %w", err)
	}
	select {
	case t.slots <- struct{}{}:
		defer func() { <-t.slots }()
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	began := time.Now()
	t.calls.Waited(began.Sub(came))
	ctx, end := telemetry.Within(ctx, "platform "+op.name, "kontor.kind", op.kind)
	v, err := t.breaker.Execute(func() (any, error) { return do(ctx) })
	end(err)
	t.calls.Called(op.name, op.kind, outcome(err), time.Since(began))
	if errors.Is(err, gobreaker.ErrOpenState) || errors.Is(err, gobreaker.ErrTooManyRequests) {
		return nil, fault.RetryAfter(errPause, breakFor)
	}
	return v, err
}

// outcome words how a call ended, for who watches.
func outcome(err error) string {
	kind := fault.KindOf(err)
	switch {
	case err == nil:
		return "ok"
	case errors.Is(err, gobreaker.ErrOpenState), errors.Is(err, gobreaker.ErrTooManyRequests):
		return "paused"
	case errors.Is(err, context.Canceled):
		return "cancelled"
	case kind == "":
		return "error"
	}
	return strings.ReplaceAll(string(kind), " ", "_")
}

var errPause = errors.New("the platform does not answer; it is left alone for a while")

// workers is how many reconcile at once: as many as may call, and a few who wait.
func (t *throttle) workers() int { return min(cap(t.slots), 64) }
