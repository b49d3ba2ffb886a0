package agent

import (
	"context"
	"encoding/json"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/wire"
)

// answerWithin bounds the work on a request: its asker does not wait longer.
const answerWithin = 30 * time.Second

// askedFor answers requests, each once, beside everything else.
func (a *agent) askedFor(ctx context.Context, requests []wire.Request) {
	for _, r := range requests {
		if a.asked[r.ID] {
			continue
		}
		if len(a.asked) > 1000 {
			clear(a.asked)
		}
		a.asked[r.ID] = true
		a.answers.Go(func() {
			ctx, cancel := context.WithTimeout(ctx, answerWithin)
			defer cancel()
			answer := wire.Answer{ID: r.ID}
			body, err := a.answer(ctx, r)
			if err != nil {
				answer.Error, answer.Kind = err.Error(), string(fault.KindOf(err))
			}
			answer.Body = body
			if err := a.link.post(ctx, wire.PathAnswers, answer, nil); err != nil {
				a.log.WarnContext(ctx, "answer lost", "verb", r.Verb, "error", err)
			}
		})
	}
}

func (a *agent) answer(ctx context.Context, r wire.Request) ([]byte, error) {
	switch r.Verb {
	case wire.VerbConsole:
		return a.console(ctx, r)
	case wire.VerbResync:
		d, err := a.resync(ctx, r.Apply)
		if err != nil {
			return nil, err
		}
		return json.Marshal(d)
	case wire.VerbStrays:
		found, err := a.foreigners(ctx)
		if err != nil {
			return nil, err
		}
		return json.Marshal(found)
	case wire.VerbHoldings:
		found, err := a.holdings(ctx, r.Resource)
		if err != nil {
			return nil, err
		}
		return json.Marshal(found)
	}
	return nil, fault.Unsupported.Errorf("this agent does not know the request %q", r.Verb)
}

func (a *agent) console(ctx context.Context, r wire.Request) ([]byte, error) {
	if a.cloud.Console == nil {
		return nil, fault.Unsupported.Errorf("this platform keeps no console")
	}
	id := r.Resource
	a.mu.Lock()
	if e := a.mirror.byURN[id]; e != nil {
		id = e.id()
	}
	a.mu.Unlock()
	v, err := a.throttle.look(ctx, operation{"console", "instance"}, func(ctx context.Context) (any, error) { return boxed(a.cloud.Console(ctx, id, r.Tail)) })
	if err != nil {
		return nil, err
	}
	return v.([]byte), nil
}

// resync lists the whole platform and tells where it differs from what is
// wanted. With apply, the differences are worked on at once.
func (a *agent) resync(ctx context.Context, apply bool) ([]wire.Difference, error) {
	out := []wire.Difference{}
	for _, k := range a.order {
		if k.list == nil {
			continue
		}
		all, err := a.listAll(ctx, k)
		if err != nil {
			return nil, fault.Unavailable.Errorf("list %ss: %w", k.name, err)
		}
		a.mu.Lock()
		out = append(out, a.compare(k, all)...)
		if apply {
			a.redo(k)
		}
		a.mu.Unlock()
	}
	return out, nil
}

// redo has every thing of a kind asked for again.
func (a *agent) redo(k *kind) {
	for id, e := range k.members {
		e.refresh, e.tries = true, 0
		a.queue.add(id)
	}
	k.believe = true
	k.look()
}

func (a *agent) compare(k *kind, all map[string]any) []wire.Difference {
	var out []wire.Difference
	for id, e := range k.members {
		have, there := all[id]
		d := wire.Difference{ID: id, Kind: k.name, URN: e.want.URN, Want: string(wire.Present), Have: string(wire.Absent)}
		if there {
			d.Have, d.Detail = string(k.meta(have).State), k.meta(have).Detail
		}
		switch {
		case e.want.Deleting && there:
			d.Want, d.Action = string(wire.Absent), "delete"
		case e.want.Deleting:
			continue
		case !there && k.data && e.expected():
			d.Action, d.Detail = "report", "its data is lost"
		case !there && e.foreign():
			d.Action, d.Detail = "adopt", e.said.Message
		case !there:
			d.Action, d.Detail = "create", e.said.Message
		case k.meta(have).State == driver.Failed:
			d.Action = "update"
		case e.said.State != seca.Active:
			d.Action, d.Detail = "update", e.said.Message
		case e.last != nil && !k.satisfies(have, e.last):
			d.Have, d.Action = "changed", "update"
		default:
			continue
		}
		out = append(out, d)
	}
	for id, have := range all {
		if a.mirror.byID[id] == nil {
			m := k.meta(have)
			out = append(out, wire.Difference{
				ID: id, Kind: k.name, URN: m.URN, Have: string(m.State), Want: "unknown to the exchange",
				Action: "report", Detail: m.Name,
			})
		}
	}
	return out
}
