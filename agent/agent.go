// Package agent is the process at a provider. It dials out to its exchange,
// follows what is wanted in its region, and makes it so on a platform by way
// of a driver. What is true is what the platform lists: the agent may be
// killed at any moment, and finds its way by listing again.
package agent

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"strconv"
	"sync"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/telemetry"
)

// A Config says where an agent lives and what it runs.
type Config struct {
	Dir     string          `json:"dir"`            // its own, for key, certificate and journal
	Join    string          `json:"join,omitempty"` // what the exchange printed; needed once
	Driver  string          `json:"driver"`         // its name, for the exchange
	Config  json.RawMessage `json:"config,omitempty"`
	Version string          `json:"version,omitempty"` // of this program

	Relist           time.Duration `json:"relist,omitempty"`           // between looks at the whole platform; default 30 s
	DestroyPerMinute int           `json:"destroyPerMinute,omitempty"` // things removed at most; default 60
	DestroyBurst     int           `json:"destroyBurst,omitempty"`     // at once after a pause; default 120

	Private string             `json:"private,omitempty"` // where the process is watched; for who runs it
	Metrics *telemetry.Metrics `json:"-"`                 // nil: nobody measures
	Health  *telemetry.Health  `json:"-"`                 // nil: nobody asks
	Tracer  *telemetry.Tracer  `json:"-"`                 // nil: nobody follows
}

// An agent is one running region.
type agent struct {
	config   Config
	cloud    *driver.Cloud
	link     exchange
	log      *slog.Logger
	throttle *throttle
	journal  *journal
	queue    *queue
	report   *reporter
	kinds    map[string]*kind
	order    []*kind

	mu      sync.Mutex
	mirror  *mirror
	trouble string
	stocked driver.Inventory
	orphans chan struct{} // poked when there is something to report
	answers sync.WaitGroup
	asked   map[string]bool
	seq     int64 // of what was observed last
	life    string
}

// An exchange is the other side: it takes a message and gives the reply.
type exchange interface {
	post(ctx context.Context, path string, in, out any) error
	name() string
	region() string // that the agent keeps
	epoch() int64   // grows whenever the exchange is there again
}

// Run joins the exchange if need be, opens the platform and keeps the region
// until ctx ends. It then finishes calls that are under way, within seconds.
// What runs at the platform keeps running.
func Run(ctx context.Context, c Config, open driver.Opener, log *slog.Logger) error {
	if c.Relist == 0 {
		c.Relist = 30 * time.Second
	}
	if c.DestroyPerMinute > 0 && c.DestroyBurst == 0 {
		c.DestroyBurst = 2 * c.DestroyPerMinute
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("make the agent's directory: %w", err)
	}
	unlock, err := lock(ctx, c.Dir)
	if err != nil {
		return err
	}
	defer unlock() //nolint:errcheck // it ends with the process at the latest
	l, err := dial(ctx, c, log)
	if err != nil {
		return err
	}
	log = log.With("region", l.identity().Region)
	cloud, err := open(ctx, driver.Owner{Exchange: l.identity().Exchange, Region: l.identity().Region}, c.Dir, c.Config, log)
	if err != nil {
		return fmt.Errorf("open platform %s: %w", c.Driver, err)
	}
	defer l.show(c)()
	return errors.Join(serve(ctx, c, cloud, l, log, l.renewal), cloud.Close())
}

// serve runs the agent's loops, and others given, until ctx ends.
func serve(ctx context.Context, c Config, cloud *driver.Cloud, l exchange, log *slog.Logger, more ...func(context.Context) error) error {
	j, err := openJournal(c.Dir)
	if err != nil {
		return err
	}
	a := newAgent(c, cloud, l, j, log)
	defer a.show()()
	loops, ctx := errgroup.WithContext(ctx)
	a.queue.serve(a.throttle.workers(), func(id string) { a.reconcile(ctx, id) })
	for _, k := range a.order {
		if k.list != nil {
			loops.Go(func() error { return a.watch(ctx, k) })
		}
	}
	for _, loop := range append(more, a.follow, a.report.run, a.stock, a.settleOrphans) {
		loops.Go(func() error { return loop(ctx) })
	}
	context.AfterFunc(ctx, a.queue.close)
	err = loops.Wait()
	a.queue.workers.Wait()
	a.answers.Wait()
	if errors.Is(err, context.Canceled) {
		err = nil
	}
	return errors.Join(err, j.close())
}

func newAgent(c Config, cloud *driver.Cloud, l exchange, j *journal, log *slog.Logger) *agent {
	a := &agent{
		config: c, cloud: cloud, link: l, log: log, journal: j,
		queue: newQueue(), mirror: newMirror(), kinds: map[string]*kind{}, order: kindsOf(cloud),
		orphans: make(chan struct{}, 1), asked: map[string]bool{}, life: strconv.FormatUint(rand.Uint64(), 36),
	}
	a.report = newReporter(l, log)
	a.throttle = newThrottle(c, cloud.Limits, func(open bool) {
		log.Warn("platform circuit changed", "open", open)
	})
	for _, k := range a.order {
		a.kinds[k.name] = k
	}
	return a
}

const (
	// callGrace is how long a call that is under way when the agent ends may take.
	callGrace = 5 * time.Second
	// callWithin is how long any call may take: then its answer is lost, and
	// whether it did something is for a list to tell.
	callWithin = 2 * time.Minute
)

// patient gives a context for a call to the platform: when the agent ends, the
// call has a moment to come to an end itself.
func patient(ctx context.Context) (context.Context, context.CancelFunc) {
	call, cancel := context.WithTimeout(context.WithoutCancel(ctx), callWithin)
	stop := context.AfterFunc(ctx, func() {
		t := time.AfterFunc(callGrace, cancel)
		context.AfterFunc(call, func() { t.Stop() })
	})
	return call, func() { stop(); cancel() }
}

// jitter spreads a duration by a fifth either way.
func jitter(d time.Duration) time.Duration {
	return time.Duration(float64(d) * (0.8 + 0.4*rand.Float64())) //nolint:gosec // no secret
}

// sleep waits, and reports false when ctx ends first.
func sleep(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// backoff doubles from first with each try, up to most.
func backoff(try int, first, most time.Duration) time.Duration {
	d := first
	for range min(try, 30) {
		if d *= 2; d >= most {
			d = most
			break
		}
	}
	return jitter(d)
}
