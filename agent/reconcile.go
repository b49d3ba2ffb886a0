package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"path"
	"reflect"
	"slices"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/failpoint"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/wire"
)

// reconcile takes one step with one resource. Whatever changes later puts it in
// the queue again.
func (a *agent) reconcile(ctx context.Context, id string) {
	a.mu.Lock()
	e := a.mirror.byID[id]
	ready := e != nil && a.mirror.synced
	deleting := ready && e.want.Deleting
	adopting := ready && e.foreign()
	a.mu.Unlock()
	switch {
	case !ready:
	case deleting:
		a.remove(ctx, e)
	case adopting:
		a.adopt(ctx, e)
	default:
		a.ensure(ctx, e)
	}
}

// ensure brings a thing nearer to what is wanted.
func (a *agent) ensure(ctx context.Context, e *entry) {
	a.mu.Lock()
	want, i, call := a.prepare(e)
	generation := e.want.Generation
	e.busy = call
	ctx, end := a.traced(ctx, e, "ensure", call)
	a.mu.Unlock()
	if !call {
		return
	}
	have, err := any(nil), error(nil)
	if i.Call != "" {
		err = a.journal.announce(ctx, i)
	}
	if err == nil {
		have, err = a.callEnsure(ctx, e.kind, want, i)
	}
	end(err)
	a.mu.Lock()
	defer a.mu.Unlock()
	e.busy = false
	switch {
	case a.mirror.byID[e.id()] != e: // the exchange has let go of it meanwhile; a list will find what came of it
	case err != nil:
		a.failed(ctx, e, err)
	default:
		a.ensured(e, generation, want, have)
	}
}

func (a *agent) callEnsure(ctx context.Context, k *kind, want any, i intent) (any, error) {
	if i.Call != "" {
		failpoint.Here(failpoint.CreateWritten)
	}
	have, err := a.throttle.act(ctx, operation{"ensure", k.name}, func(ctx context.Context) (any, error) { return k.ensure(ctx, want) })
	if i.Call != "" {
		failpoint.Here(failpoint.CreateCalled)
	} else {
		failpoint.Here(failpoint.UpdateCalled)
	}
	return have, err
}

// prepare decides whether the platform has to be called, and with what.
func (a *agent) prepare(e *entry) (want any, i intent, call bool) {
	k := e.kind
	switch {
	case !k.kept:
		a.say(e, seca.Error, "Unsupported", "this platform has no such thing")
		return nil, i, false
	case e.bad != nil:
		a.say(e, seca.Error, "Invalid", e.bad.Error())
		return nil, i, false
	case k.bare:
		e.ready, e.done = true, e.want.Generation
		a.say(e, seca.Active, "", "")
		return nil, i, false
	case !k.known:
		return nil, i, false
	case e.doubtful():
		k.look() // it should be there: one list that lacks it is no proof
		return nil, i, false
	case e.lost:
		a.say(e, seca.Error, "Lost", "the platform does not have it any more, and its data cannot be made again")
		return nil, i, false
	}
	want, err := a.translate(e)
	if err != nil {
		a.say(e, seca.Error, "Invalid", err.Error())
		return nil, i, false
	}
	if want == nil || a.settled(e, want) {
		return nil, i, false
	}
	if e.have == nil {
		i = intent{ID: e.id(), Call: "create", Attempt: e.attempt, Lived: e.lived}
		e.maybe = true
	}
	retry := e.said.State == seca.Error && e.said.Generation == e.want.Generation
	if state := a.doing(e); state != seca.Active && !retry {
		a.say(e, state, "", "")
	}
	e.last, e.refresh = want, false
	a.hold(e, slices.Concat(e.holds, k.uses(want)))
	return want, i, true
}

// doing is the state of a resource that is being worked on. What only follows
// a change elsewhere is no transition of its own.
func (a *agent) doing(e *entry) seca.State {
	switch {
	case e.done == e.want.Generation && e.ready && !a.drifted(e):
		return seca.Active
	case e.done == 0 && e.said.State == seca.Creating: // a list may show it usable before its maker knows
		return seca.Creating
	case e.lived || e.want.Lived:
		return seca.Updating
	}
	return seca.Creating
}

// drifted reports whether the platform is not any more as it was made.
func (a *agent) drifted(e *entry) bool {
	return e.done == e.want.Generation && e.last != nil && (e.have == nil || e.state() == driver.Failed || !e.kind.satisfies(e.have, e.last))
}

