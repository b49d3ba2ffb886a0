package db

import (
	"context"
	"database/sql"
	"fmt"
	"iter"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kontor-cloud/kontor/fault"
)

// OpenToRead opens a database as it is, beside processes that write to it:
// nothing is made, and no migration is taken. One that is not there is Missing.
func OpenToRead(ctx context.Context, url string, log *slog.Logger) (*DB, error) {
	if isPostgres(url) {
		d, err := openPostgres(ctx, url, log)
		return d, Fault(err)
	}
	path, err := filepath.Abs(strings.TrimPrefix(url, "sqlite:"))
	if err != nil {
		return nil, err
	}
	if _, err := os.Stat(path); err != nil {
		return nil, fault.Missing.Errorf("there is no database %s", path)
	}
	pool, err := sql.Open("sqlite", dataSource(path, "_query_only", "on"))
	if err != nil {
		return nil, Fault(err)
	}
	return &DB{log: log, pool: pool, prepared: &statements{on: pool}}, nil
}

// A Migration is a step of the schema that a database has taken.
type Migration struct {
	Number int    `json:"number"`
	Name   string `json:"name"`
	Digest string `json:"digest"` // SHA-256 of its text for that database, in hex
}

// The types that columns have on both databases.
const (
	Text    = "TEXT"
	BigInt  = "BIGINT"
	Boolean = "BOOLEAN"
	Bytes   = "BYTEA"
	JSONDoc = "JSONB"
)

// A Table is one of those that migrations have made.
type Table struct {
	Name    string   `json:"table"`
	Columns []Column `json:"columns"`
}

// A Column has one of the types above.
type Column struct {
	Name string `json:"name"`
	Type string `json:"type"`
}

// A Snapshot is the whole database at one moment.
type Snapshot struct {
	Postgres   bool
	Migrations []Migration
	Tables     []Table // each after those that it refers to

	tx *sql.Tx
}

// Snapshot calls fn with the database as it is now. Everything that was
// acknowledged before is in it, and nothing that comes later; writers go on.
func (d *DB) Snapshot(ctx context.Context, fn func(*Snapshot) error) error {
	var options *sql.TxOptions // SQLite's readers see one moment in any case
	if d.postgres {
		options = &sql.TxOptions{Isolation: sql.LevelRepeatableRead, ReadOnly: true}
	}
	tx, err := d.pool.BeginTx(ctx, options)
	if err != nil {
		return Fault(err)
	}
	defer tx.Rollback()
	s := &Snapshot{Postgres: d.postgres, tx: tx}
	s.Migrations, err = All(ctx, tx, func(scan func(...any) error) (m Migration, err error) {
		return m, scan(&m.Number, &m.Name, &m.Digest)
	}, `SELECT number, name, digest FROM migration ORDER BY number`)
	if err != nil {
		return fmt.Errorf("read which migrations the database has: %w", err)
	}
	if s.Tables, err = tables(ctx, tx, d.postgres); err != nil {
		return fmt.Errorf("read the schema: %w", err)
	}
	return Fault(fn(s))
}

// QueryContext reads what the database held at the snapshot's moment.
func (s *Snapshot) QueryContext(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	return s.tx.QueryContext(ctx, query, args...)
}

// ExecContext fails: a snapshot is read only.
func (s *Snapshot) ExecContext(ctx context.Context, query string, args ...any) (sql.Result, error) {
	return s.tx.ExecContext(ctx, query, args...)
}

// Rows yields the rows of a table, in no order. Each is a string (Text,
// JSONDoc), int64, bool, []byte or nil a column, and good until the next.
func (s *Snapshot) Rows(ctx context.Context, t Table) iter.Seq2[[]any, error] {
	return func(yield func([]any, error) bool) {
		rows, err := s.QueryContext(ctx, `SELECT `+t.columns()+` FROM `+quoted(t.Name))
		if err != nil {
			yield(nil, Fault(err))
			return
		}
		defer rows.Close()
		values, to := make([]any, len(t.Columns)), make([]any, len(t.Columns))
		for i := range values {
			to[i] = &values[i]
		}
		for rows.Next() {
			err := rows.Scan(to...)
			for i, c := range t.Columns {
				if err == nil {
					values[i], err = c.value(values[i])
				}
			}
			if !yield(values, Fault(err)) || err != nil {
				return
			}
		}
		if err := rows.Err(); err != nil {
			yield(nil, Fault(err))
		}
	}
}

func quoted(name string) string { return `"` + strings.ReplaceAll(name, `"`, `""`) + `"` }

