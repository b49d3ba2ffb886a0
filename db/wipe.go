package db

import (
	"context"
	"database/sql"
	"fmt"
	"time"

	"github.com/kontor-cloud/kontor/fault"
)

// Wipe writes anew the files in which tables are, so that nothing is left in them
// of rows that were changed or deleted: on SQLite the whole file, with its
// write-ahead log, on PostgreSQL those of the tables. That takes time and room
// for a copy, and others wait to write meanwhile. It is Unavailable while somebody
// reads who may still see those rows.
func (d *DB) Wipe(ctx context.Context, tables ...string) error {
	if !d.postgres {
		return d.wipeSQLite(ctx)
	}
	if err := d.outlast(ctx); err != nil {
		return err
	}
	for _, t := range tables {
		if _, err := d.pool.ExecContext(ctx, `VACUUM FULL `+quoted(t)); err != nil {
			return Fault(fmt.Errorf("vacuum table %s: %w", t, err))
		}
	}
	return nil
}

// How long PostgreSQL's transactions are waited for, and how often they are looked at.
const (
	outlastFor   = 3 * time.Second
	outlastEvery = 50 * time.Millisecond
)

// outlast waits until every transaction has ended that began before: VACUUM keeps
// the rows that such a one may see.
func (d *DB) outlast(ctx context.Context) error {
	now, err := One(ctx, d.pool, Scan[string], `SELECT pg_current_xact_id()::text`)
	if err != nil {
		return err
	}
	for deadline := time.Now().Add(outlastFor); time.Now().Before(deadline); time.Sleep(outlastEvery) {
		older, err := One(ctx, d.pool, Scan[int], `
			SELECT count(*) FROM pg_stat_activity WHERE (datname = current_database() OR datname IS NULL)
			AND greatest(age(backend_xmin), age(backend_xid)) > age($1::text::xid8::xid)`, now)
		if err != nil || older == 0 {
			return err
		}
	}
	return fault.Unavailable.Errorf("a transaction that began before goes on")
}

func (d *DB) wipeSQLite(ctx context.Context) error {
	pool, err := sql.Open("sqlite", dataSource(d.file))
	if err != nil {
		return err
	}
	defer pool.Close()
	conn, err := pool.Conn(ctx) // all on one connection
	if err != nil {
		return Fault(err)
	}
	defer conn.Close()
	if _, err := conn.ExecContext(ctx, `VACUUM`); err != nil {
		return Fault(fmt.Errorf("vacuum the file: %w", err))
	}
	var busy, frames, moved int
	if err := conn.QueryRowContext(ctx, `PRAGMA wal_checkpoint(TRUNCATE)`).Scan(&busy, &frames, &moved); err != nil {
		return Fault(fmt.Errorf("empty the write-ahead log: %w", err))
	}
	if busy != 0 {
		return fault.Unavailable.Errorf("empty the write-ahead log: another process reads the database")
	}
	return nil
}
