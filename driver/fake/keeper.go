package fake

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"iter"
	"slices"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// A thing is a pointer to one of the driver's types.
type thing[T any] interface {
	*T
	Base() *driver.Meta
}

// A table holds the things of one kind and owner, and the kind's rules. Slices
// within a thing are shared with callers, so rules replace them and never
// write into them.
type table[T any] struct {
	kind string
	rows map[string]*row[T]

	refs   func(*T) []string             // the things that it keeps from being deleted
	make   func(*T) error                // fills what is observed in a new thing
	change func(have *T, want T) error   // takes over what is wanted
	same   func(have T, want T) bool     // nothing to change
	view   func(*T)                      // fills what is observed at each look
	free   func(*T)                      // gives back what make took
	adopt  func(*T)                      // takes what make took, after a restart of the process
	rename func(*T, func(string) string) // gives what it refers to other ids
	raw    func(json.RawMessage) error   // puts a journal record back
	drop   func(id string) bool          // removes without asking
	each   func(func(id string, v any) error) error
	stray  func(yield func(driver.Stray) bool) bool
	take   func(native string, as driver.Meta) error
	native func(native string) (id string, ok bool)
}

type row[T any] struct {
	Have  T         `json:"have"`
	Ready time.Time `json:"ready"`         // Building until then
	Seen  time.Time `json:"seen"`          // not in lists until then
	Gone  time.Time `json:"gone,omitzero"` // Leaving until then
}

type keeper[T any, P thing[T]] struct {
	*account
	*table[T]
}

// List yields the owner's things, page by page.
func (k keeper[T, P]) List(ctx context.Context) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		var zero T
		var all []T
		for page := 0; page == 0 || page*k.p.config.PageSize < len(all); page++ {
			after, err := k.p.gate(ctx, "list", k.kind)
			if err == nil {
				err = after
			}
			if errors.Is(err, errShort) {
				return
			}
			if err != nil {
				yield(zero, err)
				return
			}
			if page == 0 {
				all = k.snapshot()
			}
			for _, have := range all[page*k.p.config.PageSize : min((page+1)*k.p.config.PageSize, len(all))] {
				if !yield(have, nil) {
					return
				}
			}
		}
	}
}

func (k keeper[T, P]) snapshot() []T {
	k.p.mu.Lock()
	defer k.p.mu.Unlock()
	now := k.p.sweep()
	all := make([]T, 0, len(k.rows))
	for _, r := range k.rows {
		if now.Before(r.Seen) && r.Gone.IsZero() {
			continue
		}
		all = append(all, k.look(r, now))
	}
	return all
}

// Ensure makes or changes one thing.
func (k keeper[T, P]) Ensure(ctx context.Context, want T) (T, error) {
	var zero T
	lost, err := k.p.gate(ctx, "ensure", k.kind)
	if err != nil {
		return zero, err
	}
	k.p.mu.Lock()
	defer k.p.mu.Unlock()
	have, err := k.ensure(want, k.p.sweep())
	if err == nil {
		err = lost
	}
	if err != nil {
		return zero, err
	}
	return have, nil
}

func (k keeper[T, P]) ensure(want T, now time.Time) (T, error) {
	id := P(&want).Base().ID
	r := k.rows[id]
	switch {
	case r == nil && P(&want).Base().Lived:
		return want, fault.Missing.Errorf("%s %s is not there any more", k.kind, id)
	case r == nil:
		return k.create(id, want, now)
	case now.Before(r.Ready), !r.Gone.IsZero(), k.same(r.Have, want):
		return k.look(r, now), nil
	}
	if err := k.present(&want); err != nil {
		return want, err
	}
	k.release(&r.Have)
	err := k.change(&r.Have, want)
	k.hold(&r.Have)
	if err != nil {
		return want, err
	}
	r.Ready = now.Add(time.Duration(k.p.config.Delays[k.kind].Change))
	k.p.record(k.owner, k.kind, id, r)
	return k.look(r, now), nil
}

func (k keeper[T, P]) create(id string, want T, now time.Time) (T, error) {
	if q, ok := k.p.config.Quota[k.kind]; ok && k.p.count[k.kind] >= q {
		return want, fault.Exhausted.Errorf("quota: %d of %d %ss are in use", q, q, k.kind)
	}
	if err := k.present(&want); err != nil {
		return want, err
	}
	if k.make != nil {
		if err := k.make(&want); err != nil {
			return want, err
		}
	}
	if P(&want).Base().Native = k.kind + "-" + rand.Text(); k.owner == nobody { // what is made twice has two
		P(&want).Base().Native = id
	}
	r := &row[T]{
		Have:  want,
		Ready: now.Add(time.Duration(k.p.config.Delays[k.kind].Make)),
		Seen:  now.Add(time.Duration(k.p.config.Late)),
	}
	k.rows[id] = r
	k.hold(&r.Have)
	k.p.made[k.kind]++
	k.p.count[k.kind]++
	k.p.record(k.owner, k.kind, id, r)
	return k.look(r, now), nil
}

