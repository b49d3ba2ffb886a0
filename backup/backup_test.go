package backup

import (
	"bytes"
	"compress/gzip"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/envelope/envelopetest"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/provider"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/tenant"
)

var quiet = slog.New(slog.DiscardHandler)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func nothing(string, int64) {}

// A house is an exchange's stores on one database.
type house struct {
	db        *db.DB
	providers *provider.Store
	tenants   *tenant.Store
	resources *resource.Store
}

func build(t testing.TB, url string) *house {
	t.Helper()
	d, err := db.Open(t.Context(), url, quiet)
	check(t, err)
	t.Cleanup(func() { d.Close() })
	h := &house{db: d, resources: resource.NewStore(d)}
	h.providers, err = provider.Open(t.Context(), d, envelopetest.Box(t, d))
	check(t, err)
	h.tenants, err = tenant.Open(t.Context(), d, envelopetest.Box(t, d), "kontor:"+h.providers.Exchange)
	check(t, err)
	return h
}

// fill writes what is hard to carry from one database to another.
func (h *house) fill(t testing.TB) {
	t.Helper()
	check(t, h.providers.CreateRegion(t.Context(), provider.Region{Name: "r1", Country: "DE", Labels: map[string]string{"b": "<1>", "a": "ü 2"}}))
	check(t, h.tenants.CreateTenant(t.Context(), tenant.Tenant{Name: "t1", Display: "\"<&> \u2028 \n\t €'"}, nil))
	check(t, h.tenants.PutAccount(t.Context(), tenant.Account{ID: "a@b.eu", Operator: true, Disabled: true}))
	check(t, h.tenants.PutAccount(t.Context(), tenant.Account{ID: "c@d.eu"}))
	check(t, h.tenants.AddMember(t.Context(), "t1", "c@d.eu"))
	_, _, err := h.tenants.NewToken(t.Context(), "c@d.eu", "test", 3600e9, seca.Scope{Tenants: []string{"t1"}})
	check(t, err)
}

var env = resource.Env{
	Region: "r1", Kinds: []string{"block-storage"},
	Inventory: &driver.Inventory{StorageSKUs: []driver.StorageSKU{{SKU: driver.SKU{Name: "s1"}}}},
}

// put makes a workspace and a volume in it.
func (h *house) put(ctx context.Context, name string) error {
	w, _ := resource.KindNamed("workspace")
	v, _ := resource.KindNamed("block-storage")
	if _, _, err := h.resources.Put(ctx, w, w.URN("t1", "", "", name), resource.Input{}, nil, env); err != nil {
		return err
	}
	_, _, err := h.resources.Put(ctx, v, v.URN("t1", name, "", "disk"), resource.Input{
		Labels: map[string]string{"of": name}, Spec: json.RawMessage(`{"sizeGB":1,"skuRef":"skus/s1"}`),
	}, nil, env)
	return err
}

// take makes a backup as "kontor backup" does: by a connection of its own.
func take(t testing.TB, url string, without ...string) ([]byte, Manifest) {
	t.Helper()
	d, err := db.OpenToRead(t.Context(), url, quiet)
	check(t, err)
	defer d.Close()
	var b bytes.Buffer
	var m Manifest
	check(t, d.Snapshot(t.Context(), func(s *db.Snapshot) (err error) {
		m, err = Write(t.Context(), &b, s, Head{Exchange: "x", Without: without}, nothing)
		return err
	}))
	return b.Bytes(), m
}

func restore(ctx context.Context, url string, b []byte) error {
	r, err := NewReader(bytes.NewReader(b), nothing)
	if err != nil {
		return err
	}
	return db.Restore(ctx, url, quiet, r.Source, func(ctx context.Context, tx *db.Tx) error {
		_, err := r.Load(ctx, tx)
		return err
	}, provider.Restored)
}

// rows reads the tables of a backup, each row as text, in order. PostgreSQL
// writes JSON in its own way, so that is compared by what it says.
func rows(t testing.TB, b []byte) map[string][]string {
	t.Helper()
	r, err := NewReader(bytes.NewReader(b), nothing)
	check(t, err)
	out := map[string][]string{}
	_, err = r.each(func(table db.Table) (func([]any) error, func() error) {
		out[table.Name] = []string{}
		add := func(row []any) error {
			for i, c := range table.Columns {
				if s, ok := row[i].(string); ok && c.Type == db.JSONDoc {
					var v any
					check(t, json.Unmarshal([]byte(s), &v))
					row[i] = v
				}
				if c.Name == "epoch" {
					row[i] = "new with each restore"
				}
			}
			text, err := json.Marshal(row)
			out[table.Name] = append(out[table.Name], string(text))
			return err
		}
		return add, func() error { slices.Sort(out[table.Name]); return nil }
	})
	check(t, err)
	return out
}

