package main

import (
	"context"
	"encoding/json"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/api"
	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
)

// start runs "up" with fake regions on a data directory. stop ends it.
func start(t testing.TB, data, db string, fakes int) (x *exchange, stop func()) {
	t.Helper()
	return startLogging(t, data, db, fakes, "error")
}

// startLogging is start with a log that nobody but the private listener shows.
func startLogging(t testing.TB, data, db string, fakes int, level string) (x *exchange, stop func()) {
	t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	c := defaultExchange()
	c.Data, c.DB, c.Agents = data, db, "127.0.0.1:0"
	c.Listen = []listener{{Address: "127.0.0.1:0", Profile: api.Strict}}
	a := &app{env: map[string]string{"KONTOR_LOG_LEVEL": level}, stdout: io.Discard, stderr: io.Discard}
	ready, ended := make(chan *exchange, 1), make(chan error, 1)
	go func() { ended <- a.up(ctx, c, fakeRegions(fakes), func(x *exchange) { ready <- x }) }()
	stop = func() {
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("up ended with %v", err)
		}
	}
	select {
	case x = <-ready:
	case err := <-ended:
		cancel()
		t.Fatal("up did not come up: ", err)
	case <-time.After(time.Minute):
		cancel()
		t.Fatal("up is not ready after a minute")
	}
	return x, stop
}

// customer speaks to an exchange with the token that its start wrote.
func customer(t testing.TB, x *exchange) *client.Client {
	t.Helper()
	token, err := os.ReadFile(filepath.Join(x.config.Data, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	c, err := client.New(x.publicURL(), strings.TrimSpace(string(token)), client.Options{})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func put(t testing.TB, c *client.Client, place client.Place, kind, name, spec string) (at string) {
	t.Helper()
	k, ok := resource.KindNamed(kind)
	if !ok {
		t.Fatal("no kind", kind)
	}
	at, err := c.Resource(context.Background(), k, place, name)
	if err != nil {
		t.Fatal(err)
	}
	if _, _, err := c.Put(context.Background(), at, map[string]any{"spec": json.RawMessage(spec)}, 0); err != nil {
		t.Fatal(err)
	}
	return at
}

// until looks at a resource until it is in a state.
func until(t testing.TB, c *client.Client, at string, state seca.State) client.Item {
	t.Helper()
	for deadline := time.Now().Add(time.Minute); ; time.Sleep(time.Millisecond) {
		i, err := c.Get(context.Background(), at)
		if err != nil {
			t.Fatal(err)
		}
		if i.State() == state {
			return i
		}
		if time.Now().After(deadline) {
			t.Fatalf("%s is %s, not %s: %s", at, i.State(), state, i.Raw)
		}
	}
}

// TestUpAgain: what was there is there after a restart of everything, with
// the agents at another address.
func TestUpAgain(t *testing.T) {
	data := t.TempDir()
	place := client.Place{Tenant: demoTenant, Region: "fake-2", Workspace: "w"}
	x, stop := start(t, data, "", 2)
	c := customer(t, x)
	put(t, c, place, "workspace", "w", `{}`)
	at := put(t, c, place, "block-storage", "v", benchVolume)
	before := until(t, c, at, seca.Active)
	stop()

	x, stop = start(t, data, "", 2)
	defer stop()
	c = customer(t, x)
	again := put(t, c, place, "block-storage", "v", strings.Replace(benchVolume, "1", "2", 1))
	after := until(t, c, again, seca.Active)
	if !after.Metadata.CreatedAt.Equal(*before.Metadata.CreatedAt) {
		t.Errorf("created at %v, and after the restart at %v", before.Metadata.CreatedAt, after.Metadata.CreatedAt)
	}
	if !strings.Contains(string(after.Status), `"sizeGB":2`) {
		t.Errorf("status after growing: %s", after.Status)
	}
}

// TestFirstTokenIsPrivateAndWrittenOnce: there are no default credentials.
func TestFirstTokenIsPrivateAndWrittenOnce(t *testing.T) {
	data := t.TempDir()
	file := filepath.Join(data, "admin.token")
	_, stop := start(t, data, "", 1)
	stop()
	info, err := os.Stat(file)
	if err != nil || info.Mode().Perm() != 0o600 {
		t.Fatalf("token file: %v, %v; want mode 0600", info, err)
	}
	if err := os.Remove(file); err != nil {
		t.Fatal(err)
	}
	_, stop = start(t, data, "", 1)
	stop()
	if _, err := os.Stat(file); err == nil {
		t.Error("a second start made another first token")
	}
}
