package issuer

import (
	"crypto/ed25519"
	"crypto/rand"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"

	"github.com/kontor-cloud/kontor/fault"
)

func TestKeysRotate(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newSet(t, nil)
		old := f.token(t, nil)
		good := func(what, raw string) {
			t.Helper()
			if _, err := prove(t, s, raw); err != nil {
				t.Errorf("%s: %v", what, err)
			}
		}
		good("first key", old)
		_, ed, _ := ed25519.GenerateKey(rand.Reader)
		f.keys = append(f.keys, jose.JSONWebKey{KeyID: "k2", Key: ed})
		next := sign(t, jose.EdDSA, f.keys[1], "JWT", nil)
		time.Sleep(askAgain)
		good("second key", next)
		good("first key beside it", old)
		if f.asked != 2 {
			t.Errorf("asked %d times, want 2", f.asked)
		}
		// Many unknown keys make few questions.
		for range 100 {
			_, err := prove(t, s, sign(t, jose.EdDSA, jose.JSONWebKey{KeyID: rand.Text(), Key: ed}, "JWT", nil))
			if fault.KindOf(err) != fault.Unauthenticated {
				t.Fatal(err)
			}
		}
		if f.asked > 3 {
			t.Errorf("asked %d times for keys that nobody has", f.asked)
		}
		// A key that is withdrawn is soon worth nothing.
		f.keys = f.keys[1:]
		time.Sleep(freshKeys)
		fresh := sign(t, jose.RS256, jose.JSONWebKey{KeyID: "k1", Key: one()}, "JWT", nil)
		if _, err := prove(t, s, fresh); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("a withdrawn key: %v", err)
		}
	})
}

func TestIssuerIsDown(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		s, f := newSet(t, nil)
		f.down = true
		raw := f.token(t, nil)
		if _, err := prove(t, s, raw); fault.KindOf(err) != fault.Unavailable || fault.After(err) == 0 {
			t.Errorf("before any key is known: %v", err)
		}
		f.down = false
		time.Sleep(askAgain)
		if _, err := prove(t, s, raw); err != nil {
			t.Error(err)
		}
		f.down = true
		time.Sleep(2 * freshKeys)
		if _, err := prove(t, s, f.token(t, nil)); err != nil {
			t.Errorf("known keys go on: %v", err)
		}
		if _, err := prove(t, s, sign(t, jose.RS256, jose.JSONWebKey{KeyID: "new", Key: one()}, "JWT", nil)); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("a key that may be new: %v", err)
		}
	})
}

func TestIssuersThatLieAreNotBelieved(t *testing.T) {
	for name, edit := range map[string]func(map[string]any){
		"another issuer":     set("issuer", away),
		"keys without TLS":   set("jwks_uri", "http://login.example/keys"),
		"keys in a file":     set("jwks_uri", "file:///etc/passwd"),
		"tokens without TLS": set("token_endpoint", "http://login.example/token"),
		"no text":            set("issuer", 5),
		"long":               set("x", strings.Repeat("a", maxAnswer)),
	} {
		s, f := newSet(t, nil)
		f.edit = edit
		if _, err := prove(t, s, f.token(t, nil)); fault.KindOf(err) != fault.Unavailable {
			t.Errorf("%s: %v", name, err)
		}
	}
}
