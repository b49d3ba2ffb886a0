package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"os/exec"
	"regexp"
	"strings"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kontor-cloud/kontor/driver/fake"
	"github.com/kontor-cloud/kontor/failpoint"
)

// A mutation is a safeguard, a trial in which it counts, and what the trial
// says when Kontor is run without it.
type mutation struct {
	guard failpoint.Guard
	trial func(t *testing.T, s *stage)
	says  string
}

var mutations = []mutation{
	{failpoint.Durable, tryDurable, `was acknowledged`},
	{failpoint.Intent, tryIntent, `still on the platform`},
	{failpoint.Doubt, tryDoubt, `was called lost`},
	{failpoint.Unknown, tryUnknown, `was called lost`},
	{failpoint.Resend, tryResend, `wait for .* to be active`},
	{failpoint.Order, tryOrder, `wait for .* to be active|times updating`},
}

// switchedOff names, in a child of TestMutationsAreCaught, the safeguard that
// is missing.
const switchedOff = "KONTOR_CRUCIBLE_OFF"

// TestTrials are the trials by which mutations are caught: Kontor as it is
// passes them.
func TestTrials(t *testing.T) {
	if os.Getenv("KONTOR_CRUCIBLE") == "" && os.Getenv(switchedOff) == "" {
		t.Skip("TestCrucible has the short form: set KONTOR_CRUCIBLE=1")
	}
	for _, m := range mutations {
		t.Run(string(m.guard), func(t *testing.T) {
			s := newStage(t, "", "", fakeCloud(strings.Replace(scriptedCloud, `"late": "40ms"`, `"late": "3s"`, 1)))
			if off := os.Getenv(switchedOff); off != "" {
				s.off = ";off " + off
			}
			s.begin()
			if s.off != "" && m.guard != failpoint.Durable { // without that it would not even start
				s.again(s.exchange, s.off)
				s.again(s.agent, s.off)
			}
			m.trial(t, s)
		})
	}
}

// TestMutationsAreCaught is the promise that the crucible bites: with any of
// the safeguards switched off, its trial fails, for the right reason.
func TestMutationsAreCaught(t *testing.T) {
	all := mutations
	if os.Getenv("KONTOR_CRUCIBLE") == "" {
		all = all[1:2]
	}
	for _, m := range all {
		t.Run(string(m.guard), func(t *testing.T) {
			child := exec.CommandContext(t.Context(), os.Args[0], "-test.run", "^TestTrials$/^"+string(m.guard)+"$", "-test.count=1")
			child.Env = append(os.Environ(), switchedOff+"="+string(m.guard))
			out, err := child.CombinedOutput()
			if _, failed := errors.AsType[*exec.ExitError](err); !failed {
				t.Fatalf("without the safeguard %q the trial says: %v\n%s", m.guard, err, out)
			}
			if !regexp.MustCompile(m.says).Match(out) {
				t.Errorf("the trial fails without saying %q:\n%s", m.says, out)
			}
		})
	}
}

func (s *stage) volume(name string) item {
	return s.item("block-storage", "", name, `{"sizeGB": ROUND, "skuRef": {"resource": "skus/seca.rd100"}}`)
}

func must(t *testing.T, errs ...error) {
	t.Helper()
	if err := errors.Join(errs...); err != nil {
		t.Fatal(err)
	}
}

// tryDurable: what the exchange has acknowledged is there, also when it dies
// before it commits what comes next.
func tryDurable(t *testing.T, s *stage) {
	c := s.aCustomer(20 * time.Second)
	ctx, cancel := context.WithCancel(t.Context())
	work, ctx := errgroup.WithContext(ctx)
	for n := range 3 {
		work.Go(func() error {
			i := s.volume(fmt.Sprintf("v%d", n))
			for round := 1; ctx.Err() == nil && round < 50; round++ {
				if err := c.put(ctx, i, round); err != nil && ctx.Err() == nil {
					return err
				}
			}
			return nil
		})
	}
	s.again(s.exchange, string(failpoint.GroupRun)+"#40"+s.off)
	s.awaitDeath(s.exchange, failpoint.GroupRun)
	pause(t.Context(), time.Second)
	cancel()
	must(t, work.Wait())
}

