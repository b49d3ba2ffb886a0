package agent

import (
	"context"
	"reflect"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/failpoint"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
)

const (
	// lateFor is how long a platform may leave a new thing out of its lists.
	lateFor = time.Minute
	// retryList is after how long a list that failed is asked for again, at first.
	retryList = time.Second
	// secondLook is how long after a list that lacks something the next one is made.
	secondLook = 200 * time.Millisecond
	// fewMissing is how many things may vanish at once without a doubt.
	fewMissing = 5
	// leastGap is between two lists of a kind.
	leastGap = 10 * time.Millisecond
	// clockTick is how long a list waits for the clock to go on. One that begins
	// in the same instant in which a deletion ended proves nothing about it.
	clockTick = 100 * time.Microsecond
)

// look asks for a list soon. Many who ask at once get one.
func (k *kind) look() { poke(k.poke) }

// watch lists one kind now and then, and whenever somebody needs to know.
func (a *agent) watch(ctx context.Context, k *kind) error {
	for {
		select { // who asks from now on gets the next list
		case <-k.poke:
		default:
		}
		began := time.Now()
		looking, end := a.tracedLook(ctx, k)
		all, err := a.listAll(looking, k)
		end(err)
		if ctx.Err() != nil {
			return nil
		}
		if err == nil {
			k.took = time.Since(began)
		}
		failpoint.Here(failpoint.Listed)
		if failpoint.Off(failpoint.Unknown) && err != nil {
			all, err = nil, nil // the mistake: nothing seen is nothing there
		}
		next := jitter(max(a.config.Relist, 20*k.took))
		a.mu.Lock()
		if err == nil {
			err = a.doubt(k, all)
		}
		if err != nil {
			next = min(next, a.unlisted(ctx, k, err))
		} else if a.listed(k, all, began) {
			next = secondLook
		}
		a.mu.Unlock()
		if !a.pause(ctx, k, next) {
			return nil
		}
	}
}

// pause waits for the next list, or until somebody asks, but never less than
// lists of this kind take themselves.
func (a *agent) pause(ctx context.Context, k *kind, next time.Duration) bool {
	if !sleep(ctx, max(leastGap, 5*k.took)) {
		return false
	}
	t := time.NewTimer(next)
	defer t.Stop()
	select {
	case <-t.C:
	case <-k.poke:
		return sleep(ctx, clockTick)
	case <-ctx.Done():
		return false
	}
	return true
}

func (a *agent) listAll(ctx context.Context, k *kind) (map[string]any, error) {
	v, err := a.throttle.look(ctx, operation{"list", k.name}, func(ctx context.Context) (any, error) { return boxed(k.list(ctx)) })
	if err != nil {
		return nil, err
	}
	return v.(map[string]any), nil
}

// unlisted takes in that the platform did not give a list, and returns when to
// ask again. From the second time on nobody knows what is there.
func (a *agent) unlisted(ctx context.Context, k *kind, err error) time.Duration {
	k.failures++
	a.log.WarnContext(ctx, "platform gave no list", "kind", k.name, "failures", k.failures, "error", err)
	a.trouble = err.Error()
	if k.failures >= 2 && !k.unknown {
		k.unknown, k.since = true, time.Now()
		for _, e := range k.members {
			a.say(e, e.said.State, e.said.Reason, e.said.Message)
		}
	}
	return backoff(k.failures-1, retryList, time.Minute)
}

// doubt refuses a list that suddenly lacks most of what was there: rather than
// the things, something on the way to them has gone, such as a right or a
// project. An operator who knows better applies a resync.
func (a *agent) doubt(k *kind, all map[string]any) error {
	expected, missing := 0, 0
	for id, e := range k.members {
		if !e.expected() || e.lost || e.virtual || e.want.Deleting {
			continue
		}
		expected++
		if all[id] == nil && (e.have == nil || e.seen) {
			missing++
		}
	}
	few := missing <= fewMissing || 2*missing <= expected
	if few {
		k.believe = false
	}
	if few || k.believe {
		return nil
	}
	return fault.Unavailable.Errorf("the platform's list lacks %d of %d things of kind %s; if they are really gone, resync the region", missing, expected, k.name)
}

