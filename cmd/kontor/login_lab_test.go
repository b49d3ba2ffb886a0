package main

import (
	"bufio"
	"net/http"
	"net/http/cookiejar"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// TestLabScripts are scripts against programs of others, built on demand. Beside
// the commands of TestScripts they have
//
//	op             start a real OpenID Connect provider, trusted by oidc.yaml
//	approve FILE   do in a browser what "kontor login" has written to FILE
func TestLabScripts(t *testing.T) {
	if os.Getenv("KONTOR_LAB") == "" {
		t.Skip("builds an OpenID Connect provider: set KONTOR_LAB=1, or run make lab")
	}
	p := scripts()
	p.Dir = "testdata/lab"
	p.Cmds["op"], p.Cmds["approve"] = scriptOP(buildOP(t)), scriptApprove
	testscript.Run(t, p)
}

// buildOP builds tools/op, which Go's cache makes quick the second time.
func buildOP(t *testing.T) string {
	t.Helper()
	binary := filepath.Join(t.TempDir(), "op")
	c := exec.CommandContext(t.Context(), "go", "build", "-o", binary, ".")
	c.Dir = "../../tools/op"
	if out, err := c.CombinedOutput(); err != nil {
		t.Fatalf("build tools/op: %v\n%s", err, out)
	}
	return binary
}

func scriptOP(binary string) func(*testscript.TestScript, bool, []string) {
	return func(ts *testscript.TestScript, neg bool, args []string) {
		c := exec.Command(binary)
		out, err := c.StdoutPipe()
		ts.Check(err)
		ts.Check(c.Start())
		ts.Defer(func() {
			_ = c.Process.Kill() // it has no other end
			_ = c.Wait()
		})
		line, err := bufio.NewReader(out).ReadString('\n')
		ts.Check(err)
		issuer := strings.TrimSpace(strings.TrimPrefix(line, "ready "))
		ts.Setenv("ISSUER", issuer)
		ts.Check(os.WriteFile(ts.MkAbs("oidc.yaml"), []byte(
			"oidc: [{name: op, issuer: '"+issuer+"', audience: cli, clientID: cli, createAccounts: true}]\n"), 0o600))
	}
}

var (
	page = regexp.MustCompile(`open +(http\S+)`)
	code = regexp.MustCompile(`enter +(\S+)`)
)

func scriptApprove(ts *testscript.TestScript, neg bool, args []string) {
	var where, what []string
	for range 300 { // half a minute for the login to begin
		b, _ := os.ReadFile(ts.MkAbs(args[0]))
		if where, what = page.FindStringSubmatch(string(b)), code.FindStringSubmatch(string(b)); what != nil {
			break
		}
		time.Sleep(100 * time.Millisecond)
	}
	if what == nil {
		ts.Fatalf("the login does not begin")
	}
	jar, err := cookiejar.New(nil)
	ts.Check(err)
	browser := http.Client{Jar: jar}
	form := url.Values{"user_code": {what[1]}, "username": {"test-user@127.0.0.1"}, "password": {"verysecure"}}
	for _, step := range []string{"/login", "/confirm"} {
		a, err := browser.PostForm(where[1]+step, form)
		ts.Check(err)
		ts.Check(a.Body.Close())
		if a.StatusCode != http.StatusOK {
			ts.Fatalf("%s%s: %s", where[1], step, a.Status)
		}
		form = url.Values{"action": {"allowed"}}
	}
}
