package resource

import (
	"context"
	"time"

	"github.com/kontor-cloud/kontor/audit"
	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/urn"
	"github.com/kontor-cloud/kontor/wire"
)

// A Found is a resource whose row was lost, as the platform still shows it.
type Found struct {
	ID       string // as before
	Kind     *Kind
	URN      urn.URN
	Spec     []byte
	Native   string
	Power    seca.Power // of an instance, as it is
	Restarts int64      // likewise
}

// Recover writes the row of a thing again, and reports whether it was not
// there. It is pending until its agent has seen it, and counts as having
// lived: if it is missing, it was lost. What it refers to may be recovered
// later. A name that another has is a Conflict.
func (s *Store) Recover(ctx context.Context, f Found, env Env) (written bool, err error) {
	d, err := prepare(f.Kind, f.URN, Input{Spec: f.Spec}, env)
	if err != nil {
		return false, err
	}
	err = s.write(ctx, d.site, func(ctx context.Context, tx *db.Tx, at revision, now time.Time) error {
		written = false
		known, err := db.One(ctx, tx, db.Scan[int], `SELECT count(*) FROM resource WHERE id = $1`, f.ID)
		if err != nil || known > 0 {
			return err
		}
		by, err := load(ctx, tx, env.Region, []string{f.URN.String()})
		if err != nil {
			return err
		}
		if other := by[f.URN.String()]; other != nil {
			return fault.Conflict.Errorf("%s is there with the id %s", f.URN, other.ID)
		}
		r := &Resource{ID: f.ID, Kind: f.Kind, Region: env.Region, Host: env.Region, URN: f.URN, Power: f.Power, Restarts: f.Restarts, CreatedAt: now}
		r.Observed = Observed{Presence: wire.Unknown, Native: f.Native, Lived: true}
		if err := d.fill(r); err != nil {
			return err
		}
		r.accept(now)
		r.touch(at, now)
		r.want(ctx, at)
		written = true
		r.note(ctx, nil, audit.Change{Action: "recover", Status: 201})
		return insert(ctx, tx, r)
	})
	return written, err
}