// tryIntent: what is deleted while its maker is dead is deleted, even if the
// platform does not list it yet.
func tryIntent(t *testing.T, s *stage) {
	c, i := s.aCustomer(20*time.Second), s.volume("v")
	s.again(s.agent, string(failpoint.CreateCalled)+s.off)
	must(t, c.put(t.Context(), i, 1))
	if !s.agent.dies(20 * time.Second) {
		t.Fatal("the agent has made nothing")
	}
	must(t, c.remove(t.Context(), i))
	s.agent.fails = s.off
	must(t, s.agent.start(), c.gone(t.Context(), i))
	if left := s.raw(i.urn); left != "" {
		t.Errorf("%s is gone for its customer and still on the platform: %s", i.urn, left)
	}
}

// tryDoubt: one list that lacks something proves nothing.
func tryDoubt(t *testing.T, s *stage) {
	s.watchFor(t, func(func() bool) {
		for range 3 {
			s.script(fake.Script{Faults: []fake.ScriptedFault{{Op: "list", Kind: fake.Volumes, Short: true}}})
			pause(t.Context(), 1500*time.Millisecond)
		}
	})
}

// tryUnknown: a platform that does not answer has lost nothing, however long that
// lasts.
func tryUnknown(t *testing.T, s *stage) {
	s.watchFor(t, func(lost func() bool) {
		s.script(fake.Script{Outage: true})
		for began := time.Now(); time.Since(began) < 12*time.Second && !lost(); {
			pause(t.Context(), 250*time.Millisecond)
		}
		s.script(fake.Script{})
	})
}

// watchFor has two volumes there, which the agent has listed, and looks whether
// they are ever called lost.
func (s *stage) watchFor(t *testing.T, do func(lost func() bool)) {
	t.Helper()
	c := s.aCustomer(20 * time.Second)
	items := []item{s.volume("v1"), s.volume("v2")}
	for _, i := range items {
		must(t, c.put(t.Context(), i, 1), c.active(t.Context(), i))
	}
	s.wait(20*time.Second, "a platform that lists both", s.agrees)
	pause(t.Context(), 3*time.Second) // until the agent has one of its own lists
	lost := func() (yes bool) {
		for _, i := range items {
			must(t, poll(t.Context(), 20*time.Second, func() error {
				have, err := s.client.Get(t.Context(), i.at)
				yes = yes || err == nil && strings.Contains(string(have.Raw), `"Lost"`)
				return err
			}))
		}
		return yes
	}
	do(lost)
	if lost() {
		t.Error("a volume was called lost")
	}
}

// tryResend: what is said while nobody hears it is said again.
func tryResend(t *testing.T, s *stage) {
	c, i := s.aCustomer(15*time.Second), s.volume("v")
	s.script(fake.Script{Faults: []fake.ScriptedFault{{Op: "ensure", Kind: fake.Volumes, After: fake.Duration(2 * time.Second)}}})
	must(t, c.put(t.Context(), i, 1))
	must(t, poll(t.Context(), 10*time.Second, func() error {
		have, err := c.get(t.Context(), i)
		if err == nil && have.State() != "creating" {
			err = fmt.Errorf("it is %s", have.State())
		}
		return err
	}))
	s.back.partition(true)
	pause(t.Context(), 4*time.Second)
	s.back.partition(false)
	must(t, c.active(t.Context(), i))
}

// tryOrder: messages that come twice and late change nothing.
func tryOrder(t *testing.T, s *stage) {
	s.again(s.agent, "on "+string(failpoint.Stutter)+s.off)
	if s.off != "" {
		s.again(s.exchange, s.off)
	}
	c, rounds := s.aCustomer(10*time.Second), 4
	work, ctx := errgroup.WithContext(t.Context())
	for n := range 5 {
		work.Go(func() error {
			i := s.volume(fmt.Sprintf("v%d", n))
			for round := 1; round <= rounds; round++ {
				if err := c.put(ctx, i, round); err != nil {
					return err
				}
				if err := c.active(ctx, i); err != nil {
					return err
				}
				pause(ctx, time.Duration(rand.IntN(300))*time.Millisecond)
			}
			pause(ctx, 500*time.Millisecond)
			if err := c.active(ctx, i); err != nil {
				return err
			}
			have, err := c.get(ctx, i)
			if n := strings.Count(string(have.Status), `"state":"updating"`) + strings.Count(string(have.Status), `"state": "updating"`); err == nil && n > rounds-1 {
				err = fmt.Errorf("%s was %d times updating, and changed %d times: %s", i.urn, n, rounds-1, have.Status)
			}
			return err
		})
	}
	must(t, work.Wait())
}
