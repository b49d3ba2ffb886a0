package provider

import (
	"context"
	"crypto/rand"
	"encoding/json"
	"errors"
	"fmt"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/envelope"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/wire"
)

// A Store keeps regions, agents and orphans. Its methods may be called from
// many goroutines.
type Store struct {
	DB        *db.DB
	Exchange  string // the exchange's id: 16 characters, the same for all time
	Epoch     string // within which revisions are comparable
	Authority *Authority

	mu      sync.Mutex // held while the snapshot is replaced
	regions atomic.Pointer[Snapshot]
	revoked atomic.Pointer[map[string]bool] // serials of certificates
	known   int64                           // of exchange.changes, when all was read; under mu
	seen    liveness
}

// Open returns the store of an exchange. The first call ever gives the
// exchange its id and makes its certificate authority.
func Open(ctx context.Context, d *db.DB, box *envelope.Box) (*Store, error) {
	s := &Store{DB: d, seen: liveness{start: time.Now()}}
	s.share()
	var err error
	if err := makeExchange(ctx, d, strings.ToLower(rand.Text()[:16])); err != nil {
		return nil, fmt.Errorf("make the exchange's id: %w", err)
	}
	if s.Exchange, s.Epoch, err = identity(ctx, d); err != nil {
		return nil, fmt.Errorf("read the exchange's id: %w", err)
	}
	if s.Authority, err = openAuthority(ctx, d, box, s.Exchange); err != nil {
		return nil, fmt.Errorf("open the certificate authority: %w", err)
	}
	return s, s.Reload(ctx)
}

func makeExchange(ctx context.Context, d *db.DB, id string) error {
	_, err := db.Exec(ctx, d, `
		INSERT INTO exchange (id, created_at, regions, one, epoch) VALUES ($1, $2, 0, 1, $3) ON CONFLICT (one) DO NOTHING`,
		id, db.Micros(time.Now()), rand.Text())
	return err
}

func identity(ctx context.Context, q db.Querier) (id, epoch string, err error) {
	_, err = db.One(ctx, q, func(scan func(...any) error) (struct{}, error) { return struct{}{}, scan(&id, &epoch) }, `SELECT id, epoch FROM exchange`)
	return id, epoch, err
}

// Reload reads regions and revocations, for what another process has changed.
func (s *Store) Reload(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	changes, err := s.changes(ctx) // before the rest: what comes between is read twice
	if err != nil {
		return err
	}
	all, err := db.All(ctx, s.DB, scanRegion, regionColumns+`ORDER BY position`)
	if err != nil {
		return fmt.Errorf("read the regions: %w", err)
	}
	s.regions.Store(newSnapshot(all))
	s.known = changes
	return s.loadRevoked(ctx)
}

// Snapshot returns all regions. It costs no query.
func (s *Store) Snapshot() *Snapshot { return s.regions.Load() }

// Owns reports whether a region is a participant's. It costs no query.
func (s *Store) Owns(participant, region string) bool {
	r, err := s.Snapshot().Region(region)
	return err == nil && r.Provider == participant
}

// CreateRegion adds a region. A name that is taken is a Conflict.
func (s *Store) CreateRegion(ctx context.Context, r Region) error {
	if err := r.Validate(); err != nil {
		return err
	}
	err := s.write(ctx, func(ctx context.Context, tx *db.Tx) error { return insertRegion(ctx, tx, r) })
	if errors.Is(err, fault.Conflict) {
		return fault.Conflict.Errorf("there is a region %s already", r.Name)
	}
	if err != nil {
		return err
	}
	return s.refresh(ctx, r.Name)
}

func insertRegion(ctx context.Context, tx *db.Tx, r Region) error {
	// The row of the exchange is the lock that gives each region its position.
	position, err := db.One(ctx, tx, db.Scan[int64], `UPDATE exchange SET regions = regions + 1 RETURNING regions`)
	if err != nil {
		return err
	}
	_, err = db.Exec(ctx, tx, `
		INSERT INTO region (name, position, kind, display, country, city, provider, driver, labels, annotations, created_at, inventory, inventory_at)
		VALUES ($1, $2, 'physical', $3, $4, $5, $6, $7, $8, $9, $10, '{}', 0)`,
		r.Name, position, r.Display, r.Country, r.City, r.Provider, r.Driver,
		db.JSON(emptyMap(r.Labels)), db.JSON(emptyMap(r.Annotations)), db.Micros(time.Now()))
	return err
}

