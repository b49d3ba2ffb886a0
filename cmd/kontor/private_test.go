package main

import (
	"bufio"
	"bytes"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/prometheus/client_golang/prometheus/testutil/promlint"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/job"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/telemetry"
)

// shown reads a page of a private listener.
func shown(t testing.TB, address, path string) (int, string) {
	t.Helper()
	c, base := telemetry.Client(address)
	resp, err := c.Get(base + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

// shortDir is a directory whose sockets have paths that the system takes.
func shortDir(t testing.TB) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "k")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	return dir
}

// used starts an exchange with a fake region and has a customer work with it, so that
// there is something to see. The first jobs are done, too.
func used(t testing.TB, db string) *exchange {
	t.Helper()
	x, stop := startLogging(t, shortDir(t), db, 1, "debug")
	t.Cleanup(stop)
	cl := customer(t, x)
	place := client.Place{Tenant: demoTenant, Region: "fake-1", Workspace: "w"}
	put(t, cl, place, "workspace", "w", `{}`)
	until(t, cl, put(t, cl, place, "block-storage", "v", benchVolume), seca.Active)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(5 * time.Millisecond) {
		done, err := job.Outcomes(t.Context(), x.db)
		if err != nil || time.Now().After(deadline) {
			t.Fatalf("the jobs of a start, waited for in vain: %v, %v", done, err)
		}
		if slices.ContainsFunc(done, func(o job.Outcome) bool { return o.Name == "prune-tokens" }) {
			return x
		}
	}
}

func TestMetrics(t *testing.T) {
	for name, url := range map[string]func(testing.TB) string{"sqlite": func(testing.TB) string { return "" }, "postgres": dbtest.PostgresURL} {
		t.Run(name, func(t *testing.T) {
			x := used(t, url(t))
			status, text := shown(t, privateDefault(x.config.Data), "/metrics")
			if status != http.StatusOK {
				t.Fatal(status, text)
			}
			problems, err := promlint.New(strings.NewReader(text)).Lint()
			if err != nil {
				t.Fatal(err)
			}
			for _, p := range problems {
				t.Errorf("%s: %s", p.Metric, p.Text)
			}
			wants := []string{
				`kontor_build_info{go_version="go`,
				`kontor_http_requests_total{code="201",method="PUT",route="/regions/{region}/providers/seca.storage/v1/tenants/{tenant}/workspaces/{workspace}/block-storages/{name}"} 1`,
				`kontor_http_request_duration_seconds_count{method="PUT",route="/regions/{region}/providers/seca.storage/v1/tenants/{tenant}/workspaces/{workspace}/block-storages/{name}"} 1`,
				`kontor_http_requests_total{code="200",method="POST",route="/agent/v1/observations"}`,
				`kontor_db_transactions_total{outcome="committed"}`,
				`kontor_resources{kind="block-storage",state="active"} 1`,
				`kontor_regions{liveness="alive"} 1`,
				`kontor_region_alive{region="fake-1"} 1`,
				`kontor_feed_lag_seconds{region="fake-1"}`,
				`kontor_orphans{region="fake-1"} 0`,
				`kontor_observations_total{outcome="news"}`,
				`kontor_job_failures{name="prune-tokens"} 0`,
				`kontor_agent_resources{kind="block-storage",region="fake-1",state="active"} 1`,
				`kontor_driver_call_duration_seconds_count{kind="block-storage",operation="ensure",outcome="ok",region="fake-1"}`,
				`kontor_driver_call_duration_seconds_count{kind="block-storage",operation="list",outcome="ok",region="fake-1"}`,
				`kontor_driver_wait_duration_seconds_count{region="fake-1"}`,
				`kontor_agent_breaker_open{region="fake-1"} 0`,
				`kontor_agent_connected{region="fake-1"} 1`,
				`kontor_agent_look_age_seconds{kind="block-storage",region="fake-1"}`,
				`kontor_agent_intents{region="fake-1"} 0`,
				`kontor_agent_certificate_expiry_timestamp_seconds{region="fake-1"}`,
				`process_resident_memory_bytes`, `go_goroutines`,
			}
			if name == "sqlite" {
				wants = append(wants, `kontor_db_group_commit_size_bucket{le="1"}`)
			}
			for _, want := range wants {
				if !strings.Contains(text, want) {
					t.Errorf("no %s", want)
				}
			}
			if t.Failed() {
				t.Log(text)
			}
		})
	}
}

