package db

import (
	"context"
	"database/sql"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"modernc.org/sqlite" // also the driver "sqlite"
)

// busyTimeout is how long SQLite itself waits for another process. Within one
// process nobody waits: there is one writer.
const busyTimeout = 2 * time.Second

func openSQLite(ctx context.Context, name string, log *slog.Logger) (*DB, error) {
	path, err := makeFile(strings.TrimPrefix(name, "sqlite:"))
	if err != nil {
		return nil, err
	}
	// A commit is as durable with fdatasync, and does not wait for the time of the file to be on disk, too.
	if _, err := sqlite.Fdatasync(true); err != nil && !errors.Is(err, sqlite.ErrFdatasyncUnavailable) {
		return nil, err
	}
	// The writer comes first: it turns on the write-ahead log, which stays on.
	single, err := sql.Open("sqlite", dataSource(path, "_journal_mode", "WAL", "_synchronous", "FULL", "_foreign_keys", "on", "_txlock", "immediate"))
	if err != nil {
		return nil, err
	}
	single.SetMaxOpenConns(1)
	d := &DB{log: log, file: path}
	d.writer = newWriter(d, single)
	if err := d.writer.connect(ctx); err != nil {
		single.Close()
		return nil, err
	}
	if d.pool, err = sql.Open("sqlite", dataSource(path, "_query_only", "on")); err != nil {
		single.Close()
		return nil, err
	}
	readers := max(4, 2*runtime.GOMAXPROCS(0))
	d.pool.SetMaxOpenConns(readers)
	d.pool.SetMaxIdleConns(readers)
	d.prepared = &statements{on: d.pool}
	go d.writer.loop()
	return d, nil
}

// makeFile makes the file and its directory, for this user only. SQLite gives
// the files beside it the same mode.
func makeFile(path string) (string, error) {
	path, err := filepath.Abs(path)
	if err != nil {
		return "", err
	}
	if err := os.MkdirAll(filepath.Dir(path), 0o700); err != nil {
		return "", err
	}
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return "", err
	}
	return path, f.Close()
}

func dataSource(path string, options ...string) string {
	q := url.Values{"_busy_timeout": {fmt.Sprint(busyTimeout.Milliseconds())}}
	for i := 0; i < len(options); i += 2 {
		q.Set(options[i], options[i+1])
	}
	return (&url.URL{Scheme: "file", Path: path, RawQuery: q.Encode()}).String()
}