// eachPair runs the test from each kind of database to each.
func eachPair(t *testing.T, test func(t *testing.T, from, to string)) {
	dbtest.EachURL(t, func(t *testing.T, first string) {
		dbtest.EachURL(t, func(t *testing.T, to string) {
			from := filepath.Join(t.TempDir(), "from.db")
			if strings.HasPrefix(first, "postgres") {
				from = dbtest.PostgresURL(t)
			}
			test(t, from, to)
		})
	})
}

func TestBackupUnderLoad(t *testing.T) {
	eachPair(t, func(t *testing.T, from, to string) {
		h := build(t, from)
		h.fill(t)
		ctx, stop := context.WithCancel(t.Context())
		var mu sync.Mutex
		var done []string
		var writers sync.WaitGroup
		enough := make(chan struct{})
		for w := range 4 {
			writers.Go(func() {
				for i := 0; ctx.Err() == nil; i++ {
					name := fmt.Sprintf("w%d-%d", w, i)
					if h.put(ctx, name) != nil {
						return
					}
					mu.Lock()
					if done = append(done, name); len(done) == 100 {
						close(enough)
					}
					mu.Unlock()
				}
			})
		}
		<-enough
		mu.Lock()
		acknowledged := slices.Clone(done)
		mu.Unlock()
		b, m := take(t, from)
		stop()
		writers.Wait()

		check(t, restore(t.Context(), to, b))
		again, _ := take(t, to)
		if diff := cmp.Diff(rows(t, b), rows(t, again)); diff != "" {
			t.Errorf("the restored database is not the backup's:\n%s", diff)
		}
		sound(t, to, acknowledged)
		if m.Rows == 0 || m.Exchange != "x" || len(m.Tables) < 10 {
			t.Errorf("the manifest says %+v", m)
		}
	})
}

// sound checks that the restored exchange holds what it must, and works.
func sound(t *testing.T, url string, acknowledged []string) {
	t.Helper()
	h := build(t, url)
	all := func(query string) []string {
		v, err := db.All(t.Context(), h.db, db.Scan[string], query)
		check(t, err)
		return v
	}
	for _, kind := range []string{"workspace", "block-storage"} {
		have := strings.Join(all(`SELECT urn || ' ' FROM resource WHERE kind = '`+kind+`'`), "")
		for _, name := range acknowledged {
			if !strings.Contains(have, "/workspaces/"+name+" ") && !strings.Contains(have, "/workspaces/"+name+"/") {
				t.Errorf("%s of %s was acknowledged before the backup and is not in it", kind, name)
			}
		}
	}
	if late := all(`SELECT r.urn FROM resource r JOIN feed f ON f.region = r.region WHERE r.revision > f.revision OR r.wanted_revision > f.revision`); len(late) > 0 {
		t.Errorf("later than their feed: %v", late)
	}
	if torn := all(`SELECT urn FROM resource r WHERE workspace <> '' AND NOT EXISTS (
		SELECT 1 FROM resource w WHERE w.kind = 'workspace' AND w.urn = 'seca.workspace/v1/tenants/' || r.tenant || '/workspaces/' || r.workspace)`); len(torn) > 0 {
		t.Errorf("without their workspace: %v", torn)
	}
	check(t, h.put(t.Context(), "after"))
}

// A table that somebody adds must be in backups without anybody thinking of it.
func TestEveryTableIsInTheBackup(t *testing.T) {
	dbtest.EachURL(t, func(t *testing.T, url string) {
		h := build(t, url)
		_, err := db.Exec(t.Context(), h.db, `CREATE TABLE added (id BIGINT NOT NULL PRIMARY KEY, of TEXT REFERENCES tenant (name), b BYTEA)`)
		check(t, err)
		_, err = db.Exec(t.Context(), h.db, `INSERT INTO added (id, b) VALUES ($1, $2)`, int64(-1<<63), []byte{0, 255})
		check(t, err)
		query := `SELECT name FROM sqlite_schema WHERE type = 'table' AND name NOT LIKE 'sqlite%'`
		if h.db.Postgres() {
			query = `SELECT tablename FROM pg_tables WHERE schemaname = current_schema()`
		}
		want, err := db.All(t.Context(), h.db, db.Scan[string], query)
		check(t, err)
		want = slices.DeleteFunc(want, func(s string) bool { return s == "migration" }) // is in the head
		b, m := take(t, url)
		var got []string
		for _, c := range m.Tables {
			got = append(got, c.Table)
		}
		if slices.Index(got, "added") < slices.Index(got, "tenant") {
			t.Errorf("a table comes before what it refers to: %v", got)
		}
		slices.Sort(got)
		slices.Sort(want)
		if diff := cmp.Diff(want, got); diff != "" {
			t.Error(diff)
		}
		if row := rows(t, b)["added"]; len(row) != 1 || row[0] != `[-9223372036854775808,null,"AP8="]` {
			t.Errorf("%v", row)
		}
	})
}

