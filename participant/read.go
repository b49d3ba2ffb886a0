package participant

import (
	"context"
	"crypto/ed25519"
	"encoding/json"
	"errors"
	"fmt"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
)

const columns = `SELECT name, profile, state, applied_at, approved_at FROM participant `

// Get returns a participant with its keys and claims, or fault.Missing.
func (s *Store) Get(ctx context.Context, name string) (*Participant, error) {
	p, err := one(ctx, s.DB, name)
	if err != nil {
		return nil, err
	}
	claims, err := db.All(ctx, s.DB, scanClaim, claimColumns+`WHERE participant = $1 ORDER BY created_at, id`, name)
	if err != nil {
		return nil, fmt.Errorf("claims about %s: %w", name, err)
	}
	for _, c := range claims {
		p.Claims = append(p.Claims, c.Claim)
	}
	return p, nil
}

// one reads a participant and its keys.
func one(ctx context.Context, q db.Querier, name string) (*Participant, error) {
	p, err := db.One(ctx, q, scan, columns+`WHERE name = $1`, name)
	if errors.Is(err, fault.Missing) {
		return nil, fault.Missing.Errorf("there is no participant %s", name)
	}
	if err != nil {
		return nil, fmt.Errorf("participant %s: %w", name, err)
	}
	keys, err := db.All(ctx, q, scanKey, keyColumns+`WHERE participant = $1 ORDER BY created_at, id`, name)
	if err != nil {
		return nil, fmt.Errorf("keys of %s: %w", name, err)
	}
	for _, k := range keys {
		p.Keys = append(p.Keys, k.Key)
	}
	return p, nil
}

// All returns all participants with their keys and claims, by name.
func (s *Store) All(ctx context.Context) ([]*Participant, error) {
	all, err := db.All(ctx, s.DB, scan, columns+`ORDER BY name`)
	if err != nil {
		return nil, fmt.Errorf("read the participants: %w", err)
	}
	by := make(map[string]*Participant, len(all))
	for _, p := range all {
		by[p.Name] = p
	}
	keys, err := db.All(ctx, s.DB, scanKey, keyColumns+`ORDER BY created_at, id`)
	if err != nil {
		return nil, fmt.Errorf("read the participants' keys: %w", err)
	}
	for _, k := range keys {
		if p := by[k.of]; p != nil { // else it came since
			p.Keys = append(p.Keys, k.Key)
		}
	}
	claims, err := db.All(ctx, s.DB, scanClaim, claimColumns+`ORDER BY created_at, id`)
	if err != nil {
		return nil, fmt.Errorf("read the claims: %w", err)
	}
	for _, c := range claims {
		if p := by[c.of]; p != nil {
			p.Claims = append(p.Claims, c.Claim)
		}
	}
	return all, nil
}

func scan(scan func(...any) error) (*Participant, error) {
	p := &Participant{}
	var applied, approved int64
	err := scan(&p.Name, db.JSON(&p.Profile), &p.State, &applied, &approved)
	p.AppliedAt, p.ApprovedAt = db.Time(applied), db.Time(approved)
	return p, err
}

const keyColumns = `SELECT participant, id, public, created_at, revoked_at FROM participant_key `

type keyRow struct {
	Key
	of string
}

func scanKey(scan func(...any) error) (k keyRow, err error) {
	var created, revoked int64
	var public []byte
	err = scan(&k.of, &k.ID, &public, &created, &revoked)
	k.Public, k.CreatedAt, k.RevokedAt = ed25519.PublicKey(public), db.Time(created), db.Time(revoked)
	return k, err
}

const claimColumns = `SELECT participant, id, body, source, by_account, created_at, withdrawn_at FROM claim `

type claimRow struct {
	Claim
	of string
}

func scanClaim(scan func(...any) error) (c claimRow, err error) {
	var created, withdrawn int64
	var body string
	if err := scan(&c.of, &c.ID, &body, &c.Source, &c.By, &created, &withdrawn); err != nil {
		return c, err
	}
	id, source, by := c.ID, c.Source, c.By
	if err := json.Unmarshal([]byte(body), &c.Claim); err != nil {
		return c, fmt.Errorf("read claim %s: %w", id, err)
	}
	c.ID, c.Source, c.By, c.CreatedAt, c.WithdrawnAt = id, source, by, db.Time(created), db.Time(withdrawn)
	return c, nil
}
