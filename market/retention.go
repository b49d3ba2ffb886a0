package market

import (
	"context"
	"fmt"
	"time"

	"github.com/kontor-cloud/kontor/db"
)

// MinRetention is the shortest time for which decisions can be kept: a provider asks what he
// lost in a quarter of a year.
const MinRetention = 90 * 24 * time.Hour

const (
	prunedAtOnce = 100 // decisions in a transaction

	// What no decision depends on goes after idleInput. A process believes for storedFor that
	// what it has stored is there, so by then all know better.
	idleInput = 24 * time.Hour
	storedFor = time.Hour
)

// Prune removes decisions from before a time, with their quotes, unless something runs by them or was
// ordered: an order is kept for good, with all that explains it. Then it removes what decisions
// depended on and none does any more. What is known of providers and the lists behind policies stay: they are few.
func (s *Store) Prune(ctx context.Context, now, before time.Time) error {
	if err := s.nameMarkets(ctx); err != nil {
		return err
	}
	standing, err := s.standings(ctx)
	if err != nil {
		return err
	}
	runs := make(map[string]bool, len(standing))
	for _, one := range standing {
		runs[one.decision] = true
	}
	for last := (old{}); ; {
		page, err := s.old(ctx, now, before, last)
		if err != nil {
			return err
		}
		if len(page) == 0 {
			break
		}
		last = page[len(page)-1]
		err = s.DB.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
			for _, d := range page {
				if runs[d.id] {
					continue
				}
				if err := d.remove(ctx, tx, now); err != nil {
					return err
				}
			}
			return nil
		})
		if err != nil {
			return err
		}
	}
	_, err = db.Exec(ctx, s.DB, `DELETE FROM decision_input WHERE unused_at <= $1
		AND NOT EXISTS (SELECT 1 FROM decision WHERE market = digest OR request = digest)`, db.Micros(now.Add(-idleInput)))
	return err
}

// old is a decision that may be removed.
type old struct {
	id              string
	at              int64
	market, request *string // digests
}

// old lists the decisions from before a time of which no quote is ordered or can be, a page after the last one.
func (s *Store) old(ctx context.Context, now, before time.Time, last old) ([]old, error) {
	return db.All(ctx, s.DB, func(scan func(...any) error) (d old, err error) {
		return d, scan(&d.id, &d.at, &d.market, &d.request)
	}, `SELECT id, created_at, market, request FROM decision WHERE created_at < $1 AND (created_at, id) > ($2, $3)
		AND NOT EXISTS (SELECT 1 FROM quote WHERE quote.decision = decision.id AND (quote.ordered <> '' OR quote.valid_until > $4))
		ORDER BY created_at, id LIMIT $5`, db.Micros(before), last.at, last.id, db.Micros(now), prunedAtOnce)
}

// remove deletes the decision, and notes of what it depended on if that was the last to do so.
func (d old) remove(ctx context.Context, tx *db.Tx, now time.Time) error {
	n, err := db.Exec(ctx, tx, `DELETE FROM decision WHERE id = $1`, d.id)
	if err != nil || n == 0 {
		return err
	}
	for kind, digest := range map[string]*string{"market": d.market, "request": d.request} {
		if digest == nil {
			continue
		}
		if _, err := db.Exec(ctx, tx, `UPDATE decision_input SET unused_at = $3 WHERE kind = $1 AND digest = $2
			AND NOT EXISTS (SELECT 1 FROM decision WHERE market = $2 OR request = $2)`, kind, *digest, db.Micros(now)); err != nil {
			return err
		}
	}
	return nil
}

// nameMarkets says of decisions from before that was kept, or of an older process, which market they were made on.
func (s *Store) nameMarkets(ctx context.Context) error {
	for {
		page, err := db.All(ctx, s.DB, func(scan func(...any) error) (k kept, err error) { return k, scan(&k.id, &k.packed) },
			`SELECT id, record FROM decision WHERE market IS NULL LIMIT $1`, lookedPage)
		if err != nil || len(page) == 0 {
			return err
		}
		for i := range page {
			d, _, err := page[i].read()
			if err != nil {
				return fmt.Errorf("name the market of a decision: %w", err)
			}
			if _, err := db.Exec(ctx, s.DB, `UPDATE decision SET market = $2 WHERE id = $1`, page[i].id, d.Market.String()); err != nil {
				return err
			}
		}
	}
}
