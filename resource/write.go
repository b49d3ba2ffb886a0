package resource

import (
	"context"
	"encoding/json"
	"time"

	"github.com/kontor-cloud/kontor/audit"
	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/failpoint"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/urn"
)

// An Input is what an author writes.
type Input struct {
	Labels      map[string]string
	Annotations map[string]string
	Extensions  map[string]string
	Spec        json.RawMessage
}

// Put creates or replaces the resource named u. It returns what is now wanted
// and whether it is new. ifVersion, unless nil, is the version that the author
// has seen. The answer to an update still shows the state before it: clients
// take "active" for accepted, and find "updating" when they look again.
func (s *Store) Put(ctx context.Context, k *Kind, u urn.URN, in Input, ifVersion *int64, env Env) (r *Resource, created bool, err error) {
	d, err := prepare(k, u, in, env)
	if err != nil {
		return nil, false, err
	}
	err = s.write(ctx, d.site, func(ctx context.Context, tx *db.Tx, at revision, now time.Time) error {
		r, created, err = d.put(ctx, tx, at, ifVersion, now)
		failpoint.Here(failpoint.PutWritten)
		return err
	})
	failpoint.Here(failpoint.PutAnnounced)
	if err == nil {
		s.touched(env.Region, u.Tenant)
	}
	return r, created, err
}

// write runs fn with the next revision of a site, and wakes who follows.
func (s *Store) write(ctx context.Context, where site, fn func(context.Context, *db.Tx, revision, time.Time) error) error {
	if s.Trace != nil {
		ctx = context.WithValue(ctx, traceKey{}, s.Trace(ctx))
	}
	var at revision
	err := s.db.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
		var err error
		if at, err = where.next(ctx, tx); err != nil {
			return err
		}
		return fn(ctx, tx, at, time.Now().UTC().Truncate(time.Microsecond))
	})
	if err == nil {
		failpoint.Here(failpoint.PutCommitted)
		s.wake(where.host, at.wanted)
	}
	return err
}

// Act applies a power action (start, stop, restart).
func (s *Store) Act(ctx context.Context, k *Kind, u urn.URN, action string, ifVersion *int64, env Env) error {
	where := env.site(k, u.Tenant)
	err := s.write(ctx, where, func(ctx context.Context, tx *db.Tx, at revision, now time.Time) error {
		r, err := one(ctx, tx, where, u, ifVersion)
		if err != nil {
			return err
		}
		failpoint.Here(failpoint.ActRead)
		version, before := r.Version, r.document(ctx)
		if err := r.act(action, now); err != nil {
			return err
		}
		r.note(ctx, before, audit.Change{})
		r.touch(at, now)
		r.want(ctx, at)
		return update(ctx, tx, r, version)
	})
	if err == nil {
		s.touched(where.region, u.Tenant)
	}
	return err
}

func one(ctx context.Context, tx *db.Tx, where site, u urn.URN, ifVersion *int64) (*Resource, error) {
	by, err := load(ctx, tx, where.region, []string{u.String()})
	if err != nil {
		return nil, err
	}
	r := by[u.String()]
	if r == nil {
		return nil, missing(u)
	}
	if ifVersion != nil && *ifVersion != r.Version {
		return nil, fault.Stale.Errorf("%s is at version %d, not %d; read it again", u.Resource(), r.Version, *ifVersion)
	}
	return r, where.holds(r)
}
