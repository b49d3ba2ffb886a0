package agent

import (
	"context"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/failpoint"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
)

// adoptAgain is after how long an adoption that was refused is tried again.
const adoptAgain = 30 * time.Second

// foreign reports whether a resource stands for a thing that others made, and
// nobody has asked for a change of it yet. As long as that is so the platform
// is asked for nothing but the adoption: nothing is made, nothing is changed.
func (e *entry) foreign() bool {
	return e.want.Adopt != "" && (e.want.Generation <= 1 || !e.expected())
}

// adopt takes over the thing that a resource stands for. A crash at any moment
// leaves the thing with our tag or without: lists tell, and the rest is done
// by whoever comes next.
func (a *agent) adopt(ctx context.Context, e *entry) {
	a.mu.Lock()
	as, call := a.prepareAdoption(e)
	e.busy = call
	ctx, end := a.traced(ctx, e, "adopt", call)
	a.mu.Unlock()
	if !call {
		return
	}
	err := a.journal.announce(ctx, intent{ID: e.id(), Call: "create", Attempt: as.Attempt, Lived: e.lived})
	if err == nil {
		failpoint.Here(failpoint.AdoptWritten)
		_, err = a.throttle.act(ctx, operation{"adopt", e.kind.name}, func(ctx context.Context) (any, error) { return nil, e.kind.adopt(ctx, e.want.Adopt, as) })
		failpoint.Here(failpoint.AdoptCalled)
	}
	end(err)
	a.mu.Lock()
	defer a.mu.Unlock()
	e.busy = false
	switch kind := fault.KindOf(err); {
	case a.mirror.byID[e.id()] != e:
	case err == nil:
		e.tries = 0
		a.log.InfoContext(ctx, "thing adopted", "resource", e.want.URN, "native", e.want.Adopt)
		e.kind.look() // the list that has it makes it active
	case kind == fault.Conflict || kind == fault.Missing:
		a.say(e, seca.Error, "NotAdopted", err.Error())
		a.again(e, adoptAgain)
	default:
		a.failed(ctx, e, err)
	}
}

// prepareAdoption decides whether the platform has to be called.
func (a *agent) prepareAdoption(e *entry) (as driver.Meta, call bool) {
	k := e.kind
	switch {
	case !k.kept || k.adopt == nil:
		a.say(e, seca.Error, "Unsupported", "this platform cannot adopt such a thing")
		return as, false
	case e.bad != nil:
		a.say(e, seca.Error, "Invalid", e.bad.Error())
		return as, false
	case !k.known:
		return as, false
	case e.doubtful():
		k.look()
		return as, false
	case e.have == nil && e.expected():
		a.say(e, seca.Error, "Lost", "the platform does not have it any more; it was made by others, and is not made again")
		return as, false
	}
	want, err := a.translate(e)
	if err != nil {
		a.say(e, seca.Error, "Invalid", err.Error())
	}
	if want == nil || err != nil {
		return as, false
	}
	if e.have != nil {
		a.acknowledge(e, want)
		return as, false
	}
	a.say(e, seca.Creating, "Adopting", "")
	e.maybe = true
	return *k.meta(want), true
}

// acknowledge compares a thing that was adopted with its resource. Where they
// differ, its owner has to say what he wants.
func (a *agent) acknowledge(e *entry, want any) {
	e.refresh = false
	switch {
	case a.settled(e, want):
	case e.state() == driver.Ready:
		e.ready = true // it is there, and others may refer to it
		a.say(e, seca.Error, "Differs", "it is not as it was when it was imported; change the resource to have it made so")
		a.wake(e)
	default:
		a.again(e, backoff(e.tries, 100*time.Millisecond, 2*time.Second))
	}
}

// adopter gives the platform's way to adopt things of a kind, or nil.
func adopter(c *driver.Cloud, name string) func(context.Context, string, driver.Meta) error {
	if c.Foreign == nil {
		return nil
	}
	for kind, n := range secaNames {
		if n == name {
			return func(ctx context.Context, native string, as driver.Meta) error {
				return c.Foreign.Adopt(ctx, kind, native, as)
			}
		}
	}
	return nil
}

// secaNames are SECA's words for the driver's kinds.
var secaNames = map[driver.Kind]string{
	driver.NetworkKind: "network", driver.SubnetKind: "subnet", driver.RouteTableKind: "routing-table",
	driver.GatewayKind: "internet-gateway", driver.SecurityGroupKind: "security-group", driver.PublicIPKind: "public-ip",
	driver.NICKind: "nic", driver.ImageKind: "image", driver.VolumeKind: "block-storage", driver.InstanceKind: "instance",
}
