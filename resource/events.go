package resource

import (
	"cmp"
	"context"
	"slices"
	"strings"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/urn"
)

// topicEvents has hints of the form "region tenant": something of the tenant
// changed there.
const topicEvents = "events"

// touched wakes those who follow what happens to resources of these tenants,
// here and in other processes, where it can wait for a second.
func (s *Store) touched(region string, tenants ...string) {
	bus := s.db.Bus()
	for _, tenant := range tenants {
		s.events.wakeKnown(region + " " + tenant)
		if bus.Peers() > 0 {
			bus.Mention(topicEvents, region+" "+tenant)
		}
	}
}

func (s *Store) hearEvents(_ context.Context, hint string) { s.events.wakeKnown(hint) }

// wakeKnown wakes those who wait for a key, if there ever were any.
func (w *watch) wakeKnown(key string) {
	w.mu.Lock()
	_, known := w.region[key]
	w.mu.Unlock()
	if known {
		w.wake(key, 0)
	}
}

// Touched returns a channel that closes when something of a tenant changes in a
// region. It is a hint: among several processes one may get lost.
func (s *Store) Touched(region, tenant string) <-chan struct{} {
	_, touched := s.events.after(region + " " + tenant)
	return touched
}

// Newest returns the revision up to which a region shows what happened to a tenant's resources; 0 if nothing did.
func (s *Store) Newest(ctx context.Context, region, tenant string) (int64, error) {
	return db.One(ctx, s.db, db.Scan[int64], `SELECT COALESCE(MAX(revision), 0) FROM feed WHERE region IN ($1, $2)`, region, ShownFeed(region, tenant))
}

// Since returns the resources of a tenant, or of one of its workspaces, that
// changed in a region after a revision, as they are now, in the order of their
// last change; gone ones are among them, unless since is 0. They are at most
// limit, but never cut between things of one revision. The caller goes on
// after the revision that it returns, at once if there is more.
//
// It reads the tenant's live resources, so callers leave pauses.
func (s *Store) Since(ctx context.Context, region, tenant, workspace string, since int64, limit int) (all []*Resource, next int64, more bool, err error) {
	head, err := s.Newest(ctx, region, tenant) // before the rest: what comes between is read, too
	if err != nil || head <= since {
		return nil, since, false, err
	}
	all, err = db.All(ctx, s.db, scan, `
		SELECT `+columns+` FROM resource WHERE region = $1 AND tenant = $2 AND revision > $3 AND gone_at IS NULL
		UNION ALL SELECT `+columns+` FROM resource WHERE $3 > 0 AND region = $1 AND tenant = $2 AND gone_revision > $3`,
		region, tenant, since)
	if err != nil {
		return nil, since, false, err
	}
	if workspace != "" {
		all = slices.DeleteFunc(all, func(r *Resource) bool { return r.Workspace() != workspace })
	}
	slices.SortFunc(all, func(a, b *Resource) int {
		return cmp.Or(cmp.Compare(a.Revision, b.Revision), strings.Compare(a.URN.String(), b.URN.String()))
	})
	if len(all) > 0 {
		head = max(head, all[len(all)-1].Revision)
	}
	if len(all) > limit {
		cut := limit
		for cut < len(all) && all[cut].Revision == all[cut-1].Revision {
			cut++
		}
		if cut < len(all) {
			return all[:cut], all[cut-1].Revision, true, nil
		}
	}
	return all, head, false, nil
}

var workspaces, _ = KindNamed("workspace")

// Workspace is the workspace that r is in, or is; "" for what is in none.
func (r *Resource) Workspace() string {
	if r.Kind == workspaces {
		return r.URN.Name
	}
	return r.URN.Workspace
}

// InPermissions spells a resource as permissions do, without its workspace.
func (k *Kind) InPermissions(u urn.URN) string {
	if k.Scope == Network {
		return "networks/" + u.Network + "/" + k.Collection + "/" + u.Name
	}
	return k.Collection + "/" + u.Name
}