// A process is an exchange outside of the test.
type process struct {
	t   *testing.T
	cmd *exec.Cmd
	url string
	log bytes.Buffer
}

// startProcess runs a command that says where it is ready.
func startProcess(t *testing.T, args ...string) *process {
	t.Helper()
	p := &process{t: t, cmd: exec.Command("kontor", append(args, "--listen", "127.0.0.1:0")...)}
	p.cmd.Stderr = &p.log
	out, err := p.cmd.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := p.cmd.Start(); err != nil {
		t.Fatal(err)
	}
	line, err := bufio.NewReader(out).ReadString('\n')
	if err != nil {
		t.Fatal(err, p.log.String())
	}
	p.url = strings.TrimPrefix(strings.TrimSpace(line), "ready ")
	return p
}

func (p *process) stop() {
	p.t.Helper()
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		p.t.Fatal(err)
	}
	if err := p.cmd.Wait(); err != nil {
		p.t.Error(err, p.log.String())
	}
}

// TestDrain ends a process while it serves: it says so first, serves on, and then goes.
func TestDrain(t *testing.T) {
	dir := shortDir(t)
	p := startProcess(t, "serve", "--data", dir, "--agents", "127.0.0.1:0", "--linger", "3s")
	private := privateDefault(dir)
	state := func() (int, int) {
		inside, _ := shown(t, private, "/readyz")
		outside := 0
		if resp, err := http.Get(p.url + "/readyz"); err == nil {
			resp.Body.Close()
			outside = resp.StatusCode
		}
		return inside, outside
	}
	await := func(want int) {
		t.Helper()
		for deadline := time.Now().Add(20 * time.Second); ; time.Sleep(5 * time.Millisecond) {
			inside, outside := state()
			if inside == want && outside == want {
				return
			}
			if time.Now().After(deadline) {
				t.Fatalf("readyz: %d inside and %d outside, want %d\n%s", inside, outside, want, p.log.String())
			}
		}
	}
	await(http.StatusOK)
	if err := p.cmd.Process.Signal(syscall.SIGTERM); err != nil {
		t.Fatal(err)
	}
	await(http.StatusServiceUnavailable)
	_, body := shown(t, private, "/readyz")
	var why struct{ Reasons []telemetry.Reason }
	if err := json.Unmarshal([]byte(body), &why); err != nil || len(why.Reasons) != 1 || why.Reasons[0].Check != "drain" {
		t.Error(body, err)
	}
	resp, err := http.Get(p.url + "/healthz")
	if err != nil || resp.StatusCode != http.StatusOK {
		t.Errorf("it does not serve any more: %v %v", resp, err)
	}
	if err := p.cmd.Wait(); err != nil {
		t.Error(err, p.log.String())
	}
	if _, err := os.Stat(filepath.Join(dir, "private.sock")); err == nil {
		t.Error("the socket stays")
	}
}

// TestServeTellsSystemd listens where systemd would.
func TestServeTellsSystemd(t *testing.T) {
	dir := shortDir(t)
	told, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: filepath.Join(dir, "notify.sock"), Net: "unixgram"})
	must(t, err)
	defer told.Close()
	hears := func(want string) {
		t.Helper()
		must(t, told.SetReadDeadline(time.Now().Add(20*time.Second)))
		b := make([]byte, 100)
		n, err := told.Read(b)
		if got := string(b[:n]); err != nil || got != want {
			t.Errorf("systemd is told %q, want %q: %v", got, want, err)
		}
	}
	t.Setenv("NOTIFY_SOCKET", told.LocalAddr().String())
	p := startProcess(t, "serve", "--data", dir, "--agents", "127.0.0.1:0", "--linger", "0s")
	hears("READY=1")
	p.stop()
	hears("STOPPING=1")
}

func TestPasswordsAreHidden(t *testing.T) {
	for in, want := range map[string]string{
		"": "", "postgres://u:s3cret@h/db?sslmode=require": "postgres://u:%5Bhidden%5D@h/db?sslmode=require",
		"postgres://u@h/db?password=s3cret": "postgres://u@h/db?password=%5Bhidden%5D",
		"postgres://%zz:s3cret@h":           hidden,
	} {
		if got := withoutPassword(in); got != want {
			t.Errorf("%s: %s, want %s", in, got, want)
		}
	}
}
