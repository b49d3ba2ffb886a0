package api

import (
	"context"
	"encoding/json"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/provider"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/wire"
)

// A desk hands requests to agents, which ask for them, and their answers to
// those who wait. Both live as long as their asker. An agent may come to
// another process than the asker did: then the request goes there as a hint,
// which is repeated until there is an answer. It may answer at yet another, which
// perhaps has not heard of the request: what nobody waits for there comes back through the database.
type desk struct {
	answers *provider.Store
	bus     *db.Bus

	mu      sync.Mutex
	waiting map[string]waiter        // by request
	queue   map[string][]errand      // by region
	arrived map[string]chan struct{} // by region; closed when the queue grows
	foreign map[string]time.Time     // requests of other processes, by when they were first heard of
}

// A waiter is who asked, and whom: only that region's answer counts.
type waiter struct {
	region string
	answer chan wire.Answer
	fetch  chan struct{} // poked when another process has the answer
}

// An errand is a request that no agent has fetched yet.
type errand struct {
	wire.Request
	foreign bool // of another process
}

const (
	maxQueue = 64 // requests under way per region

	topicAsk    = "ask"    // the hint is a region and a request
	topicAnswer = "answer" // the hint is the id of a request

	askAgain = time.Second
)

func newDesk(answers *provider.Store) *desk {
	d := &desk{
		answers: answers, bus: answers.DB.Bus(),
		waiting: map[string]waiter{}, queue: map[string][]errand{}, arrived: map[string]chan struct{}{}, foreign: map[string]time.Time{},
	}
	d.bus.Listen(topicAsk, db.Listener{Hear: d.heardAsk})
	d.bus.Listen(topicAnswer, db.Listener{Hear: d.heardAnswer})
	return d
}

// ask has the agent of a region do something, and waits for the answer.
func (d *desk) ask(ctx context.Context, region string, r wire.Request) ([]byte, error) {
	r.ID = resource.NewID()
	w, err := d.enqueue(region, r)
	if err != nil {
		return nil, err
	}
	defer d.forget(region, r.ID)
	a, err := d.await(ctx, w, r)
	if err != nil {
		return nil, err
	}
	if a.Error != "" {
		return nil, fault.Kind(a.Kind).Errorf("region %s: %s", region, a.Error)
	}
	return a.Body, nil
}

// await returns the answer to r, from whichever process has it.
func (d *desk) await(ctx context.Context, w waiter, r wire.Request) (wire.Answer, error) {
	text, err := json.Marshal(r)
	if err != nil {
		return wire.Answer{}, err
	}
	again := time.NewTicker(askAgain)
	defer again.Stop()
	for {
		d.bus.Tell(topicAsk, w.region+" "+string(text))
		select {
		case a := <-w.answer:
			return a, nil
		case <-w.fetch:
		case <-again.C:
		case <-ctx.Done():
			return wire.Answer{}, fault.Unavailable.Errorf("the agent of region %s did not answer", w.region)
		}
		if !d.answers.DB.Postgres() {
			continue // nobody else could have it
		}
		if a, found, err := d.answers.TakeAnswer(ctx, w.region, r.ID); found || err != nil {
			return a, err
		}
	}
}

func (d *desk) enqueue(region string, r wire.Request) (waiter, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.queue[region]) >= maxQueue {
		return waiter{}, fault.Unavailable.Errorf("region %s has too many requests waiting", region)
	}
	w := waiter{region, make(chan wire.Answer, 1), make(chan struct{}, 1)}
	d.waiting[r.ID] = w
	d.add(region, errand{Request: r})
	return w, nil
}

// add queues an errand; it is called under the lock.
func (d *desk) add(region string, e errand) {
	d.queue[region] = append(d.queue[region], e)
	if c := d.arrived[region]; c != nil {
		close(c)
		delete(d.arrived, region)
	}
}

// heardAsk queues what another process asks of an agent that may come here.
func (d *desk) heardAsk(_ context.Context, hint string) {
	region, text, _ := strings.Cut(hint, " ")
	e := errand{foreign: true}
	if json.Unmarshal([]byte(text), &e.Request) != nil {
		return
	}
	d.mu.Lock()
	defer d.mu.Unlock()
	d.expire()
	if _, known := d.foreign[e.ID]; known || len(d.queue[region]) >= maxQueue {
		return
	}
	d.foreign[e.ID] = time.Now()
	d.add(region, e)
}

// expire forgets what other processes do not wait for any more.
func (d *desk) expire() {
	for id, since := range d.foreign {
		if time.Since(since) <= maxTime {
			continue
		}
		delete(d.foreign, id)
		for region, q := range d.queue {
			d.queue[region] = slices.DeleteFunc(q, func(e errand) bool { return e.ID == id })
		}
	}
}

func (d *desk) heardAnswer(_ context.Context, id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if w, ok := d.waiting[id]; ok {
		select {
		case w.fetch <- struct{}{}:
		default:
		}
	}
}

func (d *desk) forget(region, id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.waiting, id)
	d.queue[region] = slices.DeleteFunc(d.queue[region], func(e errand) bool { return e.ID == id })
}

// take returns what waits for a region, and a channel that closes when more comes.
func (d *desk) take(region string) ([]wire.Request, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	var rs []wire.Request
	for _, e := range d.queue[region] {
		rs = append(rs, e.Request)
	}
	delete(d.queue, region)
	if d.arrived[region] == nil {
		d.arrived[region] = make(chan struct{})
	}
	return rs, d.arrived[region]
}

// answer passes an answer on. One that nobody waits for here is kept for other processes for
// a while, and dropped if there can be none.
func (d *desk) answer(ctx context.Context, region string, a wire.Answer) error {
	if d.passed(region, a) || !d.answers.DB.Postgres() {
		return nil
	}
	if err := d.answers.PutAnswer(ctx, region, a); err != nil {
		return err
	}
	d.bus.Tell(topicAnswer, a.ID)
	return nil
}

// passed gives an answer to who waits here, and reports whether somebody does. One from
// another region than was asked is nobody's.
func (d *desk) passed(region string, a wire.Answer) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	w, ok := d.waiting[a.ID]
	if ok && w.region == region {
		w.answer <- a
		delete(d.waiting, a.ID)
	}
	return ok
}
