package participant

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/audit"
	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/policy"
	"github.com/kontor-cloud/kontor/tenant"
)

// A Store keeps participants. Its methods may be called from many goroutines.
type Store struct {
	DB   *db.DB
	Data *policy.Data                          // what claims are checked against
	Owns func(participant, region string) bool // whether a region is a participant's; nil: none is

	Changed func() // is called after each change by this process, so that it shows at once; may be nil
}

const (
	maxPending = 1000 // applications that nobody has looked at
	maxKeys    = 16
	patience   = 90 * 24 * time.Hour // after which an application that nobody approved is dropped
)

// Apply keeps an application that was made for the exchange at a URL, until an operator
// looks at it. Who applies again with the same key changes his application. A name
// that is taken is a Conflict.
func (s *Store) Apply(ctx context.Context, a *Application, exchange string) error {
	if err := a.Verify(exchange); err != nil {
		return err
	}
	p := a.Profile
	p.Tidy()
	if err := p.Validate(); err != nil {
		return within(err, "/profile")
	}
	return s.DB.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
		pending, err := db.One(ctx, tx, db.Scan[int], `SELECT COUNT(*) FROM participant WHERE state = $1`, Applied)
		if err != nil {
			return err
		}
		if pending >= maxPending {
			return fault.Exhausted.Errorf("there are %d applications that nobody has looked at; try again in some days, or write to the operator", pending)
		}
		now := time.Now()
		n, err := db.Exec(ctx, tx, `
			INSERT INTO participant (name, profile, state, applied_at, approved_at) VALUES ($1, $2, $3, $4, 0) ON CONFLICT (name) DO NOTHING`,
			p.Name, db.JSON(p), Applied, db.Micros(now))
		if err != nil {
			return err
		}
		if n == 0 {
			return again(ctx, tx, p, a.Key)
		}
		return addKey(ctx, tx, p.Name, a.Key, now)
	})
}

// again changes an application that waits.
func again(ctx context.Context, tx *db.Tx, p Profile, key ed25519.PublicKey) error {
	old, err := one(ctx, tx, p.Name)
	if err != nil {
		return err
	}
	holder := slices.ContainsFunc(old.Keys, func(k Key) bool { return k.Public.Equal(key) })
	switch {
	case !holder:
		return fault.At(fault.Conflict.Errorf("there is a participant %s already, by another key; choose another name", p.Name), "/profile/name")
	case old.State != Applied:
		return fault.Conflict.Errorf("%s is %s already; what it says of itself is changed by an operator", p.Name, old.State)
	}
	_, err = db.Exec(ctx, tx, `UPDATE participant SET profile = $2 WHERE name = $1 AND state = $3`, p.Name, db.JSON(p), Applied)
	return err
}

// addKey writes a key. One that was ever anybody's is a Conflict.
func addKey(ctx context.Context, tx *db.Tx, name string, public ed25519.PublicKey, now time.Time) error {
	n, err := db.Exec(ctx, tx, `
		INSERT INTO participant_key (id, participant, public, created_at, revoked_at) VALUES ($1, $2, $3, $4, 0) ON CONFLICT (id) DO NOTHING`,
		offer.KeyID(public), name, []byte(public), db.Micros(now))
	if err == nil && n == 0 {
		err = fault.At(fault.Conflict.Errorf("the key %s was a participant's before; make a new one", offer.KeyID(public)), "/key")
	}
	return err
}

// Approve lets a participant take part, again if it was suspended. The first time it gets
// its account.
func (s *Store) Approve(ctx context.Context, name string) error {
	return s.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		p, err := one(ctx, tx, name)
		if err != nil {
			return err
		}
		if p.State == Applied {
			if err := tenant.AddAccount(ctx, tx, tenant.Account{ID: Account(name), Display: p.LegalName}); err != nil {
				return err
			}
			if err := addMember(ctx, tx, name, Account(name)); err != nil {
				return err
			}
		}
		return setState(ctx, tx, name, Approved)
	})
}

// Suspend takes what a participant sells off the market. What runs there goes on.
func (s *Store) Suspend(ctx context.Context, name string) error {
	return s.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		p, err := one(ctx, tx, name)
		if err == nil && p.State == Applied {
			err = fault.Conflict.Errorf("%s was never approved; reject its application instead", name)
		}
		if err != nil {
			return err
		}
		return setState(ctx, tx, name, Suspended)
	})
}

