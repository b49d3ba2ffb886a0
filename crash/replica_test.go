package crash

import (
	"context"
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/db/dbtest"
)

// TestRollingRestart is the promise that customers do not notice when the
// processes of an exchange are started anew, one after the other: each call,
// tried once, is answered as it should be.
func TestRollingRestart(t *testing.T) {
	bin := build(t)
	c := newCluster(t, dbtest.PostgresURL(t), bin, 2)
	c.roll(t, bin, 2)
}

// TestLabRollingUpgrade is the same from an older version to this one, over all
// migrations between them.
func TestLabRollingUpgrade(t *testing.T) {
	if os.Getenv("KONTOR_LAB") == "" {
		t.Skip("slow: set KONTOR_LAB=1")
	}
	c := newCluster(t, dbtest.PostgresURL(t), older(t), 2)
	c.roll(t, build(t), 1)
}

// firstToLinger is the oldest version that can be upgraded without a call that
// fails: it knows serve --linger.
const firstToLinger = "8709c27a429e7c5c65963f3f5670eeb80e4f6466"

// older builds that version out of the repository's history, or takes the binary
// that KONTOR_LAB_OLD_BINARY names.
func older(t *testing.T) string {
	t.Helper()
	if bin := os.Getenv("KONTOR_LAB_OLD_BINARY"); bin != "" {
		return bin
	}
	dir := t.TempDir()
	get := exec.CommandContext(t.Context(), "sh", "-c", `git archive "$1" | tar -x -C "$2"`, "sh", firstToLinger, dir)
	get.Dir = ".."
	if out, err := get.CombinedOutput(); err != nil {
		t.Skipf("no older version: this is no clone with its history (set KONTOR_LAB_OLD_BINARY): %v\n%s", err, out)
	}
	if _, err := os.Stat(filepath.Join(dir, "go.mod")); err != nil {
		t.Skip("no older version: this is no clone with its history (set KONTOR_LAB_OLD_BINARY)")
	}
	bin := filepath.Join(dir, "kontor.older")
	compile := exec.CommandContext(t.Context(), "go", "build", "-buildvcs=false", "-o", bin, "./cmd/kontor")
	compile.Dir = dir
	if out, err := compile.CombinedOutput(); err != nil {
		t.Fatalf("build the older version: %v\n%s", err, out)
	}
	return bin
}

// TestLabFailOver is the promise that no acknowledged write is lost, and that
// everything goes on by itself, when the primary of the database dies under load
// and its standby takes over.
func TestLabFailOver(t *testing.T) {
	if os.Getenv("KONTOR_LAB") == "" {
		t.Skip("slow: set KONTOR_LAB=1")
	}
	primary := ownPostgres(t)
	standby := primary.standby()
	c := newCluster(t, standby.url, build(t), 2)
	c.quiet = true // a database that is away is worth an error in the log
	cu, all := c.busy(8)
	c.meanwhile(cu, all, func(ctx context.Context) error {
		pause(ctx, 3*time.Second)
		primary.do("kill")
		pause(ctx, 2*time.Second)
		standby.do("promote")
		pause(ctx, 5*time.Second)
		return nil
	})
	c.settle(cu, all)
}

// A cluster is an exchange of several processes, behind a balancer for
// customers and one for agents.
type cluster struct {
	*world
	replicas    []*replica
	front, back *proxy
}

// A replica is one of the processes.
type replica struct {
	*process
	clients, agents string // where it listens
}

// newCluster starts an exchange of n processes and the agent of a region.
func newCluster(t *testing.T, postgres, bin string, n int) *cluster {
	t.Helper()
	c := &cluster{world: &world{t: t, on: fakeCloud(scriptedCloud), dir: t.TempDir()}}
	ports := freePorts(t, 2*n)
	c.front, c.back = newProxy(t, ports[:n]...), newProxy(t, ports[n:]...)
	for i := range n {
		r := &replica{clients: ports[i], agents: ports[n+i]}
		r.process = c.process(fmt.Sprintf("replica %d", i), bin, "serve", "--data", filepath.Join(c.dir, "exchange"), "--db", postgres, "--linger", "1s",
			"--listen", r.clients, "--url", "http://"+c.front.address(), "--agents", r.agents, "--agent-url", "https://"+c.back.address())
		c.replicas = append(c.replicas, r)
	}
	c.run(c.replicas[0].process) // makes the first token
	join := filepath.Join(c.dir, "join.token")
	c.operate("http://"+c.front.address(), join)
	for _, r := range c.replicas[1:] {
		c.run(r.process)
		c.await(r)
	}
	c.agentDir = filepath.Join(c.dir, "agent")
	file := c.agentConfig(time.Second)
	c.agent = c.process("agent", build(t), "agent", "--config", file, "--join-file", join)
	c.run(c.agent)
	c.open()
	return c
}

// await waits until a replica serves.
func (c *cluster) await(r *replica) {
	c.t.Helper()
	c.wait(20*time.Second, r.name, func() error {
		conn, err := net.Dial("tcp", r.agents) // the last that it listens at
		if err == nil {
			conn.Close()
		}
		return err
	})
}

// roll starts each replica anew with a binary, several times, while customers
// work.
func (c *cluster) roll(t *testing.T, bin string, times int) {
	t.Helper()
	cu, all := c.busy(6)
	c.meanwhile(cu, all, func(ctx context.Context) error {
		for range times {
			for _, r := range c.replicas {
				pause(ctx, 300*time.Millisecond)
				if err := c.renew(r, bin); err != nil {
					return err
				}
			}
		}
		return nil
	})
	c.settle(cu, all)
	if n := cu.unanswered.Load(); n > 0 {
		t.Errorf("%d calls were not answered", n)
	}
}

// renew ends a replica as a supervisor does, which balancers notice a moment
// later, and starts it anew.
func (c *cluster) renew(r *replica, bin string) error {
	time.AfterFunc(300*time.Millisecond, func() {
		c.front.avoid(r.clients, true)
		c.back.avoid(r.agents, true)
	})
	if err := r.end(syscall.SIGTERM); err != nil {
		return err
	}
	r.args[0] = bin
	if err := r.start(); err != nil {
		return err
	}
	c.await(r)
	c.front.avoid(r.clients, false)
	c.back.avoid(r.agents, false)
	return nil
}

// busy is a customer with so many slots.
func (c *cluster) busy(slots int) (*customer, []*slot) {
	c.t.Helper()
	cu := c.aCustomer(time.Minute)
	return cu, c.slots(cu, seeded(c.t), slots, 0)
}
