package offer

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"maps"
	"slices"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/audit"
	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
)

// A Store keeps price sheets. None is ever changed or removed. Its methods may be called
// from many goroutines.
type Store struct {
	DB      *db.DB
	Sellers Sellers
	Stock   func(region string) (Stock, error) // what a region has; Missing if there is none
	Log     *slog.Logger
}

// Sellers knows who may sell.
type Sellers interface {
	// Keys returns the public keys by which a provider signs now; Denied if it may not sell.
	Keys(ctx context.Context, tx *db.Tx, provider string) ([]ed25519.PublicKey, error)

	// Signers returns all keys by which each provider ever signed.
	Signers(ctx context.Context) (map[string][]ed25519.PublicKey, error)

	// Write runs fn in a transaction that changes what is on sale.
	Write(ctx context.Context, fn func(context.Context, *db.Tx) error) error
}

// Stock is what can be sold in a region.
type Stock struct {
	Provider                     string // whose region it is
	Instances, Volumes, Networks []string
}

// A Record is a sheet as it was published. Altered says what is wrong with it if the row
// in the database is not what its provider signed.
type Record struct {
	Provider string
	Version  int
	Digest   string // SHA-256 of what was signed, in hexadecimal
	Key      string // that signed it

	PublishedAt time.Time
	Published   // from when on customers see it, which is not before it is valid
	Altered     error

	body string
}

// Publish puts a sheet on sale from its ValidFrom on. It must be the next version, signed
// by its provider, for his own regions and for what those have. The same sheet again
// is fine; another one of the same version is a Conflict.
func (s *Store) Publish(ctx context.Context, sheet *Sheet) error {
	if err := sheet.Validate(); err != nil {
		return err
	}
	if err := s.inStock(sheet); err != nil {
		return err
	}
	sheet.normalize()
	body, err := json.Marshal(sheet)
	if err != nil {
		return err
	}
	return s.Sellers.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		keys, err := s.Sellers.Keys(ctx, tx, sheet.Provider)
		if err != nil {
			return err
		}
		if err := sheet.Verify(keys...); err != nil {
			return err
		}
		digest := sheet.HexDigest()
		done, err := follows(ctx, tx, sheet, digest)
		if err != nil || done {
			return err
		}
		audit.Note(ctx, audit.Change{
			Resource: fmt.Sprintf("kontor.exchange/v1/participants/%s/sheets/%d", sheet.Provider, sheet.Version), Status: 201, After: sheet.Canonical(),
		})
		n, err := db.Exec(ctx, tx, `
			INSERT INTO price_sheet (provider, version, body, digest, key, published_at) VALUES ($1, $2, $3, $4, $5, $6)
			ON CONFLICT (provider, version) DO NOTHING`,
			sheet.Provider, sheet.Version, string(body), digest, sheet.Signature.Key, db.Micros(time.Now()))
		if err == nil && n == 0 {
			err = fault.Stale.Errorf("%s was published in the meantime", sheet)
		}
		return err
	})
}

// follows reports whether the sheet is there already, and refuses one that is not the next.
func follows(ctx context.Context, tx *db.Tx, sheet *Sheet, digest string) (done bool, err error) {
	last, err := db.One(ctx, tx, db.Scan[int], `SELECT COALESCE(MAX(version), 0) FROM price_sheet WHERE provider = $1`, sheet.Provider)
	if err != nil {
		return false, err
	}
	if sheet.Version > last+1 {
		return false, fault.At(fault.Conflict.Errorf("the last price sheet of %s is version %d, so the next is %d", sheet.Provider, last, last+1), "/version")
	}
	if sheet.Version == last+1 {
		return false, nil
	}
	old, err := db.One(ctx, tx, db.Scan[string], `SELECT digest FROM price_sheet WHERE provider = $1 AND version = $2`, sheet.Provider, sheet.Version)
	if err == nil && old != digest {
		err = fault.At(fault.Conflict.Errorf("%s was published with other content and never changes; make it version %d", sheet, last+1), "/version")
	}
	return true, err
}

