package backup

import (
	"bytes"
	"compress/gzip"
	"context"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"hash"
	"io"
	"slices"

	"github.com/kontor-cloud/kontor/db"
)

// Write writes a snapshot to w and returns what it wrote. Head's Format and
// Source are set by it; tables named in Without are left out.
func Write(ctx context.Context, w io.Writer, s *db.Snapshot, head Head, progress Progress) (Manifest, error) {
	head.Format, head.Source = Format, db.Source{Postgres: s.Postgres, Migrations: s.Migrations}
	packed, err := gzip.NewWriterLevel(w, gzip.BestSpeed) // a backup shall not starve the exchange beside it
	if err != nil {
		return Manifest{}, err
	}
	o := &writer{to: packed, all: sha256.New(), progress: progress, Manifest: Manifest{Head: head}}
	if err := o.line(head); err != nil {
		return Manifest{}, err
	}
	for _, t := range s.Tables {
		if slices.Contains(head.Without, t.Name) {
			continue
		}
		if err := o.table(ctx, s, t); err != nil {
			return Manifest{}, fmt.Errorf("back up table %s: %w", t.Name, err)
		}
	}
	o.SHA256 = digest(o.all)
	if err := o.line(last{End: true, Tables: len(o.Tables), Rows: o.Rows, SHA256: o.SHA256}); err != nil {
		return Manifest{}, err
	}
	return o.Manifest, packed.Close()
}

type writer struct {
	to       io.Writer
	all      hash.Hash
	progress Progress
	Manifest
}

func (o *writer) write(line []byte) error {
	o.all.Write(line)
	_, err := o.to.Write(line)
	return err
}

func (o *writer) line(v any) error {
	b, err := json.Marshal(v)
	if err != nil {
		return err
	}
	return o.write(append(b, '\n'))
}

func (o *writer) table(ctx context.Context, s *db.Snapshot, t db.Table) error {
	if err := o.line(t); err != nil {
		return err
	}
	var buffer bytes.Buffer
	rows, own, says := int64(0), sha256.New(), content{table: t}
	for row, err := range s.Rows(ctx, t) {
		if err == nil {
			err = encode(&buffer, row)
		}
		if err == nil {
			own.Write(buffer.Bytes())
			err = o.write(buffer.Bytes())
		}
		if err == nil {
			err = says.add(row, buffer.Bytes())
		}
		if err != nil {
			return err
		}
		if rows++; rows%every == 0 {
			o.progress(t.Name, rows)
		}
	}
	o.progress(t.Name, rows)
	o.Rows += rows
	o.Tables = append(o.Tables, Count{t.Name, rows, digest(own), says.digest()})
	return o.line(sum{rows, digest(own)})
}

func digest(h hash.Hash) string { return hex.EncodeToString(h.Sum(nil)) }
