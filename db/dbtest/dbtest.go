// Package dbtest gives tests a database of their own, on each of the databases
// that Kontor runs on.
package dbtest

import (
	"context"
	"crypto/rand"
	"database/sql"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"strings"
	"testing"

	_ "github.com/jackc/pgx/v5/stdlib" // the driver "pgx"

	"github.com/kontor-cloud/kontor/db"
)

// Environment names the variable with the URL of a PostgreSQL in which tests
// may make schemas; hack/postgres starts one.
const Environment = "KONTOR_TEST_POSTGRES"

// Each runs the test on an empty SQLite file and, when KONTOR_TEST_POSTGRES is
// set, in an empty schema of PostgreSQL.
func Each(t *testing.T, test func(t *testing.T, d *db.DB)) {
	EachURL(t, func(t *testing.T, url string) { test(t, open(t, url)) })
}

// EachURL is Each for tests that open the database themselves.
func EachURL(t *testing.T, test func(t *testing.T, url string)) {
	t.Run("sqlite", func(t *testing.T) { test(t, sqliteURL(t)) })
	t.Run("postgres", func(t *testing.T) { test(t, PostgresURL(t)) })
}

// SQLite opens an empty database in a file.
func SQLite(tb testing.TB) *db.DB { return open(tb, sqliteURL(tb)) }

// Postgres opens an empty database in a schema of its own. It skips the test
// when there is no PostgreSQL.
func Postgres(tb testing.TB) *db.DB { return open(tb, PostgresURL(tb)) }

func open(tb testing.TB, url string) *db.DB {
	tb.Helper()
	d, err := db.Open(context.Background(), url, slog.New(slog.DiscardHandler))
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { d.Close() })
	return d
}

func sqliteURL(tb testing.TB) string { return filepath.Join(tb.TempDir(), "kontor.db") }

// PostgresURL names an empty schema of its own. It skips the test when there is
// no PostgreSQL.
func PostgresURL(tb testing.TB) string {
	tb.Helper()
	server := os.Getenv(Environment)
	if server == "" {
		tb.Skip(Environment + " is not set")
	}
	pool, err := sql.Open("pgx", server)
	if err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() { pool.Close() })
	schema := "kontor_test_" + strings.ToLower(rand.Text())
	if _, err := pool.Exec("CREATE SCHEMA " + schema); err != nil {
		tb.Fatal(err)
	}
	tb.Cleanup(func() {
		if _, err := pool.Exec("DROP SCHEMA " + schema + " CASCADE"); err != nil {
			tb.Error(err)
		}
	})
	u, err := url.Parse(server)
	if err != nil {
		tb.Fatal(err)
	}
	q := u.Query()
	q.Set("search_path", schema)
	u.RawQuery = q.Encode()
	return u.String()
}
