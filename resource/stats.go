package resource

import (
	"context"
	"sync/atomic"
	"time"

	"github.com/kontor-cloud/kontor/db"
)

// Stats is what this process has taken in from agents.
type Stats struct {
	News      int64 // observations that changed a resource
	Known     int64 // observations that said nothing new
	Strangers int64 // observations of what is no live resource
}

type tally struct{ news, known, strangers atomic.Int64 }

func (t *tally) observed(all, news, strangers int) {
	t.news.Add(int64(news))
	t.strangers.Add(int64(strangers))
	t.known.Add(int64(all - news - strangers))
}

// Stats counts. It costs no query.
func (s *Store) Stats() Stats {
	return Stats{News: s.tally.news.Load(), Known: s.tally.known.Load(), Strangers: s.tally.strangers.Load()}
}

// A Count is how many live resources of a kind are in a state.
type Count struct {
	Kind, State string
	N           int64
}

// Census counts all live resources. It reads every row, so it is not for each
// who asks.
func (s *Store) Census(ctx context.Context) ([]Count, error) {
	return db.All(ctx, s.db, func(scan func(...any) error) (c Count, err error) {
		return c, scan(&c.Kind, &c.State, &c.N)
	}, `SELECT kind, state, count(*) FROM resource WHERE gone_at IS NULL GROUP BY kind, state`)
}

// Followed notes from where the agent of a region follows.
func (s *Store) Followed(region string, since int64) {
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	p, now := s.watch.of(region), time.Now()
	p.followed, p.polled = since, now
	p.lags(now)
}

// lags notes whether the agent lacks something. It is called under the lock.
func (p *pulse) lags(now time.Time) {
	switch {
	case p.followed >= p.revision:
		p.behind = time.Time{}
	case p.behind.IsZero():
		p.behind = now
	}
}

// Lag tells for each region whose agent has asked this process for changes in
// the last so long, for how long something has been waiting to be fetched.
func (s *Store) Lag(within time.Duration) map[string]time.Duration {
	s.watch.mu.Lock()
	defer s.watch.mu.Unlock()
	all, now := map[string]time.Duration{}, time.Now()
	for region, p := range s.watch.region {
		if p.polled.IsZero() || now.Sub(p.polled) > within {
			continue
		}
		all[region] = 0
		if !p.behind.IsZero() {
			all[region] = now.Sub(p.behind)
		}
	}
	return all
}
