// Package backup writes an exchange's database to a file, and reads it back,
// into either kind of database.
//
// The file is a stream, so that a database of any size needs little memory:
// JSON, one value a line, compressed by gzip, and, if asked for, encrypted by
// age. First comes the Head. Then, for each table, a line says its name and
// columns, each row is an array, and a line gives the number of rows and the
// SHA-256 of their lines. A last line has the sums over all, so that a file
// which ends too soon is noticed. Tables come after those that they refer to.
//
// No list of tables is kept anywhere: the schema says what there is, and every
// type that this package does not know is an error, not a gap.
package backup

import (
	"bytes"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"time"
	"unicode/utf8"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
)

// Format is the version of the file's layout. A reader refuses a later one.
const Format = 1

// A Head says what a backup is of.
type Head struct {
	Format   int       `json:"kontorBackup"`
	Exchange string    `json:"exchange"`          // its id
	Version  string    `json:"version"`           // of the program that wrote it
	At       time.Time `json:"at"`                // when it was taken
	Key      string    `json:"key,omitempty"`     // id of the key without which its secrets cannot be opened
	Without  []string  `json:"without,omitempty"` // tables that were left out on purpose
	db.Source
}

// A Count is what a table holds.
type Count struct {
	Table  string `json:"table"`
	Rows   int64  `json:"rows"`
	SHA256 string `json:"sha256"` // of the lines of its rows, in hex

	// Content is the same for the same rows in whatever order, of whichever kind
	// of database.
	Content string `json:"content"`
}

// A Manifest is a Head and what follows it.
type Manifest struct {
	Head
	Tables []Count `json:"tables"`
	Rows   int64   `json:"rows"`
	SHA256 string  `json:"sha256"` // of everything before the last line
}

// sum is the line after the rows of a table.
type sum struct {
	Rows   int64  `json:"rows"`
	SHA256 string `json:"sha256"`
}

// last is the line at the end.
type last struct {
	End    bool   `json:"end"`
	Tables int    `json:"tables"`
	Rows   int64  `json:"rows"`
	SHA256 string `json:"sha256"`
}

// A Progress is told, now and then, how many rows of a table have passed.
type Progress func(table string, rows int64)

// every is how often, in rows.
const every = 10_000

// encode writes a row as one line.
func encode(to *bytes.Buffer, row []any) error {
	to.Reset()
	for i, v := range row {
		if s, ok := v.(string); ok && !utf8.ValidString(s) {
			return fmt.Errorf("text that is not UTF-8 in column %d", i+1)
		}
	}
	e := json.NewEncoder(to)
	e.SetEscapeHTML(false)
	return e.Encode(row) // []byte becomes base64
}

// decode reads what encode wrote.
func decode(line []byte, t db.Table) ([]any, error) {
	var raw []json.RawMessage
	if err := json.Unmarshal(line, &raw); err != nil || len(raw) != len(t.Columns) {
		return nil, damaged("a row of table %s cannot be read", t.Name)
	}
	row := make([]any, len(raw))
	for i, c := range t.Columns {
		v, err := value(raw[i], c.Type)
		if err != nil {
			return nil, damaged("column %s of a row of table %s cannot be read", c.Name, t.Name)
		}
		row[i] = v
	}
	return row, nil
}

func value(raw json.RawMessage, kind string) (any, error) {
	if string(raw) == "null" {
		return nil, nil
	}
	switch kind {
	case db.BigInt:
		return as[int64](raw)
	case db.Boolean:
		return as[bool](raw)
	case db.Text, db.JSONDoc:
		return as[string](raw)
	case db.Bytes:
		s, err := as[string](raw)
		if err != nil {
			return nil, err
		}
		return base64.StdEncoding.DecodeString(s)
	}
	return nil, fmt.Errorf("unknown type %s", kind)
}

func as[T any](raw json.RawMessage) (v T, err error) { return v, json.Unmarshal(raw, &v) }

func damaged(format string, args ...any) error {
	return fault.Invalid.Errorf("the backup is damaged: %w", fmt.Errorf(format, args...))
}
