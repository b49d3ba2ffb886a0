package resource

import (
	"encoding/json"
	"fmt"
	"slices"
	"strings"
	"testing"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/wire"
)

// counted does something that takes at most so many statements.
func counted(t *testing.T, d *db.DB, most int64, what string, do func() error) {
	t.Helper()
	before := d.Statements()
	if err := do(); err != nil {
		t.Fatal(what, ": ", err)
	}
	if n := d.Statements() - before; n > most {
		t.Errorf("%s took %d statements, want at most %d", what, n, most)
	}
}

func TestStatementsPerOperation(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := NewStore(d)
		r := stack(t, s)
		count := func(most int64, what string, do func() error) {
			t.Helper()
			counted(t, d, most, what, do)
		}
		k := kindOf(t, "instance")
		count(1, "get", func() error { _, err := s.Get(t.Context(), "r1", r.URN); return err })
		count(3, "order", func() error {
			_, _, err := s.Put(t.Context(), k, at(k, "i2"), Input{Spec: json.RawMessage(instanceSpec)}, nil, testEnv())
			return err
		})
		count(3, "put again", func() error {
			_, _, err := s.Put(t.Context(), k, r.URN, Input{Spec: json.RawMessage(instanceSpec)}, nil, testEnv())
			return err
		})
		count(1, "list", func() error {
			_, _, err := s.List(t.Context(), "r1", at(k, ""), Page{Size: 100})
			return err
		})
	})
}

// TestStatementsPerBatch: what a report of an agent costs does not depend on
// how much there is to report, also where all of it goes.
func TestStatementsPerBatch(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := NewStore(d)
		put(t, s, "workspace", "w1", `null`)
		k := kindOf(t, "block-storage")
		var batch []wire.Observation
		for n := range 100 {
			batch = append(batch, active(put(t, s, "block-storage", fmt.Sprintf("v%d", n), volumeSpec)))
		}
		report := func(most int64, what string, some []wire.Observation) {
			t.Helper()
			counted(t, d, most, what, func() error { _, err := s.Observe(t.Context(), "r1", some); return err })
		}
		report(3, "one observation", batch[:1])
		report(3, "a hundred", batch)
		for n := range batch {
			if r := get(t, s, "block-storage", fmt.Sprintf("v%d", n)); r.State != seca.Active || r.Version != 2 {
				t.Fatalf("v%d is %s at version %d", n, r.State, r.Version)
			}
		}
		for n := range batch {
			if err := s.Delete(t.Context(), k, at(k, fmt.Sprintf("v%d", n)), nil, testEnv()); err != nil {
				t.Fatal(err)
			}
			batch[n].Generation, batch[n].Presence, batch[n].State = batch[n].Generation+1, wire.Absent, ""
		}
		report(5, "a hundred that are gone", batch)
		if n, err := s.Count(t.Context(), "r1", "t1", "w1"); err != nil || n != 0 {
			t.Errorf("%d are left, %v", n, err)
		}
	})
}

// TestBrokenLogIsAnError: what cannot be read is not written over, and nothing
// panics.
func TestBrokenLogIsAnError(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s := NewStore(d)
		r := stack(t, s)
		if _, err := d.ExecContext(t.Context(), `UPDATE resource SET conditions = '[{"state":' WHERE id = $1`, r.ID); err != nil {
			t.Fatal(err)
		}
		_, err := s.Observe(t.Context(), "r1", []wire.Observation{active(r)})
		if err == nil {
			t.Error("an observation of it was taken")
		}
		if err := s.Delete(t.Context(), r.Kind, r.URN, nil, testEnv()); err == nil {
			t.Error("its deletion was taken")
		}
		if text := get(t, s, "instance", "i1").Log.JSON(); string(text) != `[{"state":` {
			t.Errorf("its log is now %s", text)
		}
	})
}

// TestUpdatesLeaveIndexesAlone looks up which columns stand in indexes: none of them may be
// named by the update that most changes are, or each costs a write to every such index.
func TestUpdatesLeaveIndexesAlone(t *testing.T) {
	look := map[bool]string{
		true: `SELECT DISTINCT a.attname FROM pg_index i
			JOIN pg_depend d ON d.classid = 'pg_class'::regclass AND d.objid = i.indexrelid
				AND d.refclassid = 'pg_class'::regclass AND d.refobjid = i.indrelid AND d.refobjsubid > 0
			JOIN pg_attribute a ON a.attrelid = i.indrelid AND a.attnum = d.refobjsubid
			WHERE i.indrelid = 'resource'::regclass ORDER BY 1`,
		false: `SELECT DISTINCT c.name FROM pragma_index_list('resource') i, sqlite_schema s, pragma_table_info('resource') c
			WHERE s.name = i.name AND ' ' || replace(replace(replace(s.sql, '(', ' '), ')', ' '), ',', ' ') || ' ' LIKE '% ' || c.name || ' %' ORDER BY 1`,
	}
	named, _, _ := strings.Cut(updates[0], " WHERE ")
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		indexed, err := db.All(t.Context(), d, db.Scan[string], look[d.Postgres()])
		if err != nil {
			t.Fatal(err)
		}
		for _, want := range []string{"urn", "gone_at", "wanted_revision"} { // the last of an index that is sorted by it, gone_at of a condition
			if !slices.Contains(indexed, want) {
				t.Errorf("the indexed columns are %q, without %s: the look is wrong", indexed, want)
			}
		}
		for _, column := range indexed {
			if strings.Contains(named, " "+column+" = $") {
				t.Errorf("%s stands in an index, and every update names it", column)
			}
		}
	})
}
