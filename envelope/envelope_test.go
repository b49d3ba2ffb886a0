package envelope

import (
	"bytes"
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/fault"
)

var (
	signing   = Column{"signing_key", "sealed"}
	authority = Column{"authority", "sealed"}
)

func no(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// newFile names a key file that is not there yet.
func newFile(tb testing.TB) FileKeys { return FileKeys(filepath.Join(tb.TempDir(), "k", "kontor.key")) }

func box(tb testing.TB, d *db.DB, from Source) *Box {
	tb.Helper()
	b, err := Open(context.Background(), d, from, signing, authority)
	no(tb, err)
	return b
}

func id(tb testing.TB, f FileKeys, n int) string {
	tb.Helper()
	all, err := f.Keys(context.Background())
	no(tb, err)
	return all[n].ID()
}

func TestASecretOpensOnlyWhereItWasSealedFor(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		b, ctx := box(t, d, newFile(t)), t.Context()
		for _, secret := range []string{"", "s", strings.Repeat("long", 1000)} {
			at := signing.Row("1")
			sealed, err := b.Seal(ctx, at, []byte(secret))
			no(t, err)
			again, err := b.Seal(ctx, at, []byte(secret))
			no(t, err)
			if bytes.Equal(sealed, again) || len(secret) > 4 && bytes.Contains(sealed, []byte(secret)) {
				t.Errorf("%q is sealed as %q and %q", secret, sealed, again)
			}
			if plain, err := b.Open(ctx, at, sealed); err != nil || string(plain) != secret {
				t.Errorf("%q, %v", plain, err)
			}
			for _, other := range []Place{signing.Row("2"), authority.Row("1"), {Column{"signing_key", "other"}, "1"}, {}} {
				if plain, err := b.Open(ctx, other, sealed); !errors.Is(err, fault.Invalid) {
					t.Errorf("at %v: %q, %v", other, plain, err)
				}
			}
			for i := range sealed[:min(len(sealed), 100)] {
				bad := bytes.Clone(sealed)
				bad[i] ^= 1
				if plain, err := b.Open(ctx, at, bad); err == nil || plain != nil {
					t.Fatalf("with bit %d changed: %q", 8*i, plain)
				}
				if _, err := b.Open(ctx, at, sealed[:i]); err == nil {
					t.Fatalf("cut to %d bytes: opened", i)
				}
			}
		}
	})
}

// The data key of one column cannot be put in the place of another's, nor a row
// be said to be wrapped by another key.
func TestADataKeyUnwrapsOnlyInItsRow(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		file, ctx := newFile(t), t.Context()
		box(t, d, file)
		_, err := db.Exec(ctx, d, `UPDATE data_key SET wrapped = (SELECT wrapped FROM data_key WHERE purpose = 'authority.sealed')`)
		no(t, err)
		if _, err := Open(ctx, d, file); err == nil || !strings.Contains(err.Error(), "unwrap the data key of signing_key.sealed") {
			t.Errorf("swapped: %v", err)
		}
	})
}

// Of many processes that start at once one makes the key, and all understand one another.
func TestManyBeginAtOnce(t *testing.T) {
	dbtest.EachURL(t, func(t *testing.T, url string) {
		file := newFile(t)
		first, err := db.Open(t.Context(), url, quiet) // the schema; on SQLite there is one process
		no(t, err)
		defer first.Close()
		boxes := make([]*Box, 6)
		var all sync.WaitGroup
		for i := range boxes {
			all.Go(func() {
				var err error
				if boxes[i], err = Open(t.Context(), first, file, signing); err != nil {
					t.Error(err)
				}
			})
		}
		all.Wait()
		for i, b := range boxes { // each for a purpose of its own: others read its data key
			at := Column{"t", fmt.Sprint(i)}.Row("1")
			sealed, err := b.Seal(t.Context(), at, []byte("x"))
			no(t, err)
			for _, other := range boxes {
				if plain, err := other.Open(t.Context(), at, sealed); err != nil || string(plain) != "x" {
					t.Errorf("%q, %v", plain, err)
				}
			}
		}
	})
}

