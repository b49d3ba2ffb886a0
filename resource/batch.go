package resource

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/urn"
)

// A Write is a resource to be made.
type Write struct {
	Kind  *Kind
	URN   urn.URN
	Input Input
	Env   Env
}

// MaxBatch is how many resources may be made at once.
const MaxBatch = 200

// Make makes resources in a transaction of the caller's, all or none, also at several
// hosts; what is there already is a Conflict. Containers come first, whatever
// the order is. announce is to be called once the transaction has committed.
func (s *Store) Make(ctx context.Context, tx *db.Tx, writes []Write) (made []*Resource, announce func(), err error) {
	if len(writes) > MaxBatch {
		return nil, nil, fault.TooLarge.Errorf("at most %d resources can be made at once, not %d", MaxBatch, len(writes))
	}
	drafts := make([]*draft, len(writes))
	for i, w := range writes {
		if drafts[i], err = prepare(w.Kind, w.URN, w.Input, w.Env); err != nil {
			return nil, nil, fmt.Errorf("%s: %w", w.URN.Resource(), err)
		}
	}
	slices.SortStableFunc(drafts, func(a, b *draft) int {
		return cmp.Compare(slices.Index(kinds, a.kind), slices.Index(kinds, b.kind))
	})
	at, err := allSites(ctx, tx, drafts)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now().UTC().Truncate(time.Microsecond)
	for _, d := range drafts {
		r, created, err := d.put(ctx, tx, at[d.site], nil, now)
		if err == nil && !created {
			err = fault.Conflict.Errorf("it is there already; choose another name")
		}
		if err != nil {
			return nil, nil, fmt.Errorf("%s: %w", d.urn.Resource(), err)
		}
		made = append(made, r)
	}
	return made, func() {
		for where, rev := range at {
			s.wake(where.host, rev.wanted)
		}
		s.touchedBy(made)
	}, nil
}

// allSites takes the locks of all sites: hosts first, then those of owners with quotas, then feeds,
// each kind in the order of its names, as everybody does.
func allSites(ctx context.Context, tx *db.Tx, drafts []*draft) (map[site]revision, error) {
	at := map[site]revision{}
	hosts, owners, feeds := map[string]int64{}, map[string]bool{}, map[string]int64{}
	for _, d := range drafts {
		at[d.site] = revision{}
		hosts[d.site.host], owners[d.site.tenant] = 0, false
		if d.site.region != d.site.host {
			feeds[d.site.feed()] = 0
		}
	}
	if err := errors.Join(
		lockAll(hosts, func(host string) (int64, error) { return next(ctx, tx, host) }),
		lockAll(owners, func(tenant string) (bool, error) { return bounded(ctx, tx, tenant) }),
		lockAll(feeds, func(feed string) (int64, error) { return next(ctx, tx, feed) }),
	); err != nil {
		return nil, err
	}
	for w := range at {
		rev := revision{wanted: hosts[w.host], shown: hosts[w.host], bounded: owners[w.tenant]}
		if w.region != w.host {
			rev.shown = feeds[w.feed()]
		}
		at[w] = rev
	}
	return at, nil
}

// lockAll has lock called for each name, in order.
func lockAll[T any](names map[string]T, lock func(string) (T, error)) (err error) {
	for _, name := range slices.Sorted(maps.Keys(names)) {
		if names[name], err = lock(name); err != nil {
			return err
		}
	}
	return nil
}
