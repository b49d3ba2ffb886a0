package crash

import (
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

// partitionFor is how long the agent is cut off: beyond the half minute after
// which the exchange calls it unknown. With a relist of a second it stands for
// the thirty minutes of an agent that lists every half minute or more.
const partitionFor = 33 * time.Second

// unreliable has everything go wrong that is no death at a point and needs
// nothing of the platform.
func (tr *tour) unreliable() {
	tr.t.Helper()
	tr.trial("fault: answers lost", func() int {
		tr.front.lose(10)
		tr.back.lose(15)
		pause(tr.t.Context(), 6*time.Second)
		tr.front.lose(0)
		tr.back.lose(0)
		tr.t.Logf("%d answers to customers and %d to the agent were lost", tr.front.lost, tr.back.lost)
		return 0
	})
	tr.trial("fault: messages twice and out of order", func() int {
		tr.again(tr.agent, "on "+string(failpoint.Stutter))
		pause(tr.t.Context(), 6*time.Second)
		tr.again(tr.agent, "")
		return 1
	})
	tr.trial("fault: both die", func() int {
		k := &killer{rng: tr.slots[0].rng, longest: time.Second, log: tr.t.Logf, victims: []victim{both(tr.exchange, tr.agent), both(tr.agent, tr.exchange)}}
		if err := k.rage(tr.t.Context(), 4); err != nil {
			tr.t.Error(err)
		}
		return 8
	})
	if tr.restart != nil {
		tr.trial("fault: database restarts", func() int {
			for range 3 {
				tr.restart()
				pause(tr.t.Context(), time.Second)
			}
			return 3
		})
	}
}

// unreliablePlatform has the fake platform fail in the ways of real ones.
func (tr *tour) unreliablePlatform() {
	tr.t.Helper()
	scripted := func(most time.Duration, scripts ...fake.Script) func() int {
		return func() int {
			for _, sc := range scripts {
				tr.script(sc)
				pause(tr.t.Context(), most/time.Duration(len(scripts)))
			}
			tr.script(fake.Script{})
			return 0
		}
	}
	var after500, failing, short []fake.ScriptedFault
	for _, kind := range []string{fake.Networks, fake.Subnets, fake.RouteTables, fake.Gateways, fake.NICs, fake.Volumes, fake.Instances} {
		after500 = append(after500, fake.ScriptedFault{Op: "ensure", Kind: kind, Times: 3, Done: true}, fake.ScriptedFault{Op: "delete", Kind: kind, Times: 2, Done: true})
		failing = append(failing, fake.ScriptedFault{Op: "list", Kind: kind, Times: 3})
		short = append(short, fake.ScriptedFault{Op: "list", Kind: kind, Short: true})
	}
	tr.trial("fault: 500 after the work is done", scripted(4*time.Second, fake.Script{Faults: after500}))
	tr.trial("fault: lists that fail", scripted(6*time.Second, fake.Script{Faults: failing}))
	tr.trial("fault: lists that lack things", scripted(6*time.Second, fake.Script{Faults: short}, fake.Script{Faults: short}))
	tr.trial("fault: outage of the platform", scripted(8*time.Second, fake.Script{Outage: true}))
	tr.trial("fault: platform throttles", scripted(6*time.Second, fake.Script{Faults: []fake.ScriptedFault{{Times: 60, After: fake.Duration(200 * time.Millisecond)}}}))
}

// partitioned cuts the agent off while nobody changes anything. What runs, runs
// on: nothing is destroyed, made again or switched. guests is called before,
// meanwhile and after, to ask those who can answer.
func (tr *tour) partitioned(guests func()) {
	tr.t.Helper()
	tr.switchOn(tr.slots)
	tr.compare(tr.customer, tr.slots)
	before := tr.uptimes()
	guests()
	r := result{name: "fault: partition of half an hour, compressed"}
	tr.back.partition(true)
	for cut := time.Now(); time.Since(cut) < partitionFor; guests() {
		pause(tr.t.Context(), partitionFor/4)
	}
	tr.back.partition(false)
	tr.compare(tr.customer, tr.slots)
	guests()
	tr.unchanged(&r, before)
}

// unchanged audits what there is, and wants the machines on since before.
func (tr *tour) unchanged(r *result, before map[string]time.Time) {
	tr.t.Helper()
	tr.on.look(tr.world, func(c *driver.Cloud) {
		tr.audit(r, tr.customer, c)
		after := uptimesAt(tr.t, c)
		for urn, since := range before {
			if !after[urn].Equal(since) {
				r.destroyed++
				tr.t.Errorf("%s was on since %s and is since %s", urn, since, after[urn])
			}
		}
	})
	tr.table = append(tr.table, *r)
}

// uptimes tells since when each machine is on, by the platform. There must be
// some.
func (tr *tour) uptimes() (since map[string]time.Time) {
	tr.t.Helper()
	tr.on.look(tr.world, func(c *driver.Cloud) { since = uptimesAt(tr.t, c) })
	if len(since) == 0 {
		tr.t.Error("no machine is on")
	}
	return since
}

func uptimesAt(t *testing.T, c *driver.Cloud) map[string]time.Time {
	t.Helper()
	since := map[string]time.Time{}
	for i, err := range c.Instances.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if i.On {
			since[i.URN] = i.PowerSince
		}
	}
	return since
}

// TestCrucibleOnAFullDisk has the disk of exchange and agent full for a while,
// under customers who work.
func TestCrucibleOnAFullDisk(t *testing.T) {
	if os.Getenv("KONTOR_CRUCIBLE") == "" {
		t.Skip("slow: set KONTOR_CRUCIBLE=1")
	}
	dir := t.TempDir()
	if err := syscall.Mount("tmpfs", dir, "tmpfs", 0, "size=48m"); err != nil {
		t.Skipf("a small disk cannot be mounted here: %v", err)
	}
	t.Cleanup(func() {
		if err := syscall.Unmount(dir, syscall.MNT_DETACH); err != nil {
			t.Error(err)
		}
	})
	cloud := t.TempDir()
	s := newStage(t, dir, "", fakeCloud(strings.Replace(scriptedCloud, "{", fmt.Sprintf(`{"dir": %q, `, cloud), 1)))
	s.cloudDir, s.quiet = cloud, true // a full disk is worth an error in the log
	s.begin()
	tr := &tour{stage: s}
	tr.customer, tr.slots = s.places(rand.New(rand.NewPCG(1, 0)), 4)
	for range 2 {
		tr.trial("fault: disk full", func() int {
			pause(t.Context(), time.Second)
			filler := filepath.Join(dir, "filler")
			f, err := os.Create(filler)
			if err != nil {
				t.Fatal(err)
			}
			for b := make([]byte, 4096); err == nil; {
				_, err = f.Write(b)
			}
			f.Close()
			pause(t.Context(), 4*time.Second)
			if err := os.Remove(filler); err != nil {
				t.Error(err)
			}
			return 0
		})
	}
	s.resync()
}
