package audit

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"iter"
	"log/slog"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
)

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

func open(d *db.DB) *Log { return Open(d, slog.New(slog.DiscardHandler)) }

// do writes something as somebody, telling of n changes.
func (l *Log) do(ctx context.Context, n int, fail error, chain string) error {
	ctx = l.With(ctx, &Act{Entry: Entry{Actor: Actor{Kind: Account, Subject: "alice"}, Action: "put", Method: "PUT", Status: 200}})
	return l.DB.InTx(ctx, func(ctx context.Context, _ *db.Tx) error {
		for i := range n {
			Note(ctx, Change{Chain: chain, Resource: fmt.Sprintf("things/%d", i), Workspace: "w", After: []byte("x")})
		}
		return fail
	})
}

// written is a log with n sealed entries of acme, and others of zeta.
func written(t *testing.T, d *db.DB, n int) *Log {
	t.Helper()
	l := open(d)
	for range n {
		check(t, l.do(t.Context(), 1, nil, "acme"))
	}
	check(t, l.do(t.Context(), 3, nil, "zeta"))
	check(t, l.Seal(t.Context()))
	return l
}

func TestAnEntryStandsAndFallsWithItsChange(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		l := open(d)
		undone := errors.New("undone")
		if err := l.do(t.Context(), 5, undone, "acme"); !errors.Is(err, undone) {
			t.Fatal(err)
		}
		check(t, l.do(t.Context(), 7, nil, "acme"))
		silent := l.With(t.Context(), &Act{Entry: Entry{Action: "look"}})
		check(t, d.InTx(silent, func(context.Context, *db.Tx) error { return nil }))
		check(t, l.Seal(t.Context()))
		all, err := l.List(t.Context(), Query{Chain: "acme", Limit: 100})
		check(t, err)
		if len(all) != 7 {
			t.Fatalf("%d entries, want the 7 of what was committed", len(all))
		}
		for i, s := range all {
			e, err := s.Entry()
			check(t, err)
			if s.Seq != int64(i+1) || e.Resource != fmt.Sprintf("things/%d", i) || e.At.Location() != time.UTC {
				t.Errorf("entry %d is %d: %s", i+1, s.Seq, s.Body)
			}
		}
	})
}

func TestOneStatementTellsOfAll(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		l := open(d)
		for _, n := range []int{1, 2, 5, 200} {
			before := d.Statements()
			check(t, l.do(t.Context(), n, nil, "acme"))
			if got := d.Statements() - before; got != 1 {
				t.Errorf("%d entries cost %d statements", n, got)
			}
		}
		check(t, l.Seal(t.Context()))
		end, err := Verify(t.Context(), d, "acme", Mark{})
		check(t, err)
		if end.Seq != 208 {
			t.Errorf("%d entries", end.Seq)
		}
	})
}

// A tampering is something that who has the database can do to a log of 10 entries.
type tampering struct {
	name string
	do   []string
	want string // what verify says
	head bool   // found only by who remembers the end
}

