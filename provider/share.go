package provider

import (
	"context"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/wire"
)

// What this process keeps in memory, others that serve the same exchange
// change, too.
const (
	topicRegions = "regions" // regions or revocations changed; the hint is empty
	topicSeen    = "seen"    // the hint is a region whose agent was heard of
)

func (s *Store) share() {
	s.DB.Bus().Listen(topicRegions, db.Listener{
		Hear:    func(ctx context.Context, _ string) { s.catchUpOrLater(ctx) },
		CatchUp: func(ctx context.Context) error { _, err := s.catchUp(ctx); return err },
	})
	s.DB.Bus().Listen(topicSeen, db.Listener{
		Hear: func(_ context.Context, region string) { s.seen.note(region, time.Now()) },
	})
}

// write runs fn and notes that what processes remember of regions has changed.
func (s *Store) write(ctx context.Context, fn func(context.Context, *db.Tx) error) error {
	err := s.DB.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := fn(ctx, tx); err != nil {
			return err
		}
		_, err := db.Exec(ctx, tx, `UPDATE exchange SET changes = changes + 1`) // last: this row's lock is everybody's
		return err
	})
	if err == nil {
		s.DB.Bus().Tell(topicRegions, "")
	}
	return err
}

func (s *Store) changes(ctx context.Context) (int64, error) {
	return db.One(ctx, s.DB, db.Scan[int64], `SELECT changes FROM exchange`)
}

// catchUp reads everything again if something has changed since, and reports whether it has.
func (s *Store) catchUp(ctx context.Context) (news bool, err error) {
	n, err := s.changes(ctx)
	if err != nil {
		return false, err
	}
	s.mu.Lock()
	known := s.known
	s.mu.Unlock()
	if n == known {
		return false, nil
	}
	return true, s.Reload(ctx)
}

// catchUpOrLater leaves what fails to the next CatchUp of the bus.
func (s *Store) catchUpOrLater(ctx context.Context) { _, _ = s.catchUp(ctx) }

// Behind reports whether another process had changed something about regions that
// was not known here. It is now. A file of SQLite belongs to one process: there it costs nothing.
func (s *Store) Behind(ctx context.Context) (bool, error) {
	if !s.DB.Postgres() {
		return false, nil
	}
	return s.catchUp(ctx)
}

// Find returns a region, also one that another process has just made: what is
// not in the snapshot is looked for in a shared database.
func (s *Store) Find(ctx context.Context, name string) (*Region, error) {
	r, err := s.Snapshot().Region(name)
	if err == nil {
		return r, nil
	}
	if _, err := s.Behind(ctx); err != nil {
		return nil, err
	}
	return s.Snapshot().Region(name)
}

// Seen notes that the agent of a region was heard of. It costs no query of its
// own: other processes, if there are any, are told with other hints.
func (s *Store) Seen(region string, now time.Time) {
	s.seen.note(region, now)
	if s.DB.Bus().Peers() > 0 {
		s.DB.Bus().Mention(topicSeen, region)
	}
}

const (
	keepAnswers = 5 * time.Minute // after so long an answer that nobody fetched is dropped

	// Of a region; more are dropped, as an agent can send what nobody asked for.
	maxAnswers     = 128
	maxAnswerBytes = 32 << 20 // that are there when one comes
)

// PutAnswer keeps what an agent answered to a request that another process made.
func (s *Store) PutAnswer(ctx context.Context, region string, a wire.Answer) error {
	return s.DB.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
		now := time.Now()
		if _, err := db.Exec(ctx, tx, `DELETE FROM answer WHERE created_at < $1`, db.Micros(now.Add(-keepAnswers))); err != nil {
			return err
		}
		_, err := db.Exec(ctx, tx, `INSERT INTO answer (id, region, body, error, kind, created_at)
			SELECT $1, $2, $3, $4, $5, $6 WHERE (SELECT count(*) < $7 AND COALESCE(sum(length(body)), 0) < $8 FROM answer WHERE region = $2) ON CONFLICT (id) DO NOTHING`,
			db.Legible(a.ID), region, append([]byte{}, a.Body...), db.Legible(a.Error), db.Legible(a.Kind), db.Micros(now), maxAnswers, maxAnswerBytes)
		return err
	})
}

// TakeAnswer returns an answer that another process kept, once.
func (s *Store) TakeAnswer(ctx context.Context, region, id string) (a wire.Answer, found bool, err error) {
	a, err = db.One(ctx, s.DB, func(scan func(...any) error) (wire.Answer, error) {
		a := wire.Answer{ID: id}
		err := scan(&a.Body, &a.Error, &a.Kind)
		return a, err
	}, `SELECT body, error, kind FROM answer WHERE id = $1 AND region = $2`, id, region)
	if fault.KindOf(err) == fault.Missing {
		return a, false, nil
	}
	if err != nil {
		return a, false, err
	}
	_, err = db.Exec(ctx, s.DB, `DELETE FROM answer WHERE id = $1`, id)
	return a, true, err
}
