package crash

import (
	"encoding/json"
	"fmt"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"
)

// TestCrucibleWithClocksThatJump sets the clocks of exchange and agent wrong by
// an hour either way while customers work, and by two days, which is longer
// than an agent's certificate lives; both are also started anew meanwhile. As
// in reality the monotonic clocks go on. When the clocks are right again,
// everything is as promised, without anybody's help.
func TestCrucibleWithClocksThatJump(t *testing.T) {
	if os.Getenv("KONTOR_CRUCIBLE") == "" {
		t.Skip("slow: set KONTOR_CRUCIBLE=1")
	}
	s := newStage(t, "", "", fakeCloud(scriptedCloud))
	s.giveClocks()
	s.begin()
	tr := &tour{stage: s}
	tr.customer, tr.slots = s.places(seeded(t), 4)
	for _, d := range []time.Duration{time.Hour, -time.Hour} {
		for _, who := range [][]*process{{s.exchange}, {s.agent}, {s.exchange, s.agent}} {
			tr.trial(fmt.Sprintf("fault: clock wrong by %v: %s", d, names(who)), func() int { return tr.jump(d, who) })
		}
	}
	const beyond = 48 * time.Hour // a certificate's life
	tr.trial(fmt.Sprintf("fault: clock wrong by %v: agent", beyond), func() int { return tr.jump(beyond, []*process{s.agent}) })
	tr.apart(beyond)
	s.resync()
	s.clear(tr.customer, tr.slots)
}

// jump sets clocks wrong, starts their owners anew, and sets them right.
func (tr *tour) jump(d time.Duration, who []*process) (deaths int) {
	tr.t.Helper()
	for _, p := range who {
		p.skew(tr.t, d)
	}
	pause(tr.t.Context(), 2*time.Second)
	for _, p := range who {
		tr.again(p, "")
	}
	pause(tr.t.Context(), 4*time.Second)
	for _, p := range who {
		if by := tr.wrongBy(p); (by - d).Abs() > time.Minute {
			tr.t.Errorf("the clock of the %s is wrong by %v, want %v: nothing was tried", p.name, by, d)
		}
		p.skew(tr.t, 0)
	}
	pause(tr.t.Context(), 2*time.Second)
	return len(who)
}

// apart sets the exchange's clock beyond the life of the agent's certificate.
// The exchange refuses the agent then and tells its operator so, by the
// region's liveness; nothing at the platform changes. Once the clock is right
// the agent is let in again, although the exchange was started anew meanwhile.
func (tr *tour) apart(d time.Duration) {
	tr.t.Helper()
	tr.switchOn(tr.slots)
	tr.compare(tr.customer, tr.slots)
	before := tr.uptimes()
	r := result{name: fmt.Sprintf("fault: clock wrong by %v: exchange", d), kills: 1}
	tr.exchange.skew(tr.t, d)
	pause(tr.t.Context(), time.Second)
	tr.again(tr.exchange, "")
	tr.awaitLiveness("unknown")
	if log := tr.agent.tail(50); !strings.Contains(log, "certificate") {
		tr.t.Errorf("the agent's log does not say that it is about certificates:\n%s", log)
	}
	tr.exchange.skew(tr.t, 0)
	tr.awaitLiveness("alive")
	tr.compare(tr.customer, tr.slots)
	tr.unchanged(&r, before)
}

// awaitLiveness waits until the exchange says so of the region.
func (tr *tour) awaitLiveness(want string) {
	tr.t.Helper()
	tr.wait(2*time.Minute, "a region that is "+want, func() error {
		have, err := tr.client.Get(tr.t.Context(), tr.client.Exchange("regions", region))
		var status struct{ Liveness string }
		if err == nil {
			err = json.Unmarshal(have.Status, &status)
		}
		if err == nil && status.Liveness != want {
			err = fmt.Errorf("it is %s", have.Raw)
		}
		return err
	})
}

func names(who []*process) string {
	var all []string
	for _, p := range who {
		all = append(all, p.name)
	}
	return strings.Join(all, " and ")
}

// skew sets a process's clock wrong, also in its next lives.
func (p *process) skew(t *testing.T, d time.Duration) {
	t.Helper()
	must(t, os.WriteFile(p.clock+".new", []byte(d.String()), 0o600), os.Rename(p.clock+".new", p.clock))
}

// wrongBy tells how wrong a process's clock is, by the date of an answer of the
// exchange or the last line of the agent's log.
func (tr *tour) wrongBy(p *process) time.Duration {
	tr.t.Helper()
	var at time.Time
	if p == tr.exchange {
		resp, err := http.Get(tr.url() + "/.wellknown/secapi") //nolint:noctx // it is the test's own
		must(tr.t, err)
		must(tr.t, resp.Body.Close())
		at, err = http.ParseTime(resp.Header.Get("Date"))
		must(tr.t, err)
		return time.Until(at)
	}
	for line := range strings.Lines(p.tail(20)) {
		text, _, _ := strings.Cut(strings.TrimPrefix(line, "time="), " ")
		if told, err := time.Parse(time.RFC3339, text); err == nil {
			at = told
		}
	}
	return time.Until(at)
}

// giveClocks has exchange and agent run with clocks that can be set. Go asks
// the kernel for the time by itself, so it is package time that has to lie: the
// binary is built with an overlay of it.
func (s *stage) giveClocks() {
	s.t.Helper()
	bin := build(s.t, "-tags", "crucible", "-overlay", s.overlay())
	for _, p := range []*process{s.exchange, s.agent} {
		p.args[0], p.clock = bin, filepath.Join(s.dir, p.name+".clock")
	}
}

// overlay adds to package time by how much the wall clock is wrong.
func (s *stage) overlay() string {
	s.t.Helper()
	const asked, answered = "sec, nsec, mono := runtimeNow()\n", "sec += atomic.LoadInt64(&wallSkew)\n"
	root, err := exec.Command("go", "env", "GOROOT").Output()
	if err != nil {
		s.t.Fatal("go env:", err)
	}
	dir := filepath.Join(strings.TrimSpace(string(root)), "src", "time")
	source, err := os.ReadFile(filepath.Join(dir, "time.go"))
	if err != nil {
		s.t.Skipf("the source of package time is not here: %v", err)
	}
	if strings.Count(string(source), asked) != 1 {
		s.t.Fatalf("package time asks for the time in another way than %q", asked)
	}
	patched := strings.Replace(string(source), asked, asked+answered, 1)
	patched = strings.Replace(patched, "import (", "import (\n\t\"sync/atomic\"", 1)
	skew := "package time\n\nimport _ \"unsafe\"\n\n//go:linkname wallSkew\nvar wallSkew int64\n"
	b, err := json.Marshal(map[string]map[string]string{"Replace": {
		filepath.Join(dir, "time.go"):    s.write("time.go", patched),
		filepath.Join(dir, "zz_skew.go"): s.write("skew.go", skew),
	}})
	must(s.t, err)
	return s.write("overlay.json", string(b))
}
