package crash

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
)

const (
	region    = "nl-test"
	tenant    = "crash"
	workspace = "w"
)

// A world is an exchange and a region's agent, each a process of its own.
type world struct {
	t        *testing.T
	on       platform
	dir      string
	client   *client.Client // tries each call once
	exchange *process
	agent    *process
	agentDir string
	cloudDir string // of the fake platform
	quiet    bool   // errors in logs are expected
}

// newWorld starts an exchange, on PostgreSQL if its URL is given, makes a tenant
// and a region in it, and starts an agent with a driver, which is killed a few
// times while it joins. The end of the test ends both.
func newWorld(t *testing.T, rng *rand.Rand, postgres string, on platform) *world {
	t.Helper()
	w := &world{t: t, on: on, dir: t.TempDir()}
	bin, ports := build(t), freePorts(t, 2)
	w.agentDir = filepath.Join(w.dir, "agent")
	w.exchange = w.process("exchange", bin, "serve", "--data", filepath.Join(w.dir, "exchange"), "--listen", ports[0], "--agents", ports[1], "--db", postgres)
	file := w.agentConfig(3 * time.Second)
	join := filepath.Join(w.dir, "join.token")
	w.agent = w.process("agent", bin, "agent", "--config", file, "--join-file", join)
	w.run(w.exchange)
	w.operate("http://"+ports[0], join)
	w.run(w.agent)
	k := &killer{rng: rng, longest: 150 * time.Millisecond, log: t.Logf, victims: []victim{again(w.agent), again(w.exchange)}}
	if err := k.rage(t.Context(), 6); err != nil {
		t.Fatal(err)
	}
	w.open()
	return w
}

func (w *world) process(name string, args ...string) *process {
	return &process{name: name, args: args, log: filepath.Join(w.dir, name+".log")}
}

// run starts a process that the end of the test ends.
func (w *world) run(p *process) {
	w.t.Helper()
	if err := p.start(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if w.t.Failed() {
			w.t.Logf("the last words of the %s:\n%s", p.name, p.tail(60))
		}
		p.end(syscall.SIGKILL) //nolint:errcheck // it may have been stopped
		w.sound(p)
	})
}

// sound fails the test if a process said that something is wrong with itself.
func (w *world) sound(p *process) {
	b, err := os.ReadFile(p.log)
	if err != nil {
		w.t.Error(err)
	}
	for line := range strings.Lines(string(b)) {
		if strings.Contains(line, "panic") || strings.Contains(line, "DATA RACE") || !w.quiet && strings.Contains(line, "level=ERROR") {
			w.t.Errorf("the %s said: %s", p.name, line)
		}
	}
}

func (w *world) write(name, text string) string {
	w.t.Helper()
	path := filepath.Join(w.dir, name)
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		w.t.Fatal(err)
	}
	return path
}

// operate is what an operator does: a tenant, a region, a token to join it.
func (w *world) operate(url, joinFile string) {
	w.t.Helper()
	var token []byte
	w.wait(20*time.Second, "the first token", func() (err error) {
		token, err = os.ReadFile(filepath.Join(w.dir, "exchange", "admin.token"))
		return err
	})
	c, err := client.New(url, string(token), client.Options{Attempts: 1, Timeout: 15 * time.Second})
	if err != nil {
		w.t.Fatal(err)
	}
	w.client = c
	w.wait(20*time.Second, "the exchange", func() error {
		_, _, err := c.Put(w.t.Context(), c.Exchange("tenants", tenant), map[string]any{"spec": map[string]any{"admins": []string{"admin"}}}, 0)
		return err
	})
	if _, _, err := c.Put(w.t.Context(), c.Exchange("regions", region), map[string]any{"spec": map[string]string{"country": "NL"}}, 0); err != nil {
		w.t.Fatal(err)
	}
	var join struct{ Token string }
	if err := c.Post(w.t.Context(), c.Exchange("regions", region, "join"), map[string]string{"ttl": "10m"}, &join); err != nil {
		w.t.Fatal(err)
	}
	w.write(filepath.Base(joinFile), join.Token)
}

