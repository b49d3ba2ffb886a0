package crash

import (
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/driver/fake"
	"github.com/kontor-cloud/kontor/failpoint"
)

// scriptedCloud is a fake platform that does what a file says at each moment.
const scriptedCloud = `{"persist": true, "script": true, "late": "40ms", "delays": {
	"network": {"make": "30ms", "leave": "20ms"}, "subnet": {"make": "30ms", "leave": "20ms"},
	"nic": {"make": "30ms", "change": "20ms", "leave": "20ms"},
	"volume": {"make": "50ms", "change": "30ms", "leave": "40ms"},
	"instance": {"make": "60ms", "change": "40ms", "leave": "50ms"}}}`

// A stage is a world of processes that die where they are told to, with proxies
// before the exchange.
type stage struct {
	*world
	front, back *proxy        // of customers, of the agent
	off         string        // the safeguard that is missing, for KONTOR_FAILPOINT
	patience    time.Duration // until a process has come to a point
	table       []result
}

// A result is what came of one trial.
type result struct {
	name                                     string
	kills, orders                            int
	orphans, doubles, lost, destroyed, stuck int
}

// newStage prepares an exchange and an agent; neither runs.
func newStage(t *testing.T, dir, postgres string, on platform) *stage {
	t.Helper()
	if dir == "" {
		dir = t.TempDir()
	}
	s := &stage{world: &world{t: t, on: on, dir: dir}, patience: 20 * time.Second}
	t.Cleanup(s.print)
	bin, ports := build(t, "-tags", "crucible"), freePorts(t, 2)
	s.front, s.back = newProxy(t, ports[0]), newProxy(t, ports[1])
	s.agentDir = filepath.Join(s.dir, "agent")
	s.exchange = s.process("exchange", bin, "serve", "--data", filepath.Join(s.dir, "exchange"), "--db", postgres,
		"--listen", ports[0], "--url", "http://"+s.front.address(), "--agents", ports[1], "--agent-url", "https://"+s.back.address())
	file := s.agentConfig(time.Second)
	s.agent = s.process("agent", bin, "agent", "--config", file, "--join-file", s.joinFile())
	return s
}

func (s *stage) joinFile() string { return filepath.Join(s.dir, "join.token") }
func (s *stage) url() string      { return "http://" + s.front.address() }

// begin starts everything without a fault.
func (s *stage) begin() {
	s.t.Helper()
	s.run(s.exchange)
	s.operate(s.url(), s.joinFile())
	s.run(s.agent)
	s.open()
}

// again starts a process anew, with something that goes wrong or nothing.
func (s *stage) again(p *process, fails string) {
	s.t.Helper()
	if err := p.fail(fails); err != nil {
		s.t.Fatal(err)
	}
}

// target is the process that a point is in.
func (s *stage) target(p failpoint.Point) *process {
	if strings.HasPrefix(string(p), "agent:") {
		return s.agent
	}
	return s.exchange
}

// awaitDeath waits until a process has come to its point, and starts it anew.
func (s *stage) awaitDeath(p *process, at failpoint.Point) int {
	s.t.Helper()
	if !p.dies(s.patience) {
		s.t.Errorf("the %s has not come to %q", p.name, at)
		s.again(p, "")
		return 0
	}
	p.fails = ""
	if err := p.start(); err != nil {
		s.t.Fatal(err)
	}
	return 1
}

// script has the fake platform do something from now on.
func (s *stage) script(sc fake.Script) {
	s.t.Helper()
	b, err := json.Marshal(sc)
	if err != nil {
		s.t.Fatal(err)
	}
	path := filepath.Join(filepath.Dir(s.fakeJournal()), "faults.json")
	if err := errors.Join(os.WriteFile(path+".new", b, 0o600), os.Rename(path+".new", path)); err != nil {
		s.t.Fatal(err)
	}
}

// places are slots for customers of a fake platform.
func (s *stage) places(rng *rand.Rand, n int) (*customer, []*slot) {
	c := s.aCustomer(time.Minute)
	return c, s.slots(c, rng, n, 0)
}

