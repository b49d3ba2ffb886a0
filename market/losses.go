package market

import (
	"context"
	"fmt"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/placement"
)

// Losses are how a provider fared in the newest decisions. They count and name nobody: neither
// who asked, nor by which rule, nor who was chosen instead.
type Losses struct {
	Decisions int         `json:"decisions"` // that were looked at, at most a few hundred
	Since     time.Time   `json:"since,omitzero"`
	Chosen    int         `json:"chosen"`   // decisions that chose a region of the provider's
	Excluded  int         `json:"excluded"` // that could choose none of his, as each lacked something
	Reasons   []LossCount `json:"reasons"`  // by region and dimension; a decision may count for several
}

// A LossCount is in how many decisions a region failed on a dimension.
type LossCount struct {
	Region    string              `json:"region"`
	Dimension placement.Dimension `json:"dimension"`
	Decisions int                 `json:"decisions"`
}

// maxLooked bounds how much is read for one answer.
const maxLooked = 300

// Losses counts for what a provider was not chosen in the newest decisions of all tenants.
func (s *Store) Losses(ctx context.Context, provider string) (Losses, error) {
	l := Losses{Reasons: []LossCount{}}
	_, err := db.All(ctx, s.DB, func(scan func(...any) error) (struct{}, error) {
		var packed []byte
		var id string
		var at int64
		if err := scan(&id, &packed, &at); err != nil {
			return struct{}{}, err
		}
		record, err := unpack(packed)
		if err != nil {
			return struct{}{}, fmt.Errorf("decision %s: %w", id, err)
		}
		d, err := placement.Parse(record)
		if err != nil {
			return struct{}{}, fmt.Errorf("decision %s: %w", id, err)
		}
		l.Decisions++
		l.Since = db.Time(at) // the newest comes first
		l.add(provider, d)
		return struct{}{}, nil
	}, `SELECT id, record, created_at FROM decision WHERE id IN (SELECT id FROM decision ORDER BY created_at DESC LIMIT $1) ORDER BY created_at DESC`, maxLooked)
	return l, err
}

// add counts a decision once for each region and dimension, in however many groups it was.
func (l *Losses) add(provider string, d *placement.Decision) {
	excluded, seen := false, map[LossCount]bool{}
	for _, x := range d.Excluded {
		if x.Provider != provider {
			continue
		}
		excluded = true
		for _, m := range x.Misses {
			c := LossCount{Region: x.Region, Dimension: m.Dimension}
			if !seen[c] {
				seen[c] = true
				l.count(c)
			}
		}
	}
	for _, p := range d.Chosen {
		if p.Provider == provider {
			l.Chosen++
			return
		}
	}
	if excluded {
		l.Excluded++
	}
}

func (l *Losses) count(c LossCount) {
	for i := range l.Reasons {
		if r := &l.Reasons[i]; r.Region == c.Region && r.Dimension == c.Dimension {
			r.Decisions++
			return
		}
	}
	c.Decisions = 1
	l.Reasons = append(l.Reasons, c)
}