func setState(ctx context.Context, tx *db.Tx, name string, to State) error {
	noteChange(ctx, name, string(to))
	_, err := db.Exec(ctx, tx, `
		UPDATE participant SET state = $2, approved_at = CASE WHEN approved_at = 0 THEN $3 ELSE approved_at END WHERE name = $1`,
		name, to, db.Micros(time.Now()))
	return err
}

// Reject drops an application. Name and key are free again.
func (s *Store) Reject(ctx context.Context, name string) error {
	return s.DB.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
		noteChange(ctx, name, "rejected")
		n, err := db.Exec(ctx, tx, `DELETE FROM participant WHERE name = $1 AND state = $2`, name, Applied)
		if err == nil && n == 0 {
			err = fault.Missing.Errorf("%s has no application that waits", name)
		}
		return err
	})
}

// Prune drops applications that nobody approved for a long time.
func (s *Store) Prune(ctx context.Context, now time.Time) error {
	_, err := db.Exec(ctx, s.DB, `DELETE FROM participant WHERE state = $1 AND applied_at < $2`, Applied, db.Micros(now.Add(-patience)))
	if err != nil {
		return fmt.Errorf("prune applications: %w", err)
	}
	return nil
}

// AddKey lets a participant sign with another key from now on.
func (s *Store) AddKey(ctx context.Context, name string, public ed25519.PublicKey) (Key, error) {
	if len(public) != ed25519.PublicKeySize {
		return Key{}, fault.At(fault.Invalid.Errorf("key must be an Ed25519 public key: 32 bytes in base64"), "/key")
	}
	k := Key{ID: offer.KeyID(public), Public: public, CreatedAt: time.Now().UTC()}
	return k, s.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		p, err := one(ctx, tx, name)
		if err != nil {
			return err
		}
		if len(p.Keys) >= maxKeys {
			return fault.Exhausted.Errorf("%s has had %d keys; that is enough", name, len(p.Keys))
		}
		noteChange(ctx, name+"/keys/"+k.ID, "added")
		return addKey(ctx, tx, name, public, k.CreatedAt)
	})
}

// RevokeKey ends a key: nothing new is signed by it. What it signed before stays good.
func (s *Store) RevokeKey(ctx context.Context, name, id string) error {
	return s.Write(ctx, func(ctx context.Context, tx *db.Tx) error {
		p, err := one(ctx, tx, name)
		if err != nil {
			return err
		}
		if left := p.Signing(); len(left) == 1 && offer.KeyID(left[0]) == id {
			return fault.Conflict.Errorf("%s is the last key of %s; add another one first", id, name)
		}
		noteChange(ctx, name+"/keys/"+id, "revoked")
		n, err := db.Exec(ctx, tx, `UPDATE participant_key SET revoked_at = $3 WHERE participant = $1 AND id = $2 AND revoked_at = 0`,
			name, id, db.Micros(time.Now()))
		if err == nil && n == 0 {
			err = fault.Missing.Errorf("%s has no key %s that is good", name, id)
		}
		return err
	})
}

// Keys returns the public keys by which a participant that may sell signs now; Denied if
// it may not.
func (s *Store) Keys(ctx context.Context, tx *db.Tx, name string) ([]ed25519.PublicKey, error) {
	p, err := one(ctx, tx, name)
	if err != nil {
		return nil, err
	}
	if p.State != Approved {
		return nil, fault.Denied.Errorf("%s is %s; only an approved participant sells", name, p.State)
	}
	return p.Signing(), nil
}

// Signers returns all keys by which each participant ever signed.
func (s *Store) Signers(ctx context.Context) (map[string][]ed25519.PublicKey, error) {
	keys, err := db.All(ctx, s.DB, scanKey, keyColumns+`ORDER BY created_at, id`)
	if err != nil {
		return nil, fmt.Errorf("read the participants' keys: %w", err)
	}
	all := map[string][]ed25519.PublicKey{}
	for _, k := range keys {
		all[k.of] = append(all[k.of], k.Public)
	}
	return all, nil
}

func noteChange(ctx context.Context, what, state string) {
	audit.Note(ctx, audit.Change{Resource: "kontor.exchange/v1/participants/" + what, State: state})
}

// within puts what an error is about below a pointer.
func within(err error, pointer string) error {
	f, ok := errors.AsType[*fault.Error](err)
	if !ok {
		return err
	}
	moved := *f
	moved.Sources = slices.Clone(f.Sources)
	for i := range moved.Sources {
		moved.Sources[i].Pointer = pointer + moved.Sources[i].Pointer
	}
	return &moved
}

// newID returns 26 characters that nobody guesses.
func newID() string { return strings.ToLower(rand.Text()) }