// present tells whether all that a thing needs is on the platform.
func (k keeper[T, P]) present(want *T) error {
	for _, id := range k.refs(want) {
		if !k.has(id) {
			return fault.Conflict.Errorf("%s needs %s, which does not exist", k.kind, id)
		}
	}
	return nil
}

func (k keeper[T, P]) hold(have *T) {
	for _, ref := range k.refs(have) {
		k.use(ref, P(have).Base().ID, k.kind)
	}
}

func (k keeper[T, P]) release(have *T) {
	for _, ref := range k.refs(have) {
		delete(k.users[ref], P(have).Base().ID)
	}
}

// look gives a copy as the platform shows it.
func (k keeper[T, P]) look(r *row[T], now time.Time) T {
	have := r.Have
	if k.view != nil {
		k.view(&have)
	}
	m := P(&have).Base()
	switch {
	case !r.Gone.IsZero():
		m.State = driver.Leaving
	case now.Before(r.Ready):
		m.State = driver.Building
	default:
		m.State = driver.Ready
	}
	return have
}

// Delete removes one thing, unless another holds it.
func (k keeper[T, P]) Delete(ctx context.Context, id string) error {
	lost, err := k.p.gate(ctx, "delete", k.kind)
	if err != nil {
		return err
	}
	k.p.mu.Lock()
	defer k.p.mu.Unlock()
	now := k.p.sweep()
	r := k.rows[id]
	if r == nil || !r.Gone.IsZero() {
		return lost
	}
	for user, kind := range k.usersOf(id, P(&r.Have).Base().Native) {
		return fault.Conflict.Errorf("%s %s is in use by %s %s", k.kind, id, kind, user)
	}
	leave := time.Duration(k.p.config.Delays[k.kind].Leave)
	if leave == 0 {
		k.remove(id, r)
		return lost
	}
	r.Gone = now.Add(leave)
	k.p.leaving = append(k.p.leaving, leaver{r.Gone, func() { k.remove(id, r) }})
	k.p.record(k.owner, k.kind, id, r)
	return lost
}

// A leaver is a thing that is being removed.
type leaver struct {
	at     time.Time
	remove func()
}

// sweep removes the things whose time to leave is over.
func (p *Platform) sweep() time.Time {
	now := time.Now()
	p.leaving = slices.DeleteFunc(p.leaving, func(l leaver) bool {
		over := !now.Before(l.at)
		if over {
			l.remove()
		}
		return over
	})
	return now
}

func (k keeper[T, P]) remove(id string, r *row[T]) {
	if k.rows[id] != r {
		return
	}
	k.forget(id, r)
	delete(k.users, id)
	k.p.record(k.owner, k.kind, id, nil)
}

// forget takes a thing out of the table and gives back what it took.
func (k keeper[T, P]) forget(id string, r *row[T]) {
	k.release(&r.Have)
	if k.free != nil {
		k.free(&r.Have)
	}
	delete(k.rows, id)
	k.p.count[k.kind]--
}

// wire gives the account what it needs to know of a table whatever its type.
func wire[T any, P thing[T]](a *account, t *table[T]) *table[T] {
	k := keeper[T, P]{a, t}
	t.rows = map[string]*row[T]{}
	if t.refs == nil {
		t.refs = func(*T) []string { return nil }
	}
	t.raw, t.stray, t.take, t.native = k.restore, k.stray, k.take, k.native
	t.drop = func(id string) bool {
		r := t.rows[id]
		if r != nil {
			k.remove(id, r)
		}
		return r != nil
	}
	t.each = func(yield func(string, any) error) error {
		for id, r := range t.rows {
			if err := yield(id, r); err != nil {
				return err
			}
		}
		return nil
	}
	return t
}

// hasten brings forward what was put off by a clock that was ahead of ours: no
// delay is longer than it was configured to be.
func (k keeper[T, P]) hasten(r *row[T]) {
	now, d := time.Now(), k.p.config.Delays[k.kind]
	for at, most := range map[*time.Time]Duration{&r.Ready: max(d.Make, d.Change), &r.Seen: k.p.config.Late, &r.Gone: d.Leave} {
		if latest := now.Add(time.Duration(most)); at.After(latest) {
			*at = latest
		}
	}
}

func (k keeper[T, P]) restore(b json.RawMessage) error {
	r := new(row[T])
	if err := json.Unmarshal(b, r); err != nil {
		return err
	}
	k.hasten(r)
	id := P(&r.Have).Base().ID
	if old := k.rows[id]; old != nil && k.adopt == nil {
		k.release(&old.Have)
		k.p.count[k.kind]--
	} else if old != nil {
		k.forget(id, old)
	}
	k.p.count[k.kind]++
	k.rows[id] = r
	k.hold(&r.Have)
	if k.adopt != nil {
		k.adopt(&r.Have)
	}
	if !r.Gone.IsZero() {
		k.p.leaving = append(k.p.leaving, leaver{r.Gone, func() { k.remove(id, r) }})
	}
	return nil
}
