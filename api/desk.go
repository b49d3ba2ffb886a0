package api

import (
	"context"
	"sync"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/wire"
)

// A desk hands requests to agents, which ask for them, and their answers to
// those who wait. Both live as long as their asker.
type desk struct {
	mu      sync.Mutex
	waiting map[string]waiter         // by request
	queue   map[string][]wire.Request // by region
	arrived map[string]chan struct{}  // by region; closed when the queue grows
}

func newDesk() *desk {
	return &desk{waiting: map[string]waiter{}, queue: map[string][]wire.Request{}, arrived: map[string]chan struct{}{}}
}

// A waiter is who asked, and whom: only that region's answer counts.
type waiter struct {
	region string
	answer chan wire.Answer
}

const maxQueue = 64 // requests under way per region

// ask has the agent of a region do something, and waits for the answer.
func (d *desk) ask(ctx context.Context, region string, r wire.Request) ([]byte, error) {
	r.ID = resource.NewID()
	answer, err := d.enqueue(region, r)
	if err != nil {
		return nil, err
	}
	defer d.forget(region, r.ID)
	select {
	case a := <-answer:
		if a.Error != "" {
			return nil, fault.Kind(a.Kind).Errorf("region %s: %s", region, a.Error)
		}
		return a.Body, nil
	case <-ctx.Done():
		return nil, fault.Unavailable.Errorf("the agent of region %s did not answer", region)
	}
}

func (d *desk) enqueue(region string, r wire.Request) (<-chan wire.Answer, error) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if len(d.queue[region]) >= maxQueue {
		return nil, fault.Unavailable.Errorf("region %s has too many requests waiting", region)
	}
	answer := make(chan wire.Answer, 1)
	d.waiting[r.ID] = waiter{region, answer}
	d.queue[region] = append(d.queue[region], r)
	if c := d.arrived[region]; c != nil {
		close(c)
		delete(d.arrived, region)
	}
	return answer, nil
}

func (d *desk) forget(region, id string) {
	d.mu.Lock()
	defer d.mu.Unlock()
	delete(d.waiting, id)
	for i, r := range d.queue[region] {
		if r.ID == id {
			d.queue[region] = append(d.queue[region][:i:i], d.queue[region][i+1:]...)
			return
		}
	}
}

// take returns what waits for a region, and a channel that closes when more comes.
func (d *desk) take(region string) ([]wire.Request, <-chan struct{}) {
	d.mu.Lock()
	defer d.mu.Unlock()
	rs := d.queue[region]
	delete(d.queue, region)
	if d.arrived[region] == nil {
		d.arrived[region] = make(chan struct{})
	}
	return rs, d.arrived[region]
}

// answer passes an answer on; one that nobody waits for is dropped.
func (d *desk) answer(region string, a wire.Answer) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if w, ok := d.waiting[a.ID]; ok && w.region == region {
		w.answer <- a
		delete(d.waiting, a.ID)
	}
}
