package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"path"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
)

// A kind is one row of the table of what an agent keeps: how SECA's words for
// it become a driver's and back. All else is the same for all kinds.
type kind struct {
	name  string // SECA's
	kept  bool   // the platform has a keeper for it
	bare  bool   // has no thing of its own on a platform
	data  bool   // holds what cannot be made again
	loose bool   // others refer to it in passing: they are looked at anew when it changes

	decode    func(json.RawMessage) (any, error)
	translate func(r *resolver, spec any) (any, error)
	stamp     func(want any, m driver.Meta) any
	ensure    func(ctx context.Context, want any) (any, error)
	remove    func(ctx context.Context, id string) error
	list      func(ctx context.Context) (map[string]any, error)
	satisfies func(have, want any) bool
	meta      func(any) *driver.Meta
	adopt     func(ctx context.Context, native string, as driver.Meta) error // nil: the platform cannot
	uses      func(any) []string
	status    func(v *viewer, spec, have any) any

	listing
}

// A listing is what is known of a kind from lists. Agent.mu guards it.
type listing struct {
	known    bool      // there was a list
	sorted   bool      // and its orphans were told from what is wanted
	failures int       // in a row
	unknown  bool      // the lists have failed for too long
	since    time.Time // when that began
	believe  bool      // an operator vouches for the lists, whatever they lack
	poke     chan struct{}
	members  map[string]*entry
	orphans  map[string]driver.Meta
	took     time.Duration
	looked   time.Time // when the last list began that counts
}

// A thing is a pointer to one of the driver's types.
type thing[T any] interface {
	*T
	Base() *driver.Meta
	Satisfies(T) bool
}

// A row says what is particular about a kind: S is the spec in SECA, T the
// thing at the driver.
type row[S, T any] struct {
	keeper driver.Keeper[T]
	want   func(r *resolver, spec *S) (T, error)
	uses   func(*T) []string
	status func(v *viewer, spec *S, have *T) any
}

func define[S, T any, P thing[T]](name string, r row[S, T]) *kind {
	k := &kind{
		name: name, kept: r.keeper != nil,
		decode:    decode[S],
		translate: func(res *resolver, spec any) (any, error) { return boxed(r.want(res, spec.(*S))) },
		stamp: func(want any, m driver.Meta) any {
			t := want.(T)
			*P(&t).Base() = m
			return t
		},
		satisfies: func(have, want any) bool { t := have.(T); return P(&t).Satisfies(want.(T)) },
		meta:      func(v any) *driver.Meta { t := v.(T); return P(&t).Base() },
		uses:      func(v any) []string { t := v.(T); return r.uses(&t) },
		status:    func(v *viewer, spec, have any) any { t := have.(T); return r.status(v, spec.(*S), &t) },
		listing:   newListing(),
	}
	if k.kept {
		k.ensure = func(ctx context.Context, want any) (any, error) { return boxed(r.keeper.Ensure(ctx, want.(T))) }
		k.remove = r.keeper.Delete
		k.list = func(ctx context.Context) (map[string]any, error) { return collect[T, P](ctx, r.keeper) }
	}
	return k
}

func newListing() listing {
	return listing{poke: make(chan struct{}, 1), members: map[string]*entry{}, orphans: map[string]driver.Meta{}}
}

func boxed[T any](t T, err error) (any, error) {
	if err != nil {
		return nil, err
	}
	return t, nil
}

func decode[S any](raw json.RawMessage) (any, error) {
	s := new(S)
	if len(raw) == 0 {
		return s, nil
	}
	if err := json.Unmarshal(raw, s); err != nil {
		return nil, fault.Invalid.Errorf("read spec: %w", err)
	}
	return s, nil
}

// collect gives a whole list, or an error: a part of a list is none.
func collect[T any, P thing[T]](ctx context.Context, k driver.Keeper[T]) (map[string]any, error) {
	all := map[string]any{}
	for t, err := range k.List(ctx) {
		if err != nil {
			return nil, err
		}
		all[P(&t).Base().ID] = t
	}
	return all, nil
}

// A resolver turns references into ids, and remembers what it was asked for
// and what has to come first.
type resolver struct {
	m     *mirror
	e     *entry
	refs  []string
	waits []string
}

// look finds what a reference names. From now on its user is looked at again
// when it changes.
func (r *resolver) look(ref seca.Reference) *entry {
	r.refs = append(r.refs, ref.Resource)
	return r.m.byURN[ref.Resource]
}

// need gives the id of what must be there first.
func (r *resolver) need(ref seca.Reference) string {
	x := r.look(ref)
	switch {
	case x == nil:
		r.wait(ref, "does not exist yet")
		return ""
	case x.want.Deleting && !r.has(x.id()):
		r.wait(ref, "is being deleted")
	case !x.ready && !x.want.Deleting:
		r.wait(ref, "is not ready")
	}
	return x.id()
}

// has reports whether the thing on the platform holds id already.
func (r *resolver) has(id string) bool {
	_, ok := r.m.holders[id][r.e.id()]
	return ok
}

// soft finds what may be left out while it is not there. What was there once is
// not left out only because nobody has looked yet.
func (r *resolver) soft(ref seca.Reference) (x *entry, ok bool) {
	x = r.look(ref)
	if x == nil || x.want.Deleting {
		return x, false
	}
	if !x.ready && x.doubtful() {
		r.wait(ref, "is not seen on the platform")
	}
	return x, x.ready
}

func (r *resolver) wait(ref seca.Reference, why string) {
	r.waits = append(r.waits, fmt.Sprintf("%s %s", short(ref.Resource), why))
}

// short makes a URN readable: the last two of its segments.
func short(urn string) string {
	dir, name := path.Split(urn)
	return path.Join(path.Base(dir), name)
}

// A viewer resolves what a status refers to.
type viewer struct {
	m *mirror
	e *entry
}

// ref names the resource with an id, or is nil.
func (v *viewer) ref(id string) *seca.Reference {
	if x := v.m.byID[id]; x != nil {
		r := seca.Ref(x.want.URN)
		return &r
	}
	return nil
}

// holder names the resource of a kind that uses the viewed one.
func (v *viewer) holder(kind string) *seca.Reference {
	if x := v.m.holder(v.e.id(), kind); x != nil {
		r := seca.Ref(x.want.URN)
		return &r
	}
	return nil
}
