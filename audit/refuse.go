package audit

import (
	"context"
	"sync"
	"time"

	"github.com/kontor-cloud/kontor/db"
)

// Refusals change nothing, so they are not worth a write each: who is refused
// again and again would make the exchange work. They are gathered, like ones are
// counted, and what one actor tries in one chain is bounded.
const (
	refusalsEvery  = 5 * time.Second
	refusedThings  = 5    // of one actor in one chain, by name; the rest are counted together
	refusedAtOnce  = 1000 // entries; the rest are counted together, for the exchange
	severalRefused = "several"
)

type refusals struct {
	mu     sync.Mutex
	by     map[refusal]*Entry
	things map[[2]string]int
}

type refusal struct {
	chain, subject, method, resource string
	kind                             Kind
	status                           int
}

// Refused notes that a request was refused. It is told of within seconds, and
// lost if this process dies before.
func (l *Log) Refused(chain string, e Entry) {
	e.At = time.Now().UTC().Truncate(time.Microsecond)
	r := &l.refusals
	r.mu.Lock()
	defer r.mu.Unlock()
	if r.by == nil {
		r.by, r.things = map[refusal]*Entry{}, map[[2]string]int{}
	}
	key := refusal{chain, e.Actor.Subject, e.Method, e.Resource, e.Actor.Kind, e.Status}
	if known := r.by[key]; known != nil {
		known.Count++
		return
	}
	by := [2]string{chain, string(e.Actor.Kind) + e.Actor.Subject}
	if r.things[by] >= refusedThings {
		e.Method, e.Resource, e.Workspace, e.Region, e.Action = "", severalRefused, "", "", "several"
		key.method, key.resource, key.status = "", severalRefused, 0
	}
	if len(r.by) >= refusedAtOnce && key.resource != severalRefused {
		key = refusal{resource: severalRefused, kind: Nobody}
		e = Entry{At: e.At, Actor: Actor{Kind: Nobody, Subject: "several"}, Action: "several", Resource: severalRefused}
	}
	r.things[by]++
	if known := r.by[key]; known != nil {
		known.Count++
		return
	}
	e.Count = 1
	r.by[key] = &e
}

// TellRefused writes the refusals gathered so far. owner says in which chain one
// is told: a tenant that does not exist has none.
func (l *Log) TellRefused(ctx context.Context, exists func(ctx context.Context, tenant string) bool) error {
	l.refusals.mu.Lock()
	all := l.refusals.by
	l.refusals.by, l.refusals.things = nil, nil
	l.refusals.mu.Unlock()
	var notes []note
	for key, e := range all {
		if e.Count == 1 {
			e.Count = 0
		}
		if key.chain != "" && !exists(ctx, key.chain) {
			key.chain = ""
		}
		notes = append(notes, note{key.chain, *e})
	}
	if len(notes) == 0 {
		return nil
	}
	err := l.DB.InTx(Unwatched(ctx), func(ctx context.Context, tx *db.Tx) error { return l.write(ctx, tx, notes) })
	l.poke()
	return err
}

// KeepRefused tells of refusals until ctx ends, and then of the last.
func (l *Log) KeepRefused(ctx context.Context, exists func(ctx context.Context, tenant string) bool) error {
	for pause(ctx, refusalsEvery) {
		if err := l.TellRefused(ctx, exists); err != nil {
			l.log.WarnContext(ctx, "refusals not noted in the audit log", "error", err)
		}
	}
	last, cancel := context.WithTimeout(context.WithoutCancel(ctx), refusalsEvery)
	defer cancel()
	return l.TellRefused(last, exists)
}
