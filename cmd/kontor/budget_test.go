package main

import (
	"bytes"
	"context"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/resource/resourcetest"
	"github.com/kontor-cloud/kontor/seca"
)

// TestLabBudgets prints what operations cost, what they may cost, and beside each
// what an HTTP request that does nothing costs at that moment. It asserts
// nothing about time: whoever runs it judges the table and the machine.
func TestLabBudgets(t *testing.T) {
	if os.Getenv("KONTOR_BUDGETS") == "" {
		t.Skip("make budgets runs it")
	}
	buildKontor(t)
	fmt.Printf(budgetRow, "operation", "database", "budget", "figure", "control", "ratio", "allocs", "met")
	for _, database := range []string{"sqlite", "postgres"} {
		t.Run(database, func(t *testing.T) {
			for _, part := range []struct {
				name string
				run  func(*testing.T, *bench)
			}{
				{"requests", requestBudgets},
				{"active", activeBudget},
				{"many", manyBudgets},
				{"idle", idleBudgets},
				{"crowd", crowdBudgets},
			} {
				t.Run(part.name, func(t *testing.T) {
					b := &bench{t: t, database: database}
					if database == "postgres" {
						b.url = dbtest.PostgresURL(t)
						b.server = postgresOf(t, b.url)
					}
					part.run(t, b)
				})
			}
		})
	}
}

const budgetRow = "%-46s %-9s %12s %12s %10s %6s %7s  %s\n"

// A bench measures on one database.
type bench struct {
	t        *testing.T
	database string
	url      string // "" is SQLite
	server   int    // process id of PostgreSQL's parent
}

// either is a budget that is another one on PostgreSQL.
func (b *bench) either(sqlite, postgres float64) float64 {
	if b.url != "" {
		return postgres
	}
	return sqlite
}

// print writes a row of the table for a figure that may be at most may.
func (b *bench) print(operation, unit string, may, figure float64, more ...string) {
	more = append(more, "", "", "")
	met := "yes"
	if figure > may {
		met = "NO"
	}
	fmt.Printf(budgetRow, operation, b.database, fmt.Sprintf("%.4g %s", may, unit), fmt.Sprintf("%.3f %s", figure, unit), more[0], more[1], more[2], met)
}

// measure prints what do costs between two controls: the CPU time of exchange,
// agent and client, which are this process, and of PostgreSQL.
func (b *bench) measure(operation string, may float64, n int, do func(n int)) {
	b.t.Helper()
	for i := range n/20 + 1 {
		do(n + i) // caches, prepared statements
	}
	before := idleCost(b.t)
	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	cost := spent(b.t, b.server, func() {
		for i := range n {
			do(i)
		}
	}) / float64(n)
	runtime.ReadMemStats(&m1)
	b.compare(operation, may, cost, (before+idleCost(b.t))/2, fmt.Sprint((m1.Mallocs-m0.Mallocs)/uint64(n))) //nolint:gosec // n is positive
}

func (b *bench) compare(operation string, may, cost, control float64, allocations string) {
	b.print(operation, "ms", may, cost, fmt.Sprintf("%.3f ms", control), fmt.Sprintf("%.1f", cost/control), allocations)
}

// A caller makes requests and reads the answers, but makes no sense of them: what
// that costs is the affair of each client.
type caller struct {
	t     testing.TB
	http  *http.Client
	token string
}

func newCaller(t testing.TB, x *exchange) *caller {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(x.config.Data, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	return &caller{t, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2000}}, strings.TrimSpace(string(token))}
}

