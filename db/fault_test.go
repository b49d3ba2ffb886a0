package db_test

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/fault"
)

func TestErrorsHaveKinds(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		makeTable(t, d)
		ctx, cancel := context.WithCancel(t.Context())
		cancel()
		if err := insert(t.Context(), d, 1); err != nil {
			t.Fatal(err)
		}
		for name, test := range map[string]struct {
			ctx   context.Context
			want  fault.Kind
			query string
			args  []any
		}{
			"primary key": {t.Context(), fault.Conflict, `INSERT INTO thing (id, name) VALUES ($1, $2)`, []any{1, "x"}},
			"unique":      {t.Context(), fault.Conflict, `INSERT INTO thing (id, name) VALUES ($1, $2)`, []any{2, "thing-1"}},
			"foreign key": {t.Context(), fault.Conflict, `INSERT INTO part (id, thing) VALUES ($1, $2)`, []any{1, 77}},
			"cancelled":   {ctx, fault.Unavailable, `INSERT INTO thing (id, name) VALUES ($1, $2)`, []any{3, "x"}},
			"defect":      {t.Context(), "", `INSERT INTO nothing (id) VALUES ($1)`, []any{3}},
			"not null":    {t.Context(), "", `INSERT INTO thing (id, name) VALUES ($1, NULL)`, []any{3}},
		} {
			_, err := db.Exec(test.ctx, d, test.query, test.args...)
			if err == nil || fault.KindOf(err) != test.want {
				t.Errorf("%s: %v is of kind %q, want %q", name, err, fault.KindOf(err), test.want)
			}
		}
		if _, err := db.One(t.Context(), d, db.Scan[int], `SELECT id FROM thing WHERE id = $1`, 5); fault.KindOf(err) != fault.Missing {
			t.Errorf("no row: %v", err)
		}
	})
}

func TestServerThatDiesInTheMiddleIsAway(t *testing.T) {
	for _, err := range []error{io.EOF, io.ErrUnexpectedEOF, &net.OpError{Op: "read", Err: syscall.ECONNRESET}} {
		if got := db.Fault(fmt.Errorf("query: %w", err)); fault.KindOf(got) != fault.Unavailable {
			t.Errorf("%v is of kind %q, want unavailable", err, fault.KindOf(got))
		}
	}
}

func TestValuesComeBackAsTheyWere(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		makeTable(t, d)
		type row struct {
			Name string
			Spec map[string]any
			Text json.RawMessage
			Flag bool
			Raw  []byte
		}
		want := row{"1", map[string]any{"sku": "5", "n": 1.5}, nil, true, []byte{0, 255, '1'}}
		_, err := db.Exec(t.Context(), d, `INSERT INTO thing (id, name, spec, flag, raw) VALUES ($1, $2, $3, $4, $5)`,
			1, want.Name, db.JSON(want.Spec), want.Flag, want.Raw)
		if err != nil {
			t.Fatal(err)
		}
		got, err := db.One(t.Context(), d, func(scan func(...any) error) (r row, err error) {
			return r, scan(&r.Name, db.JSON(&r.Spec), &r.Flag, &r.Raw)
		}, `SELECT name, spec, flag, raw FROM thing WHERE spec->>'sku' = $1 AND flag`, "5")
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		var raw json.RawMessage
		if _, err := db.One(t.Context(), d, func(scan func(...any) error) (int, error) {
			return 0, scan(db.JSON(&raw))
		}, `SELECT spec FROM thing WHERE id = $1`, 1); err != nil || !json.Valid(raw) {
			t.Errorf("raw %s, %v", raw, err)
		}
		if _, err := db.Exec(t.Context(), d, `UPDATE thing SET spec = $1`, db.JSON(nil)); err != nil {
			t.Error(err)
		}
		if n, err := db.One(t.Context(), d, db.Scan[int], `SELECT count(*) FROM thing WHERE spec IS NULL`); n != 1 || err != nil {
			t.Errorf("%d rows without a document, %v", n, err)
		}
	})
}

func TestStatementsCountsQueries(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		makeTable(t, d)
		before := d.Statements()
		if err := insert(t.Context(), d, 1); err != nil {
			t.Fatal(err)
		}
		count(t, d)
		if n := d.Statements() - before; n != 2 {
			t.Errorf("%d statements, want 2", n)
		}
	})
}

func TestTimesKeepTheirMicroseconds(t *testing.T) {
	now := time.Date(2026, 11, 22, 5, 6, 7, 8000, time.FixedZone("", 3600))
	if got := db.Time(db.Micros(now)); !got.Equal(now) || got.Location() != time.UTC {
		t.Errorf("%v, want %v", got, now)
	}
	if got := db.Time(db.Micros(time.Time{})); !got.IsZero() {
		t.Errorf("%v, want the zero time", got)
	}
}

func ExampleIn() {
	fmt.Println(db.In(3, 2))
	// Output: $3,$4
}
