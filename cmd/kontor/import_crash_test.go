package main

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/driver/fake"
	"github.com/kontor-cloud/kontor/failpoint"
)

// TestImportSurvivesEveryDeath lets exchange and agent die at each moment of an
// import: the next run completes it, and nothing is ever made.
func TestImportSurvivesEveryDeath(t *testing.T) {
	bin := filepath.Join(t.TempDir(), "kontor")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-tags", "crucible", "-o", bin, ".").CombinedOutput(); err != nil {
		t.Fatalf("build the binary: %v\n%s", err, out)
	}
	for _, point := range failpoint.Import() {
		for _, times := range []string{"1", "3"} { // the first time and in the midst of it
			if times == "3" && strings.HasPrefix(string(point), "exchange") {
				continue // there is one import
			}
			t.Run(string(point)+" "+times, func(t *testing.T) {
				l := &lives{T: t, bin: bin, data: t.TempDir()}
				l.importThrough(string(point) + "#" + times)
			})
		}
	}
}

// lives are those of one exchange with one region, one after another.
type lives struct {
	*testing.T
	bin, data string
	env       []string
	cmd       *exec.Cmd
	ended     chan error
}

// begin starts the next life, in which something may go wrong.
func (l *lives) begin(fails string) {
	l.Helper()
	c := exec.Command(l.bin, "up", "--fake", "1", "--data", l.data, "--listen", "127.0.0.1:0")
	c.Env = append(os.Environ(), "KONTOR_FAILPOINT="+fails, "KONTOR_LOG_LEVEL=error")
	c.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	out, err := os.CreateTemp(l.data, "out")
	if err != nil {
		l.Fatal(err)
	}
	defer out.Close()
	c.Stdout, c.Stderr = out, out
	if err := c.Start(); err != nil {
		l.Fatal(err)
	}
	l.cmd, l.ended = c, make(chan error, 1)
	go func(ended chan error) { ended <- c.Wait() }(l.ended)
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(10 * time.Millisecond) {
		text, _ := os.ReadFile(out.Name())
		if _, url, ok := strings.Cut("\n"+string(text), "\nready "); ok && strings.Contains(url, "\n") {
			url, _, _ = strings.Cut(url, "\n")
			l.env = []string{
				"KONTOR_URL=" + url, "KONTOR_TOKEN_FILE=" + filepath.Join(l.data, "admin.token"),
				"KONTOR_TENANT=demo", "KONTOR_REGION=fake-1", "KONTOR_WORKSPACE=shop", "HOME=" + l.data,
			}
			return
		}
		if time.Now().After(deadline) {
			l.Fatalf("not ready after a minute: %s", text)
		}
	}
}

func (l *lives) stop() {
	l.Helper()
	l.cmd.Process.Signal(syscall.SIGTERM) //nolint:errcheck // Wait tells
	if err := <-l.ended; err != nil {
		l.Errorf("it did not stop well: %v", err)
	}
}

// enter runs a command as its operator would.
func (l *lives) enter(words ...string) (string, error) {
	ctx, stop := context.WithTimeout(l.Context(), time.Minute)
	defer stop()
	c := exec.CommandContext(ctx, l.bin, words...)
	c.Env = append(os.Environ(), l.env...)
	c.Stdin = strings.NewReader("kind: workspace\nmetadata: {name: shop}\n")
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	err := c.Run()
	return out.String(), err
}

func (l *lives) must(words ...string) string {
	l.Helper()
	out, err := l.enter(words...)
	if err != nil {
		l.Fatalf("kontor %s: %v\n%s", strings.Join(words, " "), err, out)
	}
	return out
}

func (l *lives) importThrough(fails string) {
	if err := makeByHand(l.data); err != nil {
		l.Fatal(err)
	}
	before := l.platform()
	l.begin(fails)
	l.must("apply", "-f", "-", "--wait")
	all := []string{
		"region", "import", "fake-1", "--yes", "vm-1=web", "disk-1=web-boot", "disk-2=web-data", "nic-1=nic",
		"sub-1=front", "net-1=main", "rt-1=out", "gw-1=gw", "sg-1=http", "ip-1=ip",
	}
	dying := make(chan struct{})
	go func() { defer close(dying); l.enter(all...) }() //nolint:errcheck // it may get no answer
	select {
	case <-l.ended:
	case <-time.After(time.Minute):
		l.Fatal("it did not die")
	}
	l.begin("")
	<-dying
	l.must(all...)
	l.must("wait", "instance", "web", "--for", "state=active")
	if out := l.must("region", "resync", "fake-1"); !strings.Contains(out, "no difference") {
		l.Error(out)
	}
	l.stop()
	after := l.platform()
	if fmt.Sprint(before) != fmt.Sprint(after) {
		l.Errorf("the platform had %v, and has %v", before, after)
	}
}

// platform lists the native ids of all that is there, whosever it is.
func (l *lives) platform() map[string]int {
	l.Helper()
	text, err := os.ReadFile(filepath.Join(l.data, "agents", "fake-1", "fake.jsonl"))
	if err != nil {
		l.Fatal(err)
	}
	owners := map[driver.Owner]bool{{}: true}
	for line := range bytes.Lines(text) {
		var r struct{ Owner driver.Owner }
		if json.Unmarshal(line, &r) == nil {
			owners[r.Owner] = true
		}
	}
	natives := map[string]int{}
	for owner := range owners {
		c, err := fake.Open(l.Context(), owner, filepath.Join(l.data, "agents", "fake-1"), json.RawMessage(`{"persist":true}`), nil)
		if err != nil {
			l.Fatal(err)
		}
		for i, err := range c.Instances.List(l.Context()) {
			if err == nil {
				natives[i.Native]++
			}
		}
		for v, err := range c.Volumes.List(l.Context()) {
			if err == nil {
				natives[v.Native]++
			}
		}
		for n, err := range c.Networks.List(l.Context()) {
			if err == nil {
				natives[n.Native]++
			}
		}
		for n, err := range c.NICs.List(l.Context()) {
			if err == nil {
				natives[n.Native]++
			}
		}
		c.Close()
	}
	return natives
}
