package issuer

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"strings"
	"sync"
	"testing"
	"testing/synctest"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/envelope/envelopetest"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/tenant"
)

const (
	home = "https://login.example"
	away = "https://other.example"
)

// A fake is an issuer in memory: what is asked of it never leaves the process.
type fake struct {
	mu    sync.Mutex
	url   string
	keys  []jose.JSONWebKey // both halves
	asked int               // for keys
	down  bool
	edit  func(map[string]any) // of the discovery document
}

func (f *fake) RoundTrip(r *http.Request) (*http.Response, error) {
	f.mu.Lock()
	defer f.mu.Unlock()
	if f.down {
		return nil, errors.New("connection refused")
	}
	var body any
	switch r.URL.String() {
	case f.url + "/.well-known/openid-configuration":
		doc := map[string]any{"issuer": f.url, "jwks_uri": f.url + "/keys"}
		if f.edit != nil {
			f.edit(doc)
		}
		body = doc
	case f.url + "/keys":
		f.asked++
		set := jose.JSONWebKeySet{}
		for _, k := range f.keys {
			set.Keys = append(set.Keys, k.Public())
		}
		body = set
	default:
		return &http.Response{StatusCode: http.StatusNotFound, Status: "404", Body: http.NoBody}, nil
	}
	b, err := json.Marshal(body)
	return &http.Response{StatusCode: http.StatusOK, Body: io.NopCloser(bytes.NewReader(b))}, err
}

// one makes a key only once a run: they take long.
var one = sync.OnceValue(func() *rsa.PrivateKey { return must(rsa.GenerateKey(rand.Reader, 2048)) })

func must[T any](v T, err error) T {
	if err != nil {
		panic(err)
	}
	return v
}

// newSet makes a set of one issuer, with rules that change makes of the simplest.
func newSet(t testing.TB, change func(*Config)) (*Set, *fake) {
	t.Helper()
	c := Config{Name: "home", Issuer: home, Audience: "kontor", ClientID: "cli", CreateAccounts: true}
	if change != nil {
		change(&c)
	}
	s, err := Open([]Config{c})
	if err != nil {
		t.Fatal(err)
	}
	f := &fake{url: home, keys: []jose.JSONWebKey{{KeyID: "k1", Key: one(), Use: "sig"}}}
	s.by[home].keys.client = Over(f)
	return s, f
}

// token signs claims that are good, after a change.
func (f *fake) token(t testing.TB, change func(map[string]any)) string {
	t.Helper()
	return sign(t, jose.RS256, f.keys[len(f.keys)-1], "JWT", change)
}

func sign(t testing.TB, alg jose.SignatureAlgorithm, key any, kind string, change func(map[string]any)) string {
	t.Helper()
	o := &jose.SignerOptions{}
	if kind != "" {
		o.WithType(jose.ContentType(kind))
	}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: alg, Key: key}, o)
	if err != nil {
		t.Fatal(err)
	}
	c := map[string]any{
		"iss": home, "sub": "alice", "aud": "kontor", "azp": "cli", "name": "Alice",
		"iat": time.Now().Unix(), "exp": time.Now().Add(time.Hour).Unix(),
	}
	if change != nil {
		change(c)
	}
	maps.DeleteFunc(c, func(_ string, v any) bool { return v == nil })
	raw, err := jwt.Signed(signer).Claims(c).Serialize()
	if err != nil {
		t.Fatal(err)
	}
	return raw
}

func set(key string, v any) func(map[string]any) {
	return func(c map[string]any) { c[key] = v }
}

func prove(t testing.TB, s *Set, raw string) (tenant.Identity, error) {
	t.Helper()
	return s.Prove(t.Context(), raw, time.Now())
}

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

func TestConfigIsChecked(t *testing.T) {
	good := Config{Name: "a", Issuer: home, Audience: "x"}
	for pointer, change := range map[string]func(*Config){
		"/oidc/0/name":         func(c *Config) { c.Name = "A b" },
		"/oidc/0/issuer":       func(c *Config) { c.Issuer = "http://login.example" },
		"/oidc/0/audience":     func(c *Config) { c.Audience = "" },
		"/oidc/0/tokens":       func(c *Config) { c.Tokens = "both" },
		"/oidc/0/algorithms/0": func(c *Config) { c.Algorithms = []string{"HS256"} },
		"/oidc/0/groupsClaim":  func(c *Config) { c.OperatorsGroup = "staff" },
		"/oidc/0/ca":           func(c *Config) { c.CA = "nowhere" },
	} {
		c := good
		change(&c)
		_, err := Open([]Config{c})
		if fault.KindOf(err) != fault.Invalid || len(fault.SourcesOf(err)) != 1 || fault.SourcesOf(err)[0].Pointer != pointer {
			t.Errorf("%s: %v %v", pointer, err, fault.SourcesOf(err))
		}
	}
	if _, err := Open([]Config{good, good}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("twice the same: %v", err)
	}
	for u, want := range map[string]bool{"https://a/b": true, "http://127.0.0.1:1/x": true, "http://localhost": true, "http://[::1]:5": true, "http://127.0.0.1.evil.example": false, "https://a/?b": false, "https://u:p@a": false, "ftp://a": false, "": false} {
		if (CheckURL(u) == nil) != want {
			t.Errorf("%q: %v", u, CheckURL(u))
		}
	}
}

