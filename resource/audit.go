package resource

import (
	"context"
	"encoding/json"

	"github.com/kontor-cloud/kontor/audit"
	"github.com/kontor-cloud/kontor/seca"
)

// document is what the audit log has a digest of: what authors write, in the
// order of these fields, as JSON with sorted keys. Nobody asks: nil.
func (r *Resource) document(ctx context.Context) []byte {
	if !audit.Watched(ctx) {
		return nil
	}
	b, err := json.Marshal(struct {
		Labels      map[string]string `json:"labels,omitempty"`
		Annotations map[string]string `json:"annotations,omitempty"`
		Extensions  map[string]string `json:"extensions,omitempty"`
		Spec        json.RawMessage   `json:"spec"`
		Power       seca.Power        `json:"powerState,omitempty"`
		Restarts    int64             `json:"restarts,omitempty"`
	}{r.Labels, r.Annotations, r.Extensions, r.Spec, r.Power, r.Restarts})
	if err != nil {
		panic(err) // all of it came from JSON
	}
	return b
}

// note tells of a change from before to what r is now.
func (r *Resource) note(ctx context.Context, before []byte, c audit.Change) {
	c.Before, c.After = before, r.document(ctx)
	r.tell(ctx, c)
}

func (r *Resource) tell(ctx context.Context, c audit.Change) {
	if !audit.Watched(ctx) {
		return
	}
	c.Chain, c.Resource, c.Region, c.Workspace = r.URN.Tenant, r.URN.String(), r.Region, r.URN.Workspace
	if r.Kind.Collection == "workspaces" {
		c.Workspace = r.URN.Name
	}
	audit.Note(ctx, c)
}

// noteGone tells of a deletion that was accepted.
func (r *Resource) noteGone(ctx context.Context, before []byte, was seca.State) {
	r.tell(ctx, audit.Change{Before: before, State: string(was) + " " + r.lifecycle()})
}

// noteSeen tells of a transition that an agent has seen. That it looked is no news.
func (r *Resource) noteSeen(ctx context.Context, was seca.State) {
	if now := r.lifecycle(); now != string(was) {
		r.tell(ctx, audit.Change{State: string(was) + " " + now, Detail: r.Observed.Reason})
	}
}

// lifecycle is the state, or gone.
func (r *Resource) lifecycle() string {
	if !r.GoneAt.IsZero() {
		return "gone"
	}
	return string(r.State)
}
