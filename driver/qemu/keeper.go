package qemu

import (
	"context"
	"errors"
	"iter"
	"reflect"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// A keeper looks after a kind that consists of its record alone. What such
// things mean to packets is compiled into their networks whenever one changes.
type keeper[T any, P kept[T]] struct {
	shelf shelf[T, P]

	// admit checks what is wanted against have, which is nil for a new thing,
	// and returns the record to write: want with what this host decides.
	admit func(have *T, want T) (T, error)

	// look completes a thing by what can be seen of it now. May be nil.
	look func(T) T

	// users names what would break without the thing. May be nil.
	users func(T) ([]string, error)

	// gone releases what admit took for the thing. May be nil.
	gone func(T) error

	// networks names those whose packets the thing has to do with.
	networks func(T) ([]string, error)
}

// List yields what the records say.
func (k keeper[T, P]) List(ctx context.Context) iter.Seq2[T, error] {
	return func(yield func(T, error) bool) {
		things, err := k.shelf.all()
		each(ctx, things, err, k.see, yield)
	}
}

// each yields things as they are seen, and stops at an error or when ctx ends.
func each[T any](ctx context.Context, things []T, err error, see func(T) T, yield func(T, error) bool) {
	var none T
	if err != nil {
		yield(none, fault.Unavailable.Errorf("read records: %w", err))
		return
	}
	for _, thing := range things {
		if ctx.Err() != nil {
			break
		}
		if !yield(see(thing), nil) {
			return
		}
	}
	if err := ctx.Err(); err != nil {
		yield(none, err)
	}
}

func (k keeper[T, P]) see(thing T) T {
	if k.look == nil {
		return thing
	}
	return k.look(thing)
}

// Ensure writes the record and brings the networks in line with it.
func (k keeper[T, P]) Ensure(ctx context.Context, want T) (T, error) {
	unlock, err := k.shelf.host.lock(ctx)
	if err != nil {
		return want, err
	}
	defer unlock()
	id := P(&want).Base().ID
	affected, err := k.record(id, want)
	if err != nil {
		return want, err
	}
	have, err := k.shelf.get(id)
	if err != nil {
		return want, err
	}
	more, err := k.networks(have)
	if err != nil {
		return want, err
	}
	if err := k.shelf.host.applyNetworks(ctx, append(affected, more...)); err != nil {
		return want, err
	}
	return k.see(have), nil
}

// record writes want where it differs from what is there, and returns the
// networks of what was there before.
func (k keeper[T, P]) record(id string, want T) ([]string, error) {
	have, err := k.shelf.get(id)
	if errors.Is(err, fault.Missing) {
		if P(&want).Base().Lived {
			return nil, fault.Missing.Errorf("%s was there, and is gone: %w", id, err)
		}
		next, err := k.admit(nil, want)
		if err != nil {
			return nil, err
		}
		return nil, k.shelf.create(next, nil)
	}
	if err != nil {
		return nil, err
	}
	next, err := k.admit(&have, want)
	if err != nil {
		return nil, err
	}
	inherit(P(&next).Base(), P(&have).Base())
	if reflect.DeepEqual(next, have) {
		return nil, nil
	}
	affected, err := k.networks(have)
	if err != nil {
		return nil, err
	}
	return affected, k.shelf.put(next)
}

// inherit keeps what is observed of a thing, and what a caller left out.
func inherit(next, have *driver.Meta) {
	next.State, next.Detail, next.Native = have.State, have.Detail, have.Native
	if next.Name == "" {
		next.Name = have.Name
	}
	if next.URN == "" {
		next.URN = have.URN
	}
	next.Attempt, next.Lived = max(next.Attempt, have.Attempt), false
}

// Delete removes the thing, unless another one needs it: then it is a fault.Conflict.
func (k keeper[T, P]) Delete(ctx context.Context, id string) error {
	unlock, err := k.shelf.host.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	have, err := k.shelf.get(id)
	if errors.Is(err, fault.Missing) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := k.unused(id, have); err != nil {
		return err
	}
	affected, err := k.networks(have)
	if err != nil {
		return err
	}
	if err := k.shelf.remove(id); err != nil {
		return err
	}
	if k.gone != nil {
		if err := k.gone(have); err != nil {
			return err
		}
	}
	return k.shelf.host.applyNetworks(ctx, affected)
}

func (k keeper[T, P]) unused(id string, have T) error {
	if k.users == nil {
		return nil
	}
	users, err := k.users(have)
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return fault.Conflict.Errorf("%s %s is used by %s", k.shelf.kind, id, users[0])
	}
	return nil
}