var tamperings = []tampering{
	{"edited", []string{`UPDATE audit_log SET body = replace(body, 'alice', 'mallory') WHERE chain = 'acme' AND seq = 4`}, "entry 4 was changed", false},
	{"edited with its hash", []string{`UPDATE audit_log SET body = replace(body, 'alice', 'mallory'), hash = (SELECT hash FROM audit_log WHERE chain = 'zeta' AND seq = 1) WHERE chain = 'acme' AND seq = 4`}, "entry 4 was changed", false},
	{"deleted", []string{`DELETE FROM audit_log WHERE chain = 'acme' AND seq = 6`}, "entry 6 is missing", false},
	{"deleted and closed up", []string{
		`DELETE FROM audit_log WHERE chain = 'acme' AND seq = 6`,
		`UPDATE audit_log SET seq = -seq WHERE chain = 'acme' AND seq > 6`, `UPDATE audit_log SET seq = -seq - 1 WHERE chain = 'acme' AND seq < 0`,
		`UPDATE audit_chain SET seq = 9 WHERE chain = 'acme'`,
	}, "entry 6 was changed", false},
	{"inserted", []string{
		`UPDATE audit_log SET seq = -seq WHERE chain = 'acme' AND seq > 2`, `UPDATE audit_log SET seq = 1 - seq WHERE chain = 'acme' AND seq < 0`,
		`INSERT INTO audit_log SELECT chain, 3, hash, body, at, region, workspace, actor, resource FROM audit_log WHERE chain = 'acme' AND seq = 1`,
		`UPDATE audit_chain SET seq = 11 WHERE chain = 'acme'`,
	}, "entry 3 was changed, put in, or moved", false},
	{"inserted before the first", []string{`INSERT INTO audit_log SELECT chain, 0, hash, body, at, region, workspace, actor, resource FROM audit_log WHERE chain = 'acme' AND seq = 1`}, "entry 0 comes again", false},
	{"added at the end", []string{`INSERT INTO audit_log SELECT chain, 11, hash, body, at, region, workspace, actor, resource FROM audit_log WHERE chain = 'acme' AND seq = 1`}, "entry 11 was changed, put in", false},
	{"reordered", []string{
		`UPDATE audit_log SET seq = -7 WHERE chain = 'acme' AND seq = 7`, `UPDATE audit_log SET seq = 7 WHERE chain = 'acme' AND seq = 8`,
		`UPDATE audit_log SET seq = 8 WHERE chain = 'acme' AND seq = -7`,
	}, "entry 7 was changed, put in, or moved", false},
	{"end cut off", []string{`DELETE FROM audit_log WHERE chain = 'acme' AND seq > 8`}, "entry 9 is missing", false},
	{"end cut off and covered up", []string{
		`DELETE FROM audit_log WHERE chain = 'acme' AND seq > 8`,
		`UPDATE audit_chain SET seq = 8, hash = (SELECT hash FROM audit_log WHERE chain = 'acme' AND seq = 8) WHERE chain = 'acme'`,
	}, "entry 9 is missing", true},
	{"all gone", []string{`DELETE FROM audit_log WHERE chain = 'acme'`, `DELETE FROM audit_chain WHERE chain = 'acme'`}, "entry 1 is missing", true},
	{"end forgotten", []string{`DELETE FROM audit_chain WHERE chain = 'acme'`}, "ends with entry 10, but says that it ends with 0", false},
	{"beginning cut off", []string{
		`UPDATE audit_chain SET base_seq = 3, base_hash = (SELECT hash FROM audit_log WHERE chain = 'acme' AND seq = 3) WHERE chain = 'acme'`,
		`DELETE FROM audit_log WHERE chain = 'acme' AND seq <= 3`,
	}, "no entry tells that they were removed", false},
	{"hidden from lists", []string{`UPDATE audit_log SET actor = 'nobody' WHERE chain = 'acme' AND seq = 5`}, "entry 5 of tenant acme was changed", false},
	{"another chain in its place", []string{
		`DELETE FROM audit_log WHERE chain = 'acme'`, `UPDATE audit_log SET chain = 'acme'`,
		`UPDATE audit_chain SET seq = 3, hash = (SELECT hash FROM audit_log WHERE seq = 3) WHERE chain = 'acme'`,
	}, "entry 1 was changed", false},
}

func TestVerifyFindsWhatWasTamperedWith(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		for _, c := range tamperings {
			for _, table := range Tables() {
				_, err := d.ExecContext(t.Context(), `DELETE FROM `+table)
				check(t, err)
			}
			written(t, d, 10)
			end, err := Verify(t.Context(), d, "acme", Mark{})
			check(t, err)
			for _, statement := range c.do {
				_, err := d.ExecContext(t.Context(), statement)
				check(t, err)
			}
			_, err = Verify(t.Context(), d, "acme", Mark{})
			if c.head && err != nil {
				t.Errorf("%s: found without the end that one remembers, unexpectedly: %v", c.name, err)
			}
			if c.head {
				_, err = Verify(t.Context(), d, "acme", end)
			}
			if err == nil || !strings.Contains(err.Error(), c.want) {
				t.Errorf("%s: verify says %v, want %q", c.name, err, c.want)
			}
		}
	})
}

