// Package db keeps state in SQLite or PostgreSQL, with one SQL text for both.
//
// The common subset: parameters are $1, $2 and so on; times are BIGINT
// microseconds; JSON columns are JSONB, written and read through JSON; BOOLEAN,
// BYTEA, TEXT, BIGINT; ON CONFLICT and RETURNING. SQLite takes the type names
// as they are: JSONB and BYTEA have numeric affinity there, which changes
// neither blobs nor the text of JSON objects and arrays. A bare number does not
// belong in a JSON column. A TEXT column sorts by bytes on both, as migrate
// makes it COLLATE "C" on PostgreSQL.
//
// A write that InTx acknowledges is durable. On SQLite, many writers share one
// fsync (see writer).
package db

import (
	"context"
	"database/sql"
	"fmt"
	"log/slog"
	"strings"
	"sync/atomic"

	"github.com/jackc/pgx/v5"
)

// A DB is an open database. Its own query methods are for reads; what belongs
// together is written through InTx.
type DB struct {
	log      *slog.Logger
	postgres bool
	pool     *sql.DB         // readers on SQLite, everything on PostgreSQL
	prepared *statements     // for pool; nil on PostgreSQL, where pgx has its own
	writer   *writer         // SQLite only
	file     string          // SQLite only
	config   *pgx.ConnConfig // PostgreSQL only
	bus      *Bus
	trace    Trace
	count    atomic.Int64
	tally    tally
}

// Open connects to url, which is postgres://… or the path of an SQLite file,
// with or without sqlite: in front, and brings the schema up to date. The
// file and its directory are made if need be, for this user only.
func Open(ctx context.Context, url string, log *slog.Logger) (*DB, error) {
	open := openSQLite
	if isPostgres(url) {
		open = openPostgres
	}
	d, err := open(ctx, url, log)
	if err != nil {
		return nil, Fault(fmt.Errorf("open the database: %w", err))
	}
	d.bus = newBus(d)
	if err := migrate(ctx, d, migrations()); err != nil {
		d.Close()
		return nil, Fault(fmt.Errorf("bring the database up to date: %w", err))
	}
	return d, nil
}

func isPostgres(url string) bool {
	return strings.HasPrefix(url, "postgres://") || strings.HasPrefix(url, "postgresql://")
}

// Postgres reports whether this is PostgreSQL, for the few statements that
// must differ.
func (d *DB) Postgres() bool { return d.postgres }

// A Trace is told what a database begins to do, a transaction or a statement by its
// text, and gives back what to call at its end.
type Trace func(ctx context.Context, name, text string) (context.Context, func(error))

// Traced has what d does told to t. It is called before others use d.
func (d *DB) Traced(t Trace) { d.trace = t }

// begin tells of something that begins. Where nobody listens it costs nothing.
func (d *DB) begin(ctx context.Context, name, text string) (context.Context, func(error)) {
	if d.trace == nil {
		return ctx, untold
	}
	return d.trace(ctx, name, text)
}

func untold(error) {}

// Statements counts what has been executed since Open, transaction control
// left out. Tests use it to prove that something costs no query.
func (d *DB) Statements() int64 { return d.count.Load() }

// Close waits for what is being written, refuses what comes later, and closes
// all connections.
func (d *DB) Close() error {
	if d.writer != nil {
		d.writer.close()
	}
	if d.prepared != nil {
		d.prepared.close()
	}
	return d.pool.Close()
}

// QueryContext reads what has been committed.
func (d *DB) QueryContext(ctx context.Context, query string, args ...any) (rows *sql.Rows, err error) {
	d.count.Add(1)
	ctx, end := d.begin(ctx, "db query", query)
	defer func() { end(err) }()
	if d.prepared == nil {
		return d.pool.QueryContext(ctx, query, args...)
	}
	s, err := d.prepared.of(query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(ctx, args...)
}

// ExecContext runs one statement in a transaction of its own.
func (d *DB) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	var r sql.Result
	err := d.InTx(ctx, func(ctx context.Context, tx *Tx) (err error) {
		r, err = tx.ExecContext(ctx, query, args...)
		return err
	})
	return r, err
}
