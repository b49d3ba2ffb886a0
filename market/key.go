package market

import (
	"context"
	"crypto/ed25519"
	"crypto/rand"
	"fmt"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/envelope"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/offer"
)

// Secret is where the keys that sign decisions are sealed.
var Secret = envelope.Column{Table: "decision_key", Name: "sealed"}

// A Signature is the exchange's word that a decision is its own, unchanged, and made
// for that tenant at that moment.
type Signature struct {
	Decision string    `json:"decision"` // its id
	Tenant   string    `json:"tenant"`
	At       time.Time `json:"at"`
	Key      string    `json:"key"`    // offer.KeyID of the public key
	Public   []byte    `json:"public"` // the key itself; who does not trust the bearer asks the exchange for it
	Value    []byte    `json:"value"`  // Ed25519
}

// purpose keeps a signature of one thing from being one of another.
const purpose = "kontor decision v1\n"

// message is what is signed. No part before the record can have a line break.
func (s Signature) message(record []byte) []byte {
	head := fmt.Sprintf("%s%s\n%s\n%d\n", purpose, s.Decision, s.Tenant, s.At.UnixMicro())
	return append([]byte(head), record...)
}

// Verify reports whether the signature is that of the record, by the key that it names.
func (s Signature) Verify(record []byte) error {
	if len(s.Public) != ed25519.PublicKeySize || offer.KeyID(s.Public) != s.Key {
		return fault.Denied.Errorf("the signature of decision %s does not come with its key %s", s.Decision, s.Key)
	}
	if !ed25519.Verify(s.Public, s.message(record), s.Value) {
		return fault.Denied.Errorf("decision %s was changed after it was signed", s.Decision)
	}
	return nil
}

// A signer signs with the exchange's newest key.
type signer struct {
	id      string // of the row
	private ed25519.PrivateKey
	public  ed25519.PublicKey
}

// openSigner reads the key, and makes it if there is none. It is number 1, so that of
// all processes that start at once one makes it.
func openSigner(ctx context.Context, d *db.DB, box *envelope.Box) (*signer, error) {
	public, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return nil, err
	}
	sealed, err := box.Seal(ctx, Secret.Row("1"), private.Seed())
	if err != nil {
		return nil, err
	}
	if _, err := db.Exec(ctx, d, `
		INSERT INTO decision_key (id, sealed, public, created_at)
		SELECT '1', $1, $2, $3 WHERE NOT EXISTS (SELECT 1 FROM decision_key)
		ON CONFLICT (id) DO NOTHING`, sealed, []byte(public), db.Micros(time.Now())); err != nil {
		return nil, err
	}
	s := &signer{}
	_, err = db.One(ctx, d, func(scan func(...any) error) (struct{}, error) {
		return struct{}{}, scan(&s.id, &sealed)
	}, `SELECT id, sealed FROM decision_key ORDER BY created_at DESC, id DESC LIMIT 1`)
	if err != nil {
		return nil, err
	}
	seed, err := box.Open(ctx, Secret.Row(s.id), sealed)
	if err != nil {
		return nil, err
	}
	if len(seed) != ed25519.SeedSize {
		return nil, fmt.Errorf("decision key %s has %d bytes", s.id, len(seed))
	}
	s.private = ed25519.NewKeyFromSeed(seed)
	s.public = s.private.Public().(ed25519.PublicKey)
	return s, nil
}

func (s *signer) sign(decision, tenant string, at time.Time, record []byte) Signature {
	sig := Signature{Decision: decision, Tenant: tenant, At: at, Key: offer.KeyID(s.public), Public: s.public}
	sig.Value = ed25519.Sign(s.private, sig.message(record))
	return sig
}

// A Key is one by which decisions are signed.
type Key struct {
	ID        string    `json:"id"` // offer.KeyID
	Public    []byte    `json:"public"`
	CreatedAt time.Time `json:"createdAt"`
}

// Keys lists the public keys by which decisions are or were signed, the newest first.
func (s *Store) Keys(ctx context.Context) ([]Key, error) {
	return db.All(ctx, s.DB, func(scan func(...any) error) (k Key, err error) {
		var created int64
		err = scan(&k.Public, &created)
		k.ID, k.CreatedAt = offer.KeyID(k.Public), db.Time(created)
		return k, err
	}, `SELECT public, created_at FROM decision_key ORDER BY created_at DESC, id DESC`)
}