// translate puts what is wanted into the driver's words. It gives nil while
// something else has to come first.
func (a *agent) translate(e *entry) (any, error) {
	r := &resolver{m: a.mirror, e: e}
	want, err := e.kind.translate(r, e.spec)
	if a.mirror.refers(e, r.refs) {
		a.touchCards(e)
	}
	switch {
	case err != nil:
		return nil, err
	case e.virtual:
		a.pretend(e)
		return nil, nil
	case len(r.waits) > 0:
		a.waiting(e, r.waits)
		return nil, nil
	}
	return e.kind.stamp(want, driver.Meta{
		ID: e.id(), Attempt: e.attempt, Name: path.Base(e.want.URN), URN: e.want.URN,
		Lived: e.kind.data && e.expected(),
	}), nil
}

// touchCards has a machine's cards looked at: they join its security group.
func (a *agent) touchCards(e *entry) {
	if s, ok := e.spec.(*seca.InstanceSpec); ok && s.SecurityGroupRef != nil {
		for _, ref := range nicRefs(s) {
			if x := a.mirror.byURN[ref.Resource]; x != nil {
				a.queue.add(x.id())
			}
		}
	}
}

// pretend answers for what cannot be made yet, where the exchange says that
// nobody may wait for it.
func (a *agent) pretend(e *entry) {
	fresh := !e.ready
	e.ready, e.done = true, e.want.Generation
	a.say(e, seca.Active, "", "")
	if fresh {
		a.wake(e)
	}
}

// waitAgain is after how long a resource that waits for another looks again.
// It costs no call.
const waitAgain = 5 * time.Second

func (a *agent) waiting(e *entry, for_ []string) {
	if e.done == e.want.Generation && e.ready {
		return
	}
	state := seca.Pending
	if e.lived || e.want.Lived {
		state = seca.Updating
	}
	a.say(e, state, "Waiting", strings.Join(for_, ", "))
	a.queue.after(e.id(), jitter(waitAgain)) // what it waits for wakes it; a wake-up that is missed costs seconds
}

// settled reports whether the platform has what is wanted. What a restarted
// agent finds as wanted it takes as done.
func (a *agent) settled(e *entry, want any) bool {
	adopted := e.done == 0 && e.last == nil && e.have != nil
	if !adopted && e.done != e.want.Generation || e.refresh ||
		e.state() != driver.Ready || !e.kind.satisfies(e.have, want) {
		return false
	}
	e.last = want
	a.finish(e, e.want.Generation)
	return true
}

// ensured takes in what the platform answered.
func (a *agent) ensured(e *entry, generation int64, want, have any) {
	before := e.have
	e.have, e.touched, e.misses, e.maybe = have, time.Now(), 0, true
	if e.want.Deleting {
		return // the queue has it again
	}
	switch m := e.kind.meta(have); {
	case m.State == driver.Failed:
		e.ready = false
		e.fails++
		a.say(e, seca.Error, "Failed", m.Detail)
		a.again(e, backoff(e.tries, 5*time.Second, time.Minute))
	case m.State != driver.Ready || !e.kind.satisfies(have, want):
		if before == nil || e.state() != driver.Ready && m.Detail != "" {
			a.say(e, a.doing(e), "", m.Detail)
		}
		a.again(e, backoff(e.tries, 20*time.Millisecond, 2*time.Second))
	default:
		e.tries, e.fails = 0, 0
		a.hold(e, e.kind.uses(have))
		a.finish(e, generation)
		if e.kind.loose && !reflect.DeepEqual(before, have) {
			a.wake(e)
		}
	}
}

// finish notes that the platform has what was wanted at a generation.
func (a *agent) finish(e *entry, generation int64) {
	fresh := !e.ready
	again := e.done != generation
	e.ready, e.lived, e.done = true, true, generation
	a.journal.note(intent{ID: e.id(), Attempt: e.attempt, Lived: true})
	failpoint.Here(failpoint.EnsuredUnsaid)
	if generation == e.want.Generation {
		a.say(e, seca.Active, "", "")
	}
	if fresh {
		a.wake(e)
	}
	if fresh || again {
		a.showHeld(e.holds)
	}
}

// wake has all looked at that refer to an entry.
func (a *agent) wake(e *entry) {
	for id := range a.mirror.users[e.want.URN] {
		a.queue.add(id)
	}
}