// PutRegion adds a region, or changes what its operator chooses about it; what
// its agent reports stays, and so does whose it is if nothing is said about that.
func (s *Store) PutRegion(ctx context.Context, r Region) error {
	if err := r.Validate(); err != nil {
		return err
	}
	err := s.write(ctx, func(ctx context.Context, tx *db.Tx) error {
		n, err := db.Exec(ctx, tx, `
			UPDATE region SET display = $2, country = $3, city = $4, labels = $6, annotations = $7,
				provider = CASE WHEN $5 = '' THEN provider ELSE $5 END WHERE name = $1`,
			r.Name, r.Display, r.Country, r.City, r.Provider, db.JSON(emptyMap(r.Labels)), db.JSON(emptyMap(r.Annotations)))
		if err != nil || n > 0 {
			return err
		}
		return insertRegion(ctx, tx, r)
	})
	if err != nil {
		return err
	}
	return s.refresh(ctx, r.Name)
}

// DeleteRegion removes a region with its agents, enrolments and orphans.
// check, if not nil, runs first in the same transaction and may refuse.
func (s *Store) DeleteRegion(ctx context.Context, name string, check func(context.Context, *db.Tx) error) error {
	err := s.write(ctx, func(ctx context.Context, tx *db.Tx) error {
		if check != nil {
			if err := check(ctx, tx); err != nil {
				return err
			}
		}
		n, err := db.Exec(ctx, tx, `DELETE FROM region WHERE name = $1`, name)
		if err == nil && n == 0 {
			err = fault.Missing.Errorf("there is no region %s", name)
		}
		return err
	})
	if err != nil {
		return err
	}
	return s.Reload(context.WithoutCancel(ctx))
}

// SaveInventory keeps what the agent of a region has told, and reports whether
// it is news. What is no news costs no query.
func (s *Store) SaveInventory(ctx context.Context, region string, told wire.Inventory) (changed bool, err error) {
	r, err := s.Snapshot().Region(region)
	if err != nil {
		return false, err
	}
	old, err := json.Marshal(r.report())
	if err != nil {
		return false, err
	}
	now, err := json.Marshal(told)
	if err != nil {
		return false, err
	}
	if !r.InventoryAt.IsZero() && string(old) == string(now) {
		return false, nil
	}
	err = s.write(ctx, func(ctx context.Context, tx *db.Tx) error {
		_, err := db.Exec(ctx, tx, `UPDATE region SET driver = $2, inventory = $3, inventory_at = $4 WHERE name = $1`,
			region, told.Driver, db.JSON(json.RawMessage(now)), db.Micros(time.Now()))
		return err
	})
	if err != nil {
		return false, err
	}
	return true, s.refresh(ctx, region)
}

// refresh reads one region into the snapshot. Reading after the commit, under
// the lock, makes the last of several writers leave what is in the database.
func (s *Store) refresh(ctx context.Context, name string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	r, err := db.One(context.WithoutCancel(ctx), s.DB, scanRegion, regionColumns+`WHERE name = $1`, name)
	if err != nil {
		return fmt.Errorf("read region %s: %w", name, err)
	}
	s.regions.Store(s.regions.Load().with(r))
	return nil
}

// Liveness tells how the agent of a region is, and since when: Alive since it
// came, Silent and Unknown since it was last heard of by this process.
func (s *Store) Liveness(region string) (State, time.Time) { return s.seen.of(region, time.Now()) }

// Free gives what the agent of a region said last that is left, as a transaction sees it.
func Free(ctx context.Context, q db.Querier, region string) (driver.Capacity, error) {
	r, err := db.One(ctx, q, scanRegion, regionColumns+`WHERE name = $1`, region)
	if err != nil {
		return driver.Capacity{}, fmt.Errorf("read region %s: %w", region, err)
	}
	return r.Inventory.Free, nil
}