// open waits until the region is there, and makes the workspace.
func (w *world) open() {
	w.t.Helper()
	w.wait(30*time.Second, "the region", func() error {
		_, err := w.client.Regional(w.t.Context(), region, "seca.compute")
		return err
	})
	w.wait(10*time.Second, "the workspace", func() error {
		_, _, err := w.client.Put(w.t.Context(), w.item("workspace", "", workspace, "{}").at, map[string]any{"spec": map[string]any{}}, 0)
		return err
	})
}

// wait polls until there is no error, or fails the test.
func (w *world) wait(most time.Duration, what string, try func() error) {
	w.t.Helper()
	if err := poll(w.t.Context(), most, try); err != nil {
		w.t.Fatalf("waiting for %s: %v", what, err)
	}
}

func poll(ctx context.Context, most time.Duration, try func() error) error {
	for deadline := time.Now().Add(most); ; {
		err := try()
		if err == nil || time.Now().After(deadline) || errors.Is(err, errBroken) || ctx.Err() != nil {
			return err
		}
		pause(ctx, 50*time.Millisecond)
	}
}

// errBroken is a promise that was not kept: waiting does not help.
var errBroken = errors.New("broken promise")

func broken(format string, args ...any) error {
	return fmt.Errorf("%w: "+format, append([]any{errBroken}, args...)...)
}

func pause(ctx context.Context, d time.Duration) {
	select {
	case <-time.After(d):
	case <-ctx.Done():
	}
}

// An item is a resource that the customer may want. The word ROUND in its spec
// stands for a number that grows from one writing to the next.
type item struct {
	kind *resource.Kind
	at   string
	urn  string
	spec string
}

func (w *world) item(kind, network, name, spec string) item {
	w.t.Helper()
	k, ok := resource.KindNamed(kind)
	if !ok {
		w.t.Fatalf("no kind %q", kind)
	}
	at, err := w.client.Resource(w.t.Context(), k, client.Place{Tenant: tenant, Region: region, Workspace: workspace, Network: network}, name)
	if err != nil {
		w.t.Fatal(err)
	}
	inside := workspace
	if k.Scope == resource.Tenant {
		inside = ""
	}
	return item{kind: k, at: at, urn: k.URN(tenant, inside, network, name).String(), spec: spec}
}

func (i item) document(round int) map[string]any {
	n := strconv.Itoa(round)
	return map[string]any{
		"labels": map[string]string{"round": n}, "spec": json.RawMessage(strings.ReplaceAll(i.spec, "ROUND", n)),
	}
}

// A killer ends processes at random moments and has them started again at once.
type killer struct {
	rng     *rand.Rand
	longest time.Duration // between two kills; most follow sooner
	victims []victim
	log     func(format string, args ...any)
}

// A victim is one kind of thing to kill. It tells whether there was one.
type victim struct {
	name string
	kill func() (bool, error)
}

// again kills a process and starts it anew.
func again(p *process) victim {
	return victim{p.name, func() (bool, error) {
		if err := p.end(syscall.SIGKILL); err != nil {
			return false, err
		}
		return true, p.start()
	}}
}

// both kills two processes at once, and starts them in the other order.
func both(p, q *process) victim {
	return victim{p.name + " and " + q.name, func() (bool, error) {
		if err := errors.Join(p.end(syscall.SIGKILL), q.end(syscall.SIGKILL)); err != nil {
			return false, err
		}
		return true, errors.Join(q.start(), p.start())
	}}
}

