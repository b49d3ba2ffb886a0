package issuer

import (
	"context"
	"crypto/rsa"
	"encoding/json"
	"sync"
	"sync/atomic"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/kontor-cloud/kontor/fault"
)

const (
	freshKeys = 10 * time.Minute // then an issuer is asked whether it has withdrawn one
	askAgain  = 10 * time.Second // at the earliest, whatever keys tokens name
	maxKeys   = 100
	minRSA    = 2048
)

// keys are what an issuer signs with. They are asked for when the first token
// comes, when a token names an unknown one, and when they are old; never more
// often than askAgain. What is known goes on while the issuer is away.
type keys struct {
	client Client
	issuer string

	known atomic.Pointer[ring]
	mu    sync.Mutex // held by who asks
	asked time.Time
	err   error // of the last time
}

// A ring is the keys as they were at a time. It never changes.
type ring struct {
	keys []jose.JSONWebKey
	at   time.Time
}

// find returns the key by its id, for signatures of alg. A token without an id
// is good for an issuer with one such key.
func (k *keys) find(ctx context.Context, id, alg string) (any, error) {
	r := k.known.Load()
	key := r.key(id, alg)
	if key != nil && time.Since(r.at) < freshKeys {
		return key, nil
	}
	if key == nil {
		k.mu.Lock()
	} else if !k.mu.TryLock() {
		return key, nil // somebody asks already
	}
	defer k.mu.Unlock()
	if k.known.Load() == r && time.Since(k.asked) >= askAgain {
		k.ask(context.WithoutCancel(ctx)) // others wait for it, too
	}
	now := k.known.Load()
	if found := now.key(id, alg); found != nil {
		return found, nil
	}
	if k.err != nil {
		return nil, fault.RetryAfter(k.err, askAgain)
	}
	return nil, fault.Unauthenticated.Errorf("the token is signed by a key that %s does not publish for %s", k.issuer, alg)
}

// ask gets the keys from the issuer, or leaves them as they are.
func (k *keys) ask(ctx context.Context) {
	k.asked = time.Now()
	var m Metadata
	if m, k.err = Discover(ctx, k.client, k.issuer); k.err != nil {
		return
	}
	var set struct {
		Keys []json.RawMessage `json:"keys"`
	}
	if k.err = k.client.get(ctx, m.Keys, &set); k.err != nil {
		return
	}
	r := &ring{at: time.Now()}
	for _, raw := range set.Keys[:min(len(set.Keys), maxKeys)] {
		var key jose.JSONWebKey // one of a kind that we do not know is left out
		if key.UnmarshalJSON(raw) == nil && usable(key) {
			r.keys = append(r.keys, key)
		}
	}
	k.known.Store(r)
}

// usable reports whether a key is a public one for signatures, and strong.
func usable(k jose.JSONWebKey) bool {
	if !k.Valid() || !k.IsPublic() || k.Use != "" && k.Use != "sig" {
		return false
	}
	r, isRSA := k.Key.(*rsa.PublicKey)
	return !isRSA || r.N.BitLen() >= minRSA
}

func (r *ring) key(id, alg string) any {
	if r == nil {
		return nil
	}
	var found any
	for _, k := range r.keys {
		if k.Algorithm != "" && k.Algorithm != alg || !fits(k.Key, alg) {
			continue
		}
		if id != "" && k.KeyID == id {
			return k.Key
		}
		if id == "" {
			if found != nil {
				return nil // which one?
			}
			found = k.Key
		}
	}
	return found
}
