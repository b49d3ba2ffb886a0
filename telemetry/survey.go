package telemetry

import (
	"context"
	"sync"
	"time"
)

// A Survey is a costly reading that many readers share. It is made when
// somebody asks, and the longer it takes the longer it counts, so that all of
// them take at most a hundredth of the time. Its zero value, with Take, is ready.
type Survey[T any] struct {
	Take func(context.Context) (T, error)

	mu    sync.Mutex
	last  T
	at    time.Time // of the last that succeeded
	due   time.Time
	error error
}

const (
	surveyShare  = 100 // of the time that one takes, before the next
	surveyLeast  = time.Second
	surveyWithin = 5 * time.Second
)

// Read returns the newest reading, and when it was made; never, if none has
// succeeded yet.
func (s *Survey[T]) Read() (T, time.Time, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	began := time.Now()
	if began.Before(s.due) {
		return s.last, s.at, s.error
	}
	ctx, cancel := context.WithTimeout(context.Background(), surveyWithin)
	defer cancel()
	v, err := s.Take(ctx)
	if s.error = err; err == nil {
		s.last, s.at = v, began
	}
	now := time.Now()
	s.due = now.Add(max(surveyLeast, surveyShare*now.Sub(began)))
	return s.last, s.at, s.error
}
