package tenant

import (
	"encoding/base64"
	"strings"
	"testing"

	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
)

// FuzzVerify: whatever comes is refused unless it is a token that was issued,
// also what is signed by our own key: that might have been stolen.
func FuzzVerify(f *testing.F) {
	s := populated(f, dbtest.SQLite(f))
	_, good := newToken(f, s, seca.Scope{})
	part := strings.Split(good, ".")
	payload, err := base64.RawURLEncoding.DecodeString(part[1])
	no(f, err)
	for _, raw := range []string{"", "a.b.c", good, part[0] + "." + part[1] + ".", part[0] + ".." + part[2], good + "." + good, `{"payload":"e30"}`} {
		f.Add(raw, string(payload))
	}
	for _, claims := range []string{"", "null", "[]", `{"exp":1e400}`, `{"aud":["kontor",1]}`, `{"iss":"` + issuer + `","sub":"` + alice + `","aud":"kontor","jti":"x","exp":4102444800}`} {
		f.Add(good, claims)
	}
	f.Fuzz(func(t *testing.T, raw, payload string) {
		signed, err := s.keys.Load().signer.Sign([]byte(payload))
		no(t, err)
		forged, err := signed.CompactSerialize()
		no(t, err)
		for _, token := range []string{raw, forged} {
			p, err := s.Verify(t.Context(), token)
			if err == nil && decoded(token) != decoded(good) {
				t.Errorf("%q stands for %+v", token, p)
			}
			if err != nil && fault.KindOf(err) != fault.Unauthenticated {
				t.Errorf("%q: %v", token, err)
			}
		}
	})
}

// decoded tells tokens apart by what they say: base64 has many spellings.
func decoded(raw string) string {
	var all []byte
	for part := range strings.SplitSeq(raw, ".") {
		b, _ := base64.RawURLEncoding.DecodeString(part)
		all = append(append(all, b...), '.')
	}
	return string(all)
}