// listed compares a list with what is known, and reports whether a second look
// is due soon.
func (a *agent) listed(k *kind, all map[string]any, began time.Time) (again bool) {
	was, first := k.unknown, !k.known
	k.known, k.unknown, k.failures, k.looked = true, false, 0, began
	for id, have := range all {
		if e := k.members[id]; e != nil {
			a.found(e, have, began)
			delete(k.orphans, id)
		}
	}
	for id, e := range k.members {
		if _, there := all[id]; !there && a.missed(e, began) {
			again = true
		}
		if was && e.said.State != "" {
			a.say(e, e.said.State, e.said.Reason, e.said.Message)
		}
		if first || was {
			a.queue.add(id)
		}
	}
	a.strays(k, all)
	return again
}

// found takes in what a list says about a thing.
func (a *agent) found(e *entry, have any, began time.Time) {
	e.seen, e.misses, e.maybe = true, 0, true
	if e.touched.After(began) || e.busy {
		return
	}
	news := !reflect.DeepEqual(e.have, have) || e.lost
	e.have, e.lost, e.touched = have, false, began
	e.attempt = max(e.attempt, e.kind.meta(have).Attempt)
	if e.state() == driver.Ready {
		a.hold(e, e.kind.uses(have))
		if !e.ready {
			e.ready, e.lived = true, true
			a.wake(e)
		}
	}
	switch {
	case e.want.Deleting:
		if !e.leaving.IsZero() && e.leaving.Before(began) {
			e.tries++
			time.AfterFunc(backoff(e.tries, leastGap, 2*time.Second), e.kind.look)
		} else {
			a.queue.add(e.id())
		}
	case news:
		a.queue.add(e.id())
	}
}

// missed takes in that a list lacks a thing, and reports whether that has to be
// confirmed. Absence needs two lists, unless the platform was told to delete.
func (a *agent) missed(e *entry, began time.Time) (again bool) {
	if e.busy || e.touched.After(began) || e.virtual {
		return false
	}
	if e.want.Deleting && !e.leaving.IsZero() {
		if e.leaving.Before(began) {
			a.gone(e)
		}
		return false
	}
	if !e.expected() || e.lost || e.have != nil && !e.seen && time.Since(e.touched) < lateFor {
		return false
	}
	if e.misses++; e.misses < 2 && !failpoint.Off(failpoint.Doubt) {
		return true
	}
	a.vanished(e)
	return false
}

// vanished acts on the loss of a thing: what holds no data is made again, at once
// unless the platform has just failed to.
func (a *agent) vanished(e *entry) {
	a.log.Warn("thing vanished from the platform", "resource", e.want.URN, "kind", e.kind.name)
	e.have, e.ready = nil, false
	a.hold(e, nil)
	wait := time.Duration(0)
	if e.fails > 0 && !e.want.Deleting {
		wait = backoff(e.fails, time.Second, time.Minute)
	} else {
		e.tries = 0
	}
	switch {
	case e.want.Deleting:
		e.lived, e.want.Lived = false, false
	case e.kind.data:
		e.lost = true
		a.say(e, seca.Error, "Lost", "the platform does not have it any more, and its data cannot be made again")
	default:
		e.attempt++
	}
	a.queue.after(e.id(), wait)
}

// strays notes the things that carry our exchange's id and that it did not
// mention.
func (a *agent) strays(k *kind, all map[string]any) {
	for id := range k.orphans {
		if all[id] == nil || k.members[id] != nil {
			delete(k.orphans, id)
			a.tellOrphans()
		}
	}
	if !a.mirror.synced {
		return
	}
	if !k.sorted {
		k.sorted = true
		a.tellOrphans()
	}
	for id, have := range all {
		if a.mirror.byID[id] == nil {
			if _, known := k.orphans[id]; !known {
				k.orphans[id] = *k.meta(have)
				a.tellOrphans()
			}
		}
	}
}
