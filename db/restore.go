package db

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"strings"

	"github.com/kontor-cloud/kontor/fault"
)

// A Source is the database that a backup is of.
type Source struct {
	Postgres   bool        `json:"postgres"`
	Migrations []Migration `json:"migrations"`
}

// Due lists the migrations that this program would take on such a database. It
// is Unsupported if the database is newer, or was made by other migrations.
func (s Source) Due() ([]Migration, error) {
	known, err := readMigrations(migrations(), s.Postgres)
	if err != nil {
		return nil, err
	}
	var done []migration
	for _, m := range s.Migrations {
		done = append(done, migration{number: m.Number, name: m.Name, digest: m.Digest})
	}
	if err := agree(known, done); err != nil {
		return nil, fault.Unsupported.Errorf("the database does not fit this program: %w", err)
	}
	var due []Migration
	for _, m := range known[len(done):] {
		due = append(due, Migration{Number: m.number, Name: m.name, Digest: m.digest})
	}
	return due, nil
}

// Restore fills the database at url, which must be empty or not be there: it
// takes the migrations that the source had, has fill write the rows, and takes
// the migrations that have come since; after comes last. All is one
// transaction: when it fails, nothing stays. One that is not empty is a Conflict.
func Restore(ctx context.Context, url string, log *slog.Logger, from Source, fill, after func(context.Context, *Tx) error) (err error) {
	if _, err := from.Due(); err != nil {
		return err
	}
	open := openSQLite
	if isPostgres(url) {
		open = openPostgres
	} else if name := strings.TrimPrefix(url, "sqlite:"); missing(name) {
		defer func() {
			if err != nil {
				remove(name)
			}
		}()
	}
	d, err := open(ctx, url, log)
	if err != nil {
		return Fault(fmt.Errorf("open the database: %w", err))
	}
	defer func() { err = errors.Join(err, d.Close()) }()
	known, err := readMigrations(migrations(), d.postgres)
	if err != nil {
		return err
	}
	began := false
	return d.InTx(ctx, func(ctx context.Context, tx *Tx) error {
		if began {
			return fault.Unavailable.Errorf("another process uses the database; nothing was restored")
		}
		began = true
		if err := beginEmpty(ctx, tx); err != nil {
			return err
		}
		n := len(from.Migrations)
		if err := applyAll(ctx, tx, known[:n]); err != nil {
			return err
		}
		if err := clearAll(ctx, tx); err != nil {
			return err
		}
		if err := fill(ctx, tx); err != nil {
			return err
		}
		if err := applyAll(ctx, tx, known[n:]); err != nil {
			return err
		}
		return after(ctx, tx)
	})
}

func missing(file string) bool {
	_, err := os.Stat(file)
	return os.IsNotExist(err)
}

func remove(file string) {
	for _, suffix := range []string{"", "-wal", "-shm"} {
		os.Remove(file + suffix) //nolint:errcheck // nothing is in it
	}
}

// beginEmpty takes the lock of migrations and makes their table, unless there
// is anything already.
func beginEmpty(ctx context.Context, tx *Tx) error {
	query := `SELECT count(*) FROM sqlite_schema`
	if tx.db.postgres {
		if _, err := Exec(ctx, tx, `SELECT pg_advisory_xact_lock($1)`, int64(lockKey)); err != nil {
			return err
		}
		query = `SELECT count(*) FROM pg_class WHERE relnamespace = current_schema()::regnamespace`
	}
	n, err := One(ctx, tx, Scan[int], query)
	if err != nil {
		return err
	}
	if n > 0 {
		return fault.Conflict.Errorf("the database is not empty; a backup is restored into a new one")
	}
	_, err = applied(ctx, tx)
	return err
}

func applyAll(ctx context.Context, tx *Tx, all []migration) error {
	for _, m := range all {
		if err := m.apply(ctx, tx); err != nil {
			return fmt.Errorf("migration %04d_%s: %w", m.number, m.name, err)
		}
	}
	return nil
}

// clearAll removes rows that migrations have made: the backup has them.
func clearAll(ctx context.Context, tx *Tx) error {
	all, err := tables(ctx, tx, tx.db.postgres)
	for i := len(all) - 1; err == nil && i >= 0; i-- {
		_, err = Exec(ctx, tx, `DELETE FROM `+quoted(all[i].Name))
	}
	return err
}

// loadRows is how many rows go into one statement.
const loadRows = 50

// A Loader writes rows into a table, many at once.
type Loader struct {
	tx    *Tx
	table Table
	args  []any
}

// Load begins to write rows into t.
func (t *Tx) Load(table Table) *Loader { return &Loader{tx: t, table: table} }

// Add takes a row, in the order of the table's columns.
func (l *Loader) Add(ctx context.Context, row []any) error {
	if len(row) != len(l.table.Columns) {
		return fault.Invalid.Errorf("a row of table %s has %d values, not %d", l.table.Name, len(row), len(l.table.Columns))
	}
	l.args = append(l.args, row...)
	if len(l.args) < loadRows*len(l.table.Columns) {
		return nil
	}
	return l.Flush(ctx)
}

// Flush writes what is left.
func (l *Loader) Flush(ctx context.Context) error {
	if len(l.args) == 0 {
		return nil
	}
	width := len(l.table.Columns)
	rows := make([]string, 0, loadRows)
	for i := 1; i <= len(l.args); i += width {
		rows = append(rows, "("+In(i, width)+")")
	}
	_, err := Exec(ctx, l.tx, `INSERT INTO `+quoted(l.table.Name)+` (`+l.table.columns()+`) VALUES `+strings.Join(rows, ", "), l.args...)
	l.args = l.args[:0]
	return err
}
