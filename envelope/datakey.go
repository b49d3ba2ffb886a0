package envelope

import (
	"context"
	"crypto/aes"
	"crypto/cipher"
	"crypto/rand"
	"fmt"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
)

const (
	version  = 1
	keyBytes = 32
	maxID    = 64
)

// gcm seals with random nonces, for which no key here comes near the limit of
// 2³² values.
func gcm(key []byte) (cipher.AEAD, error) {
	block, err := aes.NewCipher(key)
	if err != nil {
		return nil, err
	}
	return cipher.NewGCMWithRandomNonce(block)
}

// A DataKey is what the database tells of a data key.
type DataKey struct {
	ID        string
	Purpose   string // TABLE.COLUMN
	Wrapper   string // id of the Key that wraps it
	CreatedAt time.Time

	wrapped []byte
}

// about is what is authenticated along with a wrapped data key.
func (k DataKey) about() []byte { return bind("kontor data key", k.ID, k.Purpose, k.Wrapper) }

const dataKeyColumns = `SELECT id, purpose, wrapper, wrapped, created_at FROM data_key `

func scanDataKey(scan func(...any) error) (k DataKey, err error) {
	var created int64
	err = scan(&k.ID, &k.Purpose, &k.Wrapper, &k.wrapped, &created)
	k.CreatedAt = db.Time(created)
	return k, err
}

// An opened is a data key that can be used.
type opened struct {
	DataKey
	aead cipher.AEAD
}

// newDataKey makes one and wraps it.
func newDataKey(ctx context.Context, by Key, purpose string) (opened, error) {
	k := opened{DataKey: DataKey{ID: strings.ToLower(rand.Text()), Purpose: purpose, Wrapper: by.ID(), CreatedAt: time.Now()}}
	secret := make([]byte, keyBytes)
	rand.Read(secret) // never fails
	var err error
	if k.wrapped, err = by.Wrap(ctx, secret, k.about()); err != nil {
		return k, fmt.Errorf("wrap a data key by key %s: %w", by.ID(), err)
	}
	k.aead, err = gcm(secret)
	return k, err
}

// unwrap makes a data key of the database usable.
func (k DataKey) unwrap(ctx context.Context, by Key) ([]byte, error) {
	secret, err := by.Unwrap(ctx, k.wrapped, k.about())
	if err != nil {
		return nil, fmt.Errorf("unwrap the data key of %s by key %s: %w", k.Purpose, k.Wrapper, err)
	}
	if len(secret) != keyBytes {
		return nil, fault.Invalid.Errorf("the data key of %s has %d bytes", k.Purpose, len(secret))
	}
	return secret, nil
}

// insert adds a data key, unless its purpose has one.
func (k DataKey) insert(ctx context.Context, q db.Querier) error {
	_, err := db.Exec(ctx, q, `
		INSERT INTO data_key (id, purpose, wrapper, wrapped, created_at) VALUES ($1, $2, $3, $4, $5)
		ON CONFLICT (purpose) DO NOTHING`, k.ID, k.Purpose, k.Wrapper, k.wrapped, db.Micros(k.CreatedAt))
	return err
}

// seal is the reverse of open.
func (k opened) seal(at Place, plain []byte) []byte {
	sealed := append([]byte{version, byte(len(k.ID))}, k.ID...)
	return k.aead.Seal(sealed, nil, plain, at.about(k.ID))
}

// open gives back what was sealed for that place, to the bit, or an error.
func (k opened) open(at Place, body []byte) ([]byte, error) {
	plain, err := k.aead.Open(nil, nil, body, at.about(k.ID))
	if err != nil || k.Purpose != at.Column.String() {
		return nil, fault.Invalid.Errorf("what is in %s of row %s was not sealed for there, or was changed", at.Column, at.ID)
	}
	return plain, nil
}

// parse finds which data key a sealed value needs.
func parse(sealed []byte) (id string, body []byte, err error) {
	switch {
	case len(sealed) < 2:
		return "", nil, fault.Invalid.Errorf("a sealed value is too short")
	case sealed[0] != version:
		return "", nil, fault.Unsupported.Errorf("a sealed value has version %d, and this program knows %d: it is of a later Kontor, or none", sealed[0], version)
	}
	n := int(sealed[1])
	if body = sealed[2:]; n == 0 || n > maxID || len(body) < n {
		return "", nil, fault.Invalid.Errorf("a sealed value names no data key")
	}
	return string(body[:n]), body[n:], nil
}
