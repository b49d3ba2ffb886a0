package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
)

const (
	manyRegions   = 100
	manyResources = 100 // in each
	reconcileIn   = time.Minute
	requestRate   = 10.0 // a second, from one region's agent
)

// TestLabScale restarts an exchange of 100 regions, with their agents, that
// hold 10,000 resources: within a minute each agent has compared its platform
// with what is wanted and found no difference, and none has made more than ten
// requests a second. What is counted is TLS records from each agent, of which
// a request has at least two: one with its head and one with its body.
func TestLabScale(t *testing.T) {
	if os.Getenv("KONTOR_LAB") == "" {
		t.Skip("slow: set KONTOR_LAB=1")
	}
	w := &world{t: t, dir: t.TempDir()}
	ports := freePorts(t, 2)
	agents := newProxy(t, ports[1])
	records := &meter{}
	agents.tap = records.connection
	data, url := filepath.Join(w.dir, "data"), "http://"+ports[0]
	w.exchange = w.process("exchange", build(t), "up", "--fake", strconv.Itoa(manyRegions), "--data", data,
		"--listen", ports[0], "--agents", ports[1], "--agent-url", "https://"+agents.address())
	w.run(w.exchange)
	var token []byte
	w.wait(time.Minute, "the first token", func() (err error) {
		token, err = os.ReadFile(filepath.Join(data, "admin.token"))
		return err
	})
	c, err := client.New(url, string(token), client.Options{Attempts: 3, Timeout: time.Minute})
	if err != nil {
		t.Fatal(err)
	}
	w.client = c
	w.wait(time.Minute, "all regions", w.reconciliation())
	began := time.Now()
	w.populate()
	t.Logf("%d resources in %d regions were ordered in %.1fs", manyRegions*manyResources, manyRegions, time.Since(began).Seconds())
	w.wait(2*time.Minute, "all that was ordered", w.reconciliation())
	t.Logf("all were there %.1fs after the first order; the process has %d MiB", time.Since(began).Seconds(), w.exchange.resident())

	if err := w.exchange.end(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	records.reset()
	began = time.Now()
	if err := w.exchange.start(); err != nil {
		t.Fatal(err)
	}
	w.wait(2*reconcileIn, "all regions again", w.reconciliation())
	took := time.Since(began)
	mean, peak := records.most(took)
	t.Logf("after a restart all was compared in %.1fs; the busiest agent made at most %.1f requests/s, and %d in one second; the process has %d MiB",
		took.Seconds(), mean, peak, w.exchange.resident())
	if took > reconcileIn {
		t.Errorf("reconciled in %v, want at most %v", took, reconcileIn)
	}
	if mean > requestRate {
		t.Errorf("an agent made %.1f requests a second, want at most %.0f", mean, requestRate)
	}
}

// populate orders a workspace, volumes and machines in each region.
func (w *world) populate() {
	w.t.Helper()
	work, ctx := errgroup.WithContext(w.t.Context())
	work.SetLimit(16)
	for n := range manyRegions {
		work.Go(func() error {
			name := fmt.Sprintf("fake-%d", n+1)
			if err := w.putIn(ctx, name, "workspace", workspace, "{}"); err != nil {
				return err
			}
			for i := range manyResources / 2 {
				volume := fmt.Sprintf("v%d", i)
				if err := w.putIn(ctx, name, "block-storage", volume, `{"sizeGB": 1, "skuRef": {"resource": "skus/seca.rd100"}}`); err != nil {
					return err
				}
				if i == 0 {
					continue // the workspace counts, too
				}
				vm := fmt.Sprintf(`{"skuRef": {"resource": "skus/seca.d2xs"}, "bootVolume": {"deviceRef": {"resource": "block-storages/%s"}}}`, volume)
				if err := w.putIn(ctx, name, "instance", fmt.Sprintf("i%d", i), vm); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		w.t.Fatal(err)
	}
}

func (w *world) putIn(ctx context.Context, region, kind, name, spec string) error {
	k, _ := resource.KindNamed(kind)
	at, err := w.client.Resource(ctx, k, client.Place{Tenant: "demo", Region: region, Workspace: workspace}, name)
	if err == nil {
		_, _, err = w.client.Put(ctx, at, map[string]any{"spec": json.RawMessage(spec)}, 0)
	}
	return err
}

// reconciliation asks each region's agent for differences until it has none,
// and then leaves it alone.
func (w *world) reconciliation() (try func() error) {
	done := make([]bool, manyRegions)
	return func() error { return w.reconciled(done) }
}

func (w *world) reconciled(done []bool) error {
	work, ctx := errgroup.WithContext(w.t.Context())
	work.SetLimit(8)
	for n := range done {
		if done[n] {
			continue
		}
		work.Go(func() error {
			name := fmt.Sprintf("fake-%d", n+1)
			var answer struct {
				Differences []json.RawMessage `json:"differences"`
			}
			if err := w.client.Post(ctx, w.client.Exchange("regions", name, "resync"), map[string]bool{}, &answer); err != nil {
				return err
			}
			if len(answer.Differences) > 0 {
				return fault.Unavailable.Errorf("region %s has %d differences: %s", name, len(answer.Differences), answer.Differences[0])
			}
			err := w.allActive(ctx, name)
			done[n] = err == nil
			return err
		})
	}
	return work.Wait()
}

// allActive looks whether the exchange has heard so of each instance, too.
func (w *world) allActive(ctx context.Context, region string) error {
	k, _ := resource.KindNamed("instance")
	at, err := w.client.Resource(ctx, k, client.Place{Tenant: "demo", Region: region, Workspace: workspace}, "x")
	if err != nil {
		return err
	}
	for i, err := range w.client.List(ctx, at[:strings.LastIndex(at, "/")], client.Query{}) {
		if fault.KindOf(err) == fault.Missing {
			return nil // nothing was ordered yet
		}
		if err != nil {
			return err
		}
		if i.State() != seca.Active {
			return fault.Unavailable.Errorf("%s is %s", i.Metadata.Ref, i.State())
		}
	}
	return nil
}

// resident is how much memory a process has, in MiB.
func (p *process) resident() int {
	b, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		return 0
	}
	for line := range strings.Lines(string(b)) {
		if f := strings.Fields(line); len(f) > 1 && f[0] == "VmRSS:" {
			kib, _ := strconv.Atoi(f[1])
			return kib / 1024
		}
	}
	return 0
}

// A meter counts the TLS records with data on many connections, by the second.
type meter struct {
	mu  sync.Mutex
	all []*recordCounter
}

func (m *meter) connection() io.Writer {
	m.mu.Lock()
	defer m.mu.Unlock()
	r := &recordCounter{m: m, second: map[int64]int{}}
	m.all = append(m.all, r)
	return r
}

func (m *meter) reset() {
	m.mu.Lock()
	defer m.mu.Unlock()
	m.all = nil
}

// most gives the mean and the highest number of requests in a second on the
// busiest connection. An agent has one, and another for a moment when it joins.
func (m *meter) most(over time.Duration) (mean float64, peak int) {
	m.mu.Lock()
	defer m.mu.Unlock()
	for _, r := range m.all {
		sum := 0
		for n := range maps.Values(r.second) {
			sum += n
			peak = max(peak, n/2)
		}
		mean = max(mean, float64(sum)/2/over.Seconds())
	}
	return mean, peak
}

// A recordCounter reads what one side says: records of a type, a version and a
// length, of which those of type 23 carry data.
type recordCounter struct {
	m      *meter
	second map[int64]int
	head   []byte
	skip   int
}

func (r *recordCounter) Write(b []byte) (int, error) {
	r.m.mu.Lock()
	defer r.m.mu.Unlock()
	for rest := b; len(rest) > 0; {
		if r.skip > 0 {
			n := min(r.skip, len(rest))
			r.skip, rest = r.skip-n, rest[n:]
			continue
		}
		r.head, rest = append(r.head, rest[0]), rest[1:]
		if len(r.head) == 5 {
			if r.head[0] == 23 {
				r.second[time.Now().Unix()]++
			}
			r.skip, r.head = int(r.head[3])<<8|int(r.head[4]), r.head[:0]
		}
	}
	return len(b), nil
}
