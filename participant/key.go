package participant

import (
	"crypto/ed25519"
	"encoding/json"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/offer"
)

// An Application is a profile, signed by who wants to take part, for one exchange.
type Application struct {
	Profile   Profile           `json:"profile"`
	Key       ed25519.PublicKey `json:"key"`
	Signature []byte            `json:"signature"`
}

// What is signed begins with what for, and for which exchange, by its URL: a signature
// that one exchange was given is worth nothing at another.
const (
	forApplication = "kontor application v1\n"
	forLogin       = "kontor login v1\n"
)

func (a *Application) text(exchange string) []byte {
	b, _ := json.Marshal(a.Profile) // of texts
	return append([]byte(forApplication+exchange+"\n"), b...)
}

// Apply makes an application to the exchange at a URL.
func Apply(p Profile, key ed25519.PrivateKey, exchange string) *Application {
	p.Tidy()
	a := &Application{Profile: p, Key: key.Public().(ed25519.PublicKey)}
	a.Signature = ed25519.Sign(key, a.text(exchange))
	return a
}

// Verify reports whether who applies holds the key, and means the exchange at this URL.
func (a *Application) Verify(exchange string) error {
	if len(a.Key) != ed25519.PublicKeySize {
		return fault.At(fault.Invalid.Errorf("key must be an Ed25519 public key: 32 bytes in base64"), "/key")
	}
	if !ed25519.Verify(a.Key, a.text(exchange), a.Signature) {
		return fault.At(fault.Denied.Errorf("the application is not signed by its key for %s, which is how this exchange is reached", exchange), "/signature")
	}
	return nil
}

// Answer signs a challenge of the exchange at a URL.
func Answer(challenge string, key ed25519.PrivateKey, exchange string) []byte {
	return ed25519.Sign(key, []byte(forLogin+exchange+"\n"+challenge))
}

// Answers reports whether one of the keys has signed a challenge of the exchange at a URL,
// and gives its id.
func Answers(challenge string, signature []byte, exchange string, keys []ed25519.PublicKey) (id string, ok bool) {
	for _, k := range keys {
		if ed25519.Verify(k, []byte(forLogin+exchange+"\n"+challenge), signature) {
			return offer.KeyID(k), true
		}
	}
	return "", false
}
