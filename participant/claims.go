package participant

import (
	"cmp"
	"context"
	"encoding/json"
	"slices"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
)

// A Difference is what came of claims that were put.
type Difference struct {
	Added     int `json:"added"`
	Kept      int `json:"kept"` // that stood already
	Withdrawn int `json:"withdrawn"`
}

// PutClaims makes these all that stands of what a source says of a participant: others
// are withdrawn. By is the account that says so.
func (s *Store) PutClaims(ctx context.Context, name string, source Source, by string, claims []Claim) (Difference, error) {
	return s.claim(ctx, name, source, by, claims, func(Claim) (bool, error) { return true, nil })
}

// AddClaims puts claims beside what a source has said before. What the exchange
// measures takes the place of what it has measured before, and is a Conflict if that is newer.
func (s *Store) AddClaims(ctx context.Context, name string, source Source, by string, claims []Claim) (Difference, error) {
	return s.claim(ctx, name, source, by, claims, func(old Claim) (bool, error) {
		at := slices.IndexFunc(claims, func(c Claim) bool {
			return c.Attribute == old.Attribute && c.Region == old.Region && c.Service == old.Service
		})
		if source != Exchange || at < 0 {
			return false, nil
		}
		if old.From.After(claims[at].From) {
			return false, fault.Conflict.Errorf("%s of %s was measured at %s, which is later", old.Attribute, cmp.Or(old.Region, name), old.From.UTC().Format(time.RFC3339))
		}
		return true, nil
	})
}

// claim writes claims, and withdraws those of the same source that are neither among
// them nor to be left.
func (s *Store) claim(ctx context.Context, name string, source Source, by string, claims []Claim, withdraw func(Claim) (bool, error)) (d Difference, err error) {
	owns := func(region string) bool { return s.Owns != nil && s.Owns(name, region) }
	if err := checkClaims(s.Data, source, claims, owns); err != nil {
		return d, err
	}
	for i := range claims {
		claims[i].Source = source
	}
	err = s.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		d = Difference{}
		if err := lock(ctx, tx, name); err != nil {
			return err
		}
		rows, err := db.All(ctx, tx, scanClaim, claimColumns+`WHERE participant = $1 AND withdrawn_at = 0`, name)
		if err != nil {
			return err
		}
		news, now := slices.Clone(claims), time.Now()
		for _, old := range rows {
			at := slices.IndexFunc(news, old.same)
			switch {
			case at >= 0:
				news = slices.Delete(news, at, at+1)
				d.Kept++
			case old.Source == source:
				over, err := withdraw(old.Claim)
				if over {
					d.Withdrawn++
					_, err = db.Exec(ctx, tx, `UPDATE claim SET withdrawn_at = $2 WHERE id = $1`, old.ID, db.Micros(now))
				}
				if err != nil {
					return err
				}
			}
		}
		if d.Added = len(news); len(rows)-d.Withdrawn+d.Added > maxClaims {
			return fault.Exhausted.Errorf("%d claims would stand of %s; %d is the most", len(rows)-d.Withdrawn+d.Added, name, maxClaims)
		}
		for _, c := range news {
			if err := insertClaim(ctx, tx, name, by, c, now); err != nil {
				return err
			}
		}
		noteChange(ctx, name+"/claims", string(source))
		return nil
	})
	return d, err
}

// lock has one claim at a time about a participant, who must be there.
func lock(ctx context.Context, tx *db.Tx, name string) error {
	n, err := db.Exec(ctx, tx, `UPDATE participant SET state = state WHERE name = $1`, name)
	if err == nil && n == 0 {
		err = fault.Missing.Errorf("there is no participant %s", name)
	}
	return err
}

func insertClaim(ctx context.Context, tx *db.Tx, name, by string, c Claim, now time.Time) error {
	c.ID, c.By, c.CreatedAt, c.WithdrawnAt = "", "", time.Time{}, time.Time{} // have columns
	body, err := json.Marshal(c)
	if err != nil {
		return err
	}
	_, err = db.Exec(ctx, tx, `
		INSERT INTO claim (id, participant, body, source, by_account, created_at, withdrawn_at) VALUES ($1, $2, $3, $4, $5, $6, 0)`,
		newID(), name, string(body), c.Source, by, db.Micros(now))
	return err
}

// WithdrawClaim ends a claim that came from one of these sources. It can still be looked up.
func (s *Store) WithdrawClaim(ctx context.Context, name, id string, sources ...Source) error {
	return s.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		noteChange(ctx, name+"/claims/"+id, "withdrawn")
		for _, source := range sources {
			n, err := db.Exec(ctx, tx, `UPDATE claim SET withdrawn_at = $4 WHERE participant = $1 AND id = $2 AND source = $3 AND withdrawn_at = 0`,
				name, id, source, db.Micros(time.Now()))
			if err != nil || n > 0 {
				return err
			}
		}
		return fault.Missing.Errorf("no claim %s of %s stands that came from %s", id, name, speaker[sources[0]])
	})
}
