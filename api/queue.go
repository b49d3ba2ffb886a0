package api

import (
	"context"
	"sync"
	"time"

	"github.com/kontor-cloud/kontor/fault"
)

// How much one process does at once. What waits is cheap, what runs takes
// connections to the database and processors, of which there are few.
const (
	maxSeats   = 64
	maxWaiting = 2_000  // of one flow
	allWaiting = 20_000 // of all
)

// A queue gives seats to requests, fairly: whoever has many requests waiting is
// served in turn with whoever has one. A flow is those who share a turn: the members
// of a tenant, or an account if no tenant is concerned. No flow has more than half of
// the seats, so that one whose requests last long leaves some to others.
//
// There is a line for each flow that waits, and none for others, so that flows never
// collide as in queues that are shared by hashing, and memory is bounded by who waits.
type queue struct {
	mu      sync.Mutex
	free    int
	most    int            // seats of one flow
	seated  map[string]int // by flow
	lines   map[string][]*place
	turns   []string // flows that wait, in the order of their turns
	waiting int
}

// A place in a line; its channel is closed when it becomes a seat.
type place struct{ seat chan struct{} }

func newQueue(seats int) *queue {
	return &queue{free: seats, most: max(seats/2, 1), seated: map[string]int{}, lines: map[string][]*place{}}
}

// enter waits for a seat, which leave gives back. It is Exhausted if too many wait,
// or if ctx ends before there is one.
func (q *queue) enter(ctx context.Context, flow string) (leave func(), err error) {
	w, err := q.join(flow)
	if err != nil {
		return nil, err
	}
	leave = func() { q.leave(flow) }
	select {
	case <-w.seat:
		return leave, nil
	case <-ctx.Done():
	}
	if q.quit(flow, w) {
		return nil, crowded("too much is waiting to be done; try again, later")
	}
	leave() // it came at the same moment
	return nil, crowded("too much is waiting to be done; try again, later")
}

func crowded(what string) error {
	return &fault.Error{Kind: fault.Exhausted, After: time.Second, Err: fault.Exhausted.Errorf("%s", what)}
}

func (q *queue) join(flow string) (*place, error) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.lines[flow]) >= maxWaiting || q.waiting >= allWaiting {
		return nil, crowded("too many requests are waiting already; send fewer at once")
	}
	w := &place{make(chan struct{})}
	if len(q.lines[flow]) == 0 {
		q.turns = append(q.turns, flow)
	}
	q.lines[flow] = append(q.lines[flow], w)
	q.waiting++
	q.seat()
	return w, nil
}

// quit leaves the line, or reports that there is a seat already.
func (q *queue) quit(flow string, w *place) bool {
	q.mu.Lock()
	defer q.mu.Unlock()
	for i, other := range q.lines[flow] {
		if other == w {
			q.line(flow, append(q.lines[flow][:i:i], q.lines[flow][i+1:]...))
			if len(q.lines[flow]) == 0 {
				q.forget(flow)
			}
			return true
		}
	}
	return false
}

func (q *queue) leave(flow string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.free++
	if q.seated[flow]--; q.seated[flow] == 0 {
		delete(q.seated, flow)
	}
	q.seat()
}

// seat gives free seats to those whose turn it is.
func (q *queue) seat() {
	for i := 0; q.free > 0 && i < len(q.turns); {
		flow := q.turns[i]
		if q.seated[flow] >= q.most { // its turn stays
			i++
			continue
		}
		w := q.lines[flow][0]
		q.line(flow, q.lines[flow][1:])
		q.turns = append(q.turns[:i], q.turns[i+1:]...)
		if len(q.lines[flow]) > 0 {
			q.turns = append(q.turns, flow)
		}
		q.free--
		q.seated[flow]++
		close(w.seat)
	}
}

// line replaces a line that is one shorter.
func (q *queue) line(flow string, rest []*place) {
	q.waiting--
	if len(rest) == 0 {
		delete(q.lines, flow)
		return
	}
	q.lines[flow] = rest
}

// forget takes a flow's turn, of which nobody waits any more.
func (q *queue) forget(flow string) {
	for i, f := range q.turns {
		if f == flow {
			q.turns = append(q.turns[:i], q.turns[i+1:]...)
			return
		}
	}
}

// Waiting is how many requests wait for their turn.
func (x *Exchange) Waiting() int {
	x.queue.mu.Lock()
	defer x.queue.mu.Unlock()
	return x.queue.waiting
}
