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
	At    string // JSON pointer of it in what its author wrote
}

// MaxBatch is how many resources may be made at once.
const MaxBatch = 200

// CheckAll applies to resources that are to be made every rule that needs no look at others.
func CheckAll(writes []Write) error {
	_, err := prepareAll(writes)
	return err
}

func prepareAll(writes []Write) (drafts []*draft, err error) {
	if len(writes) > MaxBatch {
		return nil, fault.TooLarge.Errorf("at most %d resources can be made at once, not %d", MaxBatch, len(writes))
	}
	drafts = make([]*draft, len(writes))
	for i, w := range writes {
		if drafts[i], err = prepare(w.Kind, w.URN, w.Input, w.Env); err != nil {
			return nil, fault.Within(fmt.Errorf("%s: %w", w.URN.Resource(), err), w.At)
		}
		drafts[i].at = w.At
	}
	return drafts, nil
}

// Make makes resources in a transaction of the caller's, all or none, also at several
// hosts; what is there already is a Conflict. Containers come first, whatever
// the order is. announce is to be called once the transaction has committed.
func (s *Store) Make(ctx context.Context, tx *db.Tx, writes []Write) (made []*Resource, announce func(), err error) {
	drafts, err := prepareAll(writes)
	if err != nil {
		return nil, nil, err
	}
	slices.SortStableFunc(drafts, func(a, b *draft) int {
		return cmp.Compare(slices.Index(kinds, a.kind), slices.Index(kinds, b.kind))
	})
	sites := make([]site, len(drafts))
	for i, d := range drafts {
		sites[i] = d.site
	}
	at, err := lockSites(ctx, tx, sites)
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
			return nil, nil, fault.Within(fmt.Errorf("%s: %w", d.urn.Resource(), err), d.at)
		}
		made = append(made, r)
	}
	return made, s.announcement(at, made), nil
}

func (s *Store) announcement(at map[site]revision, changed []*Resource) func() {
	return func() {
		for where, rev := range at {
			s.wake(where.host, rev.wanted)
		}
		s.touchedBy(changed)
	}
}

// Unmake deletes workspaces of a region with all that is in them, in a transaction of the caller's, all or none.
// What is used from outside of them is a Conflict. announce is to be called once it has committed.
func (s *Store) Unmake(ctx context.Context, tx *db.Tx, region, tenant string, workspaces []string) (announce func(), err error) {
	sites, err := sitesOf(ctx, tx, region, tenant, workspaces)
	if err != nil {
		return nil, err
	}
	at, err := lockSites(ctx, tx, sites)
	if err != nil {
		return nil, err
	}
	all, err := db.All(ctx, tx, scan, `SELECT `+columns+` FROM resource WHERE region = $1 AND tenant = $2 AND gone_at IS NULL
		AND (workspace <> '' OR kind = 'workspace')`, region, tenant)
	if err != nil {
		return nil, err
	}
	inside := func(r *Resource) bool {
		return slices.Contains(workspaces, cmp.Or(r.URN.Workspace, r.URN.Name))
	}
	slices.SortStableFunc(all, func(a, b *Resource) int { // contents before containers
		return cmp.Compare(slices.Index(kinds, b.Kind), slices.Index(kinds, a.Kind))
	})
	outside := slices.DeleteFunc(slices.Clone(all), inside)
	now := time.Now().UTC().Truncate(time.Microsecond)
	var changed []*Resource
	for _, r := range all {
		if !inside(r) || r.Leaving() {
			continue
		}
		if err := blocked(r, outside); err != nil {
			return nil, err
		}
		near := slices.DeleteFunc(slices.Clone(all), func(n *Resource) bool { return n == r || !n.GoneAt.IsZero() })
		if err := r.remove(ctx, tx, near, at[r.site()], now); err != nil {
			return nil, err
		}
		changed = append(changed, r)
	}
	return s.announcement(at, changed), nil
}

// sitesOf are those of workspaces. Whether they are still there is to be seen once they are locked.
func sitesOf(ctx context.Context, tx *db.Tx, region, tenant string, workspaces []string) ([]site, error) {
	all, err := db.All(ctx, tx, scan, `SELECT `+columns+` FROM resource WHERE region = $1 AND tenant = $2 AND workspace = '' AND kind = 'workspace' AND gone_at IS NULL`, region, tenant)
	var sites []site
	for _, r := range all {
		if slices.Contains(workspaces, r.URN.Name) {
			sites = append(sites, r.site())
		}
	}
	return sites, err
}

// lockSites takes the locks of sites: hosts first, then those of owners with quotas, then feeds,
// each kind in the order of its names, as everybody does.
func lockSites(ctx context.Context, tx *db.Tx, sites []site) (map[site]revision, error) {
	at := map[site]revision{}
	hosts, owners, feeds := map[string]int64{}, map[string]bool{}, map[string]int64{}
	for _, w := range sites {
		at[w] = revision{}
		hosts[w.host] = 0
		if w.counted {
			owners[w.tenant] = false
		}
		if w.region != w.host {
			feeds[w.feed()] = 0
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
