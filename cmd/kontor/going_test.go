package main

import (
	"bytes"
	"context"
	"fmt"
	"net/http"
	"net/http/httptest"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
)

// Commands that go on until Ctrl-C, against an exchange of canned answers.

// canned answers each path with its texts in turn, the last for ever, and ends
// the caller's context when the last has been asked for twice.
type canned struct {
	mu     sync.Mutex
	texts  map[string][]string
	ended  bool
	cancel context.CancelFunc
}

func (c *canned) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	c.mu.Lock()
	defer c.mu.Unlock()
	texts := c.texts[r.URL.Path]
	if len(texts) == 0 {
		http.NotFound(w, r)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	if texts[0] == busy {
		w.WriteHeader(http.StatusServiceUnavailable)
	}
	fmt.Fprint(w, strings.ReplaceAll(texts[0], "HOST", r.Host))
	if len(texts) > 1 {
		c.texts[r.URL.Path] = texts[1:]
	} else if strings.Contains(r.URL.Path, "instances") {
		if c.ended {
			c.cancel()
		}
		c.ended = true
	}
}

const (
	cannedRegion    = "/providers/seca.region/v1/regions/r"
	cannedInstances = "/c/v1/tenants/t/workspaces/w/instances"
	cannedConsole   = "/k/v1/tenants/t/workspaces/w/instances/web/console"
)

// going runs a command against canned answers until these are used up.
func going(t *testing.T, texts map[string][]string, args ...string) (code int, stdout, stderr string) {
	t.Helper()
	ctx, cancel := context.WithTimeout(t.Context(), time.Minute)
	defer cancel()
	texts[cannedRegion] = []string{`{"metadata":{"name":"r"},"spec":{"providers":[
		{"name":"seca.compute","version":"v1","url":"http://HOST/c"},{"name":"kontor.exchange","version":"v1","url":"http://HOST/k"}]}}`}
	s := httptest.NewServer(&canned{texts: texts, cancel: cancel})
	defer s.Close()
	env := map[string]string{"KONTOR_URL": s.URL, "KONTOR_TENANT": "t", "KONTOR_REGION": "r", "KONTOR_WORKSPACE": "w"}
	var out, errs bytes.Buffer
	code = run(ctx, args, env, strings.NewReader(""), &out, &errs)
	return code, out.String(), errs.String()
}

const busy = `{"status":503,"detail":"busy"}`

func instances(items ...string) string { return `{"items":[` + strings.Join(items, ",") + `]}` }

func instanceText(name string, version int, state, power string) string {
	return fmt.Sprintf(`{"metadata":{"name":%q,"ref":"seca.compute/v1/tenants/t/workspaces/w/instances/%s","resourceVersion":%d},"spec":{},"status":{"state":%q,"powerState":%q}}`,
		name, name, version, state, power)
}

// cells drops how a table is aligned.
func cells(text string) []string {
	var lines []string
	for line := range strings.Lines(text) {
		lines = append(lines, strings.Join(strings.Fields(line), " "))
	}
	return lines
}

func TestWatchShowsEachChangeOnceAndEndsInPeace(t *testing.T) {
	t.Parallel()
	code, out, errs := going(t, map[string][]string{cannedInstances: {
		instances(instanceText("a", 1, "creating", "off"), instanceText("b", 1, "active", "on")),
		instances(instanceText("a", 2, "active", "off"), instanceText("b", 1, "active", "on")),
		instances(instanceText("a", 2, "active", "off")),
	}}, "get", "instances", "--watch")
	want := []string{
		"NAME STATE SKU ZONE POWER AGE", "instance/a creating - - off -", "instance/b active - - on -",
		"instance/a active - - off -", "instance/b gone",
	}
	if d := cmp.Diff(want, cells(out)); d != "" || code != 0 || errs != "" {
		t.Errorf("exit %d, %s\n%s", code, errs, d)
	}
}

