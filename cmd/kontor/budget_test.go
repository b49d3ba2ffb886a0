package main

import (
	"context"
	"encoding/base64"
	"fmt"
	"net/http"
	"os"
	"runtime"
	"slices"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"text/tabwriter"
	"time"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/resource/resourcetest"
	"github.com/kontor-cloud/kontor/seca"
)

// A budget is what an operation may cost in CPU time, of exchange, agent and
// client, which are this process, and of PostgreSQL.
type budget struct {
	operation        string
	sqlite, postgres float64 // milliseconds
	n                int
	do               func(n int)
}

// TestLabBudgets prints what operations cost, what they may cost, and beside each
// what an HTTP request that does nothing costs at that moment. It asserts
// nothing about time: whoever runs it judges the table and the machine.
func TestLabBudgets(t *testing.T) {
	if os.Getenv("KONTOR_BUDGETS") == "" {
		t.Skip("make budgets runs it")
	}
	w := tabwriter.NewWriter(os.Stdout, 0, 0, 2, ' ', 0)
	defer w.Flush()
	fmt.Fprintln(w, "operation\tdatabase\tbudget ms\tCPU ms\t× control\tallocations\tmet")
	t.Run("sqlite", func(t *testing.T) { budgets(t, w, "sqlite", "") })
	t.Run("postgres", func(t *testing.T) { budgets(t, w, "postgres", dbtest.PostgresURL(t)) })
}

func budgets(t *testing.T, w *tabwriter.Writer, database, url string) {
	x, stop := start(t, t.TempDir(), url, 1)
	t.Cleanup(stop)
	c := customer(t, x)
	place := client.Place{Tenant: demoTenant, Region: "fake-1", Workspace: "w"}
	put(t, c, place, "workspace", "w", `{}`)
	volume := put(t, c, place, "block-storage", "v", benchVolume)
	until(t, c, volume, seca.Active)
	many := put(t, c, client.Place{Tenant: demoTenant, Region: "fake-1"}, "workspace", "many", `{}`)
	const copies = 100_000
	resourcetest.Copies(t, x.db, "fake-1", "seca.workspace/v1/tenants/"+demoTenant+"/workspaces/many", copies)
	token := base64.RawURLEncoding.EncodeToString(fmt.Appendf(nil, "seca.workspace/v1/tenants/%s/workspaces/many%d x", demoTenant, 1_000_000+copies-50))
	list := func(query string) func(int) {
		at := strings.TrimSuffix(many, "/many") + "?limit=50" + query
		return func(int) {
			var l seca.List[seca.Document]
			if _, err := c.Do(context.Background(), client.Call{Method: http.MethodGet, URL: at, Out: &l}); err != nil || len(l.Items) < 50 {
				t.Fatal(query, len(l.Items), err)
			}
		}
	}
	server := postgresOf(t, url)
	for _, b := range []budget{
		{"GET one", 0.15, 0.15, 3000, func(int) {
			if _, err := c.Get(context.Background(), volume); err != nil {
				t.Fatal(err)
			}
		}},
		{"PUT one, durable", 0.5, 0.8, 1500, func(n int) { put(t, c, place, "workspace", fmt.Sprintf("p%d", n), `{}`) }},
		{"list 50 of 100,000, first page", 1, 1, 300, list("")},
		{"list 50 of 100,000, last page", 1, 1, 300, list("&skipToken=" + token)},
		{"list 50 of 100,000, by a rare label", 1, 1, 300, list("&labels=rare%3Dyes")},
	} {
		b.row(t, w, database, server, b.do)
	}
	toActive(t, w, c, place, database, server)
}

// row measures one budget between two controls.
func (b budget) row(t *testing.T, w *tabwriter.Writer, database string, server int, do func(int)) {
	b.do = do
	before := idleCost(t)
	var m0, m1 runtime.MemStats
	runtime.ReadMemStats(&m0)
	cost := spent(t, server, func() {
		for n := range b.n {
			do(n)
		}
	}) / float64(b.n)
	runtime.ReadMemStats(&m1)
	b.print(w, database, cost, (before+idleCost(t))/2, fmt.Sprint((m1.Mallocs-m0.Mallocs)/uint64(b.n)))
}

func (b budget) print(w *tabwriter.Writer, database string, cost, control float64, allocations string) {
	may := b.sqlite
	if database == "postgres" {
		may = b.postgres
	}
	met := "no"
	if cost <= may {
		met = "yes"
	}
	fmt.Fprintf(w, "%s\t%s\t%.2f\t%.3f\t%.1f\t%s\t%s\n", b.operation, database, may, cost, cost/control, allocations, met)
	w.Flush() // rows come as they are known
}

// toActive has 8 clients create volumes and wait for them.
func toActive(t *testing.T, w *tabwriter.Writer, c *client.Client, place client.Place, database string, server int) {
	b := budget{operation: "create to active, 8 clients", sqlite: 2, postgres: 2, n: 1500}
	var mu sync.Mutex
	var took []time.Duration
	var next atomic.Int64
	control := idleCost(t)
	began := time.Now()
	cost := spent(t, server, func() {
		var wg sync.WaitGroup
		for range 8 {
			wg.Go(func() {
				for n := next.Add(1); n <= int64(b.n); n = next.Add(1) {
					from := time.Now()
					until(t, c, put(t, c, place, "block-storage", fmt.Sprintf("a%d", n), benchVolume), seca.Active)
					mu.Lock()
					took = append(took, time.Since(from))
					mu.Unlock()
				}
			})
		}
		wg.Wait()
	}) / float64(b.n)
	rate := float64(b.n) / time.Since(began).Seconds()
	b.print(w, database, cost, control, "")
	slices.Sort(took)
	fmt.Fprintf(w, "  median %v (may 20ms), %.0f a second (at least 300)\t%s\n", took[len(took)/2].Round(100*time.Microsecond), rate, database)
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
