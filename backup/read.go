package backup

import (
	"bufio"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/json"
	"hash"
	"io"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
)

// longest is the longest line that is read: a resource has at most a few MiB.
const longest = 64 << 20

// A Reader reads a backup once, from the front to the end.
type Reader struct {
	Head

	lines    *bufio.Scanner
	unpacked *gzip.Reader
	all      hash.Hash
	before   string // digest of all lines before the present one, unless that is a row
	progress Progress
}

// NewReader begins to read a backup.
func NewReader(r io.Reader, progress Progress) (*Reader, error) {
	unpacked, err := gzip.NewReader(r)
	if err != nil {
		return nil, fault.Invalid.Errorf("this is no backup of an exchange, or it is encrypted in a way that Kontor does not know")
	}
	b := &Reader{lines: bufio.NewScanner(unpacked), unpacked: unpacked, all: sha256.New(), progress: progress}
	b.lines.Buffer(make([]byte, 64<<10), longest)
	line, err := b.next()
	if err != nil {
		return nil, err
	}
	switch err := json.Unmarshal(line, &b.Head); {
	case err != nil || b.Format == 0:
		return nil, fault.Invalid.Errorf("this is no backup of an exchange")
	case b.Format > Format:
		return nil, fault.Unsupported.Errorf("the backup has format %d, and this program knows %d; restore it with Kontor %s or later", b.Format, Format, b.Version)
	}
	return b, nil
}

func isRow(line []byte) bool { return len(line) > 0 && line[0] == '[' }

// next gives the next line; the end of the file comes too soon.
func (b *Reader) next() ([]byte, error) {
	if !b.lines.Scan() {
		if err := b.lines.Err(); err != nil {
			return nil, damaged("%w", err)
		}
		return nil, damaged("it ends too soon")
	}
	line := b.lines.Bytes()
	if !isRow(line) {
		b.before = digest(b.all)
	}
	b.all.Write(line)
	b.all.Write([]byte{'\n'})
	return line, nil
}

// Verify reads the rest and compares every digest.
func (b *Reader) Verify() (Manifest, error) {
	return b.each(func(db.Table) (func([]any) error, func() error) {
		return func([]any) error { return nil }, func() error { return nil }
	})
}

// Load writes the rest into an empty database, and compares every digest: on
// an error the transaction must not be committed.
func (b *Reader) Load(ctx context.Context, tx *db.Tx) (Manifest, error) {
	return b.each(func(t db.Table) (func([]any) error, func() error) {
		l := tx.Load(t)
		return func(row []any) error { return l.Add(ctx, row) }, func() error { return l.Flush(ctx) }
	})
}

// each hands the rows of each table to what take returns for it, and calls
// the second function after the last.
func (b *Reader) each(take func(db.Table) (func([]any) error, func() error)) (Manifest, error) {
	m := Manifest{Head: b.Head}
	for {
		line, err := b.next()
		if err != nil {
			return m, err
		}
		var t struct {
			db.Table
			last
		}
		if err := json.Unmarshal(line, &t); err != nil {
			return m, damaged("a line cannot be read")
		}
		if t.End {
			m.SHA256 = b.before
			return m, b.end(m, t.last)
		}
		add, flush := take(t.Table)
		c, err := b.table(t.Table, add)
		if err == nil {
			err = flush()
		}
		if err != nil {
			return m, err
		}
		m.Tables, m.Rows = append(m.Tables, c), m.Rows+c.Rows
	}
}

func (b *Reader) table(t db.Table, add func([]any) error) (Count, error) {
	rows, own, says := int64(0), sha256.New(), content{table: t}
	for {
		line, err := b.next()
		if err != nil {
			return Count{}, err
		}
		if !isRow(line) {
			return Count{t.Name, rows, digest(own), says.digest()}, b.compare(t.Name, line, rows, digest(own))
		}
		own.Write(line)
		own.Write([]byte{'\n'})
		row, err := decode(line, t)
		if err != nil {
			return Count{}, err
		}
		if err := add(row); err != nil {
			return Count{}, err
		}
		if err := says.add(row, line); err != nil {
			return Count{}, damaged("%w", err)
		}
		if rows++; rows%every == 0 {
			b.progress(t.Name, rows)
		}
	}
}

func (b *Reader) compare(table string, line []byte, rows int64, sha string) error {
	var s sum
	if err := json.Unmarshal(line, &s); err != nil || s != (sum{rows, sha}) {
		return damaged("the rows of table %s are not those that were written", table)
	}
	b.progress(table, rows)
	return nil
}

// end compares the sums, and reads to the end of the file, where gzip and age
// have sums of their own.
func (b *Reader) end(m Manifest, l last) error {
	if l.Tables != len(m.Tables) || l.Rows != m.Rows || l.SHA256 != m.SHA256 {
		return damaged("it is not what was written")
	}
	if _, err := io.Copy(io.Discard, b.unpacked); err != nil {
		return damaged("%w", err)
	}
	if b.lines.Scan() {
		return damaged("something follows its end")
	}
	return nil
}
