package provider

import (
	"sync"
	"time"
)

// A State is what is known of an agent's life.
type State string

// The states. What the platform of an agent does that is Unknown, is unknown.
const (
	Alive   State = "alive"
	Silent  State = "silent"
	Unknown State = "unknown"
)

// The ages of the last sign of life at which the state changes.
const (
	SilentAfter  = 10 * time.Second
	UnknownAfter = 30 * time.Second
)

// liveness remembers when agents were heard of. It is not kept: after a
// restart agents come within seconds, or are Unknown.
type liveness struct {
	start time.Time
	mu    sync.Mutex
	by    map[string]life
}

type life struct{ began, last time.Time }

func (l *liveness) note(region string, now time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	was := l.by[region]
	if now.Before(was.last) {
		return
	}
	if now.Sub(was.last) > SilentAfter {
		was.began = now
	}
	was.last = now
	if l.by == nil {
		l.by = make(map[string]life)
	}
	l.by[region] = was
}

func (l *liveness) of(region string, now time.Time) (State, time.Time) {
	l.mu.Lock()
	defer l.mu.Unlock()
	was, known := l.by[region]
	if !known {
		return Unknown, l.start
	}
	switch age := now.Sub(was.last); {
	case age <= SilentAfter:
		return Alive, was.began
	case age <= UnknownAfter:
		return Silent, was.last
	}
	return Unknown, was.last
}
