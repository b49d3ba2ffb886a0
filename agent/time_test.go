package agent

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kontor-cloud/kontor/driver/fake"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/wire"
)

// bubble runs an agent where hours take no time.
func bubble(t *testing.T, c fake.Config, test func(*office, *fake.Platform)) {
	dir := t.TempDir()
	synctest.Test(t, func(t *testing.T) {
		o, p := newOffice(), fake.New(c)
		cloud, err := p.Open(t.Context(), owner, "", nil, nil)
		if err != nil {
			t.Fatal(err)
		}
		ctx, cancel := context.WithCancel(t.Context())
		ended := make(chan error, 1)
		log := slog.New(slog.DiscardHandler)
		go func() {
			ended <- serve(ctx, Config{Dir: dir, Relist: 30 * time.Second}, cloud, o, log)
		}()
		test(o, p)
		cancel()
		if err := <-ended; err != nil {
			t.Errorf("agent ended: %v", err)
		}
	})
}

func TestIdleAgentAsksLittle(t *testing.T) {
	bubble(t, fake.Config{}, func(o *office, p *fake.Platform) {
		all := o.whole()
		time.Sleep(time.Minute)
		for _, id := range all {
			if o.get(id).State != seca.Active {
				t.Fatalf("%s: %+v", id, o.get(id))
			}
		}
		ensures, lists, batches := p.Calls("ensure", fake.Instances), p.Calls("list", fake.Instances), read(o, func() int { return o.batches })
		time.Sleep(time.Hour)
		if n := p.Calls("list", fake.Instances) - lists; n < 90 || n > 160 {
			t.Errorf("%d lists in an hour, want about 120", n)
		}
		if n := p.Calls("ensure", fake.Instances) - ensures; n != 0 {
			t.Errorf("%d calls about a machine that is as wanted", n)
		}
		if n := read(o, func() int { return o.batches }) - batches; n != 0 {
			t.Errorf("%d reports of nothing", n)
		}
	})
}

// TestDeletionIsSeenByTheNextList: the list that follows a deletion is later
// than it by the clock, so that it is proof. Here clocks stand still unless all
// wait for them.
func TestDeletionIsSeenByTheNextList(t *testing.T) {
	bubble(t, fake.Config{}, func(o *office, _ *fake.Platform) {
		o.gateway()
		time.Sleep(time.Minute)
		o.del("gw")
		time.Sleep(time.Second)
		if !read(o, func() bool { return o.gone["gw"] }) {
			t.Errorf("a second after its deletion: %+v", o.get("gw"))
		}
	})
}

func TestCallThatHangsIsGivenUpAndMadeAgain(t *testing.T) {
	bubble(t, fake.Config{}, func(o *office, p *fake.Platform) {
		p.Fail(fake.Fault{Op: "ensure", Kind: fake.Volumes, Hang: true, Done: true})
		p.Fail(fake.Fault{Op: "list", Kind: fake.Gateways, Hang: true})
		o.volume("vol", 1)
		o.gateway()
		time.Sleep(2*callWithin + time.Minute)
		if o.get("vol").State != seca.Active || o.get("gw").State != seca.Active {
			t.Errorf("after hung calls: %+v, %+v", o.get("vol"), o.get("gw"))
		}
		if n := p.Made(fake.Volumes); n != 1 {
			t.Errorf("%d volumes were made", n)
		}
	})
}

func TestThrottledAgentComesBackWhenToldTo(t *testing.T) {
	bubble(t, fake.Config{}, func(o *office, p *fake.Platform) {
		time.Sleep(time.Second)
		p.Fail(fake.Fault{Op: "ensure", Err: fault.RetryAfter(errors.New("too many requests"), 20*time.Second)})
		o.gateway()
		time.Sleep(19 * time.Second)
		if n := p.Calls("ensure", fake.Gateways); n != 1 {
			t.Errorf("%d calls before the platform's delay is over", n)
		}
		time.Sleep(2 * time.Second)
		if s := o.get("gw").State; s != seca.Active {
			t.Errorf("%s after the delay", s)
		}
	})
}

func TestListsThatLagAreNoLoss(t *testing.T) {
	bubble(t, fake.Config{Late: fake.Duration(20 * time.Second)}, func(o *office, p *fake.Platform) {
		o.volume("vol", 1)
		o.gateway()
		time.Sleep(5 * time.Minute)
		if o.get("vol").State != seca.Active || o.get("gw").State != seca.Active {
			t.Errorf("%+v, %+v", o.get("vol"), o.get("gw"))
		}
		for _, log := range [][]seca.State{o.states("vol"), o.states("gw")} {
			for _, s := range log {
				if s == seca.Error || s == seca.Updating {
					t.Errorf("states %v", log)
				}
			}
		}
	})
}

func TestLongOutageKeepsTheLatestOfEach(t *testing.T) {
	bubble(t, fake.Config{}, func(o *office, p *fake.Platform) {
		o.volume("vol", 1)
		time.Sleep(time.Second)
		o.set(func() { o.down = true })
		p.Vanish("vol")
		time.Sleep(24 * time.Hour)
		if n := read(o, func() int { return o.refused }); n > 24*60*60/4 {
			t.Errorf("%d calls to an exchange that is down", n)
		}
		o.set(func() { o.down = false })
		time.Sleep(time.Minute)
		if v := o.get("vol"); v.Reason != "Lost" || v.Presence != wire.Absent {
			t.Errorf("after the outage: %+v", v)
		}
	})
}

func TestFailedThingDoesNotFlap(t *testing.T) {
	bubble(t, fake.Config{}, func(o *office, p *fake.Platform) {
		for range 100 {
			p.Fail(fake.Fault{Op: "ensure", Kind: fake.Gateways, Err: fault.Unsupported.Errorf("no such thing here")})
		}
		o.gateway()
		time.Sleep(3 * time.Hour)
		if got := fmt.Sprint(o.states("gw")); got != "[error]" && got != "[creating error]" {
			t.Errorf("states %s", got)
		}
		if n := p.Calls("ensure", fake.Gateways); n < 10 {
			t.Errorf("%d tries in three hours", n)
		}
	})
}
