package telemetry

import (
	"context"
	"sync"
	"time"
)

// Health is whether a process should be sent work. Its zero value is that of a
// process that starts.
type Health struct {
	mu     sync.Mutex
	phase  phase
	checks []check
	cached []Reason
	until  time.Time
}

type phase int

const (
	starting phase = iota
	serving
	draining
)

type check struct {
	name string
	do   func(context.Context) error
}

// A Reason is why a process is not ready.
type Reason struct {
	Check  string `json:"check"`
	Reason string `json:"reason"`
}

const (
	checkWithin = 2 * time.Second
	checkEvery  = 500 * time.Millisecond // however often somebody asks
)

// Check adds what must hold for the process to be ready.
func (h *Health) Check(name string, do func(context.Context) error) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.checks = append(h.checks, check{name, do})
}

// Serving says that the process has started.
func (h *Health) Serving() { h.enter(serving) }

// Draining says that the process is about to go. It stays so.
func (h *Health) Draining() { h.enter(draining) }

func (h *Health) enter(p phase) {
	h.mu.Lock()
	defer h.mu.Unlock()
	h.phase, h.until = max(h.phase, p), time.Time{}
}

// Unready tells why the process should not be sent work; nothing if it should.
func (h *Health) Unready() []Reason {
	h.mu.Lock()
	defer h.mu.Unlock()
	switch h.phase {
	case starting:
		return []Reason{{"start", "the process is starting"}}
	case draining:
		return []Reason{{"drain", "the process was told to stop, and finishes what it has begun"}}
	case serving:
	}
	if now := time.Now(); now.After(h.until) {
		h.cached = h.run()
		h.until = time.Now().Add(checkEvery)
	}
	return h.cached
}

// Ready reports whether the process should be sent work.
func (h *Health) Ready() bool { return len(h.Unready()) == 0 }

func (h *Health) run() (found []Reason) {
	ctx, cancel := context.WithTimeout(context.Background(), checkWithin) // one answer is for many who ask
	defer cancel()
	for _, c := range h.checks {
		if err := c.do(ctx); err != nil {
			found = append(found, Reason{c.name, err.Error()})
		}
	}
	return found
}
