package issuer

import (
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"maps"
	"strings"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/tenant"
)

func TestTokensOfEachAlgorithmAreTaken(t *testing.T) {
	s, f := newSet(t, nil)
	_, ed, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	ec := must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader))
	f.keys = append(f.keys, jose.JSONWebKey{KeyID: "k2", Key: ec}, jose.JSONWebKey{KeyID: "k3", Key: ed, Algorithm: "EdDSA"})
	for i, alg := range []jose.SignatureAlgorithm{jose.RS256, jose.ES256, jose.EdDSA} {
		for _, kind := range []string{"", "JWT", "at+jwt", "application/at+jwt"} {
			who, err := prove(t, s, sign(t, alg, f.keys[i], kind, nil))
			if err != nil || who.Account != "home:alice" || who.Subject != "alice" || who.Issuer != home || who.Display != "Alice" || who.Operator || who.Tenants != nil {
				t.Errorf("%s %q: %+v, %v", alg, kind, who, err)
			}
		}
	}
	if _, err := prove(t, s, sign(t, jose.RS256, one(), "", nil)); err != nil {
		t.Errorf("a token without a key id, of an issuer with one such key: %v", err)
	}
}

// TestAlgorithmsArePinned takes those that the config names and no other, though the key would be good for it.
func TestAlgorithmsArePinned(t *testing.T) {
	for _, pinned := range []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.PS256} {
		s, f := newSet(t, func(c *Config) { c.Algorithms = []string{string(pinned)} })
		for _, alg := range []jose.SignatureAlgorithm{jose.RS256, jose.RS384, jose.RS512, jose.PS256, jose.PS512} {
			_, err := prove(t, s, sign(t, alg, f.keys[0], "JWT", nil))
			if alg == pinned && err != nil || alg != pinned && fault.KindOf(err) != fault.Unauthenticated {
				t.Errorf("%s, where %s is taken: %v", alg, pinned, err)
			}
		}
	}
	// A key that says what it is for is for nothing else.
	s, f := newSet(t, func(c *Config) { c.Algorithms = []string{"RS256", "RS512"} })
	f.keys[0].Algorithm = "RS512"
	if _, err := prove(t, s, sign(t, jose.RS256, jose.JSONWebKey{KeyID: f.keys[0].KeyID, Key: one()}, "JWT", nil)); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("a key for RS512 is taken for RS256: %v", err)
	}
}

// attacks are tokens that are refused by an issuer with a good key, by name.
func attacks(t testing.TB, f *fake) map[string]string {
	key := f.keys[0]
	good := strings.Split(f.token(t, nil), ".")
	stranger := must(rsa.GenerateKey(rand.Reader, 2048))
	weak := []byte(base64.RawURLEncoding.EncodeToString(one().N.Bytes()))
	der := must(x509.MarshalPKIXPublicKey(one().Public()))
	none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","kid":"k1"}`))
	ago, soon := time.Now().Add(-time.Hour).Unix(), time.Now().Add(time.Hour).Unix()
	embedded := must(jose.NewSigner(jose.SigningKey{Algorithm: jose.RS256, Key: stranger}, &jose.SignerOptions{EmbedJWK: true}))
	return map[string]string{
		"empty":                   "",
		"noise":                   "a.b.c",
		"huge":                    strings.Join(good, ".") + strings.Repeat("A", 64<<10),
		"no signature":            good[0] + "." + good[1] + ".",
		"alg none":                none + "." + good[1] + ".",
		"alg none, signed":        none + "." + good[1] + "." + good[2],
		"public key as secret":    sign(t, jose.HS256, jose.JSONWebKey{Key: der, KeyID: "k1"}, "JWT", nil),
		"modulus as secret":       sign(t, jose.HS256, jose.JSONWebKey{Key: weak, KeyID: "k1"}, "JWT", nil),
		"other algorithm":         sign(t, jose.RS512, key, "JWT", nil),
		"other algorithm, PSS":    sign(t, jose.PS256, key, "JWT", nil),
		"stranger's key":          sign(t, jose.RS256, jose.JSONWebKey{Key: stranger, KeyID: "k1"}, "JWT", nil),
		"stranger's key, no id":   sign(t, jose.RS256, stranger, "JWT", nil),
		"stranger's key within":   must(jwt.Signed(embedded).Claims(map[string]any{"iss": home, "sub": "alice", "aud": "kontor", "exp": soon}).Serialize()),
		"unknown key id":          sign(t, jose.RS256, jose.JSONWebKey{Key: one(), KeyID: "../../k1"}, "JWT", nil),
		"key id for another kind": sign(t, jose.ES256, jose.JSONWebKey{Key: must(ecdsa.GenerateKey(elliptic.P256(), rand.Reader)), KeyID: "k1"}, "JWT", nil),
		"issuer":                  f.token(t, set("iss", away)),
		"issuer with a slash":     f.token(t, set("iss", home+"/")),
		"issuer in capitals":      f.token(t, set("iss", strings.ToUpper(home))),
		"no issuer":               f.token(t, set("iss", nil)),
		"audience":                f.token(t, set("aud", "other")),
		"audience, longer":        f.token(t, set("aud", "kontor2")),
		"no audience":             f.token(t, set("aud", nil)),
		"party":                   f.token(t, set("azp", "wiki")),
		"client":                  f.token(t, set("client_id", "wiki")),
		"many audiences":          f.token(t, func(c map[string]any) { c["aud"], c["azp"] = []string{"wiki", "kontor"}, nil }),
		"expired":                 f.token(t, set("exp", ago)),
		"no expiry":               f.token(t, set("exp", nil)),
		"not yet":                 f.token(t, set("nbf", soon)),
		"issued in the future":    f.token(t, set("iat", soon)),
		"no subject":              f.token(t, set("sub", nil)),
		"subject of many bytes":   f.token(t, set("sub", strings.Repeat("a", 256))),
		"ID token by nonce":       f.token(t, set("nonce", "n")),
		"ID token by hash":        f.token(t, set("at_hash", "h")),
		"ID token by type":        f.token(t, set("typ", "ID")),
		"refresh token":           f.token(t, set("typ", "Refresh")),
		"logout token":            f.token(t, set("events", map[string]any{"http://schemas.openid.net/event/backchannel-logout": map[string]any{}})),
		"logout token by type":    sign(t, jose.RS256, key, "logout+jwt", nil),
		"bound token":             f.token(t, set("cnf", map[string]any{"jkt": "x"})),
	}
}