// What nobody has thought of is an error and never a gap.
func TestUnknownTypeIsRefused(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		_, err := db.Exec(t.Context(), d, `CREATE TABLE strange (at TIMESTAMP)`)
		check(t, err)
		err = d.Snapshot(t.Context(), func(*db.Snapshot) error { return nil })
		if err == nil || !strings.Contains(err.Error(), "column at of table strange") {
			t.Errorf("%v", err)
		}
	})
}

func TestRestoreWantsAnEmptyDatabase(t *testing.T) {
	dbtest.EachURL(t, func(t *testing.T, url string) {
		h := build(t, url)
		h.fill(t)
		b, _ := take(t, url)
		if err := restore(t.Context(), url, b); !errors.Is(err, fault.Conflict) {
			t.Errorf("restored over another: %v", err)
		}
		if again, _ := take(t, url); !bytes.Equal(again, b) {
			t.Error("the database was changed")
		}
	})
}

func TestBackupOfAnotherSchema(t *testing.T) {
	dbtest.EachURL(t, func(t *testing.T, url string) {
		from := filepath.Join(t.TempDir(), "from.db")
		build(t, from)
		_, m := take(t, from)
		newer := m.Source
		newer.Migrations = append(slices.Clone(newer.Migrations), db.Migration{Number: 9999, Name: "later", Digest: "0"})
		if _, err := newer.Due(); !errors.Is(err, fault.Unsupported) || !strings.Contains(err.Error(), "newer than this program") {
			t.Errorf("newer: %v", err)
		}
		changed := m.Source
		changed.Migrations = slices.Clone(changed.Migrations)
		changed.Migrations[1].Digest = "0"
		if _, err := changed.Due(); !errors.Is(err, fault.Unsupported) {
			t.Errorf("changed: %v", err)
		}
		older := m.Source
		older.Migrations = older.Migrations[:3] // without epochs
		check(t, db.Restore(t.Context(), url, quiet, older, func(ctx context.Context, tx *db.Tx) error {
			_, err := db.Exec(ctx, tx, `INSERT INTO exchange (id, created_at, regions, one) VALUES ('old', 1, 0, 1)`)
			return err
		}, provider.Restored))
		if h := build(t, url); h.providers.Exchange != "old" || h.providers.Epoch == "" {
			t.Errorf("the older one became %q, epoch %q", h.providers.Exchange, h.providers.Epoch)
		}
	})
}

func pack(t *testing.T, text []byte) []byte {
	t.Helper()
	var out bytes.Buffer
	z := gzip.NewWriter(&out)
	_, err := z.Write(text)
	check(t, errors.Join(err, z.Close()))
	return out.Bytes()
}

func unpack(t *testing.T, b []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	check(t, err)
	text, err := io.ReadAll(z)
	check(t, err)
	return text
}

// A damaged file is noticed wherever it is damaged, and leaves nothing.
func TestDamageIsNoticed(t *testing.T) {
	dbtest.EachURL(t, func(t *testing.T, url string) {
		from := filepath.Join(t.TempDir(), "from.db")
		h := build(t, from)
		h.fill(t)
		check(t, h.put(t.Context(), "w"))
		b, m := take(t, from)
		text := unpack(t, b)
		lines := bytes.SplitAfter(text, []byte("\n"))
		damage := map[string][]byte{
			"cut file":  b[:len(b)-20],
			"one bit":   append(bytes.Clone(b[:len(b)/2]), append([]byte{b[len(b)/2] ^ 4}, b[len(b)/2+1:]...)...),
			"no backup": []byte("hello"),
			"other row": pack(t, bytes.Replace(text, []byte(`"c@d.eu","",false`), []byte(`"c@d.eu","",true`), 1)),
			"more":      pack(t, append(bytes.Clone(text), "[]\n"...)),
		}
		for i := 1; i < len(lines); i++ {
			damage[fmt.Sprintf("without line %d", i)] = pack(t, bytes.Join(slices.Delete(slices.Clone(lines), i-1, i), nil))
			damage[fmt.Sprintf("cut after line %d", i)] = pack(t, bytes.Join(lines[:i-1], nil))
		}
		for name, bad := range damage {
			r, err := NewReader(bytes.NewReader(bad), nothing)
			if err == nil {
				_, err = r.Verify()
			}
			if !errors.Is(err, fault.Invalid) {
				t.Errorf("%s: verified with %v", name, err)
			}
			if strings.Contains(name, "line") && !strings.HasSuffix(name, "2") {
				continue // they would take long
			}
			if err := restore(t.Context(), url, bad); err == nil {
				t.Fatalf("%s: restored", name)
			}
			if _, err := os.Stat(url); err == nil {
				t.Fatalf("%s: something is left", name)
			}
		}
		r, err := NewReader(bytes.NewReader(b), nothing)
		check(t, err)
		got, err := r.Verify()
		check(t, err)
		if diff := cmp.Diff(m, got); diff != "" {
			t.Errorf("what was read is not what was written:\n%s", diff)
		}
		check(t, restore(t.Context(), url, b)) // the failed ones left nothing that is in the way
	})
}
