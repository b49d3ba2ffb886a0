package db

import (
	"context"
	"errors"
	"time"

	"github.com/jackc/pgx/v5"
)

// How often a leader makes sure that it still is one.
const confirm = time.Second

// Lead calls do while this process is the leader: the one, of all that share
// the database, that does what one should do. It waits until it can be, calls do
// with a context that ends when it is no more, and so on until ctx ends. do ends
// with its context. There can be two leaders for about a second, when the server
// loses sight of one of them; so what a leader does must be harmless twice.
//
// An SQLite file belongs to one process, which leads.
func (d *DB) Lead(ctx context.Context, do func(context.Context)) error {
	if !d.postgres {
		do(ctx)
		return nil
	}
	return d.apart(ctx, "lead", func(ctx context.Context, conn *pgx.Conn, schema string) error {
		if err := lock(ctx, conn, schema+" leader"); err != nil {
			return err
		}
		d.log.InfoContext(ctx, "this process leads")
		return whileConnected(ctx, conn, do)
	})
}

// Alone calls do while no other process that shares the database does something
// alone of the same name; until then it waits. Like a leader, one that was lost
// sight of may go on for about a second: its context ends.
func (d *DB) Alone(ctx context.Context, name string, do func(context.Context) error) error {
	if !d.postgres {
		return do(ctx)
	}
	var err error
	lost := d.connected(ctx, func(ctx context.Context, conn *pgx.Conn, schema string) error {
		if err := lock(ctx, conn, schema+" "+name); err != nil {
			return err
		}
		return whileConnected(ctx, conn, func(ctx context.Context) { err = do(ctx) })
	})
	return errors.Join(Fault(lost), err)
}

// lock waits for a lock that is the session's: it ends with the process, however
// that ends.
func lock(ctx context.Context, conn *pgx.Conn, name string) error {
	_, err := conn.Exec(ctx, `SELECT pg_advisory_lock(hashtextextended($1, 0))`, name)
	return err
}

// whileConnected calls do, and ends its context when the connection is lost. It
// returns when do has.
func whileConnected(ctx context.Context, conn *pgx.Conn, do func(context.Context)) error {
	ctx, cancel := context.WithCancel(ctx)
	done := make(chan struct{})
	go func() { defer close(done); do(ctx) }()
	defer func() { cancel(); <-done }()
	tick := time.NewTicker(confirm)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-done:
			return nil
		case <-ctx.Done():
			return nil
		}
		limit, stop := context.WithTimeout(ctx, confirm)
		err := conn.Ping(limit)
		stop()
		if err != nil {
			return err
		}
	}
}

// apart gives do a connection of its own, and another when do returns without
// its context having ended. Schema is a name for this exchange's part of the server.
func (d *DB) apart(ctx context.Context, what string, do func(ctx context.Context, conn *pgx.Conn, schema string) error) error {
	for {
		err := d.connected(ctx, do)
		if ctx.Err() != nil {
			return nil
		}
		d.log.WarnContext(ctx, "connection to the database lost", "to", what, "error", err)
		select {
		case <-time.After(time.Second):
		case <-ctx.Done():
			return nil
		}
	}
}

func (d *DB) connected(ctx context.Context, do func(context.Context, *pgx.Conn, string) error) error {
	config := d.config.Copy()
	config.DefaultQueryExecMode = pgx.QueryExecModeExec
	conn, err := pgx.ConnectConfig(ctx, config)
	if err != nil {
		return err
	}
	defer conn.Close(context.WithoutCancel(ctx)) //nolint:errcheck // nothing is under way on it
	var schema string                            // channels and locks are of a database, tables of a schema
	if err := conn.QueryRow(ctx, `SELECT current_schema()`).Scan(&schema); err != nil {
		return err
	}
	return do(ctx, conn, "kontor_"+schema)
}
