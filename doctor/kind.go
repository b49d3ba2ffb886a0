package doctor

import (
	"context"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"golang.org/x/time/rate"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// A kind is what can be done with things of one kind whatever they are.
type kind struct {
	name   string
	list   func(context.Context) ([]driver.Meta, error) // nil: the platform has no such thing
	remove func(ctx context.Context, id string) error
}

// A thing is a pointer to one of the driver's types.
type thing[T any] interface {
	*T
	Base() *driver.Meta
	Satisfies(T) bool
}

// kindsOf lists the kinds in the order in which things need one another.
func kindsOf(c *driver.Cloud) []kind {
	return []kind{
		kindOf("network", c.Networks), kindOf("gateway", c.Gateways), kindOf("route-table", c.RouteTables),
		kindOf("subnet", c.Subnets), kindOf("security-group", c.SecurityGroups), kindOf("public-ip", c.PublicIPs),
		kindOf("nic", c.NICs), kindOf("image", c.Images), kindOf("volume", c.Volumes), kindOf("instance", c.Instances),
	}
}

func kindOf[T any, P thing[T]](name string, k driver.Keeper[T]) kind {
	if k == nil {
		return kind{name: name}
	}
	list := func(ctx context.Context) (all []driver.Meta, err error) {
		for t, err := range k.List(ctx) {
			if err != nil {
				return nil, err
			}
			all = append(all, *P(&t).Base())
		}
		return all, nil
	}
	return kind{name, list, k.Delete}
}

// settle asks for a thing until it is ready and as wanted. What may pass is
// tried again for a while.
func settle[T any, P thing[T]](ctx context.Context, x *examination, k driver.Keeper[T], want T) (have T, err error) {
	ctx, stop := context.WithTimeout(ctx, x.Patience)
	defer stop()
	var now error         // how it is
	var trouble time.Time // since when calls have failed
	for {
		have, err = ensure(ctx, x, k, want)
		m := P(&have).Base()
		switch {
		case err != nil && final(err):
			return have, err
		case err != nil:
			if trouble.IsZero() {
				trouble = time.Now()
			}
			now = err
		case m.State == driver.Failed:
			return have, fault.Unavailable.Errorf("the platform made it and calls it failed: %s", m.Detail)
		case m.State == driver.Ready && P(&have).Satisfies(want):
			return have, nil
		default:
			now, trouble = fault.Unavailable.Errorf("it is %s: %s", m.State, m.Detail), time.Time{}
		}
		if !trouble.IsZero() && time.Since(trouble) > x.Patience/5 || !pause(ctx, max(x.Step, fault.After(err))) {
			return have, fmt.Errorf("gave up waiting: %w", now)
		}
	}
}

// ensure is one call. An answer that never comes is an error like others.
func ensure[T any](ctx context.Context, x *examination, k driver.Keeper[T], want T) (T, error) {
	ctx, stop := context.WithTimeout(ctx, x.Patience/5)
	defer stop()
	if err := x.limit.Wait(ctx); err != nil {
		return want, err
	}
	return k.Ensure(ctx, want)
}

// final tells errors that stay from those that may pass.
func final(err error) bool {
	k := fault.KindOf(err)
	return k != "" && k != fault.Unavailable && k != fault.Conflict && k != fault.Stale
}

// pause waits, and reports false when ctx ends first.
func pause(ctx context.Context, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
		return true
	case <-ctx.Done():
		return false
	}
}

// A sweep removes all that the owner has on a platform, what needs others first.
type sweep struct {
	region string
	kinds  []kind
	step   time.Duration
	limit  *rate.Limiter
}

// run ends without error when every list has come, and is empty.
func (s sweep) run(ctx context.Context) error {
	for {
		left, err := s.round(ctx)
		if err == nil && len(left) == 0 {
			return nil
		}
		if !pause(ctx, s.step) {
			return remedied{
				fault.Conflict.Errorf("%s of owner %s/%s still there: %w", strings.Join(left, ", "), Exchange, s.region, errors.Join(err, ctx.Err())),
				"run this again, or remove it at the platform's console",
			}
		}
	}
}

// round asks for the removal of everything, and tells what is there still.
func (s sweep) round(ctx context.Context) (left []string, failed error) {
	for _, k := range slices.Backward(s.kinds) {
		if k.list == nil {
			continue
		}
		there, err := s.clear(ctx, k)
		left, failed = append(left, there...), errors.Join(failed, err)
	}
	return left, failed
}

// clear removes the things of a kind: those that are listed, and those that we
// may have made and that lists do not show yet.
func (s sweep) clear(ctx context.Context, k kind) (left []string, failed error) {
	ids := s.ids(k.name)
	if err := s.limit.Wait(ctx); err != nil {
		return nil, err
	}
	things, err := k.list(ctx)
	if err != nil {
		failed = fmt.Errorf("list %ss: %w", k.name, err)
	}
	for _, m := range things {
		left = append(left, strings.TrimSpace(k.name+" "+m.Native))
		if !slices.Contains(ids, m.ID) {
			ids = append(ids, m.ID)
		}
	}
	for _, id := range ids {
		if err := errors.Join(s.limit.Wait(ctx), k.remove(ctx, id)); err != nil {
			failed = errors.Join(failed, fmt.Errorf("delete %s %s: %w", k.name, id, err))
		}
	}
	return left, failed
}

// ids are those that a run gives to its things.
func (s sweep) ids(kind string) []string {
	if kind == "volume" {
		return []string{idOf(s.region, bootVolume), idOf(s.region, dataVolume)}
	}
	return []string{idOf(s.region, kind)}
}

func idOf(region, what string) string { return region + "-" + what }
