package db_test

import (
	"context"
	"sync/atomic"
	"testing"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
)

func each(b *testing.B, bench func(b *testing.B, d *db.DB)) {
	b.Run("sqlite", func(b *testing.B) { bench(b, dbtest.SQLite(b)) })
	b.Run("postgres", func(b *testing.B) { bench(b, dbtest.Postgres(b)) })
}

func BenchmarkInTx(b *testing.B) {
	each(b, func(b *testing.B, d *db.DB) {
		makeTable(b, d)
		for id := 0; b.Loop(); id++ {
			if err := insert(b.Context(), d, id); err != nil {
				b.Fatal(err)
			}
		}
	})
}

func BenchmarkInTxParallel64(b *testing.B) {
	each(b, func(b *testing.B, d *db.DB) {
		makeTable(b, d)
		var id atomic.Int64
		b.SetParallelism(32) // times GOMAXPROCS
		b.RunParallel(func(pb *testing.PB) {
			for pb.Next() {
				err := d.InTx(b.Context(), func(ctx context.Context, tx *db.Tx) error {
					return insert(ctx, tx, int(id.Add(1)))
				})
				if err != nil {
					b.Error(err)
				}
			}
		})
	})
}

func BenchmarkOneByKey(b *testing.B) {
	each(b, func(b *testing.B, d *db.DB) {
		makeTable(b, d)
		if err := insert(b.Context(), d, 7); err != nil {
			b.Fatal(err)
		}
		for b.Loop() {
			if _, err := db.One(b.Context(), d, db.Scan[string], `SELECT name FROM thing WHERE id = $1`, 7); err != nil {
				b.Fatal(err)
			}
		}
	})
}
