package agent

import (
	"context"
	"errors"
	"slices"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/failpoint"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
)

// deleteAgain is after how long a deletion that the platform took, and did not
// carry out, is asked for again.
const deleteAgain = 30 * time.Second

// remove brings the deletion of a thing forward. It is over when a list that
// began after the platform took it lacks the thing.
func (a *agent) remove(ctx context.Context, e *entry) {
	a.mu.Lock()
	call := a.prepareRemoval(e)
	i := intent{ID: e.id(), Call: "delete", Attempt: e.attempt, Lived: e.lived}
	e.busy = call
	ctx, end := a.traced(ctx, e, "delete", call)
	a.mu.Unlock()
	if !call {
		return
	}
	err := a.journal.announce(ctx, i)
	if err == nil {
		err = a.callRemove(ctx, e.kind, i.ID)
	}
	end(err)
	a.mu.Lock()
	defer a.mu.Unlock()
	e.busy = false
	if a.mirror.byID[e.id()] != e {
		return
	}
	if err != nil {
		a.notRemoved(ctx, e, err)
		return
	}
	e.leaving, e.tries = time.Now(), 0
	e.kind.look()
	a.queue.after(e.id(), jitter(deleteAgain))
}

func (a *agent) callRemove(ctx context.Context, k *kind, id string) error {
	failpoint.Here(failpoint.DeleteWrittenOut)
	_, err := a.throttle.act(ctx, operation{"delete", k.name}, func(ctx context.Context) (any, error) { return nil, k.remove(ctx, id) })
	failpoint.Here(failpoint.DeleteCalled)
	return err
}

// prepareRemoval decides whether the platform has to be called.
func (a *agent) prepareRemoval(e *entry) bool {
	k := e.kind
	switch {
	case !k.kept, k.bare, e.virtual && e.have == nil:
		a.gone(e)
		return false
	case !k.known: // nothing is destroyed in the dark
		return false
	case e.have == nil && !e.maybe && !e.expected():
		a.gone(e)
		return false
	case !e.leaving.IsZero() && time.Since(e.leaving) < deleteAgain/2:
		return false // a list will tell
	}
	e.maybe = true // until a list says that it is not
	if users := a.usersOnPlatform(e); len(users) > 0 {
		a.say(e, seca.Deleting, "Waiting", "in use by "+strings.Join(users, ", "))
		return false
	}
	if e.leaving.IsZero() && e.have != nil {
		if r := a.throttle.destroy.Reserve(); r.Delay() > 0 {
			wait := r.Delay()
			r.Cancel()
			a.say(e, seca.Deleting, "DestructionLimited", "more is being deleted than this agent may destroy per minute")
			a.queue.after(e.id(), jitter(wait))
			return false
		}
	}
	a.say(e, seca.Deleting, "", "")
	return true
}

// usersOnPlatform names a few of those that hold a thing.
func (a *agent) usersOnPlatform(e *entry) []string {
	var names []string
	for id := range a.mirror.holders[e.id()] {
		x := a.mirror.byID[id]
		if x == nil || x.kind == e.kind && x.want.Deleting { // security groups may name each other
			continue
		}
		if id != e.id() {
			names = append(names, short(x.want.URN))
		}
	}
	slices.Sort(names)
	return names[:min(len(names), 3)]
}

func (a *agent) notRemoved(ctx context.Context, e *entry, err error) {
	if ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return
	}
	kind := fault.KindOf(err)
	wait := backoff(e.tries, 100*time.Millisecond, time.Minute)
	if kind == fault.Conflict || kind == fault.Stale {
		wait = backoff(e.tries, 20*time.Millisecond, 10*time.Second)
	}
	if kind == "" {
		kind = fault.Unavailable
	}
	a.say(e, seca.Deleting, reason(kind), err.Error())
	a.again(e, max(wait, fault.After(err)))
	a.log.InfoContext(ctx, "platform refused deletion", "resource", e.want.URN, "kind", string(kind), "error", err)
}

// gone takes note that nothing is left of a thing, and lets those know who
// waited for it.
func (a *agent) gone(e *entry) {
	e.have, e.maybe, e.ready, e.lived, e.want.Lived = nil, false, false, false, false
	failpoint.Here(failpoint.GoneUnsaid)
	a.journal.note(intent{ID: e.id(), Gone: true})
	a.hold(e, nil)
	a.say(e, seca.Deleting, "", "")
	a.wake(e)
}

// forget drops an entry that the exchange has let go of. If there still is
// something on the platform, the next list finds it without an owner.
func (a *agent) forget(e *entry) {
	m := a.mirror
	a.hold(e, nil)
	m.refers(e, nil)
	delete(m.byID, e.id())
	delete(e.kind.members, e.id())
	delete(m.holders, e.id())
	if m.byURN[e.want.URN] == e {
		delete(m.byURN, e.want.URN)
	}
	a.wake(e)
	if _, ok := e.spec.(*seca.InstanceSpec); ok {
		a.touchCards(e)
	}
}
