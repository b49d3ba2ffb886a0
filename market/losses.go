package market

import (
	"context"
	"fmt"
	"math"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/placement"
)

// Losses are how a provider fared in the newest decisions. They count and name nobody: neither
// who asked, nor by which rule of his, nor who was chosen instead.
type Losses struct {
	Summary   string    `json:"summary" doc:"The most frequent reasons in a line."`
	Decisions int       `json:"decisions" doc:"That were looked at."`
	Since     time.Time `json:"since,omitzero" doc:"When the oldest of them was made."`
	Cut       bool      `json:"cut,omitempty" doc:"There are older ones that were asked for and not looked at."`
	Chosen    int       `json:"chosen" doc:"Decisions that chose a region of the provider's."`
	Excluded  int       `json:"excluded" doc:"That could choose none of his, as each lacked something."`
	Outscored int       `json:"outscored" doc:"That could choose one of his, and chose others."`
	Reasons   []Loss    `json:"reasons" doc:"By region, the most frequent first. A decision may count for several."`
}

// A Loss is on what a region was lost, how often, and by how much.
type Loss struct {
	Region    string              `json:"region"`
	Dimension placement.Dimension `json:"dimension"`
	Subject   string              `json:"subject,omitempty" doc:"The attribute, the kind of capacity, the common size, or the ready-made policy."`
	Needed    string              `json:"needed,omitempty" doc:"How well the attribute had to be known."`
	Had       string              `json:"had,omitempty" doc:"How well it was."`
	Decisions int                 `json:"decisions"`
	Alone     int                 `json:"alone" doc:"Of them, those in which the region lacked nothing else."`
	By        *Shortfall          `json:"by,omitempty" doc:"Absent as long as too few customers are among the decisions."`
}

// A Shortfall is by how much something was missed, each customer counting once, in whole units.
type Shortfall struct {
	Median int64  `json:"median"`
	From   int64  `json:"from" doc:"A quarter of the customers were missed by less."`
	To     int64  `json:"to" doc:"A quarter of the customers were missed by more."`
	Unit   string `json:"unit"`
}

// What is read for one answer is bounded by decisions and by the bytes of their records, which are large
// where many sell, and take a second for each 30 MB. A page of packed records is in memory at a time.
const (
	maxLooked      = 2000
	maxLookedBytes = 48 << 20
	lookedPage     = 50
)

// Losses counts for what a provider was not chosen in decisions of all tenants since a moment, the
// newest first and as many as can be looked at.
func (s *Store) Losses(ctx context.Context, provider string, since time.Time) (Losses, error) {
	s.losing.Lock() // one reading at a time, so that many who ask cannot fill the memory
	defer s.losing.Unlock()
	// Whole hours, so that nobody counts one decision more and one less, and learns of that one.
	r := s.reckon(provider)
	next, read := (*kept)(nil), 0
	for {
		page, err := s.kept(ctx, since.Truncate(time.Hour), next)
		if err != nil {
			return Losses{}, err
		}
		for i := range page {
			if r.Decisions == maxLooked || read > maxLookedBytes {
				r.Cut = true
				return r.done(), nil
			}
			d, size, err := page[i].read()
			if err != nil {
				return Losses{}, err
			}
			read += size
			r.Since = page[i].at
			r.add(page[i].tenant, d)
		}
		if len(page) < lookedPage {
			return r.done(), nil
		}
		next = &page[len(page)-1]
	}
}

// kept is a decision as it lies in the database.
type kept struct {
	id, tenant string
	packed     []byte
	at         time.Time
}

// kept lists decisions since a moment that are older than another one, the newest first.
func (s *Store) kept(ctx context.Context, since time.Time, before *kept) ([]kept, error) {
	at, id := int64(math.MaxInt64), ""
	if before != nil {
		at, id = db.Micros(before.at), before.id
	}
	return db.All(ctx, s.DB, func(scan func(...any) error) (k kept, err error) {
		var at int64
		err = scan(&k.id, &k.tenant, &k.packed, &at)
		k.at = db.Time(at)
		return k, err
	}, `SELECT id, tenant, record, created_at FROM decision WHERE created_at >= $1 AND (created_at, id) < ($2, $3) ORDER BY created_at DESC, id DESC LIMIT $4`,
		max(0, since.UnixMicro()), at, id, lookedPage)
}

func (k *kept) read() (d *placement.Decision, size int, err error) {
	record, err := unpack(k.packed)
	if err == nil {
		d, err = placement.Parse(record)
	}
	if err != nil {
		return nil, 0, fmt.Errorf("decision %s: %w", k.id, err)
	}
	return d, len(record), nil
}
