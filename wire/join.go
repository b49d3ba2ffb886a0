package wire

import (
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"net/url"

	"github.com/kontor-cloud/kontor/fault"
)

// A JoinToken is all that an agent needs to join: it is shown to the provider
// as one line of text, once. It carries a secret.
type JoinToken struct {
	URL      string `json:"url"` // of the agents' listener
	Token    string `json:"token"`
	CASHA256 string `json:"ca_sha256"` // of the exchange's CA certificate, DER, in hex: the agent trusts no other
}

// Fingerprint is how a JoinToken names a CA certificate (DER).
func Fingerprint(ca []byte) string {
	sum := sha256.Sum256(ca)
	return hex.EncodeToString(sum[:])
}

// Encode gives the one line.
func (t JoinToken) Encode() string {
	b, _ := json.Marshal(t) // three strings
	return base64.RawURLEncoding.EncodeToString(b)
}

// DecodeJoinToken reads what Encode wrote, and checks that all of it is there.
func DecodeJoinToken(s string) (JoinToken, error) {
	var t JoinToken
	b, err := base64.RawURLEncoding.DecodeString(s)
	if err == nil {
		err = json.Unmarshal(b, &t)
	}
	if err != nil {
		return t, fault.Invalid.Errorf("this is no join token; copy the whole line that the exchange printed")
	}
	u, err := url.Parse(t.URL)
	if err != nil || u.Scheme != "https" || u.Host == "" {
		return t, fault.Invalid.Errorf("the join token has no https URL of an exchange")
	}
	if sum, err := hex.DecodeString(t.CASHA256); err != nil || len(sum) != 32 || t.Token == "" {
		return t, fault.Invalid.Errorf("the join token is not complete")
	}
	return t, nil
}