func (c *caller) try(method, at, body string) (int, []byte, error) {
	r, err := http.NewRequestWithContext(context.Background(), method, at, strings.NewReader(body))
	if err != nil {
		return 0, nil, err
	}
	r.Header.Set("Authorization", "Bearer "+c.token)
	resp, err := c.http.Do(r)
	if err != nil {
		return 0, nil, err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return resp.StatusCode, b, err
}

func (c *caller) do(method, at, body string) []byte {
	c.t.Helper()
	status, answer, err := c.try(method, at, body)
	if err != nil || status >= 300 {
		c.t.Fatal(method, at, status, string(answer), err)
	}
	return answer
}

// workplace is an exchange with one fake region, in this process.
type workplace struct {
	*exchange
	*caller
	client *client.Client
	place  client.Place
}

func (b *bench) workplace(t *testing.T, data string) (w *workplace, stop func()) {
	x, stop := start(t, data, b.url, 1)
	w = &workplace{x, newCaller(t, x), customer(t, x), client.Place{Tenant: demoTenant, Region: "fake-1", Workspace: "w"}}
	put(t, w.client, w.place, "workspace", "w", `{}`)
	return w, stop
}

func (w *workplace) at(kind, name string) string {
	k, _ := resource.KindNamed(kind)
	at, err := w.client.Resource(context.Background(), k, w.place, name)
	if err != nil {
		w.t.Fatal(err)
	}
	return at
}

func requestBudgets(t *testing.T, b *bench) {
	w, stop := b.workplace(t, shortDir(t))
	defer stop()
	volume := put(t, w.client, w.place, "block-storage", "v", benchVolume)
	until(t, w.client, volume, seca.Active)
	b.measure("GET one", 0.15, 5000, func(int) { w.do(http.MethodGet, volume, "") })
	b.measure("PUT one, new, durable", b.either(0.5, 0.8), 2000, func(n int) {
		w.do(http.MethodPut, w.at("workspace", fmt.Sprintf("p%d", n)), `{"spec":{}}`)
	})
	b.measure("PUT one, again, durable", b.either(0.5, 0.8), 2000, func(n int) {
		w.do(http.MethodPut, w.at("workspace", fmt.Sprintf("p%d", n)), fmt.Sprintf(`{"spec":{},"labels":{"n":"%d"}}`, n))
	})
}

// activeBudget has 8 clients create volumes and look every 5 ms whether the agent
// has made them.
func activeBudget(t *testing.T, b *bench) {
	w, stop := b.workplace(t, shortDir(t))
	defer stop()
	var mu sync.Mutex
	var took []time.Duration
	round := func(name string, n int64) {
		var next atomic.Int64
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for i := next.Add(1); i <= n; i = next.Add(1) {
					from := time.Now()
					at := w.at("block-storage", fmt.Sprintf("%s%d", name, i))
					w.do(http.MethodPut, at, `{"spec":`+benchVolume+`}`)
					for !bytes.Contains(w.do(http.MethodGet, at, ""), []byte(`"status":{"state":"active"`)) {
						time.Sleep(5 * time.Millisecond)
					}
					mu.Lock()
					took = append(took, time.Since(from))
					mu.Unlock()
				}
			})
		}
		wg.Wait()
	}
	round("warm", 200)
	took = nil
	const n = 2000
	control := idleCost(t)
	began := time.Now()
	cost := spent(t, b.server, func() { round("a", n) }) / n
	rate := n / time.Since(began).Seconds()
	b.compare("PUT → agent → active, 8 clients", 2, cost, (control+idleCost(t))/2, "")
	slices.Sort(took)
	b.print("  median", "ms", 20, float64(took[n/2].Microseconds())/1000)
	b.print("  ms between two, at most 1000/300", "ms", 1000./300, 1000/rate)
}

// manyBudgets fills a region, and starts an exchange of its own on it.
func manyBudgets(t *testing.T, b *bench) {
	data, copies := shortDir(t), 0
	for _, n := range []struct {
		name string
		more int
	}{{"100,000", 100_000}, {"1,000,000", 900_000}} {
		copies += n.more
		w, stop := b.workplace(t, data)
		b.fill(w, copies, n.more)
		b.lists(w, n.name, copies)
		stop()
		b.starts(data, n.name)
	}
}

// fill makes copies of a workspace.
func (b *bench) fill(w *workplace, copies, more int) {
	b.t.Helper()
	name := fmt.Sprintf("many%07d", copies)
	put(b.t, w.client, w.place, "workspace", name, `{}`)
	began := time.Now()
	resourcetest.Copies(b.t, w.db, "fake-1", workspaceName(name), more)
	b.t.Logf("%d resources more after %v", more, time.Since(began).Round(time.Second))
}

func workspaceName(name string) string {
	return "seca.workspace/v1/tenants/" + demoTenant + "/workspaces/" + name
}

func (b *bench) lists(w *workplace, name string, copies int) {
	collection := strings.TrimSuffix(w.at("workspace", "x"), "/x")
	var l seca.List[json.RawMessage]
	list := func(query string) func(int) {
		at := collection + "?limit=50" + query
		if err := json.Unmarshal(w.do(http.MethodGet, at, ""), &l); err != nil || len(l.Items) < 50 {
			b.t.Fatal(query, len(l.Items), err)
		}
		return func(int) { w.do(http.MethodGet, at, "") }
	}
	more := map[int]int{100_000: 100_000, 1_000_000: 900_000}[copies]
	last := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "%s%d x", workspaceName(fmt.Sprintf("many%07d", copies)), 1_000_000+more-50))
	b.measure("list 50 of "+name+", first page", 1, 500, list(""))
	b.measure("list 50 of "+name+", last page", 1, 500, list("&skipToken="+last))
	b.measure("list 50 of "+name+", by a rare label", 1, 500, list("&labels=rare%3Dyes"))
	b.measure("list 50 of "+name+", by two labels", 1, 500, list("&labels=rare%3Dyes,n%3E1000000"))
}

// idleCost is the CPU time, in milliseconds, of a request that does nothing.
func idleCost(t *testing.T) float64 {
	s, get := idleServer(t)
	defer s()
	const n = 2000
	return spent(t, 0, func() {
		for range n {
			get()
		}
	}) / n
}

// spent is the CPU time of this process and the server's, in milliseconds.
func spent(t *testing.T, server int, do func()) float64 {
	t.Helper()
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			t.Fatal(err)
		}
		return time.Duration(u.Utime.Nano()+u.Stime.Nano()) + familyTime(server)
	}
	before := used()
	do()
	return float64(used()-before) / 1e6
}
