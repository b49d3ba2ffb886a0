package main

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/agent"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/provider"
)

// The budgets of whole processes.

// buildKontor has processes be the program itself, and not this test, which is larger.
func buildKontor(t *testing.T) {
	bin := t.TempDir()
	build := exec.CommandContext(t.Context(), "go", "build", "-trimpath", "-buildvcs=false", "-o", filepath.Join(bin, "kontor"), ".")
	build.Env = append(os.Environ(), "CGO_ENABLED=0")
	if out, err := build.CombinedOutput(); err != nil {
		t.Fatal(err, string(out))
	}
	t.Setenv("PATH", bin+string(os.PathListSeparator)+os.Getenv("PATH"))
}

// serve starts an exchange of its own on what is there.
func (b *bench) serve(data string, args ...string) *process {
	b.t.Helper()
	if b.url != "" {
		args = append(args, "--db", b.url)
	}
	return startProcess(b.t, append(args, "--data", data)...)
}

// resident is the memory of the process, in MB.
func (p *process) resident() float64 {
	p.t.Helper()
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/status", p.cmd.Process.Pid))
	if err != nil {
		p.t.Fatal(err)
	}
	m := regexp.MustCompile(`VmRSS:\s+(\d+) kB`).FindSubmatch(text)
	kB, err := strconv.ParseFloat(string(m[1]), 64)
	if err != nil {
		p.t.Fatal(err)
	}
	return kB * 1024 / 1e6
}

// used is the CPU time of the process so far.
func (p *process) used() time.Duration {
	_, took := stat(p.cmd.Process.Pid)
	return took
}

// starts measures how long a start takes, and how much memory much work.
func (b *bench) starts(data, name string) {
	best := time.Hour
	for range 5 {
		began := time.Now()
		p := b.serve(data, "serve", "--agents", "127.0.0.1:0")
		best = min(best, time.Since(began))
		p.stop()
	}
	b.print("start to ready, "+name+" resources, best of 5", "s", 0.5, best.Seconds())
	p := b.serve(data, "serve", "--agents", "127.0.0.1:0")
	defer p.stop()
	token, err := os.ReadFile(filepath.Join(data, "admin.token"))
	if err != nil {
		b.t.Fatal(err)
	}
	c := &caller{b.t, http.DefaultClient, strings.TrimSpace(string(token))}
	list := p.url + "/regions/fake-1/providers/seca.workspace/v1/tenants/" + demoTenant + "/workspaces?limit="
	after := ""
	for range 100 {
		var page struct{ Metadata struct{ SkipToken string } }
		if err := json.Unmarshal(c.do(http.MethodGet, list+"1000&skipToken="+after, ""), &page); err != nil {
			b.t.Fatal(err)
		}
		after = page.Metadata.SkipToken
		c.do(http.MethodGet, list+"50&labels=rare%3Dyes", "")
	}
	b.print("memory after 100 pages of 1000, "+name, "MB", 200, p.resident())
}

// idleBudgets measures what an exchange costs at which nothing happens.
func idleBudgets(t *testing.T, b *bench) {
	p := b.serve(b.anew(t), "up", "--fake", "20")
	time.Sleep(15 * time.Second)
	b.print("memory of 20 idle fake regions and the exchange", "MB", 60, p.resident())
	p.stop()
	alone := b.idleAgents(t, 0, 0)
	b.idleAgents(t, 1, alone)
	b.idleAgents(t, 1000, alone)
}

var statements = regexp.MustCompile(`(?m)^kontor_db_statements_total (\d+)`)

// anew gives a directory for an exchange that has a database of its own.
func (b *bench) anew(t *testing.T) string {
	if b.url != "" {
		b.url = dbtest.PostgresURL(t)
	}
	return shortDir(t)
}