func TestFollowedConsoleEndsInPeace(t *testing.T) {
	t.Parallel()
	code, out, errs := going(t, map[string][]string{cannedConsole: {"boot", "booting\n", "oting\nlogin: "}}, "console", "web", "--follow")
	if code != 0 || errs != "" || out != "booting\nlogin: " {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
}

func TestCtrlCEndsWaitingAndSaysThatItGoesOn(t *testing.T) {
	t.Parallel()
	code, out, errs := going(t, map[string][]string{cannedInstances + "/web": {instanceText("web", 1, "creating", "off")}}, "wait", "instance", "web")
	if code != 1 || out != "" || !strings.Contains(errs, "kontor: interrupted\n") || !strings.Contains(errs, "goes on at the exchange") {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
}

func TestWaitingOutlivesARestartOfTheExchange(t *testing.T) {
	t.Parallel()
	code, out, errs := going(t, map[string][]string{cannedInstances + "/web": {
		instanceText("web", 1, "creating", "off"), busy, busy, busy, busy, busy, instanceText("web", 2, "active", "off"),
	}}, "wait", "instance", "web")
	if code != 0 || out != "instance/web is active\n" || !strings.Contains(errs, "the exchange does not answer") {
		t.Errorf("exit %d, %q, %q", code, out, errs)
	}
}

func TestWaitingDoesNotBeginWithoutAnExchange(t *testing.T) {
	t.Parallel()
	code, _, errs := going(t, map[string][]string{cannedInstances + "/web": {busy, busy, busy, busy, busy, busy}}, "wait", "instance", "web")
	if code != 1 || !strings.Contains(errs, "kontor: busy\n  try: again in a while") {
		t.Errorf("exit %d, %q", code, errs)
	}
}

func TestWaitingEndsWhenTheThingHasFailed(t *testing.T) {
	t.Parallel()
	code, _, errs := going(t, map[string][]string{cannedInstances + "/web": {
		`{"metadata":{"name":"web","kind":"instance"},"status":{"state":"error","conditions":[{"state":"error","reason":"Exhausted","message":"no \u001b[2J room"}]}}`,
	}}, "wait", "instance", "web")
	if code != 1 || !strings.Contains(errs, "instance/web is in state error: Exhausted: no  [2J room") {
		t.Errorf("exit %d, %q", code, errs)
	}
}

func TestProgressIsOneLineOnATerminalAndLinesElsewhere(t *testing.T) {
	for name, row := range map[string]struct {
		p    progress
		want string
	}{
		"terminal": {progress{tty: true}, "\r\x1b[Ka, 1s\r\x1b[Ka, 2s\r\x1b[Kb, 3s\r\x1b[K"},
		"narrow":   {progress{tty: true, width: 5}, "\r\x1b[Ka, …\r\x1b[Ka, …\r\x1b[Kb, …\r\x1b[K"},
		"file":     {progress{}, "a\nb\n"},
		"programs": {progress{silent: true, tty: true}, ""},
	} {
		var out bytes.Buffer
		row.p.w = &out
		row.p.say("a", ", 1s")
		row.p.say("a", ", 2s")
		row.p.say("b", ", 3s")
		row.p.clear()
		if out.String() != row.want {
			t.Errorf("%s: %q, want %q", name, out.String(), row.want)
		}
	}
}

func TestSecretsAreNotShownByContexts(t *testing.T) {
	env := map[string]string{"KONTOR_TOKEN": "verysecret", "KONTOR_URL": "http://x.example"}
	var out, errs bytes.Buffer
	code := run(t.Context(), []string{"context", "show"}, env, strings.NewReader(""), &out, &errs)
	if code != 0 || strings.Contains(out.String()+errs.String(), "verysecret") || !strings.Contains(out.String(), "x.example") {
		t.Errorf("exit %d, %q, %q", code, out.String(), errs.String())
	}
}
