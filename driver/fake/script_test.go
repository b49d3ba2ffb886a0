package fake_test

import (
	"encoding/json"
	"log/slog"
	"os"
	"path/filepath"
	"testing"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/driver/fake"
	"github.com/kontor-cloud/kontor/fault"
)

func TestScriptIsFollowedFromTheMomentItIsWritten(t *testing.T) {
	dir := t.TempDir()
	c, err := fake.Open(t.Context(), us, dir, json.RawMessage(`{"persist": true, "script": true}`), slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	defer c.Close()
	v := driver.Volume{Meta: driver.Meta{ID: "v1"}, SizeGB: 1}
	if _, err := c.Volumes.Ensure(t.Context(), v); err != nil {
		t.Fatal(err)
	}
	write := func(script string) {
		t.Helper()
		path := filepath.Join(dir, "faults.json")
		if err := os.WriteFile(path+".new", []byte(script), 0o600); err != nil {
			t.Fatal(err)
		}
		if err := os.Rename(path+".new", path); err != nil {
			t.Fatal(err)
		}
	}
	write(`{"outage": true}`)
	if _, err := c.Volumes.Ensure(t.Context(), v); fault.KindOf(err) != fault.Unavailable {
		t.Errorf("during an outage: %v, want unavailable", err)
	}
	write(`{"faults": [{"op": "list", "kind": "volume", "short": true}]}`)
	for _, want := range []int{0, 1} {
		n := 0
		for _, err := range c.Volumes.List(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			n++
		}
		if n != want {
			t.Errorf("a list yields %d, want %d", n, want)
		}
	}
}
