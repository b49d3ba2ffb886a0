package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"io"
	"log/slog"
	"net"

	"github.com/jackc/pgx/v5/pgconn"
	"modernc.org/sqlite"
	sqlite3 "modernc.org/sqlite/lib"

	"github.com/kontor-cloud/kontor/fault"
)

// Fault gives an error of a database its kind: Conflict when something unique
// would be there twice or something referenced would be missing, Unavailable
// when the database is busy, full or away. All functions of this package
// return errors that went through it.
func Fault(err error) error {
	if err == nil || fault.KindOf(err) != "" {
		return err
	}
	switch kind := kindOf(err); kind {
	case "":
		return err
	case fault.Invalid: // the author reads this; he knows nothing of SQL
		return kind.Errorf("text with a zero byte, or that is not UTF-8, cannot be kept")
	case fault.Conflict:
		return kind.Errorf("%w", &veiled{"it clashes with something that is there", err})
	case fault.Missing:
		return kind.Errorf("%w", &veiled{"there is no such thing", err})
	default:
		return kind.Errorf("%w", &veiled{"the database is busy or away", err})
	}
}

// A veiled error does not tell strangers what the database says. Logs do.
type veiled struct {
	says  string
	cause error
}

func (v *veiled) Error() string { return v.says }

func (v *veiled) Unwrap() error { return v.cause }

// LogValue is the whole text, for the operator.
func (v *veiled) LogValue() slog.Value { return slog.StringValue(v.says + ": " + v.cause.Error()) }

func kindOf(err error) fault.Kind {
	var lite *sqlite.Error
	var pg *pgconn.PgError
	var network net.Error
	var connect *pgconn.ConnectError
	switch {
	case errors.Is(err, errBroken):
		return fault.Unavailable
	case errors.As(err, &lite):
		return sqliteKind(lite.Code())
	case errors.As(err, &pg):
		return postgresKind(pg.Code)
	case errors.Is(err, sql.ErrNoRows):
		return fault.Missing
	case errors.Is(err, driver.ErrBadConn), errors.Is(err, sql.ErrConnDone),
		errors.Is(err, io.EOF), errors.Is(err, io.ErrUnexpectedEOF), // the server died in the middle of an answer
		errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded),
		errors.As(err, &network), errors.As(err, &connect), pgconn.SafeToRetry(err):
		return fault.Unavailable
	}
	return ""
}

func sqliteKind(code int) fault.Kind {
	switch code {
	case sqlite3.SQLITE_CONSTRAINT_UNIQUE, sqlite3.SQLITE_CONSTRAINT_PRIMARYKEY, sqlite3.SQLITE_CONSTRAINT_FOREIGNKEY:
		return fault.Conflict
	}
	switch code & 0xff {
	case sqlite3.SQLITE_BUSY, sqlite3.SQLITE_LOCKED, sqlite3.SQLITE_INTERRUPT,
		sqlite3.SQLITE_FULL, sqlite3.SQLITE_IOERR, sqlite3.SQLITE_NOMEM:
		return fault.Unavailable
	}
	return ""
}

func postgresKind(code string) fault.Kind {
	switch code {
	case "23505", "23503", "23P01": // unique, foreign key, exclusion
		return fault.Conflict
	case "22021", "22P05": // text that the database cannot hold: a zero byte
		return fault.Invalid
	case "55P03", "57014", "58030": // lock not available, query cancelled, disk
		return fault.Unavailable
	}
	switch code[:min(2, len(code))] {
	case "08", "40", "53", "57": // connection, rollback, resources, shutdown
		return fault.Unavailable
	}
	return ""
}

// clash reports whether the same transaction may well succeed when run again,
// and has surely not been committed.
func clash(err error) bool {
	var lite *sqlite.Error
	var pg *pgconn.PgError
	switch {
	case errors.Is(err, errBroken):
		return true
	case errors.As(err, &lite):
		code := lite.Code() & 0xff
		return code == sqlite3.SQLITE_BUSY || code == sqlite3.SQLITE_LOCKED
	case errors.As(err, &pg):
		return pg.Code == "40001" || pg.Code == "40P01" || pg.Code == "55P03"
	}
	return errors.Is(err, driver.ErrBadConn) || pgconn.SafeToRetry(err)
}