// store is a tenant store on d that takes the tokens of s.
func store(t testing.TB, d *db.DB, s *Set) *tenant.Store {
	t.Helper()
	st, err := tenant.Open(context.Background(), d, envelopetest.Box(t, d), "kontor:test")
	if err != nil {
		t.Fatal(err)
	}
	st.Others = s
	return st
}

func TestLoginMakesAnAccountThatMayNothing(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, f := newSet(t, func(c *Config) { c.GroupsClaim, c.TenantPrefix = "groups", "kontor-" })
		st, ctx := store(t, d, s), t.Context()
		raw := f.token(t, nil)
		var wg sync.WaitGroup
		for range 4 {
			wg.Go(func() {
				if p, err := st.Verify(ctx, raw); err != nil || p.Subject != "home:alice" || p.Operator || len(p.Tenants) != 0 || p.Issuer != home {
					t.Errorf("%+v, %v", p, err)
				}
			})
		}
		wg.Wait()
		for _, n := range []string{"acme", "beta"} {
			if err := st.CreateTenant(ctx, tenant.Tenant{Name: n}, nil); err != nil {
				t.Fatal(err)
			}
		}
		if err := st.AddMember(ctx, "beta", "home:alice"); err != nil {
			t.Fatal(err)
		}
		p, err := st.Verify(ctx, f.token(t, set("groups", []string{"kontor-acme", "kontor-nowhere"})))
		if err != nil || strings.Join(p.Tenants, " ") != "acme beta" {
			t.Errorf("%+v, %v", p, err)
		}
		if err := st.PutAccount(ctx, tenant.Account{ID: "home:alice", Disabled: true}); err != nil {
			t.Fatal(err)
		}
		if _, err := st.Verify(ctx, raw); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("a disabled account: %v", err)
		}
	})
}

// A claim that anybody can set to the name of somebody else's account gives nothing.
func TestAnAccountIsTakenByALinkAlone(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, f := newSet(t, func(c *Config) { c.AccountClaim = "preferred_username" })
		st, ctx := store(t, d, s), t.Context()
		if err := st.PutAccount(ctx, tenant.Account{ID: "admin", Operator: true}); err != nil {
			t.Fatal(err)
		}
		raw := f.token(t, set("preferred_username", "admin"))
		if p, err := st.Verify(ctx, raw); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%+v, %v", p, err)
		}
		if p, err := st.Verify(ctx, f.token(t, set("preferred_username", "service:acme:ci"))); fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("the name of a tenant's program: %+v, %v", p, err)
		}
		if err := st.Link(ctx, home, "alice", "nobody"); fault.KindOf(err) != fault.Conflict {
			t.Errorf("link to no account: %v", err)
		}
		if err := st.Link(ctx, home, "alice", "admin"); err != nil {
			t.Fatal(err)
		}
		if p, err := st.Verify(ctx, raw); err != nil || p.Subject != "admin" || !p.Operator {
			t.Errorf("%+v, %v", p, err)
		}
		// Without createAccounts, nothing is made.
		s.by[home].CreateAccounts = false
		if _, err := st.Verify(ctx, f.token(t, set("sub", "mallory"))); fault.KindOf(err) != fault.Unauthenticated {
			t.Error(err)
		}
		if all, err := st.Accounts(ctx); err != nil || len(all) != 1 {
			t.Errorf("%v, %v", all, err)
		}
	})
}

// FuzzVerify: whatever comes is refused, unless it is a token that was signed,
// to the bit.
func FuzzVerify(f *testing.F) {
	s, home := newSet(f, nil)
	st := store(f, dbtest.SQLite(f), s)
	good := home.token(f, nil)
	f.Add(good)
	for _, raw := range attacks(f, home) {
		f.Add(raw[:min(len(raw), 9<<10)])
	}
	f.Fuzz(func(t *testing.T, raw string) {
		p, err := st.Verify(t.Context(), raw)
		if err == nil && decoded(raw) != decoded(good) {
			t.Errorf("%q stands for %+v", raw, p)
		}
		if err != nil && fault.KindOf(err) != fault.Unauthenticated {
			t.Errorf("%q: %v", raw, err)
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
