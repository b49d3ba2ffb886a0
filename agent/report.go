package agent

import (
	"context"
	"log/slog"
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/kontor-cloud/kontor/failpoint"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/wire"
)

// A reporter sends observations: the latest of each resource, as many as have
// come together while the last batch was under way. What cannot be sent is
// kept, one for each resource, until the exchange is there again.
//
// News, that is what comes of somebody's wish, is sent at once, with all else
// that has come together. What nobody waits for is sent in few requests: much
// of it comes at once, when an agent has started and says what it finds, and
// an exchange that has started has many such agents.
type reporter struct {
	link exchange
	log  *slog.Logger
	pace *rate.Limiter

	mu     sync.Mutex
	open   map[string]wire.Observation
	order  []string
	some   chan struct{}
	urgent chan struct{}
}

// batchesPerSecond is in how many requests an agent says what is no news. With
// its polls, its inventory and its orphans that makes less than ten in any second.
const batchesPerSecond = 4

func newReporter(l exchange, log *slog.Logger) *reporter {
	return &reporter{
		link: l, log: log, pace: rate.NewLimiter(batchesPerSecond, 1),
		open: map[string]wire.Observation{}, some: make(chan struct{}, 1), urgent: make(chan struct{}, 1),
	}
}

// put has an observation sent soon, in place of an older one of the resource,
// and at once if it is news.
func (r *reporter) put(o wire.Observation, news bool) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, waits := r.open[o.ID]; !waits {
		r.order = append(r.order, o.ID)
	}
	r.open[o.ID] = o
	poke(r.some)
	if news {
		poke(r.urgent)
	}
}

// poke wakes who waits for c, now or later. Many pokes may wake him once.
func poke(c chan<- struct{}) {
	select {
	case c <- struct{}{}:
	default:
	}
}

// turn waits until there may be a batch. It reports false when ctx ends first.
func (r *reporter) turn(ctx context.Context) bool {
	turn := r.pace.Reserve()
	t := time.NewTimer(turn.Delay())
	defer t.Stop()
	select {
	case <-t.C:
	case <-r.urgent:
		turn.Cancel()
	case <-ctx.Done():
		return false
	}
	return true
}

// run sends until ctx ends.
func (r *reporter) run(ctx context.Context) error {
	for tries := 0; ; {
		if !r.waiting() {
			select {
			case <-r.some:
				continue
			case <-ctx.Done():
				return nil
			}
		}
		if !r.turn(ctx) {
			return nil
		}
		batch := r.take()
		failpoint.Here(failpoint.ReportBatched)
		var a wire.Accepted
		err := r.link.post(ctx, wire.PathObservations, batch, &a)
		failpoint.Here(failpoint.ReportSent)
		if err == nil {
			tries = 0
			if len(a.Strangers) > 0 {
				r.log.DebugContext(ctx, "observed what the exchange does not have", "ids", a.Strangers)
			}
			continue
		}
		if !failpoint.Off(failpoint.Resend) {
			r.back(batch)
		}
		if !sleep(ctx, max(fault.After(err), backoff(tries, 100*time.Millisecond, 10*time.Second))) {
			return nil
		}
		tries++
	}
}

func (r *reporter) waiting() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return len(r.order) > 0
}

func (r *reporter) take() []wire.Observation {
	r.mu.Lock()
	defer r.mu.Unlock()
	n := min(len(r.order), wire.MaxObservations)
	if n == len(r.order) { // the news is among them
		select {
		case <-r.urgent:
		default:
		}
	}
	batch := make([]wire.Observation, n)
	for i, id := range r.order[:n] {
		batch[i] = r.open[id]
		delete(r.open, id)
	}
	r.order = append(r.order[:0], r.order[n:]...)
	return batch
}

// back keeps what was not sent, unless there is newer.
func (r *reporter) back(batch []wire.Observation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	for _, o := range batch {
		if _, newer := r.open[o.ID]; !newer {
			r.open[o.ID] = o
			r.order = append(r.order, o.ID)
		}
	}
}
