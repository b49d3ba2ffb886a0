package agent

import (
	"context"
	"time"

	"github.com/kontor-cloud/kontor/failpoint"
	"github.com/kontor-cloud/kontor/wire"
)

// orphansAgain is after how long orphans are reported once more: somebody may
// have decided about them.
const orphansAgain = 30 * time.Second

func (a *agent) tellOrphans() { poke(a.orphans) }

// settleOrphans reports what is on the platform without the exchange's
// knowledge, and removes that of it, and only that, which the exchange names.
func (a *agent) settleOrphans(ctx context.Context) error {
	for open := true; ; { // the exchange may know of some from before
		select {
		case <-a.orphans:
		case <-ctx.Done():
			return nil
		}
		found, whole := a.strayed()
		if !whole || len(found) == 0 && !open {
			continue
		}
		again := time.AfterFunc(jitter(orphansAgain), a.tellOrphans)
		var v wire.Verdicts
		if err := a.link.post(ctx, wire.PathOrphans, found, &v); err != nil {
			continue
		}
		if open = len(found) > 0; !open {
			again.Stop()
		}
		for _, id := range v.Remove {
			a.evict(ctx, id)
		}
	}
}

// strayed gives all orphans, or tells that some kind has not been listed yet:
// the exchange forgets what a report lacks.
func (a *agent) strayed() (found []wire.Orphan, whole bool) {
	a.mu.Lock()
	defer a.mu.Unlock()
	found = []wire.Orphan{}
	for _, k := range a.order {
		if k.list != nil && !k.sorted {
			return nil, false
		}
		for id, m := range k.orphans {
			if a.mirror.byID[id] == nil {
				found = append(found, wire.Orphan{ID: id, Kind: k.name, Name: m.Name, Native: m.Native})
			}
		}
	}
	return found, true
}

// evict removes an orphan.
func (a *agent) evict(ctx context.Context, id string) {
	k := a.orphanKind(id)
	if k == nil || a.throttle.destroy.Wait(ctx) != nil {
		return
	}
	failpoint.Here(failpoint.OrphanCondemned)
	err := a.journal.announce(ctx, intent{ID: id, Call: "delete"})
	if err == nil {
		err = a.callRemove(ctx, k, id)
	}
	if err != nil {
		a.log.WarnContext(ctx, "orphan stays", "id", id, "kind", k.name, "error", err)
		return
	}
	a.journal.note(intent{ID: id, Gone: true})
	a.log.InfoContext(ctx, "orphan removed", "id", id, "kind", k.name)
	k.look()
}

// orphanKind finds the kind of an orphan. What the exchange has come to want
// meanwhile is none.
func (a *agent) orphanKind(id string) *kind {
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.mirror.byID[id] != nil {
		return nil
	}
	for _, k := range a.order {
		if _, ok := k.orphans[id]; ok {
			return k
		}
	}
	return nil
}