// hold notes what an entry holds; what it lets go may have waited for that.
func (a *agent) hold(e *entry, ids []string) {
	slices.Sort(ids)
	a.showHeld(a.mirror.hold(e, slices.Compact(ids)))
}

// showHeld has things looked at whose status tells by whom they are held.
func (a *agent) showHeld(ids []string) {
	for _, id := range ids {
		x := a.mirror.byID[id]
		if x == nil {
			continue
		}
		if x.kind.name == "public-ip" {
			x.refresh = true
		}
		if x.want.Deleting || x.kind.name == "public-ip" || x.kind.name == "block-storage" {
			a.queue.add(id)
		}
	}
}

// failed decides what an error of the platform means.
func (a *agent) failed(ctx context.Context, e *entry, err error) {
	if ctx.Err() != nil || errors.Is(err, context.Canceled) {
		return
	}
	kind := fault.KindOf(err)
	if kind == fault.Missing && e.kind.data && e.expected() {
		e.kind.look() // lists decide whether it is lost
		a.again(e, backoff(e.tries, 100*time.Millisecond, time.Minute))
		return
	}
	switch kind {
	case fault.Invalid, fault.Unsupported, fault.Denied, fault.Missing, fault.Malformed, fault.TooLarge:
		a.hold(e, a.usesNow(e))
		a.say(e, seca.Error, reason(kind), err.Error())
		a.again(e, 5*time.Minute)
	case fault.Conflict, fault.Stale:
		a.say(e, a.doing(e), "Conflict", err.Error())
		a.again(e, backoff(e.tries, 20*time.Millisecond, 10*time.Second))
	case fault.Exhausted:
		e.fails++
		a.say(e, a.doing(e), "Exhausted", err.Error())
		a.again(e, max(fault.After(err), backoff(e.tries, time.Second, time.Minute)))
	default:
		e.fails++
		a.say(e, a.doing(e), "Unavailable", err.Error())
		a.again(e, max(fault.After(err), backoff(e.tries, 100*time.Millisecond, time.Minute)))
	}
	a.log.InfoContext(ctx, "platform refused", "resource", e.want.URN, "kind", string(kind), "error", err)
}

func (a *agent) usesNow(e *entry) []string {
	if e.have == nil {
		return nil
	}
	return e.kind.uses(e.have)
}

// reason makes a class of failure one word.
func reason(k fault.Kind) string {
	words := strings.Fields(string(k))
	for i, w := range words {
		words[i] = strings.ToUpper(w[:1]) + w[1:]
	}
	return strings.Join(words, "")
}

func (a *agent) again(e *entry, d time.Duration) {
	e.tries++
	a.queue.after(e.id(), d)
}

// say has an observation reported, unless it is the last one again.
func (a *agent) say(e *entry, state seca.State, reason, message string) {
	o := wire.Observation{
		ID: e.id(), Generation: e.want.Generation, State: state, Reason: reason, Message: message,
		Presence: wire.Present, Status: e.said.Status, Native: e.said.Native, Forwards: e.said.Forwards,
	}
	switch {
	case e.kind.unknown && e.touched.Before(e.kind.since):
		o.Presence = wire.Unknown
	case e.have == nil && state == seca.Deleting && !e.maybe, e.have == nil && state != seca.Deleting && !e.kind.bare && !e.virtual:
		o.Presence = wire.Absent
	}
	if e.have != nil {
		o.Native = e.kind.meta(e.have).Native
		o.Status = encode(e.kind.status(&viewer{a.mirror, e}, e.spec, e.have))
		if p, ok := e.have.(driver.PublicIP); ok && len(p.Forwards) > 0 {
			o.Forwards = encode(p.Forwards)
		}
	}
	if same(o, e.said) {
		return
	}
	e.said = o
	a.seq++
	o.At, o.Life, o.Seq, o.Trace = time.Now().UTC(), a.life, a.seq, e.wish()
	if state == seca.Active || state == seca.Error {
		e.told = e.want.Generation
	}
	a.report.put(o, e.news)
}

func encode(v any) json.RawMessage {
	b, err := json.Marshal(v)
	if err != nil {
		return nil
	}
	return b
}

func same(a, b wire.Observation) bool {
	return a.Generation == b.Generation && a.Presence == b.Presence && a.State == b.State && a.Reason == b.Reason &&
		a.Message == b.Message && a.Native == b.Native && bytes.Equal(a.Status, b.Status) && bytes.Equal(a.Forwards, b.Forwards)
}
