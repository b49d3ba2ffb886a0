package db

import (
	"context"
	"database/sql"
	"fmt"
	"strings"

	"github.com/kontor-cloud/kontor/fault"
)

// A Querier is a database, for reads, or a transaction.
type Querier interface {
	QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error)
	ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error)
}

// All returns every row of the query. scan makes one T of a row by calling the
// function that it gets, which is that of sql.Rows.
func All[T any](ctx context.Context, q Querier, scan func(scan func(dest ...any) error) (T, error), query string, args ...any) ([]T, error) {
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return nil, Fault(err)
	}
	defer rows.Close()
	var all []T
	for rows.Next() {
		one, err := scan(rows.Scan)
		if err != nil {
			return nil, Fault(err)
		}
		all = append(all, one)
	}
	return all, Fault(rows.Err())
}

// One returns the first row of the query, or fault.Missing if there is none.
func One[T any](ctx context.Context, q Querier, scan func(scan func(dest ...any) error) (T, error), query string, args ...any) (T, error) {
	var none T
	rows, err := q.QueryContext(ctx, query, args...)
	if err != nil {
		return none, Fault(err)
	}
	defer rows.Close()
	if !rows.Next() {
		if err := rows.Err(); err != nil {
			return none, Fault(err)
		}
		return none, fault.Missing.Errorf("no such row")
	}
	one, err := scan(rows.Scan)
	if err != nil {
		return none, Fault(err)
	}
	return one, Fault(rows.Close())
}

// Exec runs a statement and returns how many rows it touched.
func Exec(ctx context.Context, q Querier, query string, args ...any) (affected int64, err error) {
	r, err := q.ExecContext(ctx, query, args...)
	if err != nil {
		return 0, Fault(err)
	}
	affected, err = r.RowsAffected()
	return affected, Fault(err)
}

// Scan reads a row of one column, for All and One.
func Scan[T any](scan func(dest ...any) error) (T, error) {
	var v T
	err := scan(&v)
	return v, err
}

// In gives n parameters from $from on, for IN (…): In(3, 2) is "$3,$4". Each n
// is a statement of its own to the database, so callers round n up and repeat
// the last value where it varies much.
func In(from, n int) string {
	var b strings.Builder
	for i := range n {
		if i > 0 {
			b.WriteByte(',')
		}
		fmt.Fprintf(&b, "$%d", from+i)
	}
	return b.String()
}
