package resource

import (
	"context"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/urn"
)

// A site is where a change is made: the region that names things, and the one whose
// agent keeps them. They differ if the first is virtual.
type site struct {
	region, host, tenant string
	counted              bool // the tenant may get more by it
}

func (e Env) site(k *Kind, tenant string) site {
	if k != nil && k.Global {
		return site{}
	}
	return site{region: e.Region, host: e.host(), tenant: tenant}
}

// A revision is the place of a change in the feed that an agent follows, and in that
// by which a region shows what happened.
type revision struct {
	wanted, shown int64
	bounded       bool // the tenant has quotas, and they are locked
}

// next takes the locks under which revisions commit in order: the host's first.
func (w site) next(ctx context.Context, tx *db.Tx) (at revision, err error) {
	if w.counted {
		at, err = nextCounted(ctx, tx, w.host, w.tenant)
	} else {
		at.wanted, err = next(ctx, tx, w.host)
	}
	if err != nil || w.region == w.host {
		at.shown = at.wanted
		return at, err
	}
	at.shown, err = next(ctx, tx, w.feed())
	return at, err
}

// feed names that by which the region shows what happened.
func (w site) feed() string {
	if w.region == w.host {
		return w.region
	}
	return ShownFeed(w.region, w.tenant)
}

// ShownFeed names the feed of a tenant in a virtual region, so that tenants do not wait for each other.
func ShownFeed(region, tenant string) string { return region + " " + tenant }

// ownerFeed names the lock under which what a tenant has is counted. Agents follow no feed with a space.
func ownerFeed(tenant string) string { return ShownFeed("", tenant) }

// holds refuses a resource that has come to another host since its place was looked up.
func (w site) holds(r *Resource) error {
	if r.Host != w.host {
		return fault.Stale.Errorf("%s is in region %s now; try again", r.URN.Resource(), r.Host)
	}
	return nil
}

// HostOf returns the region whose agent keeps a live resource.
func (s *Store) HostOf(ctx context.Context, region string, u urn.URN) (string, error) {
	host, err := db.One(ctx, s.db, db.Scan[string], `SELECT `+kept+` FROM resource WHERE region = $1 AND urn = $2 AND gone_at IS NULL`, region, u.String())
	if fault.KindOf(err) == fault.Missing {
		return "", missing(u)
	}
	return host, err
}

// nextCounted is next, and takes the lock under which what a tenant has is counted, if it has
// quotas. So who has none pays nothing for them.
func nextCounted(ctx context.Context, tx *db.Tx, region, tenant string) (at revision, err error) {
	_, err = db.All(ctx, tx, func(scan func(...any) error) (struct{}, error) {
		var feed string
		var n int64
		err := scan(&feed, &n)
		if feed == region {
			at.wanted = n
		} else {
			at.bounded = true
		}
		return struct{}{}, err
	}, `INSERT INTO feed (region, revision)
		SELECT CAST($1 AS TEXT), 1 UNION ALL SELECT CAST($2 AS TEXT), 1 WHERE EXISTS (SELECT 1 FROM quota WHERE tenant = $3)
		ON CONFLICT (region) DO UPDATE SET revision = feed.revision + 1 RETURNING region, revision`, region, ownerFeed(tenant), tenant)
	return at, err
}

// bounded takes the lock under which what a tenant has is counted, if it has quotas.
func bounded(ctx context.Context, tx *db.Tx, tenant string) (bool, error) {
	locked, err := db.All(ctx, tx, db.Scan[int64], `INSERT INTO feed (region, revision)
		SELECT CAST($1 AS TEXT), 1 WHERE EXISTS (SELECT 1 FROM quota WHERE tenant = $2)
		ON CONFLICT (region) DO UPDATE SET revision = feed.revision + 1 RETURNING revision`, ownerFeed(tenant), tenant)
	return len(locked) > 0, err
}

// next takes the lock under which the revisions of a feed commit in order.
func next(ctx context.Context, tx *db.Tx, region string) (int64, error) {
	return db.One(ctx, tx, db.Scan[int64], `INSERT INTO feed (region, revision) VALUES ($1, 1)
		ON CONFLICT (region) DO UPDATE SET revision = feed.revision + 1 RETURNING revision`, region)
}