func (t Table) columns() string {
	names := make([]string, len(t.Columns))
	for i, c := range t.Columns {
		names[i] = quoted(c.Name)
	}
	return strings.Join(names, ", ")
}

// value gives what the drivers return one shape.
func (c Column) value(v any) (any, error) {
	switch x := v.(type) {
	case nil:
		return nil, nil
	case string:
		switch c.Type {
		case Text, JSONDoc:
			return x, nil
		case Bytes:
			return []byte(x), nil
		}
	case []byte:
		switch c.Type {
		case Text, JSONDoc:
			return string(x), nil
		case Bytes:
			return x, nil
		}
	case int64:
		switch c.Type {
		case BigInt:
			return x, nil
		case Boolean:
			return x != 0, nil
		}
	case bool:
		if c.Type == Boolean {
			return x, nil
		}
	}
	return nil, fmt.Errorf("column %s of type %s holds %T", c.Name, c.Type, v)
}

// types maps what the two databases call them.
var types = map[string]string{
	"text": Text, "bigint": BigInt, "boolean": Boolean, "bytea": Bytes, "jsonb": JSONDoc, "blob": Bytes, "integer": BigInt,
}

// notOurs leaves out the record of migrations, which a restore writes itself,
// and the queue of background work, which is found again.
const notOurs = `name <> 'migration' AND name NOT LIKE 'sqlite\_%' ESCAPE '\' AND name NOT LIKE 'river\_%' ESCAPE '\'`

const sqliteColumns = `SELECT m.name, c.name, lower(c.type), ''
	FROM (SELECT name FROM sqlite_schema WHERE type = 'table' AND ` + notOurs + `) AS m JOIN pragma_table_info(m.name) AS c
	ORDER BY m.name, c.cid`

const sqliteReferences = `SELECT m.name, f."table" FROM sqlite_schema m JOIN pragma_foreign_key_list(m.name) f WHERE m.type = 'table'`

const postgresColumns = `SELECT name, column_name, data_type, made FROM (
	SELECT c.table_name AS name, c.column_name, c.data_type, c.ordinal_position,
		COALESCE(c.column_default, '') || CASE c.is_identity WHEN 'YES' THEN 'nextval(' ELSE '' END AS made
	FROM information_schema.columns c JOIN information_schema.tables t USING (table_schema, table_name)
	WHERE c.table_schema = current_schema() AND t.table_type = 'BASE TABLE' AND c.is_generated = 'NEVER') AS c
	WHERE ` + notOurs + ` ORDER BY name COLLATE "C", ordinal_position`

const postgresReferences = `SELECT c.relname, r.relname FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
	JOIN pg_class r ON r.oid = k.confrelid WHERE k.contype = 'f' AND c.relnamespace = current_schema()::regnamespace`

// tables reads from the schema what tables there are, so that none is forgotten.
func tables(ctx context.Context, q Querier, postgres bool) ([]Table, error) {
	columns, references := sqliteColumns, sqliteReferences
	if postgres {
		columns, references = postgresColumns, postgresReferences
	}
	type found struct{ table, column, kind, made string }
	all, err := All(ctx, q, func(scan func(...any) error) (f found, err error) {
		return f, scan(&f.table, &f.column, &f.kind, &f.made)
	}, columns)
	if err != nil {
		return nil, err
	}
	var out []Table
	for _, f := range all {
		kind, ok := types[f.kind]
		if !ok || strings.HasPrefix(f.made, "nextval(") {
			return nil, fmt.Errorf("column %s of table %s (%s %s) is of a sort that backups do not know", f.column, f.table, f.kind, f.made)
		}
		if n := len(out); n == 0 || out[n-1].Name != f.table {
			out = append(out, Table{Name: f.table})
		}
		t := &out[len(out)-1]
		t.Columns = append(t.Columns, Column{f.column, kind})
	}
	refs, err := All(ctx, q, func(scan func(...any) error) (p [2]string, err error) { return p, scan(&p[0], &p[1]) }, references)
	if err != nil {
		return nil, err
	}
	return ordered(out, refs)
}

// ordered puts each table after those that it refers to.
func ordered(all []Table, refs [][2]string) ([]Table, error) {
	var out []Table
	written := map[string]bool{}
	for len(out) < len(all) {
		before := len(out)
		for _, t := range all {
			waits := slices.ContainsFunc(refs, func(r [2]string) bool { return r[0] == t.Name && !written[r[1]] })
			if !written[t.Name] && !waits {
				written[t.Name] = true
				out = append(out, t)
			}
		}
		if len(out) == before {
			return nil, fmt.Errorf("tables refer to one another in a circle, which backups do not know")
		}
	}
	return out, nil
}
