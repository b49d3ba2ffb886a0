package db

import (
	"context"
	"database/sql"
	"errors"
	"math/rand/v2"
	"time"
)

// A Tx is a write transaction. It belongs to the function that InTx calls, and
// to one goroutine; rows are closed before the next call.
type Tx struct {
	db    *DB
	query func(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	exec  func(ctx context.Context, query string, args ...any) (sql.Result, error)
	many  func(ctx context.Context, text string, args ...any) (sql.Result, error) // exec, for several statements
	ended bool
}

var errEnded = errors.New("the transaction has ended")

// QueryContext reads what the transaction sees. It is for INSERT … RETURNING, too.
func (t *Tx) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	if t.ended {
		return nil, errEnded
	}
	t.db.count.Add(1)
	ctx, end := t.db.begin(ctx, "db query", query)
	rows, err := t.query(ctx, query, args...)
	end(err)
	return rows, err
}

// ExecContext runs a statement that yields no rows.
func (t *Tx) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	if t.ended {
		return nil, errEnded
	}
	t.db.count.Add(1)
	ctx, end := t.db.begin(ctx, "db query", query)
	r, err := t.exec(ctx, query, args...)
	end(err)
	return r, err
}

// Elements gives what follows FROM to have a row of each element of a JSON array,
// which a parameter holds: its column is value, and value->>'key' is the text of
// a member. So one statement writes any number of rows.
func (t *Tx) Elements(parameter string) string {
	if t.db.postgres {
		return "json_array_elements(CAST(" + parameter + " AS json))"
	}
	return "json_each(" + parameter + ")"
}

// script runs a text of several statements.
func (t *Tx) script(ctx context.Context, text string) error {
	_, err := t.many(ctx, text)
	return err
}

// How often and for how long InTx tries again.
const (
	attempts   = 10
	firstPause = 2 * time.Millisecond
	lastPause  = 250 * time.Millisecond
)

type inside struct{} // marks the context of a transaction

// InTx runs fn in a write transaction and commits it, unless fn returns an
// error or panics: then nothing of it stays. When InTx returns nil, the write is durable.
// After a clash with another writer fn is called again, so it must set what
// it fills from scratch. It must use the context that it gets, and must not
// call InTx, wait for other writers, or do slow work. A statement that failed
// ends the transaction on PostgreSQL, so fn returns then; what may be there
// already is inserted with ON CONFLICT DO NOTHING.
//
// The isolation is that of READ COMMITTED; on SQLite writers see one another
// strictly in turn. The Witness of the context takes part.
func (d *DB) InTx(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) (err error) {
	if ctx.Value(inside{}) == d {
		return errors.New("a transaction within a transaction")
	}
	ctx = context.WithValue(ctx, inside{}, d)
	ctx, end := d.begin(ctx, "db transaction", "")
	defer func() { end(err) }()
	fn, committed := witnessed(ctx, fn)
	run := d.once
	if d.writer != nil {
		run = d.writer.do
	}
	for attempt := 1; ; attempt++ {
		err := run(ctx, fn)
		if err == nil || attempt == attempts || !clash(err) || !pause(ctx, attempt) {
			d.tally.ended(err)
			if err == nil {
				committed()
			}
			return Fault(err)
		}
		d.tally.retried.Add(1)
		d.log.DebugContext(ctx, "transaction tried again", "attempt", attempt, "error", err)
	}
}

// pause waits a random time that doubles with each attempt, and reports
// whether ctx is still alive.
func pause(ctx context.Context, attempt int) bool {
	most := min(firstPause<<attempt, lastPause)
	timer := time.NewTimer(most/2 + rand.N(most/2))
	defer timer.Stop()
	select {
	case <-timer.C:
		return true
	case <-ctx.Done():
		return false
	}
}
