package issuer

import (
	"bytes"
	"crypto/rand"
	"crypto/rsa"
	"encoding/json"
	"errors"
	"io"
	"maps"
	"net/http"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

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