// things lists a platform: to each resource, what there is for it.
func (s *stage) platformNow(c *driver.Cloud) map[string][]string {
	s.t.Helper()
	all := map[string][]string{}
	count(s.t, all, c.Networks)
	count(s.t, all, c.Subnets)
	count(s.t, all, c.RouteTables)
	count(s.t, all, c.Gateways)
	count(s.t, all, c.SecurityGroups)
	count(s.t, all, c.PublicIPs)
	count(s.t, all, c.NICs)
	count(s.t, all, c.Volumes)
	count(s.t, all, c.Instances)
	return all
}

func count[T any, P interface {
	*T
	Base() *driver.Meta
}](t *testing.T, all map[string][]string, k driver.Keeper[T]) {
	t.Helper()
	for thing, err := range k.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		m := P(&thing).Base()
		all[m.URN] = append(all[m.URN], m.Native)
	}
}

// audit compares, by the platform's own listing, what is there with what was
// promised.
func (s *stage) audit(r *result, c *customer, cloud *driver.Cloud) {
	s.t.Helper()
	want, have := c.promised(), s.platformNow(cloud)
	for urn, natives := range have {
		if _, ok := want[urn]; !ok {
			r.orphans++
			s.t.Errorf("%s: orphan: %s is %v", r.name, urn, natives)
		}
		if len(natives) > 1 {
			r.doubles++
			s.t.Errorf("%s: double: %s is %v", r.name, urn, natives)
		}
	}
	for urn, w := range want {
		switch natives := have[urn]; {
		case len(natives) == 0:
			r.lost++
			s.t.Errorf("%s: lost: %s", r.name, urn)
		case w.Native != "" && natives[0] != w.Native:
			r.destroyed++
			s.t.Errorf("%s: destroyed and made again: %s was %s and is %s", r.name, urn, w.Native, natives[0])
		}
	}
}

// raw is what the fake platform keeps for a resource, whether it lists it yet
// or not. It is "" if there is nothing.
func (s *stage) raw(urn string) string {
	s.t.Helper()
	b, err := os.ReadFile(s.fakeJournal())
	if err != nil {
		s.t.Fatal(err)
	}
	rows, owner := map[string]string{}, ""
	for line := range strings.Lines(string(b)) {
		var r struct {
			ID  string
			Row json.RawMessage
		}
		json.Unmarshal([]byte(line), &r) //nolint:errcheck // the last may be cut off
		rows[r.ID] = string(r.Row)
		if strings.Contains(line, urn+`"`) {
			owner = r.ID
		}
	}
	return rows[owner]
}

// print shows what was tried.
func (s *stage) print() {
	if len(s.table) == 0 {
		return
	}
	var sum result
	points := 0
	line := "%-62s %5v %6v %7v %7v %5v %9v %5v\n"
	var b strings.Builder
	fmt.Fprintf(&b, line, s.t.Name(), "kills", "orders", "orphans", "doubles", "lost", "destroyed", "stuck")
	for _, r := range s.table {
		fmt.Fprintf(&b, line, r.name, r.kills, r.orders, r.orphans, r.doubles, r.lost, r.destroyed, r.stuck)
		if !strings.HasPrefix(r.name, "fault:") && r.kills > 0 {
			points++
		}
		sum = result{
			"", sum.kills + r.kills, sum.orders + r.orders, sum.orphans + r.orphans, sum.doubles + r.doubles,
			sum.lost + r.lost, sum.destroyed + r.destroyed, sum.stuck + r.stuck,
		}
	}
	fmt.Fprintf(&b, line, fmt.Sprintf("all; %d points", points), sum.kills, sum.orders, sum.orphans, sum.doubles, sum.lost, sum.destroyed, sum.stuck)
	s.t.Logf("\n%s", b.String())
	if file := os.Getenv("KONTOR_CRUCIBLE_TABLE"); file != "" {
		f, err := os.OpenFile(file, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o644)
		if err == nil {
			fmt.Fprintln(f, b.String())
			f.Close()
		}
	}
}

// kill ends a process that may have ended.
func (p *process) kill() { p.end(syscall.SIGKILL) } //nolint:errcheck // it may have ended