// An attacker who writes the whole chain anew is found by who remembers a hash.
func TestAChainWrittenAnewIsFound(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		written(t, d, 10)
		var marks []Mark
		for _, remembered := range []int64{5, 10} {
			m, err := open(d).At(t.Context(), "acme", remembered)
			check(t, err)
			marks = append(marks, m)
		}
		forge(t, d)
		for _, m := range marks {
			if _, err := Verify(t.Context(), d, "acme", Mark{}); err != nil {
				t.Errorf("the forgery is a bad one: %v", err)
			}
			if _, err := Verify(t.Context(), d, "acme", m); err == nil || !strings.Contains(err.Error(), fmt.Sprintf("entry %d is not the one", m.Seq)) {
				t.Errorf("who remembers %d is told %v", m.Seq, err)
			}
		}
	})
}

// forge changes every entry and computes all hashes anew.
func forge(t *testing.T, d *db.DB) {
	t.Helper()
	all, err := open(d).List(t.Context(), Query{Chain: "acme", Limit: 100})
	check(t, err)
	m := Genesis("acme")
	for _, s := range all {
		body := strings.Replace(string(s.Body), `"status":20`, `"status":30`, 1)
		m = m.Next([]byte(body))
		_, err := d.ExecContext(t.Context(), `UPDATE audit_log SET body = $2, hash = $3 WHERE chain = 'acme' AND seq = $1`, m.Seq, body, m.Hash)
		check(t, err)
	}
	_, err = d.ExecContext(t.Context(), `UPDATE audit_chain SET hash = $1 WHERE chain = 'acme'`, m.Hash)
	check(t, err)
}

func TestSealersDoNotGetInEachOthersWay(t *testing.T) {
	url := dbtest.PostgresURL(t)
	var all sync.WaitGroup
	ctx, cancel := context.WithCancel(t.Context())
	dbs := make([]*db.DB, 3)
	for i := range dbs {
		d, err := db.Open(t.Context(), url, slog.New(slog.DiscardHandler))
		check(t, err)
		t.Cleanup(func() { d.Close() })
		dbs[i] = d
		all.Go(func() { // three who believe that they lead
			for ctx.Err() == nil {
				if err := open(d).Seal(ctx); err != nil && ctx.Err() == nil {
					t.Error(err)
				}
			}
		})
	}
	var writers sync.WaitGroup
	for w := range 8 {
		writers.Go(func() {
			for i := range 50 {
				if err := open(dbs[w%3]).do(t.Context(), 1+i%3, nil, []string{"acme", "zeta", ""}[(w+i)%3]); err != nil {
					t.Error(err)
				}
			}
		})
	}
	writers.Wait()
	cancel()
	all.Wait()
	check(t, open(dbs[0]).Seal(t.Context()))
	var total int64
	for _, chain := range []string{"acme", "zeta", ""} {
		end, err := Verify(t.Context(), dbs[0], chain, Mark{})
		check(t, err)
		total += end.Seq
	}
	if want := int64(8 * (17*1 + 17*2 + 16*3)); total != want {
		t.Errorf("%d entries sealed, want %d", total, want)
	}
}

func TestACrashWhileSealingChangesNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		l := written(t, d, 3)
		check(t, l.do(t.Context(), 4, nil, "acme"))
		died := errors.New("died")
		for range 2 {
			err := d.InTx(t.Context(), func(ctx context.Context, tx *db.Tx) error {
				if n, err := seal(ctx, tx); n != 4 || err != nil {
					t.Errorf("%d sealed, %v", n, err)
				}
				return died
			})
			if !errors.Is(err, died) {
				t.Fatal(err)
			}
		}
		check(t, l.Seal(t.Context()))
		if end, err := Verify(t.Context(), d, "acme", Mark{}); err != nil || end.Seq != 7 {
			t.Errorf("%d entries, %v", end.Seq, err)
		}
	})
}

func TestKeepSealsWhatComes(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		l := open(d)
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		go func() { ended <- l.Keep(ctx) }()
		for want := int64(1); want <= 3; want++ {
			check(t, l.do(t.Context(), 1, nil, "acme"))
			for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
				c, err := l.Chain(t.Context(), "acme")
				check(t, err)
				if c.Head.Seq == want {
					break
				}
				if time.Now().After(deadline) {
					t.Fatal("not sealed")
				}
			}
		}
		cancel()
		check(t, <-ended)
	})
}

