package db

import (
	"context"
	"database/sql"
	"sync"
)

// maxStatements bounds what is kept prepared for one connection or pool.
const maxStatements = 256

// statements keeps SQLite statements prepared: parsing costs several times
// what running a look-up by key does.
type statements struct {
	on interface {
		PrepareContext(ctx context.Context, query string) (*sql.Stmt, error)
	}
	mu sync.RWMutex
	by map[string]*sql.Stmt
}

// of returns the statement for query. An open result survives its eviction.
func (s *statements) of(query string) (*sql.Stmt, error) {
	s.mu.RLock()
	st := s.by[query]
	s.mu.RUnlock()
	if st != nil {
		return st, nil
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	if st := s.by[query]; st != nil {
		return st, nil
	}
	st, err := s.on.PrepareContext(context.Background(), query)
	if err != nil {
		return nil, err
	}
	for other, old := range s.by {
		if len(s.by) < maxStatements {
			break
		}
		delete(s.by, other)
		old.Close()
	}
	if s.by == nil {
		s.by = make(map[string]*sql.Stmt)
	}
	s.by[query] = st
	return st, nil
}

func (s *statements) close() {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, st := range s.by {
		st.Close()
	}
	s.by = nil
}
