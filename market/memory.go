package market

import (
	"sync"
	"sync/atomic"
	"time"
)

// A memory is what was read last. Its zero value remembers nothing.
type memory[T any] struct {
	mu      sync.Mutex // held while it is read, so that many who wait share one look
	last    T
	at      time.Time // when reading it began
	spoiled atomic.Bool
}

// spoil has the next recall read, however young the memory is.
func (m *memory[T]) spoil() { m.spoiled.Store(true) }

// recall gives what was read after a moment. If that has to be read anew, read gets what was there before.
func (m *memory[T]) recall(since time.Time, read func(last T) (T, error)) (T, error) {
	m.mu.Lock()
	defer m.mu.Unlock()
	if !m.spoiled.Swap(false) && m.at.After(since) {
		return m.last, nil
	}
	began := time.Now()
	next, err := read(m.last)
	if err != nil {
		m.spoil()
		return next, err
	}
	m.last, m.at = next, began
	return next, nil
}