func TestPrunedChainStillVerifies(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		l := written(t, d, 10)
		old, err := l.At(t.Context(), "acme", 3)
		check(t, err)
		last, err := l.At(t.Context(), "acme", 10)
		check(t, err)
		check(t, l.Prune(t.Context(), time.Now().Add(-time.Hour)))
		if c, err := l.Chain(t.Context(), "acme"); err != nil || c.Base.Seq != 0 {
			t.Errorf("what is young was removed: %+v, %v", c, err)
		}
		time.Sleep(time.Millisecond)
		check(t, l.Prune(t.Context(), time.Now()))
		c, err := l.Chain(t.Context(), "acme")
		check(t, err)
		if c.Base != last || c.Head.Seq != 11 {
			t.Errorf("it goes from %v to %v", c.Base, c.Head)
		}
		if _, err := Verify(t.Context(), d, "acme", last); err != nil {
			t.Error(err)
		}
		if _, err := Verify(t.Context(), d, "acme", old); err == nil || !strings.Contains(err.Error(), "remember a newer one") {
			t.Errorf("a mark that was removed: %v", err)
		}
		check(t, l.do(t.Context(), 1, nil, "acme"))
		check(t, l.Seal(t.Context()))
		if _, err := Verify(t.Context(), d, "acme", Mark{}); err != nil {
			t.Error(err)
		}
		if _, err := d.ExecContext(t.Context(), `DELETE FROM audit_log WHERE chain = 'acme' AND seq = 11`); err != nil {
			t.Fatal(err)
		}
		if _, err := Verify(t.Context(), d, "acme", Mark{}); err == nil {
			t.Error("the stub is gone, and nothing is said")
		}
	})
}

func TestListNarrows(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		l := open(d)
		for i, r := range []string{"a/1", "a/2", "b/1"} {
			ctx := l.With(t.Context(), &Act{Entry: Entry{Actor: Actor{Subject: []string{"alice", "bob"}[i%2]}}})
			check(t, d.InTx(ctx, func(ctx context.Context, _ *db.Tx) error {
				Note(ctx, Change{Chain: "acme", Resource: r, Workspace: []string{"w", "v"}[i%2], Region: "r1"})
				return nil
			}))
		}
		check(t, l.Seal(t.Context()))
		for _, c := range []struct {
			q    Query
			want string
		}{
			{Query{}, "1 2 3"},
			{Query{Actor: "alice"}, "1 3"},
			{Query{Resource: "a/"}, "1 2"},
			{Query{Resource: "a/2"}, "2"},
			{Query{Workspace: "w", Region: "r1"}, "1 3"},
			{Query{Workspace: "w", Region: "r2"}, ""},
			{Query{After: 2}, "3"},
			{Query{Since: time.Now().Add(-time.Minute).UnixMicro()}, "1 2 3"},
			{Query{Since: time.Now().Add(time.Minute).UnixMicro()}, ""},
			{Query{Chain: "zeta"}, ""},
		} {
			c.q.Limit = 10
			if c.q.Chain == "" {
				c.q.Chain = "acme"
			}
			all, err := l.List(t.Context(), c.q)
			check(t, err)
			var got []string
			for _, s := range all {
				got = append(got, fmt.Sprint(s.Seq))
			}
			if g := strings.Join(got, " "); g != c.want {
				t.Errorf("%+v: %q, want %q", c.q, g, c.want)
			}
		}
	})
}

func TestRefusalsAreBounded(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		l := open(d)
		for i := range 10_000 {
			l.Refused("acme", Entry{Actor: Actor{Kind: Account, Subject: "mallory"}, Method: "GET", Action: "get", Resource: fmt.Sprint("things/", i%100), Status: 403})
		}
		l.Refused("none", Entry{Actor: Actor{Kind: Account, Subject: "mallory"}, Action: strings.Repeat("x", 10), Resource: strings.Repeat("y", 1<<20), Status: 403})
		check(t, l.TellRefused(t.Context(), func(_ context.Context, tenant string) bool { return tenant == "acme" }))
		check(t, l.TellRefused(t.Context(), nil))
		check(t, l.Seal(t.Context()))
		all, err := l.List(t.Context(), Query{Chain: "acme", Limit: 100})
		check(t, err)
		count := 0
		for _, s := range all {
			e, err := s.Entry()
			check(t, err)
			count += e.Count
		}
		if len(all) != refusedThings+1 || count != 10_000 {
			t.Errorf("%d entries that count %d", len(all), count)
		}
		other, err := l.List(t.Context(), Query{Limit: 100})
		check(t, err)
		if len(other) != 1 || len(other[0].Body) > 2000 {
			t.Errorf("what names no tenant has %d entries at the exchange", len(other))
		}
		if _, err := Verify(t.Context(), d, "none", Mark{}); err != nil {
			t.Error(err)
		}
	})
}

