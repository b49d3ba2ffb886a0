package telemetry

import (
	"context"
	"log/slog"
	"sync"
	"time"
)

// A Survey is a costly reading that many readers share. It is made beside them
// when somebody asks, and the longer it takes the longer it counts, so that all
// of them take at most a hundredth of the time.
type Survey[T any] struct {
	begin func() (T, error)
	log   *slog.Logger
	stop  context.CancelFunc

	mu     sync.Mutex
	last   T
	at     time.Time     // when the last was begun that succeeded
	due    time.Time     // when the next may be
	taking chan struct{} // closed when the one that is being made is there; else nil
	closed bool
}

const (
	surveyShare  = 100 // of the time that one takes, before the next
	surveyLeast  = time.Second
	surveyWithin = time.Minute
	patience     = 500 * time.Millisecond // of a reader; then he gets the one before
)

// NewSurvey makes a survey of what take reads.
func NewSurvey[T any](take func(context.Context) (T, error), log *slog.Logger) *Survey[T] {
	ctx, stop := context.WithCancel(context.Background())
	return &Survey[T]{log: log, stop: stop, begin: func() (T, error) {
		ctx, cancel := context.WithTimeout(ctx, surveyWithin)
		defer cancel()
		return take(ctx)
	}}
}

// Read returns the newest reading, and when it was made; never, if there is
// none yet.
func (s *Survey[T]) Read() (T, time.Time) {
	s.mu.Lock()
	if s.taking == nil && !s.closed && !time.Now().Before(s.due) {
		s.taking = make(chan struct{})
		go s.take(s.taking)
	}
	wait := s.taking
	s.mu.Unlock()
	if wait != nil {
		select {
		case <-wait:
		case <-time.After(patience):
		}
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.last, s.at
}

func (s *Survey[T]) take(done chan<- struct{}) {
	defer close(done)
	began := time.Now()
	v, err := s.begin()
	took := time.Since(began)
	s.mu.Lock()
	defer s.mu.Unlock()
	if err == nil {
		s.last, s.at = v, began
	} else {
		s.log.Warn("not counted", "error", err, "took", took)
	}
	s.due, s.taking = time.Now().Add(max(surveyLeast, surveyShare*took)), nil
}

// Close gives up what is being read, and waits for that. Nothing is read later.
func (s *Survey[T]) Close() {
	s.stop()
	s.mu.Lock()
	wait := s.taking
	s.closed = true
	s.mu.Unlock()
	if wait != nil {
		<-wait
	}
}
