package db

import (
	"context"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"testing/fstest"
)

// openBare opens SQLite without the program's own migrations.
func openBare(t *testing.T, path string) *DB {
	t.Helper()
	d, err := openSQLite(t.Context(), path, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { d.Close() })
	return d
}

func steps(files ...string) fstest.MapFS {
	fs := fstest.MapFS{}
	for i := 0; i < len(files); i += 2 {
		fs[files[i]] = &fstest.MapFile{Data: []byte(files[i+1])}
	}
	return fs
}

var (
	one = steps("0001_a.sql", "CREATE TABLE a (id BIGINT); CREATE TABLE b (id BIGINT);")
	two = steps("0001_a.sql", "CREATE TABLE a (id BIGINT); CREATE TABLE b (id BIGINT);",
		"0002_c.sqlite.sql", "CREATE TABLE c (id BIGINT)", "0002_c.postgres.sql", "not for us")
)

func TestMigrationsAreAppliedOnce(t *testing.T) {
	d := openBare(t, filepath.Join(t.TempDir(), "k.db"))
	for _, from := range []fstest.MapFS{one, one, two, two} {
		if err := migrate(t.Context(), d, from); err != nil {
			t.Fatal(err)
		}
	}
	names, err := All(t.Context(), d, Scan[string], `SELECT name FROM migration ORDER BY number`)
	if err != nil || strings.Join(names, " ") != "a c" {
		t.Errorf("%v, %v", names, err)
	}
}

func TestMigrationsByManyProcessesAtOnce(t *testing.T) {
	path := filepath.Join(t.TempDir(), "k.db")
	var wg sync.WaitGroup
	for range 4 {
		d := openBare(t, path)
		wg.Go(func() {
			if err := migrate(t.Context(), d, two); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
}

func TestMigrationsThatDoNotFitAreRefused(t *testing.T) {
	for name, test := range map[string]struct {
		first, then fstest.MapFS
		want        string
	}{
		"newer database": {two, one, "newer than this program"},
		"changed":        {one, steps("0001_a.sql", "CREATE TABLE other (id BIGINT)"), "changed afterwards"},
		"two of one number": {
			one, steps("0001_a.sql", "SELECT 1", "0001_b.sql", "SELECT 1"),
			"two migrations have the number 1",
		},
		"bad name": {one, steps("1_a.sql", "SELECT 1"), "is not named"},
		"bad SQL":  {one, steps("0001_a.sql", string(one["0001_a.sql"].Data), "0002_b.sql", "CREATE TABLE c (id BIGINT); NONSENSE"), "0002_b"},
	} {
		t.Run(name, func(t *testing.T) {
			d := openBare(t, filepath.Join(t.TempDir(), "k.db"))
			if err := migrate(t.Context(), d, test.first); err != nil {
				t.Fatal(err)
			}
			err := migrate(t.Context(), d, test.then)
			if err == nil || !strings.Contains(err.Error(), test.want) {
				t.Fatalf("error %v, want one with %q", err, test.want)
			}
			// Nothing of it stays, and the database is still of use.
			if err := migrate(t.Context(), d, test.first); err != nil {
				t.Error(err)
			}
		})
	}
}

// What SQLite does when a disk is full: it rolls back the whole transaction
// under the feet of the group.
func TestGroupIsTriedAgainWhenAMemberBreaksIt(t *testing.T) {
	d := openBare(t, filepath.Join(t.TempDir(), "k.db"))
	if err := migrate(t.Context(), d, one); err != nil {
		t.Fatal(err)
	}
	calls := 0
	err := d.InTx(t.Context(), func(ctx context.Context, tx *Tx) error {
		if calls++; calls == 1 {
			_, err := tx.ExecContext(ctx, `ROLLBACK`)
			return err
		}
		_, err := tx.ExecContext(ctx, `INSERT INTO a (id) VALUES ($1)`, calls)
		return err
	})
	if err != nil {
		t.Fatal(err)
	}
	ids, err := All(t.Context(), d, Scan[int], `SELECT id FROM a`)
	if err != nil || len(ids) != 1 || ids[0] != 2 {
		t.Errorf("rows %v, %v; want [2]", ids, err)
	}
}

func TestFileIsForThisUserOnly(t *testing.T) {
	path := filepath.Join(t.TempDir(), "data", "k.db")
	if err := migrate(t.Context(), openBare(t, path), one); err != nil {
		t.Fatal(err)
	}
	for name, want := range map[string]os.FileMode{"": 0o700, "/k.db": 0o600, "/k.db-wal": 0o600} {
		info, err := os.Stat(filepath.Dir(path) + name)
		if err != nil {
			t.Fatal(err)
		}
		if got := info.Mode().Perm(); got != want {
			t.Errorf("%s has mode %o, want %o", info.Name(), got, want)
		}
	}
}

func TestPreparedStatementsAreBounded(t *testing.T) {
	d := openBare(t, filepath.Join(t.TempDir(), "k.db"))
	for i := range 2 * maxStatements {
		if _, err := One(t.Context(), d, Scan[int], `SELECT 1 WHERE 1 IN (1,`+In(1, i+1)+`)`, make([]any, i+1)...); err != nil {
			t.Fatal(err)
		}
	}
	if n := len(d.prepared.by); n > maxStatements {
		t.Errorf("%d statements are kept, want at most %d", n, maxStatements)
	}
}
