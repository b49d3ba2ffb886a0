package provider

import (
	"context"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/wire"
)

// An Orphan is a thing on a platform that carries our exchange's id and that
// the exchange does not know. It stays until somebody approves its removal.
type Orphan struct {
	wire.Orphan
	Region     string    `json:"region"`
	FirstSeen  time.Time `json:"firstSeen"`
	LastSeen   time.Time `json:"lastSeen"` // to about a minute
	ApprovedAt time.Time `json:"approvedAt,omitzero"`
}

const (
	maxOrphans    = 10_000      // of a region
	maxOrphanText = 512         // bytes of each field
	orphanSeenAt  = time.Minute // how exact LastSeen is
)

// ReportOrphans takes the whole list of a region's orphans: what is not in it
// is gone and forgotten, with its approval. It returns the ids whose removal
// was approved. A list that is no news costs one query and no write.
func (s *Store) ReportOrphans(ctx context.Context, region string, list []wire.Orphan) (approved []string, err error) {
	if len(list) > maxOrphans {
		return nil, fault.TooLarge.Errorf("more than %d orphans", maxOrphans)
	}
	reported := make(map[string]wire.Orphan, len(list))
	for _, o := range list {
		if o.ID == "" || max(len(o.ID), len(o.Kind), len(o.Name), len(o.Native)) > maxOrphanText {
			return nil, fault.Invalid.Errorf("an orphan has no id, or a field of more than %d bytes", maxOrphanText)
		}
		reported[o.ID] = o
	}
	known, err := s.Orphans(ctx, region)
	if err != nil {
		return nil, err
	}
	now := time.Now()
	var gone []string
	for _, k := range known {
		o, still := reported[k.ID]
		switch {
		case !still:
			gone = append(gone, k.ID)
		case o == k.Orphan && now.Sub(k.LastSeen) < orphanSeenAt:
			delete(reported, k.ID)
		}
		if still && !k.ApprovedAt.IsZero() {
			approved = append(approved, k.ID)
		}
	}
	return approved, s.saveOrphans(ctx, region, reported, gone, now)
}

func (s *Store) saveOrphans(ctx context.Context, region string, news map[string]wire.Orphan, gone []string, now time.Time) error {
	if len(news) == 0 && len(gone) == 0 {
		return nil
	}
	return s.DB.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := lockRegion(ctx, tx, region); err != nil {
			return err
		}
		for _, id := range gone {
			if _, err := db.Exec(ctx, tx, `DELETE FROM orphan WHERE region = $1 AND id = $2`, region, id); err != nil {
				return err
			}
		}
		for _, o := range news {
			_, err := db.Exec(ctx, tx, `
				INSERT INTO orphan (region, id, kind, name, native, first_seen, last_seen, approved_at)
				VALUES ($1, $2, $3, $4, $5, $6, $6, 0)
				ON CONFLICT (region, id) DO UPDATE SET kind = excluded.kind, name = excluded.name,
					native = excluded.native, last_seen = excluded.last_seen`,
				region, o.ID, o.Kind, o.Name, o.Native, db.Micros(now))
			if err != nil {
				return err
			}
		}
		return nil
	})
}

// Orphans lists the orphans of a region, or of all regions if it is "".
func (s *Store) Orphans(ctx context.Context, region string) ([]Orphan, error) {
	return db.All(ctx, s.DB, scanOrphan, `
		SELECT region, id, kind, name, native, first_seen, last_seen, approved_at
		FROM orphan WHERE region = $1 OR $1 = '' ORDER BY region, first_seen, id`, region)
}

func scanOrphan(scan func(...any) error) (o Orphan, err error) {
	var first, last, approved int64
	err = scan(&o.Region, &o.ID, &o.Kind, &o.Name, &o.Native, &first, &last, &approved)
	o.FirstSeen, o.LastSeen, o.ApprovedAt = db.Time(first), db.Time(last), db.Time(approved)
	return o, err
}

// CountOrphans tells how many orphans each region has that has any.
func (s *Store) CountOrphans(ctx context.Context) (map[string]int, error) {
	type count struct {
		region string
		n      int
	}
	all, err := db.All(ctx, s.DB, func(scan func(...any) error) (c count, err error) {
		return c, scan(&c.region, &c.n)
	}, `SELECT region, count(*) FROM orphan GROUP BY region`)
	by := make(map[string]int, len(all))
	for _, c := range all {
		by[c.region] = c.n
	}
	return by, err
}

// ApproveOrphan lets the agent remove the thing, or returns fault.Missing.
func (s *Store) ApproveOrphan(ctx context.Context, region, id string) error {
	n, err := db.Exec(ctx, s.DB, `UPDATE orphan SET approved_at = $3 WHERE region = $1 AND id = $2`, region, id, db.Micros(time.Now()))
	if err == nil && n == 0 {
		err = fault.Missing.Errorf("there is no orphan %s in region %s", id, region)
	}
	return err
}
