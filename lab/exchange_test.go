package lab

import (
	"bufio"
	"cmp"
	"context"
	"encoding/json"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/client"
)

// tenant is the one that "kontor up" makes.
const tenant = "demo"

// need skips the test unless this is the lab and the variable names a file.
func need(t *testing.T, variable, repository string) string {
	t.Helper()
	if os.Getenv("KONTOR_LAB") != "1" {
		t.Skip("set KONTOR_LAB=1, as \"make lab\" does, to run what needs programs of others")
	}
	path := os.Getenv(variable)
	if path == "" {
		t.Skipf("set %s to the program built from github.com/eu-sovereign-cloud/%s; lab/README.md says how", variable, repository)
	}
	path, err := filepath.Abs(path)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(path); err != nil {
		t.Fatalf("%s: %v", variable, err)
	}
	return path
}

// build makes the real binary.
func build(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "kontor")
	if out, err := exec.CommandContext(t.Context(), "go", "build", "-o", binary, "../cmd/kontor").CombinedOutput(); err != nil {
		t.Fatalf("build kontor: %v\n%s", err, out)
	}
	return binary
}

// An exchange is a running "kontor up".
type exchange struct {
	binary           string
	url              string
	token, tokenFile string
	host             string // the first region
	region           string // where things are made: that, or a virtual one
	client           *client.Client
}

// up runs the binary in a process of its own, which ends in peace with the test.
func up(t *testing.T, binary string, env []string, args ...string) *exchange {
	t.Helper()
	data := tempDir(t)
	c := exec.Command(binary, append([]string{"up", "--data", data, "--listen", "127.0.0.1:0"}, args...)...)
	c.Env, c.Stderr = append(append(os.Environ(), "KONTOR_LOG_LEVEL=warn"), env...), t.Output()
	out, err := c.StdoutPipe()
	if err != nil {
		t.Fatal(err)
	}
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { stop(t, c, data) })
	ready := make(chan string, 1)
	go func() {
		defer close(ready)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if url, ok := strings.CutPrefix(lines.Text(), "ready "); ok {
				ready <- url
			}
		}
	}()
	select {
	case url := <-ready:
		x := visit(t, url, filepath.Join(data, "admin.token"))
		x.binary = binary
		return x
	case <-time.After(time.Minute):
		t.Fatal("the exchange is not ready after a minute")
	}
	return nil
}

// tempDir is t.TempDir with a short name: guests have sockets in there, whose
// paths are limited to 107 bytes.
func tempDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "lab")
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := os.RemoveAll(dir); err != nil {
			t.Error(err)
		}
	})
	return dir
}

func visit(t *testing.T, url, tokenFile string) *exchange {
	t.Helper()
	token, err := os.ReadFile(tokenFile)
	if url == "" || err != nil {
		t.Fatalf("the exchange ended before it was ready (%v)", err)
	}
	x := &exchange{url: url, token: strings.TrimSpace(string(token)), tokenFile: tokenFile}
	if x.client, err = client.New(url, x.token, client.Options{}); err != nil {
		t.Fatal(err)
	}
	for r, err := range x.client.Regions(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		x.host = cmp.Or(x.host, r.Metadata.Name)
	}
	x.region = x.host
	return x
}

// stop ends the exchange, then whatever guests a failed test has left.
func stop(t *testing.T, c *exec.Cmd, data string) {
	t.Helper()
	if err := c.Process.Signal(syscall.SIGTERM); err != nil {
		t.Error(err)
	}
	late := time.AfterFunc(time.Minute, func() { _ = c.Process.Kill() })
	if err := c.Wait(); err != nil {
		t.Errorf("the exchange ended badly: %v", err)
	}
	late.Stop()
	_ = filepath.WalkDir(data, func(path string, d fs.DirEntry, err error) error {
		if err == nil && d.Name() == "qemu.pid" {
			b, _ := os.ReadFile(path)
			if pid, err := strconv.Atoi(strings.TrimSpace(string(b))); err == nil && pid > 1 && syscall.Kill(pid, syscall.SIGKILL) == nil {
				t.Errorf("a guest was left running: %s", path)
			}
		}
		return nil
	})
}

// poll asks until the answer is yes, or fails the test.
func poll(t *testing.T, limit time.Duration, what string, ask func(context.Context) bool) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), limit)
	defer cancel()
	for !ask(ctx) {
		select {
		case <-time.After(200 * time.Millisecond):
		case <-ctx.Done():
			t.Fatalf("%s: not within %s", what, limit)
		}
	}
}

// member decodes a part of a document.
func member[T any](t *testing.T, raw json.RawMessage) T {
	t.Helper()
	var v T
	if err := json.Unmarshal(raw, &v); err != nil {
		t.Fatalf("read %s: %v", raw, err)
	}
	return v
}
