package crash

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"strconv"
	"strings"
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
	requestRate   = 10               // a second, from one region's agent
	afterwards    = 15 * time.Second // agents may still speak
)

// TestLabScale restarts an exchange of 100 regions, with their agents, that
// hold 10,000 resources: within a minute each agent has compared its platform
// with what is wanted and found no difference, and none has made more than ten
// requests in any second. What is counted is what the exchange has logged.
func TestLabScale(t *testing.T) {
	if os.Getenv("KONTOR_LAB") == "" {
		t.Skip("slow: set KONTOR_LAB=1")
	}
	t.Setenv("KONTOR_LOG", "json")
	t.Setenv("KONTOR_LOG_LEVEL", "debug")
	w := &world{t: t, dir: t.TempDir()}
	ports := freePorts(t, 2)
	data, url := filepath.Join(w.dir, "data"), "http://"+ports[0]
	w.exchange = w.process("exchange", build(t), "up", "--fake", strconv.Itoa(manyRegions), "--data", data, "--listen", ports[0], "--agents", ports[1])
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
	began = time.Now()
	if err := w.exchange.start(); err != nil {
		t.Fatal(err)
	}
	w.wait(2*reconcileIn, "all regions again", w.reconciliation())
	took := time.Since(began)
	pause(t.Context(), afterwards)
	calls := w.exchange.calls(t, began)
	peak, what := busiest(calls)
	t.Logf("after a restart all was compared in %.1fs; agents made %d requests in %.1fs, and the busiest of them %d in one second (%s); the process has %d MiB",
		took.Seconds(), len(calls), time.Since(began).Seconds(), peak, what, w.exchange.resident())
	if took > reconcileIn {
		t.Errorf("reconciled in %v, want at most %v", took, reconcileIn)
	}
	if len(calls) < manyRegions {
		t.Errorf("%d requests were counted, of %d agents", len(calls), manyRegions)
	}
	if peak > requestRate {
		t.Errorf("an agent made %d requests in a second, want at most %d: %s", peak, requestRate, what)
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

// reconciliation asks each region's agent for differences, once a second, until
// it has none, and then leaves it alone.
func (w *world) reconciliation() (try func() error) {
	done := make([]bool, manyRegions)
	return func() error {
		err := w.reconciled(done)
		if err != nil {
			pause(w.t.Context(), time.Second)
		}
		return err
	}
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

// A called is a request of an agent, by the exchange's log.
type called struct {
	at           time.Time
	region, path string
}

// calls reads which requests an exchange has had of agents since a moment.
func (p *process) calls(t *testing.T, since time.Time) (all []called) {
	t.Helper()
	b, err := os.ReadFile(p.log)
	if err != nil {
		t.Fatal(err)
	}
	for text := range bytes.Lines(b) {
		var line struct {
			Time              time.Time
			Msg, Region, Path string
		}
		json.Unmarshal(text, &line) //nolint:errcheck // what is no entry of the log is no request
		if line.Msg == "agent called" && line.Time.After(since) {
			all = append(all, called{line.Time, line.Region, line.Path})
		}
	}
	return all
}

// busiest finds the region with the most requests within a second, and what
// they were.
func busiest(all []called) (peak int, what string) {
	by := map[string][]called{}
	for _, c := range all {
		last := append(by[c.region], c)
		for c.at.Sub(last[0].at) >= time.Second {
			last = last[1:]
		}
		if by[c.region] = last; len(last) > peak {
			paths := map[string]int{}
			for _, l := range last {
				paths[l.path]++
			}
			peak, what = len(last), fmt.Sprint(c.region, " ", paths)
		}
	}
	return peak, what
}
