package resource

import (
	"context"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/failpoint"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/urn"
)

// An Import is a resource to be that stands for a thing which others have made
// on the platform.
type Import struct {
	Kind   *Kind
	URN    urn.URN
	Spec   []byte
	Native string     // the platform's id of the thing
	Power  seca.Power // of an instance, as it is
}

// MaxImport is how many things may be imported at once.
const MaxImport = 200

// Import creates resources for things that are there already, all or none. They
// must be of one tenant, and come in an order in which each refers to earlier ones. The agent adopts
// the things; nothing is ever made in their place. A name that is taken, or a
// thing that has been imported before, is a Conflict.
func (s *Store) Import(ctx context.Context, all []Import, env Env) error {
	drafts := make([]*draft, len(all))
	for i, m := range all {
		d, err := prepare(m.Kind, m.URN, Input{Spec: m.Spec}, env)
		if err != nil {
			return fault.Invalid.Errorf("import %s: %w", m.URN.Resource(), err)
		}
		d.native, d.power = m.Native, m.Power
		drafts[i] = d
	}
	var owner string // all have one
	for _, m := range all {
		owner = m.URN.Tenant
	}
	where := env.site(nil, owner)
	where.counted = true
	err := s.write(ctx, where, func(ctx context.Context, tx *db.Tx, at revision, now time.Time) error {
		before, err := imported(ctx, tx, env.Region)
		if err != nil {
			return err
		}
		for _, d := range drafts {
			if was := before[Native{d.kind.Name, d.native}]; was != nil {
				return fault.Conflict.Errorf("%s %s has been imported as %s", d.kind.Name, d.native, was.URN)
			}
			r, created, err := d.put(ctx, tx, at, nil, now)
			if err != nil {
				return err
			}
			if !created {
				return fault.Conflict.Errorf("%s exists already", d.urn.Resource())
			}
			before[Native{d.kind.Name, d.native}] = r
		}
		failpoint.Here(failpoint.ImportWritten)
		return nil
	})
	failpoint.Here(failpoint.ImportDone)
	for _, m := range all {
		s.touched(env.Region, m.URN.Tenant)
	}
	return err
}

// A Native names a thing by what the platform calls it.
type Native struct{ Kind, ID string }

// Imported returns the live resources of a region that stand for things which
// others had made.
func (s *Store) Imported(ctx context.Context, region string) (map[Native]*Resource, error) {
	return imported(ctx, s.db, region)
}

func imported(ctx context.Context, q db.Querier, region string) (map[Native]*Resource, error) {
	all, err := db.All(ctx, q, scan, `SELECT `+columns+` FROM resource
		WHERE `+kept+` = $1 AND gone_at IS NULL AND observed LIKE '%"imported":"%'`, region)
	by := make(map[Native]*Resource, len(all))
	for _, r := range all {
		if r.Observed.Imported != "" {
			by[Native{r.Kind.Name, r.Observed.Imported}] = r
		}
	}
	return by, err
}
