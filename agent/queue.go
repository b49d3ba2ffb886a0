package agent

import (
	"sync"
	"time"
)

// A queue has workers look at things that need it, by name. A name is with one
// worker at a time; one that is added meanwhile comes again afterwards, once.
// Workers are there while there is work: most agents idle most of the time.
type queue struct {
	mu      sync.Mutex
	line    []string
	items   map[string]*item
	closed  bool
	look    func(name string) // what workers do; nil before serve
	hired   int
	most    int
	workers sync.WaitGroup
}

type item struct {
	queued bool // in line
	busy   bool // with a worker
	again  bool // added while busy
	due    time.Time
	timer  *time.Timer
}

func newQueue() *queue { return &queue{items: map[string]*item{}} }

// serve has at most so many workers look at once.
func (q *queue) serve(most int, look func(name string)) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.most, q.look = most, look
	for range q.line {
		q.hire()
	}
}

// hire has one more worker for what is in line, if there may be one.
func (q *queue) hire() {
	if q.look == nil || q.hired == q.most {
		return
	}
	q.hired++
	q.workers.Go(func() {
		for {
			name, ok := q.take()
			if !ok {
				return
			}
			q.look(name)
			q.done(name)
		}
	})
}

// add puts a name in line, unless it is there.
func (q *queue) add(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.push(name)
}

func (q *queue) push(name string) {
	it := q.item(name)
	switch {
	case q.closed || it.queued:
	case it.busy:
		it.again = true
	default:
		it.queued = true
		q.line = append(q.line, name)
		q.hire()
	}
}

// after adds a name when d has passed, or earlier if that was asked for before.
func (q *queue) after(name string, d time.Duration) {
	q.mu.Lock()
	defer q.mu.Unlock()
	it, due := q.item(name), time.Now().Add(d)
	if q.closed || it.timer != nil && it.due.Before(due) {
		return
	}
	if it.timer != nil {
		it.timer.Stop()
	}
	it.due = due
	var t *time.Timer
	t = time.AfterFunc(d, func() {
		q.mu.Lock()
		defer q.mu.Unlock()
		if it.timer == t {
			it.timer = nil
			q.push(name)
		}
	})
	it.timer = t
}

func (q *queue) item(name string) *item {
	it := q.items[name]
	if it == nil {
		it = new(item)
		q.items[name] = it
	}
	return it
}

// take gives a worker its next name, or lets it go.
func (q *queue) take() (string, bool) {
	q.mu.Lock()
	defer q.mu.Unlock()
	if len(q.line) == 0 || q.closed {
		q.hired--
		return "", false
	}
	name := q.line[0]
	q.line = q.line[1:]
	it := q.items[name]
	it.queued, it.busy = false, true
	return name, true
}

// done gives a name back.
func (q *queue) done(name string) {
	q.mu.Lock()
	defer q.mu.Unlock()
	it := q.items[name]
	it.busy = false
	switch {
	case it.again:
		it.again = false
		q.push(name)
	case !it.queued && it.timer == nil:
		delete(q.items, name)
	}
}

// close has no more names taken. Who waits for workers sees them end with what they have.
func (q *queue) close() {
	q.mu.Lock()
	defer q.mu.Unlock()
	q.closed = true
	for _, it := range q.items {
		if it.timer != nil {
			it.timer.Stop()
		}
	}
}
