package lab

import (
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// sell has an organisation sell the first region, by the commands of docs/providers.md. What is
// made from then on is made in the virtual region that there is by that.
func (x *exchange) sell(t *testing.T) {
	t.Helper()
	dir := t.TempDir()
	key, own, file := filepath.Join(dir, "rhone.key"), filepath.Join(dir, "rhone.token"), x.seller(t, dir)
	x.run(t, "", "provider", "apply", "rhone", "-f", file("profile"), "--key", key)
	x.run(t, x.tokenFile, "provider", "approve", "rhone")
	x.run(t, x.tokenFile, "apply", "-f", file("region"))
	x.run(t, "", "provider", "login", "rhone", "--key", key, "--out", own)
	x.run(t, own, "provider", "claim", "rhone", "-f", file("claims"))
	x.run(t, own, "offers", "publish", file("sheet"), "--key", key)
	x.region = "eu"
	poll(t, 30*time.Second, "region eu in the list", func(context.Context) bool {
		for r, err := range x.client.Regions(t.Context()) {
			if err != nil {
				t.Fatal(err)
			}
			if r.Metadata.Name == x.region {
				return true
			}
		}
		return false
	})
}

// seller writes testdata/seller for what the first region has, and tells where each file is.
func (x *exchange) seller(t *testing.T, dir string) func(name string) string {
	t.Helper()
	names := strings.NewReplacer("REGION", x.host, "MACHINE", x.size(t), "DISK", x.sku(t, "seca.storage"), "NETWORK", x.sku(t, "seca.network"))
	return func(name string) string {
		text, err := os.ReadFile(filepath.Join("testdata", "seller", name+".yaml"))
		if err != nil {
			t.Fatal(err)
		}
		at := filepath.Join(dir, name+".yaml")
		if err := os.WriteFile(at, []byte(names.Replace(string(text))), 0o600); err != nil {
			t.Fatal(err)
		}
		return at
	}
}

// run is a command of the binary, by whom a file has the token of.
func (x *exchange) run(t *testing.T, tokenFile string, args ...string) {
	t.Helper()
	c := exec.CommandContext(t.Context(), x.binary, args...)
	// What whoever runs the test has in his own contexts means other exchanges.
	c.Env = append(os.Environ(), "HOME="+t.TempDir(), "XDG_CONFIG_HOME=", "KONTOR_URL="+x.url, "KONTOR_TOKEN_FILE="+tokenFile)
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("kontor %s: %v\n%s", strings.Join(args, " "), err, out)
	}
}