// inStock refuses regions of others, and sizes that a region does not have.
func (s *Store) inStock(sheet *Sheet) error {
	var l fault.List
	for _, region := range slices.Sorted(maps.Keys(sheet.Regions)) {
		at := "/regions/" + region
		stock, err := s.Stock(region)
		if err != nil && !errors.Is(err, fault.Missing) {
			return err
		}
		if err != nil || stock.Provider != sheet.Provider {
			l.Add(at, "must be a region of %s", sheet.Provider)
			continue
		}
		p := sheet.Regions[region]
		missing(&l, at+"/instances", p.Instances, stock.Instances)
		missing(&l, at+"/volumes", p.Volumes, stock.Volumes)
		missing(&l, at+"/networks", p.Networks, stock.Networks)
	}
	return l.Err()
}

func missing[T any](l *fault.List, at string, priced map[string]T, have []string) {
	for _, sku := range slices.Sorted(maps.Keys(priced)) {
		if !slices.Contains(have, sku) {
			l.Add(at+"/"+sku, "must be a size that the region has: %s%s", strings.Join(have, ", "), fault.DidYouMean(sku, have))
		}
	}
}

// Sheets lists the sheets of a provider by version, also those that are not valid yet,
// which nobody else is to see. What a key signed before its end stays good.
func (s *Store) Sheets(ctx context.Context, provider string) ([]Record, error) {
	return s.read(ctx, `WHERE provider = $1 ORDER BY version`, provider)
}

// Published returns all sheets by provider, in the order of their versions, also those that
// are not valid yet. What its provider did not sign is left out and told in the log.
func (s *Store) Published(ctx context.Context) (map[string][]Published, error) {
	rows, err := s.read(ctx, `ORDER BY provider, version`)
	if err != nil {
		return nil, err
	}
	all := map[string][]Published{}
	for _, r := range rows {
		if r.Altered != nil {
			s.Log.ErrorContext(ctx, "price sheet altered", "provider", r.Provider, "version", r.Version, "error", r.Altered)
			continue
		}
		all[r.Provider] = append(all[r.Provider], r.Published)
	}
	return all, nil
}

func (s *Store) read(ctx context.Context, where string, args ...any) ([]Record, error) {
	signers, err := s.Sellers.Signers(ctx)
	if err != nil {
		return nil, err
	}
	rows, err := db.All(ctx, s.DB, scanRecord, `SELECT provider, version, body, digest, key, published_at FROM price_sheet `+where, args...)
	if err != nil {
		return nil, fmt.Errorf("read the price sheets: %w", err)
	}
	for i := range rows {
		rows[i].judge(signers[rows[i].Provider])
	}
	return rows, nil
}

func scanRecord(scan func(...any) error) (r Record, err error) {
	var at int64
	err = scan(&r.Provider, &r.Version, &r.body, &r.Digest, &r.Key, &at)
	r.PublishedAt = db.Time(at)
	r.At = r.PublishedAt
	return r, err
}

// judge finds out whether the row is what its provider signed.
func (r *Record) judge(keys []ed25519.PublicKey) {
	r.Sheet = &Sheet{}
	if err := json.Unmarshal([]byte(r.body), r.Sheet); err != nil {
		r.Altered = fault.Denied.Errorf("the price sheet was changed after it was signed: it is no sheet any more")
		return
	}
	if r.Sheet.ValidFrom.After(r.At) { // sealed until then
		r.At = r.Sheet.ValidFrom
	}
	switch {
	case r.Sheet.Provider != r.Provider || r.Sheet.Version != r.Version:
		r.Altered = fault.Denied.Errorf("the price sheet is of %s, and stands where %s, version %d belongs", r.Sheet, r.Provider, r.Version)
	case r.Sheet.HexDigest() != r.Digest:
		r.Altered = fault.Denied.Errorf("the price sheet was changed after it was published")
	default:
		r.Altered = r.Sheet.Verify(keys...)
	}
}
