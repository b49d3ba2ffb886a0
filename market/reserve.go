package market

import (
	"context"
	"fmt"
	"maps"
	"slices"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/placement"
	"github.com/kontor-cloud/kontor/provider"
)

// takes sums up what placements take of each region.
func (s *stock) takes(chosen []placement.Placement) map[string]capacity {
	all := map[string]capacity{}
	for _, p := range chosen {
		all[p.Region] = all[p.Region].plus(s.taken(p))
	}
	return all
}

func (s *stock) taken(p placement.Placement) (sum capacity) {
	for _, l := range p.Lines {
		switch l.Need.Kind {
		case offer.Instance:
			for _, o := range s.by[p.Region].candidate.Offers {
				if o.Kind == offer.Instance && o.SKU == l.SKU {
					sum.vcpu += o.VCPU * l.Need.Count
					sum.ram += o.RAMGiB * l.Need.Count
				}
			}
		case offer.Volume:
			sum.disk += l.Need.GiB * l.Need.Count
		case offer.PublicIP:
			sum.ips += l.Need.Count
		case offer.Network, offer.Traffic: // take nothing that is counted
		}
	}
	return sum
}

// reserve promises capacity of regions until the quote ends, all of it or, as an error, what is taken. Whoever does this
// in a region does it alone: the row of promise is the lock, taken in the order of names.
func (q *Quote) reserve(ctx context.Context, tx *db.Tx, takes map[string]capacity) error {
	for _, region := range slices.Sorted(maps.Keys(takes)) {
		if _, err := db.Exec(ctx, tx, `
			INSERT INTO promise (region, count) VALUES ($1, 1)
			ON CONFLICT (region) DO UPDATE SET count = promise.count + 1`, region); err != nil {
			return fmt.Errorf("reserve in %s: %w", region, err)
		}
		if err := lapse(ctx, tx, region, q.CreatedAt); err != nil {
			return err
		}
		free, err := provider.Free(ctx, tx, region)
		if err != nil {
			return err
		}
		held, err := heldIn(ctx, tx, region)
		if err != nil {
			return err
		}
		if !held.plus(takes[region]).fits(free) {
			return &taken{region, free, held}
		}
		t := takes[region]
		if _, err := db.Exec(ctx, tx, `
			INSERT INTO reservation (quote, region, vcpu, ram, disk, ips, until) VALUES ($1, $2, $3, $4, $5, $6, $7)`,
			q.ID, region, t.vcpu, t.ram, t.disk, t.ips, db.Micros(q.ValidUntil)); err != nil {
			return err
		}
	}
	return nil
}

// lapse removes what was promised until a moment that is over. Order counts what it finds, so
// nothing that was removed here is ordered later, whatever the clocks say.
func lapse(ctx context.Context, tx *db.Tx, region string, now time.Time) error {
	_, err := db.Exec(ctx, tx, `DELETE FROM reservation WHERE region = $1 AND until > 0 AND until <= $2`, region, db.Micros(now))
	return err
}

// heldIn sums up what is promised of a region. Its row of promise is held.
func heldIn(ctx context.Context, tx *db.Tx, region string) (capacity, error) {
	return db.One(ctx, tx, func(scan func(...any) error) (c capacity, err error) {
		return c, scan(&c.vcpu, &c.ram, &c.disk, &c.ips)
	}, `SELECT COALESCE(CAST(SUM(vcpu) AS BIGINT), 0), COALESCE(CAST(SUM(ram) AS BIGINT), 0),
		COALESCE(CAST(SUM(disk) AS BIGINT), 0), COALESCE(CAST(SUM(ips) AS BIGINT), 0)
		FROM reservation WHERE region = $1`, region)
}

// fits reports whether there is room for c in what is free. What a platform does not say is no bound.
func (c capacity) fits(free driver.Capacity) bool {
	within := func(free *int, need int64) bool { return free == nil || need <= int64(*free) }
	return within(free.VCPU, c.vcpu) && within(free.RAMGiB, c.ram) && within(free.DiskGB, c.disk) && within(free.PublicIPs, c.ips)
}

// Lapse tidies away reservations and nothing else: those that are over count for nothing
// anyway. It is a job.
func (s *Store) Lapse(ctx context.Context, now time.Time) error {
	_, err := db.Exec(ctx, s.DB, `DELETE FROM reservation WHERE until > 0 AND until <= $1`, db.Micros(now))
	return err
}