// idleAgents runs agents of fake platforms in this process, beside an exchange in
// another one, and returns the queries of a minute. Alone is what the exchange makes
// by itself.
func (b *bench) idleAgents(t *testing.T, n int, alone float64) float64 {
	data := b.anew(t)
	x, stop := start(t, data, b.url, 1)
	joins := make([]string, n)
	for i := range n {
		name := fmt.Sprintf("idle-%d", i)
		if err := x.Providers.CreateRegion(t.Context(), provider.Region{Name: name, Driver: "fake"}); err != nil {
			t.Fatal(err)
		}
		join, err := x.JoinToken(t.Context(), name, time.Hour)
		if err != nil {
			t.Fatal(err)
		}
		joins[i] = join
	}
	agents := x.agents.Addr().String()
	stop()
	p := b.serve(data, "serve", "--agents", agents)
	defer p.stop()
	ctx, cancel := context.WithCancel(t.Context())
	var wg sync.WaitGroup
	defer wg.Wait()
	defer cancel()
	for i := range n {
		wg.Go(func() {
			c := agent.Config{Dir: filepath.Join(data, fmt.Sprint("agent", i)), Driver: "fake", Join: joins[i]}
			if err := runAgent(ctx, c, slog.New(slog.DiscardHandler)); err != nil {
				t.Error(err)
			}
		})
	}
	asked := func() float64 {
		_, text := shown(t, privateDefault(data), "/metrics")
		q, err := strconv.ParseFloat(statements.FindStringSubmatch(text)[1], 64)
		if err != nil {
			t.Fatal(err)
		}
		return q
	}
	time.Sleep(time.Duration(20+n/20) * time.Second) // until all have joined and said what they have
	before, cpu := asked(), p.used()
	others := spent(t, 0, func() { time.Sleep(time.Minute) })
	queries, busy := asked()-before, p.used()-cpu
	switch n {
	case 0:
		b.print("queries in a minute, the exchange by itself", "", b.either(20, 60), queries)
		return queries
	case 1:
		b.print("  and more of them with 1 idle agent", "", 0, max(0, queries-alone))
		return queries
	}
	b.print(fmt.Sprintf("of a core, %d idle agents, the exchange", n), "%", 2, busy.Seconds()/60*100)
	b.print("  of a core, the agents themselves", "%", 100, others/1000/60*100)
	b.print("  and more queries in a minute", "", 0, max(0, queries-alone))
	return queries
}

// crowdBudgets has many clients read and write at once, as fast as they are answered.
func crowdBudgets(t *testing.T, b *bench) {
	data := b.anew(t)
	config := filepath.Join(data, "config.yaml")
	// The crowd shows one account's token, and what one account may ask is bounded.
	err := os.WriteFile(config, []byte("limits: {account: {perSecond: 1e6, burst: 1000000}, tenant: {perSecond: 1e6, burst: 1000000}}\n"), 0o600)
	if err != nil {
		t.Fatal(err)
	}
	p := b.serve(data, "up", "--fake", "1", "--config", config)
	defer p.stop()
	token, err := os.ReadFile(filepath.Join(data, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	c := &caller{t, &http.Client{Transport: &http.Transport{MaxIdleConnsPerHost: 2000}}, strings.TrimSpace(string(token))}
	base := p.url + "/regions/fake-1/providers/seca.workspace/v1/tenants/" + demoTenant + "/workspaces/"
	for _, n := range []int{150, 1000} {
		served, failed := make([]int, n), make([]int, n)
		deadline := time.Now().Add(20 * time.Second)
		var wg sync.WaitGroup
		var first sync.Once
		for i := range n {
			wg.Go(func() {
				at := fmt.Sprintf("%sc%d-%d", base, n, i)
				for k := 0; time.Now().Before(deadline); k++ {
					method, body := http.MethodGet, ""
					if k%5 == 0 {
						method, body = http.MethodPut, `{"spec":{}}`
					}
					if status, answer, err := c.try(method, at, body); err != nil || status >= 300 {
						first.Do(func() { t.Log("the first that failed:", status, string(answer), err) })
						failed[i]++
					} else {
						served[i]++
					}
				}
			})
		}
		wg.Wait()
		least, most, all, bad := served[0], 0, 0, 0
		for i := range n {
			least, most, all, bad = min(least, served[i]), max(most, served[i]), all+served[i], bad+failed[i]
		}
		b.print(fmt.Sprintf("errors, %d clients at once", n), "", 0, float64(bad))
		b.print(fmt.Sprintf("  most served / least served (%d/%d, %d a second)", most, least, all/20), "×", 3, float64(most)/max(1, float64(least)))
	}
}