func entries(all []Sealed) iter.Seq2[Sealed, error] {
	return func(yield func(Sealed, error) bool) {
		for _, s := range all {
			if !yield(s, nil) {
				return
			}
		}
	}
}

// export is what a file has of a chain that was made in memory.
func export(t testing.TB, n int) ([]string, Mark) {
	t.Helper()
	m := Genesis("acme")
	all := make([]Sealed, n)
	for i := range all {
		body := fmt.Appendf(nil, `{"at":"2026-07-01T10:00:00Z","actor":{"kind":"account","subject":"alice"},"action":"put","resource":"things/%d"}`, i)
		m = m.Next(body)
		all[i] = Sealed{m, body}
	}
	var b bytes.Buffer
	if _, err := Write(&b, Chain{"acme", Genesis("acme"), m}, entries(all)); err != nil {
		t.Fatal(err)
	}
	return strings.Split(strings.TrimSuffix(b.String(), "\n"), "\n"), m
}

func verified(lines []string, m Mark) error {
	_, _, err := VerifyExport(strings.NewReader(strings.Join(lines, "\n")+"\n"), m)
	return err
}

func TestVerifyExportFindsWhatWasTamperedWith(t *testing.T) {
	good, end := export(t, 10)
	check(t, verified(good, end))
	change := func(do func(l []string) []string) []string { return do(append([]string{}, good...)) }
	_, shortEnd := export(t, 8)
	for _, c := range []struct {
		name  string
		lines []string
		want  string
	}{
		{"edited", change(func(l []string) []string { l[4] = strings.Replace(l[4], "alice", "mallory", 1); return l }), "entry 4 was changed"},
		{"deleted", change(func(l []string) []string { return append(l[:6], l[7:]...) }), "entry 6 is missing"},
		{"inserted", change(func(l []string) []string { return append(append(append([]string{}, l[:6]...), l[3]), l[6:]...) }), "entry 3 comes again"},
		{"reordered", change(func(l []string) []string { l[7], l[8] = l[8], l[7]; return l }), "entry 7 is missing"},
		{"end cut off", change(func(l []string) []string { return l[:9] }), "without saying that the chain does"},
		{"end cut off with its last line", change(func(l []string) []string { return append(l[:9], l[11]) }), "entry 9 is missing"},
		{"end cut off and covered up", change(func(l []string) []string {
			return append(l[:9], fmt.Sprintf(`{"head":{"seq":8,"hash":%q}}`, shortEnd.Hash))
		}), "entry 9 is missing, and what follows up to the 10 that you remember"},
		{"other chain", change(func(l []string) []string { l[0] = strings.Replace(l[0], "acme", "zeta", 1); return l }), "does not begin as that of tenant zeta"},
		{"torn line", change(func(l []string) []string { l[5] = l[5][:40]; return l }), "line 6 after entry 4 is damaged"},
		{"something after the end", change(func(l []string) []string { return append(l, l[3]) }), "something follows"},
	} {
		if err := verified(c.lines, end); err == nil || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", c.name, err, c.want)
		}
	}
}

// FuzzExport: no file makes the reader fail but by an error, and one that is
// found good has the entries that its end says.
func FuzzExport(f *testing.F) {
	good, _ := export(f, 3)
	f.Add([]byte(strings.Join(good, "\n")))
	f.Add([]byte(good[0] + "\n" + good[4]))
	f.Add([]byte(`{"kontor":"audit","version":1,"chain":"","base":{"seq":9223372036854775807,"hash":"` + strings.Repeat("0", 64) + `"}}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		head, end, err := VerifyExport(bytes.NewReader(b), Mark{})
		if err == nil && end.Seq-head.Base.Seq > int64(bytes.Count(b, []byte("\n"))) {
			t.Errorf("%d lines were %d entries", bytes.Count(b, []byte("\n")), end.Seq-head.Base.Seq)
		}
	})
}