func TestWithoutItsKeyNothingOpens(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		file, ctx := newFile(t), t.Context()
		box(t, d, file)
		want := id(t, file, 0)
		other := newFile(t)
		for _, what := range []string{"no file", "another file"} {
			there := what != "no file"
			if there {
				no(t, other.Make(ctx))
			}
			_, err := Open(ctx, d, other)
			if !errors.Is(err, fault.Denied) || !strings.Contains(err.Error(), want) || !strings.Contains(err.Error(), string(other)) {
				t.Errorf("%s: %v", what, err)
			}
			if _, err := os.Stat(string(other)); there != (err == nil) {
				t.Errorf("%s: a key file was made for an exchange that has another", what)
			}
		}
		if err := Abandon(ctx, d, file, signing); !errors.Is(err, fault.Conflict) {
			t.Errorf("abandoned though the key is there: %v", err)
		}
		no(t, Abandon(ctx, d, other, signing, authority))
		box(t, d, other)
	})
}

// Secrets of an older version are sealed at the first start, whatever interrupts
// it, and nothing of them stays in the files of the database.
func TestOldSecretsAreSealedWithoutATrace(t *testing.T) {
	dbtest.EachURL(t, func(t *testing.T, url string) {
		d, err := db.Open(t.Context(), url, quiet)
		no(t, err)
		defer d.Close()
		file, ctx := newFile(t), t.Context()
		secrets := make([]string, 50)
		for i := range secrets {
			secrets[i] = "secret " + rand.Text()
			for range 3 { // so that it is on pages that were given up
				_, err := db.Exec(ctx, d, `INSERT INTO signing_key (id, sealed, created_at) VALUES ($1, $2, 1)`, fmt.Sprint(i), []byte(strings.Repeat(secrets[i], 40)))
				no(t, err)
				_, err = db.Exec(ctx, d, `DELETE FROM signing_key WHERE id = $1`, fmt.Sprint(i))
				no(t, err)
			}
			_, err := db.Exec(ctx, d, `INSERT INTO signing_key (id, sealed, created_at) VALUES ($1, $2, 1)`, fmt.Sprint(i), []byte(secrets[i]))
			no(t, err)
		}
		if len(traces(t, d, url, secrets)) == 0 {
			t.Fatal("the test does not find secrets that are there")
		}
		no(t, file.Make(ctx)) // then it died
		died, cancel := context.WithCancel(ctx)
		cancel()
		if _, err := Open(died, d, file, signing); err == nil {
			t.Fatal("opened in an instant")
		}
		box(t, d, file) // then it died again
		b := box(t, d, file)
		for err = b.Wipe(ctx); errors.Is(err, fault.Unavailable); err = b.Wipe(ctx) {
			t.Log(err) // tests of other packages use the same PostgreSQL
		}
		no(t, err)
		if left := traces(t, d, url, secrets); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
		rows, err := db.All(ctx, d, func(scan func(...any) error) (r [2]string, err error) {
			return r, scan(&r[0], &r[1])
		}, `SELECT id, sealed FROM signing_key ORDER BY length(id), id`)
		no(t, err)
		for i, r := range rows {
			if plain, err := b.Open(ctx, signing.Row(r[0]), []byte(r[1])); err != nil || string(plain) != secrets[i] {
				t.Errorf("%s: %q, %v", r[0], plain, err)
			}
		}
		if len(rows) != len(secrets) {
			t.Errorf("%d rows, want %d", len(rows), len(secrets))
		}
		// What comes later in the open is no secret of ours.
		_, err = db.Exec(ctx, d, `UPDATE signing_key SET sealed = $1`, make([]byte, 32))
		no(t, err)
		if _, err := box(t, d, file).Open(ctx, signing.Row("1"), make([]byte, 32)); err == nil {
			t.Error("a value in the open is taken for a secret")
		}
	})
}

// traces finds secrets in the files of a database, as somebody would who has its disk.
func traces(t *testing.T, d *db.DB, url string, secrets []string) (found []string) {
	t.Helper()
	var disk []byte
	if d.Postgres() {
		_, err := db.Exec(t.Context(), d, `CHECKPOINT`)
		no(t, err)
		disk, err = db.One(t.Context(), d, db.Scan[[]byte], `SELECT pg_read_binary_file(pg_relation_filepath('signing_key'))`)
		no(t, err)
	} else {
		for _, suffix := range []string{"", "-wal", "-shm"} {
			b, err := os.ReadFile(url + suffix)
			if !os.IsNotExist(err) {
				no(t, err)
			}
			disk = append(disk, b...)
		}
	}
	for _, s := range secrets {
		if bytes.Contains(disk, []byte(s)) {
			found = append(found, s)
		}
	}
	return found
}
