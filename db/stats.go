package db

import (
	"context"
	"database/sql"
	"math/bits"
	"sync/atomic"
)

// Stats is what a database has done since Open, and how it is now.
type Stats struct {
	Statements int64 // executed, transaction control left out
	Committed  int64 // transactions
	Failed     int64 // transactions that ended without a commit, also as their function wanted
	Retried    int64 // transactions run again after a clash with another writer
	Groups     Groups
	Pool       sql.DBStats // of readers on SQLite, of all on PostgreSQL
}

// Groups is how many transactions SQLite committed at once.
type Groups struct {
	Count int64 // commits
	Parts int64 // transactions in them
	UpTo  [groupClasses]int64
}

// groupClasses: class i of Groups.UpTo counts groups of at most 1<<i transactions
// that are in no class before.
const groupClasses = 9

type tally struct {
	committed, failed, retried, groups, parts atomic.Int64
	classes                                   [groupClasses]atomic.Int64
}

func (t *tally) ended(err error) {
	if err == nil {
		t.committed.Add(1)
	} else {
		t.failed.Add(1)
	}
}

func (t *tally) grouped(n int) {
	t.groups.Add(1)
	t.parts.Add(int64(n))
	t.classes[min(bits.Len(uint(n-1)), groupClasses-1)].Add(1) //nolint:gosec // n is at least 1
}

// Stats counts. It costs no query.
func (d *DB) Stats() Stats {
	t := &d.tally
	s := Stats{
		Statements: d.count.Load(), Committed: t.committed.Load(), Failed: t.failed.Load(), Retried: t.retried.Load(),
		Groups: Groups{Count: t.groups.Load(), Parts: t.parts.Load()}, Pool: d.pool.Stats(),
	}
	for i := range t.classes {
		s.Groups.UpTo[i] = t.classes[i].Load()
	}
	return s
}

// Ping asks the database for a sign of life.
func (d *DB) Ping(ctx context.Context) error {
	_, err := One(ctx, d, Scan[int], `SELECT 1`)
	return err
}

// Size is how many bytes the database takes on its disk, about.
func (d *DB) Size(ctx context.Context) (int64, error) {
	query := `SELECT page_count * page_size FROM pragma_page_count(), pragma_page_size()`
	if d.postgres {
		query = `SELECT pg_database_size(current_database())`
	}
	return One(ctx, d, Scan[int64], query)
}
