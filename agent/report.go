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
type reporter struct {
	link exchange
	log  *slog.Logger
	pace *rate.Limiter

	mu        sync.Mutex
	calmUntil time.Time
	open      map[string]wire.Observation
	order     []string
	some      chan struct{}
}

// What an agent sends after a restart, when it says anew what it finds: few
// requests, since nobody waits for them. Else it sends at once.
const (
	batchesPerSecond = 4
	batchesAtOnce    = 5
	calmFor          = 10 * time.Second
	muchToSay        = 20 // resources
)

func newReporter(l exchange, log *slog.Logger) *reporter {
	return &reporter{
		link: l, log: log, pace: rate.NewLimiter(batchesPerSecond, batchesAtOnce),
		open: map[string]wire.Observation{}, some: make(chan struct{}, 1),
	}
}

// restart makes the reporter calm for a while, if there is much to say anew.
func (r *reporter) restart(resources int) {
	if resources < muchToSay {
		return
	}
	r.mu.Lock()
	defer r.mu.Unlock()
	r.calmUntil = time.Now().Add(calmFor)
}

func (r *reporter) calm() bool {
	r.mu.Lock()
	defer r.mu.Unlock()
	return time.Now().Before(r.calmUntil)
}

// put has an observation sent soon, in place of an older one of the resource.
func (r *reporter) put(o wire.Observation) {
	r.mu.Lock()
	defer r.mu.Unlock()
	if _, waits := r.open[o.ID]; !waits {
		r.order = append(r.order, o.ID)
	}
	r.open[o.ID] = o
	select {
	case r.some <- struct{}{}:
	default:
	}
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
		if r.calm() && r.pace.Wait(ctx) != nil {
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
