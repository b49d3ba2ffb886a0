package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"syscall"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
)

// A rig is a whole exchange with one fake region and its agent, in this
// process, so that the CPU time of all of it is counted.
type rig struct {
	b      *testing.B
	client *client.Client
	place  client.Place
}

func newRig(b *testing.B, url string) *rig {
	b.Helper()
	x, stop := start(b, b.TempDir(), url, 1)
	b.Cleanup(stop)
	cl := customer(b, x)
	r := &rig{b: b, client: cl, place: client.Place{Tenant: demoTenant, Region: "fake-1", Workspace: "w"}}
	r.put("workspace", "w", `{}`)
	return r
}

func (r *rig) at(kind, name string) string {
	k, ok := resource.KindNamed(kind)
	if !ok {
		r.b.Fatal("no kind", kind)
	}
	at, err := r.client.Resource(context.Background(), k, r.place, name)
	if err != nil {
		r.b.Fatal(err)
	}
	return at
}

func (r *rig) put(kind, name, spec string) { put(r.b, r.client, r.place, kind, name, spec) }

const benchVolume = `{"sizeGB":1,"skuRef":{"resource":"skus/seca.rd100"}}`

func (r *rig) active(at string) { until(r.b, r.client, at, seca.Active) }

// cpu reports the CPU time per operation of exchange, agent and client, which
// are this process, and of the PostgreSQL server behind url, if there is one.
func cpu(b *testing.B, url string, loop func()) {
	b.Helper()
	server := postgresOf(b, url)
	used := func() time.Duration {
		var u syscall.Rusage
		if err := syscall.Getrusage(syscall.RUSAGE_SELF, &u); err != nil {
			b.Fatal(err)
		}
		return time.Duration(u.Utime.Nano()+u.Stime.Nano()) + familyTime(server)
	}
	before := used()
	b.ResetTimer()
	loop()
	b.StopTimer()
	b.ReportMetric(float64(used()-before)/1e6/float64(b.N), "cpu-ms/op")
}

// postgresOf gives the process id of the server's parent process, 0 without one.
func postgresOf(b testing.TB, url string) int {
	b.Helper()
	if url == "" {
		return 0
	}
	d, err := db.Open(context.Background(), url, slog.New(slog.DiscardHandler))
	if err != nil {
		b.Fatal(err)
	}
	defer d.Close()
	backend, err := db.One(context.Background(), d, db.Scan[int], `SELECT pg_backend_pid()`)
	if err != nil {
		b.Fatal(err)
	}
	parent, _ := stat(backend)
	return parent
}

// familyTime is the CPU time of a process, of its children, and of those that
// have ended, to a hundredth of a second.
func familyTime(parent int) (sum time.Duration) {
	if parent == 0 {
		return 0
	}
	all, _ := filepath.Glob("/proc/[0-9]*")
	for _, dir := range all {
		pid, _ := strconv.Atoi(filepath.Base(dir))
		if of, took := stat(pid); of == parent || pid == parent {
			sum += took
		}
	}
	return sum
}

// stat reads parent and CPU time of a process (proc(5)).
func stat(pid int) (parent int, took time.Duration) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return 0, 0
	}
	_, rest, _ := strings.Cut(string(text), ") ")
	f := strings.Fields(rest)
	if len(f) < 15 {
		return 0, 0
	}
	parent, _ = strconv.Atoi(f[1])
	for _, n := range f[11:15] { // utime, stime, and those of waited-for children
		ticks, _ := strconv.Atoi(n)
		took += time.Duration(ticks) * time.Second / 100
	}
	return parent, took
}

func databases(b *testing.B, bench func(b *testing.B, url string)) {
	b.Run("sqlite", func(b *testing.B) { bench(b, "") })
	b.Run("postgres", func(b *testing.B) { bench(b, dbtest.PostgresURL(b)) })
}

// idleServer answers at once, and get asks it.
func idleServer(b testing.TB) (stop, get func()) {
	s := httptest.NewServer(http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "application/json")
		_, _ = io.WriteString(w, `{"metadata":{"name":"x"}}`)
	}))
	c, err := client.New(s.URL, "x", client.Options{})
	if err != nil {
		b.Fatal(err)
	}
	return s.Close, func() {
		if _, err := c.Get(context.Background(), s.URL+"/x"); err != nil {
			b.Fatal(err)
		}
	}
}

// BenchmarkControl is what an HTTP request costs here that does nothing.
func BenchmarkControl(b *testing.B) {
	stop, get := idleServer(b)
	defer stop()
	cpu(b, "", func() {
		for range b.N {
			get()
		}
	})
}

func BenchmarkGet(b *testing.B) {
	databases(b, func(b *testing.B, url string) {
		r := newRig(b, url)
		r.put("block-storage", "v", benchVolume)
		at := r.at("block-storage", "v")
		r.active(at)
		cpu(b, url, func() {
			for range b.N {
				if _, err := r.client.Get(context.Background(), at); err != nil {
					b.Fatal(err)
				}
			}
		})
	})
}

func BenchmarkCreate(b *testing.B) {
	databases(b, func(b *testing.B, url string) {
		r := newRig(b, url)
		cpu(b, url, func() {
			for n := range b.N {
				r.put("workspace", fmt.Sprintf("w%d", n), `{}`)
			}
		})
	})
}

// BenchmarkCreateToActive has 8 clients create volumes and poll until the
// agent has made them.
func BenchmarkCreateToActive(b *testing.B) {
	databases(b, func(b *testing.B, url string) {
		r := newRig(b, url)
		var n atomic.Int64
		cpu(b, url, func() {
			var wg sync.WaitGroup
			for range 8 {
				wg.Go(func() {
					for i := n.Add(1); i <= int64(b.N); i = n.Add(1) {
						name := fmt.Sprintf("v%d", i)
						r.put("block-storage", name, benchVolume)
						r.active(r.at("block-storage", name))
					}
				})
			}
			wg.Wait()
		})
	})
}

// BenchmarkList50 lists 50 of 2,000.
func BenchmarkList50(b *testing.B) {
	databases(b, func(b *testing.B, url string) {
		r := newRig(b, url)
		for n := range 2000 {
			r.put("workspace", fmt.Sprintf("w%d", n), `{}`)
		}
		at := strings.TrimSuffix(r.at("workspace", "x"), "/x") + "?limit=50"
		cpu(b, url, func() {
			for range b.N {
				var l seca.List[seca.Document]
				if _, err := r.client.Do(context.Background(), client.Call{Method: http.MethodGet, URL: at, Out: &l}); err != nil || len(l.Items) != 50 {
					b.Fatal(len(l.Items), err)
				}
			}
		})
	})
}
