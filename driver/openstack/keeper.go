package openstack

import (
	"context"
	"iter"
	"net/http"
	"slices"
	"strings"
	"sync"
	"time"

	"github.com/gophercloud/gophercloud/v2/pagination"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// A thing is a pointer to one of the driver's types.
type thing[T any] interface {
	*T
	Base() *driver.Meta
}

// A keeper is a kind's three functions with what is the same for all around
// them: one call at a time for each id, and kinds of failure.
type keeper[T any, P thing[T]] struct {
	a      *account
	kind   string
	list   func(ctx context.Context) ([]T, error)
	ensure func(ctx context.Context, want T) (T, error)
	remove func(ctx context.Context, id string) error
}

// List yields all that carries our mark.
func (k keeper[T, P]) List(ctx context.Context) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		all, err := k.list(ctx)
		if err != nil {
			var none T
			yield(none, kindOf(err, "list "+k.kind+"s"))
			return
		}
		for _, t := range all {
			if !yield(t, nil) {
				return
			}
		}
	}
}

// Ensure takes one step. What a step needs and is not there may come yet, so
// that Missing is kept for what has been lost.
func (k keeper[T, P]) Ensure(ctx context.Context, want T) (T, error) {
	id := P(&want).Base().ID
	unlock, err := k.a.locks.take(ctx, k.kind+"/"+id)
	if err != nil {
		return want, err
	}
	defer unlock()
	have, err := k.ensure(ctx, want)
	if isCode(err, http.StatusNotFound) && fault.KindOf(err) == "" {
		err = fault.Conflict.Errorf("make %s %s: something that it needs is gone: %w", k.kind, id, kindOf(err, "ask"))
	}
	return have, kindOf(err, "make "+k.kind+" "+id)
}

// Delete orders the removal.
func (k keeper[T, P]) Delete(ctx context.Context, id string) error {
	unlock, err := k.a.locks.take(ctx, k.kind+"/"+id)
	if err != nil {
		return err
	}
	defer unlock()
	return kindOf(k.remove(ctx, id), "delete "+k.kind+" "+id)
}

// A record is what all natives have in common.
type record struct {
	native string
	mark   string
	made   time.Time
}

// A table is one kind of native thing.
type table[N any] struct {
	a      *account
	kind   string
	list   func(ctx context.Context, mark string) ([]N, error) // with this mark, or with any
	record func(*N) record
	drop   func(ctx context.Context, native string) error
}

// all returns our natives by id. If a call that was given up made a second one,
// doubled has the id; the elder counts.
func (t table[N]) all(ctx context.Context) (natives map[string]N, doubled map[string]bool, err error) {
	list, err := t.list(ctx, "")
	if err != nil {
		return nil, nil, err
	}
	natives, doubled = t.ours(list)
	return natives, doubled, nil
}

// ours picks from a list what is ours.
func (t table[N]) ours(list []N) (natives map[string]N, doubled map[string]bool) {
	t.sort(list)
	natives, doubled = map[string]N{}, map[string]bool{}
	for i := range list {
		id := t.a.idIn(t.record(&list[i]).mark, t.kind)
		if id == "" {
			continue
		}
		if _, two := natives[id]; two {
			doubled[id] = true
			continue
		}
		natives[id] = list[i]
	}
	return natives, doubled
}

// sort puts the elder first. Which one that is must not depend on who asks.
func (t table[N]) sort(list []N) {
	slices.SortFunc(list, func(x, y N) int {
		a, b := t.record(&x), t.record(&y)
		if c := a.made.Compare(b.made); c != 0 {
			return c
		}
		return strings.Compare(a.native, b.native)
	})
}

// find returns the native with an id, or nil.
func (t table[N]) find(ctx context.Context, id string) (*N, error) {
	all, err := t.some(ctx, id)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	return &all[0], nil
}

func (t table[N]) some(ctx context.Context, id string) ([]N, error) {
	mark := t.a.mark(t.kind, id)
	all, err := t.list(ctx, mark)
	if err != nil {
		return nil, err
	}
	all = slices.DeleteFunc(all, func(n N) bool { return t.record(&n).mark != mark })
	t.sort(all)
	return all, nil
}

// single is find, and drops the younger ones of many.
func (t table[N]) single(ctx context.Context, id string) (*N, error) {
	all, err := t.some(ctx, id)
	if err != nil || len(all) == 0 {
		return nil, err
	}
	for i := range all[1:] {
		if err := t.drop(ctx, t.record(&all[i+1]).native); unlessGone(err) != nil {
			return nil, err
		}
	}
	return &all[0], nil
}

// need gives the native id of what another thing refers to.
func (t table[N]) need(ctx context.Context, id string) (string, error) {
	n, err := t.find(ctx, id)
	if err != nil {
		return "", err
	}
	if n == nil {
		return "", fault.Conflict.Errorf("%s %s does not exist", t.kind, id)
	}
	return t.record(n).native, nil
}

// ids maps natives to ids.
func (t table[N]) ids(ctx context.Context) (map[string]string, error) {
	list, err := t.list(ctx, "")
	if err != nil {
		return nil, err
	}
	ids := map[string]string{}
	for i := range list {
		r := t.record(&list[i])
		if id := t.a.idIn(r.mark, t.kind); id != "" {
			ids[r.native] = id
		}
	}
	return ids, nil
}

// remove drops all that have the id.
func (t table[N]) remove(ctx context.Context, id string) error {
	all, err := t.some(ctx, id)
	if err != nil {
		return err
	}
	for i := range all {
		if err := t.drop(ctx, t.record(&all[i]).native); unlessGone(err) != nil {
			return err
		}
	}
	return nil
}

// doubt marks a thing of which there is another.
func doubt(m *driver.Meta, doubled bool) {
	if doubled {
		m.State, m.Detail = driver.Building, "a second one was made by a call whose answer was lost; it will be removed"
	}
}

// pages follows a list to its end.
func pages[N any](ctx context.Context, p pagination.Pager, extract func(pagination.Page) ([]N, error)) ([]N, error) {
	var all []N
	err := p.EachPage(ctx, func(_ context.Context, page pagination.Page) (bool, error) {
		some, err := extract(page)
		all = append(all, some...)
		return true, err
	})
	return all, err
}

// locks are taken by name. The zero value is ready for use.
type locks struct {
	mu    sync.Mutex
	taken map[string]chan struct{}
}

// take waits for the lock with this name, or for the caller to give up.
func (l *locks) take(ctx context.Context, name string) (unlock func(), err error) {
	for {
		if err := ctx.Err(); err != nil {
			return nil, err
		}
		l.mu.Lock()
		if l.taken == nil {
			l.taken = map[string]chan struct{}{}
		}
		held := l.taken[name]
		if held == nil {
			done := make(chan struct{})
			l.taken[name] = done
			l.mu.Unlock()
			return func() {
				l.mu.Lock()
				delete(l.taken, name)
				l.mu.Unlock()
				close(done)
			}, nil
		}
		l.mu.Unlock()
		select {
		case <-held:
		case <-ctx.Done():
			return nil, ctx.Err()
		}
	}
}
