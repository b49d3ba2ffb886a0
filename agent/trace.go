package agent

import (
	"context"
	"time"

	"github.com/kontor-cloud/kontor/telemetry"
)

// What an agent does to fulfil a wish belongs to the trace of the request that
// uttered it. What it does by itself, such as looking and repairing, is in
// no trace: metrics and the log tell of that.

const (
	tracedFor = 15 * time.Minute // a wish that takes longer is not followed further
	maxWishes = 32               // that one look goes on with
)

func untraced(error) {}

// wish names the trace of the request that wants e as it is wanted now, until
// it was said what came of it. After a restart nobody knows it any more.
func (e *entry) wish() telemetry.Parent {
	if !e.news || e.told == e.want.Generation && !e.want.Deleting || time.Since(e.wished) > tracedFor {
		return ""
	}
	return e.want.Trace
}

// traced begins a span for a step towards a wish, if the step is taken. It is
// called under the lock.
func (a *agent) traced(ctx context.Context, e *entry, step string, taken bool) (context.Context, telemetry.End) {
	wish := e.wish()
	if wish == "" || !taken {
		return ctx, untraced
	}
	return a.config.Tracer.Start(ctx, wish, nil, step+" "+e.kind.name,
		"kontor.resource", e.want.URN, "kontor.region", a.link.region())
}

// tracedLook begins a span for a list that somebody waits for. It goes on with
// the trace of one of them and points to the others.
func (a *agent) tracedLook(ctx context.Context, k *kind) (context.Context, telemetry.End) {
	if a.config.Tracer == nil {
		return ctx, untraced
	}
	var wishes []telemetry.Parent
	a.mu.Lock()
	for _, e := range k.members {
		if w := e.wish(); w != "" && len(wishes) < maxWishes {
			wishes = append(wishes, w)
		}
	}
	a.mu.Unlock()
	if len(wishes) == 0 {
		return ctx, untraced
	}
	return a.config.Tracer.Start(ctx, wishes[0], wishes[1:], "look "+k.name, "kontor.region", a.link.region())
}
