package offer

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"

	"github.com/kontor-cloud/kontor/fault"
)

// A Signature proves that a sheet is its provider's: nobody else, the operator of the exchange
// included, can change a price unseen.
type Signature struct {
	Key   string `json:"key"`   // KeyID of the public key
	Value []byte `json:"value"` // Ed25519
}

// purpose keeps a signature of one thing from being one of another.
const purpose = "kontor price sheet v1\n"

// Canonical is the bytes that are signed: the sheet as JSON in one line, members in
// the order of the type, maps by their keys, prices as decimals, times in UTC.
func (s *Sheet) Canonical() []byte {
	bare := *s
	bare.Signature = nil
	bare.normalize()
	b, err := json.Marshal(bare)
	if err != nil {
		panic(err) // texts, numbers and times
	}
	return b
}

// Digest is the SHA-256 of Canonical.
func (s *Sheet) Digest() [sha256.Size]byte { return sha256.Sum256(s.Canonical()) }

// HexDigest is Digest in hexadecimal.
func (s *Sheet) HexDigest() string {
	sum := s.Digest()
	return hex.EncodeToString(sum[:])
}

// Sign puts the provider's signature on the sheet.
func (s *Sheet) Sign(key ed25519.PrivateKey) {
	s.Signature = &Signature{KeyID(key.Public().(ed25519.PublicKey)), ed25519.Sign(key, append([]byte(purpose), s.Canonical()...))}
}

// Verify reports whether the sheet is as the holder of one of the keys signed it.
func (s *Sheet) Verify(keys ...ed25519.PublicKey) error {
	if s.Signature == nil {
		return fault.Denied.Errorf("the price sheet is not signed")
	}
	for _, key := range keys {
		if KeyID(key) != s.Signature.Key {
			continue
		}
		if !ed25519.Verify(key, append([]byte(purpose), s.Canonical()...), s.Signature.Value) {
			return fault.Denied.Errorf("the price sheet was changed after it was signed")
		}
		return nil
	}
	return fault.Denied.Errorf("the price sheet is signed by key %s, which is not one of %s", s.Signature.Key, s.Provider)
}

// KeyID names a public key: the first half of its SHA-256.
func KeyID(key ed25519.PublicKey) string {
	sum := sha256.Sum256(key)
	return hex.EncodeToString(sum[:sha256.Size/2])
}
