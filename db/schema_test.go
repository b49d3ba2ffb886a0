package db_test

import (
	"context"
	"flag"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
)

var update = flag.Bool("update", false, "write the golden files")

// What a migration does to the schema is part of its review.
func TestSchemaIsTheGoldenOne(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		name, query := "schema.sqlite.sql", sqliteSchema
		if d.Postgres() {
			name, query = "schema.postgres.sql", postgresSchema
		}
		lines, err := db.All(context.Background(), d, db.Scan[string], query)
		if err != nil {
			t.Fatal(err)
		}
		got := strings.Join(lines, "\n") + "\n"
		golden := filepath.Join("testdata", name)
		if *update {
			if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		want, err := os.ReadFile(golden)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(string(want), got); diff != "" {
			t.Errorf("the schema has changed; if it should, run: go test ./db -update\n%s", diff)
		}
	})
}

// TestPartialIndexesCompareNoColumn holds what migration 30 is about.
func TestPartialIndexesCompareNoColumn(t *testing.T) {
	all, err := db.All(t.Context(), dbtest.SQLite(t), db.Scan[string], `SELECT sql FROM sqlite_schema WHERE type = 'index' AND sql LIKE '% WHERE %'`)
	if err != nil || len(all) == 0 {
		t.Fatal(all, err)
	}
	compares := regexp.MustCompile(`[a-z_]+ (=|<>|<|>|IN|LIKE) `)
	for _, text := range all {
		if _, condition, _ := strings.Cut(text, " WHERE "); compares.MatchString(condition) {
			t.Errorf("statements that compare the same column with a parameter are prepared at each execution because of\n%s", text)
		}
	}
}

const sqliteSchema = `SELECT sql || ';' FROM sqlite_schema WHERE sql IS NOT NULL ORDER BY tbl_name, type DESC, name`

// PostgreSQL keeps no text of a table, so its columns, constraints and indexes
// stand for it, a line each.
const postgresSchema = `
	SELECT replace(line, current_schema() || '.', '') FROM (
		SELECT table_name AS t, 1 AS part, to_char(ordinal_position, '000') AS o,
			table_name || '.' || column_name || ' ' || data_type ||
			COALESCE(' COLLATE ' || collation_name, '') ||
			CASE is_nullable WHEN 'NO' THEN ' NOT NULL' ELSE '' END ||
			COALESCE(' DEFAULT ' || column_default, '') AS line
		FROM information_schema.columns WHERE table_schema = current_schema()
		UNION ALL
		SELECT c.relname, 2, k.conname, c.relname || ' ' || k.conname || ' ' || pg_get_constraintdef(k.oid)
		FROM pg_constraint k JOIN pg_class c ON c.oid = k.conrelid
		WHERE c.relnamespace = current_schema()::regnamespace
		UNION ALL
		SELECT tablename, 3, indexname, indexdef FROM pg_indexes WHERE schemaname = current_schema()
		UNION ALL
		SELECT c.relname, 4, g.tgname, pg_get_triggerdef(g.oid)
		FROM pg_trigger g JOIN pg_class c ON c.oid = g.tgrelid
		WHERE c.relnamespace = current_schema()::regnamespace AND NOT g.tgisinternal
		UNION ALL
		SELECT p.proname, 5, p.proname, pg_get_functiondef(p.oid)
		FROM pg_proc p WHERE p.pronamespace = current_schema()::regnamespace
		UNION ALL
		SELECT sequencename, 6, sequencename, 'SEQUENCE ' || sequencename
		FROM pg_sequences WHERE schemaname = current_schema()
	) AS lines ORDER BY t COLLATE "C", part, o COLLATE "C"`