func TestAttacksAreRefused(t *testing.T) {
	s, f := newSet(t, nil)
	_, hostile := newSet(t, nil)
	hostile.url = away
	// Another issuer that we trust too signs with its own key, and speaks for home.
	second, err := Open([]Config{{Name: "home", Issuer: home, Audience: "kontor"}, {Name: "away", Issuer: away, Audience: "kontor"}})
	if err != nil {
		t.Fatal(err)
	}
	hostile.keys = []jose.JSONWebKey{{KeyID: "k1", Key: must(rsa.GenerateKey(rand.Reader, 2048))}}
	second.by[home].keys.client, second.by[away].keys.client = Over(f), Over(hostile)
	if _, err := prove(t, second, hostile.token(t, set("iss", away))); fault.KindOf(err) != fault.Unauthenticated && err != nil {
		t.Fatal(err) // azp is not known to it; its keys are now
	}
	if _, err := prove(t, second, hostile.token(t, nil)); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("an issuer speaks for another: %v", err)
	}

	if _, err := prove(t, s, f.token(t, nil)); err != nil {
		t.Fatal(err)
	}
	for name, raw := range attacks(t, f) {
		who, err := prove(t, s, raw)
		if fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%s: %+v, %v", name, who, err)
		}
		if err != nil && raw != "" && strings.Contains(err.Error(), raw) {
			t.Errorf("%s: the error shows the token", name)
		}
	}
}

func TestKindsOfTokensAreKeptApart(t *testing.T) {
	s, f := newSet(t, func(c *Config) { c.Tokens, c.Audience = "id", "cli" })
	good := func(c map[string]any) { c["aud"], c["azp"], c["nonce"] = "cli", nil, "n" }
	if _, err := prove(t, s, f.token(t, good)); err != nil {
		t.Error(err)
	}
	if _, err := prove(t, s, sign(t, jose.RS256, f.keys[0], "at+jwt", good)); fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("an access token where ID tokens are taken: %v", err)
	}
}

func TestClocksMayBeApart(t *testing.T) {
	s, f := newSet(t, nil)
	now := time.Now()
	for d, good := range map[time.Duration]bool{tenant.Leeway / 2: true, 3 * tenant.Leeway: false} {
		for _, c := range []map[string]any{{"nbf": now.Add(d).Unix()}, {"iat": now.Add(d).Unix()}, {"exp": now.Add(-d).Unix()}} {
			_, err := prove(t, s, f.token(t, func(to map[string]any) { maps.Copy(to, c) }))
			if (err == nil) != good {
				t.Errorf("%v: %v", c, err)
			}
		}
	}
}

func TestClaimsGiveWhatTheConfigSays(t *testing.T) {
	s, f := newSet(t, func(c *Config) {
		c.GroupsClaim, c.TenantPrefix, c.OperatorsGroup, c.AccountClaim = "groups", "kontor-", "staff", "email"
	})
	mail := func(verified bool, groups any) func(map[string]any) {
		return func(c map[string]any) {
			c["email"], c["email_verified"], c["groups"] = "alice@x.example", verified, groups
		}
	}
	who, err := prove(t, s, f.token(t, mail(true, []string{"kontor-acme", "kontor-../x", "beta", "staff", "kontor-"})))
	if err != nil || who.Account != "alice@x.example" || !who.Operator || len(who.Tenants) != 1 || who.Tenants[0] != "acme" {
		t.Errorf("%+v, %v", who, err)
	}
	for name, change := range map[string]func(map[string]any){"not verified": mail(false, nil), "groups are text": mail(true, "staff"), "no address": nil} {
		if _, err := prove(t, s, f.token(t, change)); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%s: %v", name, err)
		}
	}
	// Without a word in the config, groups give nothing.
	s, f = newSet(t, func(c *Config) { c.GroupsClaim = "groups" })
	if who, err := prove(t, s, f.token(t, set("groups", []string{"acme", ""}))); err != nil || who.Operator || who.Tenants != nil {
		t.Errorf("%+v, %v", who, err)
	}
	// A subject that no account can be called still has one of its own.
	who, err = prove(t, s, f.token(t, set("sub", "a b/č")))
	if err != nil || (tenant.Account{ID: who.Account}).Validate() != nil {
		t.Errorf("%+v, %v", who, err)
	}
}
