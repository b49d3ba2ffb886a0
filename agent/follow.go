package agent

import (
	"context"
	"time"

	"github.com/kontor-cloud/kontor/failpoint"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/wire"
)

// pollFor is how long the exchange may keep a poll open. Polls are also the
// sign of life.
const pollFor = 8 * time.Second

// follow keeps the mirror in step with the exchange.
func (a *agent) follow(ctx context.Context) error {
	since, epoch, tries := int64(0), "", 0
	for ctx.Err() == nil {
		f := wire.Follow{Since: since, Epoch: epoch, Wait: pollFor}
		if since == 0 && !a.synced() {
			f.Wait = 0
		}
		var c wire.Changes
		if err := a.link.post(ctx, wire.PathChanges, f, &c); err != nil {
			if ctx.Err() == nil {
				a.log.WarnContext(ctx, "exchange does not answer", "error", err)
			}
			sleep(ctx, max(fault.After(err), backoff(tries, 100*time.Millisecond, 10*time.Second)))
			tries++
			continue
		}
		tries = 0
		if c.Exchange != "" && c.Exchange != a.link.name() {
			return fault.Denied.Errorf("the exchange says that it is %s; this agent belongs to %s", c.Exchange, a.link.name())
		}
		if len(c.Resources) > 0 {
			failpoint.Here(failpoint.ChangesCome)
		}
		a.take(c)
		failpoint.Here(failpoint.ChangesTaken)
		a.askedFor(ctx, c.Requests)
		since, epoch = c.Revision, c.Epoch
	}
	return nil
}

func (a *agent) synced() bool {
	a.mu.Lock()
	defer a.mu.Unlock()
	return a.mirror.synced
}

// take brings changes into the mirror. A reset begins with nothing known: what
// it does not mention, until it has said all, is not wanted any more as far as
// anybody knows. It is not deleted.
func (a *agent) take(c wire.Changes) {
	a.mu.Lock()
	defer a.mu.Unlock()
	m := a.mirror
	m.lenient = c.Lenient
	if c.Reset {
		a.unsync()
	}
	for _, w := range c.Resources {
		a.change(w)
	}
	if !c.More && !m.synced {
		a.sync()
	}
}

// unsync has everything said again to an exchange that has forgotten.
func (a *agent) unsync() {
	a.mirror.synced = false
	for _, e := range a.mirror.byID {
		e.want.Revision, e.said, e.news = -1, wire.Observation{}, false
	}
}

// sync begins work, now that all that is wanted is known.
func (a *agent) sync() {
	for id, e := range a.mirror.byID {
		if e.want.Revision < 0 {
			a.forget(e)
			continue
		}
		a.queue.add(id)
	}
	a.journal.prune(func(id string) bool { return a.mirror.byID[id] != nil })
	a.mirror.synced = true
	for _, k := range a.order {
		k.look()
	}
}

// change takes in what is wanted of one resource.
func (a *agent) change(w wire.Resource) {
	m := a.mirror
	e := m.byID[w.ID]
	k := a.kinds[w.Kind]
	switch {
	case k == nil: // nothing that a platform keeps
		return
	case w.Gone:
		if e != nil {
			a.forget(e)
		}
		return
	case e == nil:
		e = a.enter(w, k)
	}
	a.touchCards(e) // also those that the machine does not name any more
	e.want, e.news, e.wished = w, m.synced, time.Now()
	m.byURN[w.URN] = e
	e.spec, e.bad = k.decode(w.Spec)
	e.tries, e.fails = 0, 0
	a.index(e)
	a.touchCards(e)
	a.wake(e)
	a.queue.add(w.ID)
}

// index notes to what a resource refers, before anything acts on it.
func (a *agent) index(e *entry) {
	if e.bad == nil && !e.kind.bare {
		r := &resolver{m: a.mirror, e: e}
		e.kind.translate(r, e.spec) //nolint:errcheck // reconcile says what is wrong
		a.mirror.refers(e, r.refs)
	}
}

// enter makes an entry, with what the journal knows of it.
func (a *agent) enter(w wire.Resource, k *kind) *entry {
	i := a.journal.open(w.ID)
	e := &entry{want: w, kind: k, attempt: max(1, i.Attempt), maybe: i.Call != "", lived: i.Lived}
	e.said = wire.Observation{State: seca.Pending}
	a.mirror.byID[w.ID] = e
	k.members[w.ID] = e
	if _, known := k.orphans[w.ID]; known {
		delete(k.orphans, w.ID)
		e.maybe = true
		k.look()
	}
	return e
}