// rage kills so many times, each victim about as often as any other.
func (k *killer) rage(ctx context.Context, times int) error {
	began, count := time.Now(), map[string]int{}
	for n, try := 0, 0; n < times && ctx.Err() == nil; try++ {
		pause(ctx, time.Duration(float64(k.longest)*k.rng.Float64()*k.rng.Float64()))
		v := k.victims[try%len(k.victims)]
		done, err := v.kill()
		if err != nil {
			return err
		}
		if done {
			n++
			count[v.name]++
			k.log("%6.2fs kill %d: %s", time.Since(began).Seconds(), n, v.name)
		}
	}
	k.log("killed %v in %.1fs", count, time.Since(began).Seconds())
	return ctx.Err()
}

// seeded gives chance that can be repeated by KONTOR_CRASH_SEED.
func seeded(t *testing.T) *rand.Rand {
	t.Helper()
	seed := rand.Uint64()
	if s := os.Getenv("KONTOR_CRASH_SEED"); s != "" {
		var err error
		if seed, err = strconv.ParseUint(s, 10, 64); err != nil {
			t.Fatal(err)
		}
	}
	t.Logf("KONTOR_CRASH_SEED=%d", seed)
	return rand.New(rand.NewPCG(seed, 0))
}

// resync asks the agent for what differs from what is wanted, and the exchange
// for orphans. There must be nothing of either.
func (w *world) resync() {
	w.t.Helper()
	var answer struct {
		Differences []json.RawMessage `json:"differences"`
	}
	if err := w.client.Post(w.t.Context(), w.client.Exchange("regions", region, "resync"), map[string]bool{}, &answer); err != nil {
		w.t.Errorf("resync: %v", err)
	}
	for _, d := range answer.Differences {
		w.t.Errorf("the agent sees a difference: %s", d)
	}
	orphans, err := client.All(w.client.List(w.t.Context(), w.client.Exchange("regions", region, "orphans"), client.Query{}))
	if err != nil {
		w.t.Error(err)
	}
	for _, o := range orphans {
		w.t.Errorf("the agent reports an orphan: %s", o.Raw)
	}
}

// owner reads who the agent's things belong to.
func (w *world) owner() driver.Owner {
	w.t.Helper()
	b, err := os.ReadFile(filepath.Join(w.agentDir, "identity.json"))
	if err != nil {
		w.t.Fatal(err)
	}
	var who struct{ Exchange, Region string }
	if err := json.Unmarshal(b, &who); err != nil {
		w.t.Fatal(err)
	}
	return driver.Owner{Exchange: who.Exchange, Region: who.Region}
}

// things lists all that is on a platform: what each is for, and its native id.
// Two for the same resource, and one that is not ready, fail the test.
func (w *world) things(c *driver.Cloud) map[string]string {
	w.t.Helper()
	all := map[string]string{}
	gather(w, all, "network", c.Networks)
	gather(w, all, "subnet", c.Subnets)
	gather(w, all, "route table", c.RouteTables)
	gather(w, all, "gateway", c.Gateways)
	gather(w, all, "security group", c.SecurityGroups)
	gather(w, all, "public address", c.PublicIPs)
	gather(w, all, "card", c.NICs)
	gather(w, all, "image", c.Images)
	gather(w, all, "volume", c.Volumes)
	gather(w, all, "instance", c.Instances)
	return all
}

func gather[T any, P interface {
	*T
	Base() *driver.Meta
}](w *world, all map[string]string, kind string, k driver.Keeper[T]) {
	w.t.Helper()
	for thing, err := range k.List(w.t.Context()) {
		if err != nil {
			w.t.Fatalf("list each %s: %v", kind, err)
		}
		m := P(&thing).Base()
		if other, double := all[m.URN]; double {
			w.t.Errorf("double: %s and %s are both %s", m.Native, other, m.URN)
		}
		if m.State != driver.Ready {
			w.t.Errorf("%s of %s is %s: %s", kind, m.URN, m.State, m.Detail)
		}
		all[m.URN] = m.Native
	}
}

// stateOf reads how a resource is. It is "" once it is gone.
func stateOf(i client.Item, err error) (seca.State, error) {
	if fault.KindOf(err) == fault.Missing {
		return "", nil
	}
	return i.State(), err
}
