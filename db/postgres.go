package db

import (
	"context"
	"database/sql"
	"log/slog"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/stdlib"

	"github.com/kontor-cloud/kontor/failpoint"
)

// The connections of one process to PostgreSQL.
const (
	maxConns = 24
	idleTime = 5 * time.Minute
)

func openPostgres(ctx context.Context, url string, log *slog.Logger) (*DB, error) {
	config, err := pgx.ParseConfig(url)
	if err != nil {
		return nil, err
	}
	if config.RuntimeParams["application_name"] == "" {
		config.RuntimeParams["application_name"] = "kontor"
	}
	if config.RuntimeParams["plan_cache_mode"] == "" {
		// Statements are few and meant for one index each: to plan them at every call costs more than they do.
		config.RuntimeParams["plan_cache_mode"] = "force_generic_plan"
	}
	pool := stdlib.OpenDB(*config)
	pool.SetMaxOpenConns(maxConns)
	pool.SetMaxIdleConns(maxConns)
	pool.SetConnMaxIdleTime(idleTime)
	if err := pool.PingContext(ctx); err != nil {
		pool.Close()
		return nil, err
	}
	return &DB{log: log, postgres: true, pool: pool, config: config}, nil
}

// once runs fn in one transaction on PostgreSQL. The end of ctx stops waiting
// for a connection and the statements of fn, but not the COMMIT: nobody would
// know what became of it.
func (d *DB) once(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	conn, err := d.pool.Conn(ctx)
	if err != nil {
		return err
	}
	defer conn.Close()
	t, err := conn.BeginTx(context.WithoutCancel(ctx), &sql.TxOptions{Isolation: sql.LevelReadCommitted})
	if err != nil {
		return err
	}
	defer t.Rollback() // does nothing after Commit
	failpoint.Here(failpoint.GroupBegun)
	tx := &Tx{db: d, query: t.QueryContext, exec: t.ExecContext, many: t.ExecContext}
	defer func() { tx.ended = true }()
	if err := fn(ctx, tx); err != nil {
		return err
	}
	failpoint.Here(failpoint.GroupRun)
	err = t.Commit()
	failpoint.Here(failpoint.GroupCommitted)
	return err
}
