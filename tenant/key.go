package tenant

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/envelope"
	"github.com/kontor-cloud/kontor/fault"
)

// A keyring has the key that signs and all keys that verify. It never changes.
type keyring struct {
	signer jose.Signer
	public map[string]ed25519.PublicKey // by key id
	read   time.Time
}

// Secret is where signing keys are sealed.
var Secret = envelope.Column{Table: "signing_key", Name: "sealed"}

// rereadKeys is how often an unknown key id may cause a look at the database.
const rereadKeys = time.Second

// makeKey makes the first signing key, unless there is one. It is number 1, so
// that of all processes that start at once one makes it.
func (s *Store) makeKey(ctx context.Context) error {
	sealed, err := s.newKey(ctx, "1")
	if err != nil {
		return err
	}
	_, err = db.Exec(ctx, s.DB, `
		INSERT INTO signing_key (id, sealed, created_at)
		SELECT '1', $1, $2 WHERE NOT EXISTS (SELECT 1 FROM signing_key)
		ON CONFLICT (id) DO NOTHING`,
		sealed, db.Micros(time.Now()))
	return err
}

// newKey makes a key, sealed for the row with that id.
func (s *Store) newKey(ctx context.Context, id string) ([]byte, error) {
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	return s.Box.Seal(ctx, Secret.Row(id), private.Seed())
}

// RotateKey makes a new signing key, which signs from now on; in other processes
// from when they see the first token by it. Tokens signed before stay good.
func (s *Store) RotateKey(ctx context.Context) (id string, err error) {
	id = newID()
	sealed, err := s.newKey(ctx, id)
	if err != nil {
		return "", err
	}
	_, err = db.Exec(ctx, s.DB, `INSERT INTO signing_key (id, sealed, created_at) VALUES ($1, $2, $3)`, id, sealed, db.Micros(time.Now()))
	if err != nil {
		return "", fmt.Errorf("keep the new signing key: %w", err)
	}
	return id, s.loadKeys(ctx)
}

// A SigningKey is what may be told of one.
type SigningKey struct {
	ID        string
	CreatedAt time.Time
}

// SigningKeys lists the keys by which tokens are good, the one that signs first.
func (s *Store) SigningKeys(ctx context.Context) ([]SigningKey, error) {
	return db.All(ctx, s.DB, func(scan func(...any) error) (k SigningKey, err error) {
		var created int64
		err = scan(&k.ID, &created)
		k.CreatedAt = db.Time(created)
		return k, err
	}, `SELECT id, created_at FROM signing_key ORDER BY created_at DESC, id DESC`)
}

// loadKeys reads the keys. The newest one signs.
func (s *Store) loadKeys(ctx context.Context) error {
	ring := &keyring{public: make(map[string]ed25519.PublicKey), read: time.Now()}
	type key struct {
		id     string
		sealed []byte
	}
	keys, err := db.All(ctx, s.DB, func(scan func(...any) error) (k key, err error) {
		return k, scan(&k.id, &k.sealed)
	}, `SELECT id, sealed FROM signing_key ORDER BY created_at, id`)
	if err != nil {
		return fmt.Errorf("read the signing keys: %w", err)
	}
	for _, k := range keys {
		seed, err := s.Box.Open(ctx, Secret.Row(k.id), k.sealed)
		if err != nil {
			return fmt.Errorf("open signing key %s: %w", k.id, err)
		}
		if len(seed) != ed25519.SeedSize {
			return fmt.Errorf("signing key %s has %d bytes", k.id, len(seed))
		}
		private := ed25519.NewKeyFromSeed(seed)
		ring.public[k.id] = private.Public().(ed25519.PublicKey)
		ring.signer, err = jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: private, KeyID: k.id}},
			(&jose.SignerOptions{}).WithType("JWT"))
		if err != nil {
			return err
		}
	}
	s.keys.Store(ring)
	return nil
}

// publicKey finds a key, also one that another process has just made.
func (s *Store) publicKey(ctx context.Context, id string) (ed25519.PublicKey, error) {
	ring := s.keys.Load()
	if key := ring.public[id]; key != nil {
		return key, nil
	}
	if time.Since(ring.read) > rereadKeys {
		if err := s.loadKeys(ctx); err != nil {
			return nil, err
		}
		if key := s.keys.Load().public[id]; key != nil {
			return key, nil
		}
	}
	return nil, fault.Unauthenticated.Errorf("the token is signed by an unknown key")
}

// newID returns 26 characters that nobody guesses.
func newID() string { return strings.ToLower(rand.Text()) }
