package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"encoding/json"
	"fmt"
	"net/http"
	"net/http/httptest"
	"os"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/rogpeppe/go-internal/testscript"
)

// A giver is an OpenID Connect provider that knows one person, alice, who
// approves every device at the second look. Its tokens live for a minute, so
// that each use of one refreshes it, and a refresh token is good once.
type giver struct {
	*httptest.Server
	signer jose.Signer
	keys   jose.JSONWebKeySet
	client string   // who may ask
	groups []string // that alice is in

	mu      sync.Mutex
	looks   int
	says    []string // errors with which the next looks of a device are answered
	refresh string   // the one that is good; "" for none
	revoked int
}

func newGiver() (*giver, error) {
	g := &giver{client: "cli", groups: []string{"kontor-demo"}}
	if err := g.rotate(); err != nil {
		return nil, err
	}
	mux := http.NewServeMux()
	mux.HandleFunc("GET /.well-known/openid-configuration", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{
			"issuer": g.URL, "jwks_uri": g.URL + "/keys", "token_endpoint": g.URL + "/token",
			"device_authorization_endpoint": g.URL + "/device", "revocation_endpoint": g.URL + "/revoke",
		})
	})
	mux.HandleFunc("GET /keys", func(w http.ResponseWriter, _ *http.Request) {
		g.mu.Lock()
		defer g.mu.Unlock()
		answer(w, http.StatusOK, g.keys)
	})
	mux.HandleFunc("POST /device", func(w http.ResponseWriter, _ *http.Request) {
		answer(w, http.StatusOK, map[string]any{
			"device_code": "d", "user_code": "ABCD-\x1b[2JEFGH", "verification_uri": g.URL + "/page", "expires_in": 60, "interval": 1,
		})
	})
	mux.HandleFunc("POST /token", g.token)
	mux.HandleFunc("POST /revoke", func(w http.ResponseWriter, r *http.Request) {
		g.mu.Lock()
		defer g.mu.Unlock()
		if r.FormValue("token") == g.refresh {
			g.refresh = ""
		}
		g.revoked++
		answer(w, http.StatusOK, nil)
	})
	g.Server = httptest.NewServer(mux)
	return g, nil
}

// rotate signs by a new key from now on, and publishes that alone.
func (g *giver) rotate() error {
	_, key, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		return err
	}
	k := jose.JSONWebKey{Key: key, KeyID: rand.Text(), Algorithm: "EdDSA"}
	signer, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: k}, (&jose.SignerOptions{}).WithType("at+jwt"))
	g.mu.Lock()
	defer g.mu.Unlock()
	g.signer, g.keys = signer, jose.JSONWebKeySet{Keys: []jose.JSONWebKey{k.Public()}}
	return err
}

// issue makes an access token for alice.
func (g *giver) issue() (string, error) {
	now := time.Now()
	return jwt.Signed(g.signer).Claims(map[string]any{
		"iss": g.URL, "sub": "alice", "aud": "kontor", "client_id": g.client, "jti": rand.Text(),
		"iat": now.Unix(), "exp": now.Add(time.Minute).Unix(), "groups": g.groups,
	}).Serialize()
}

func (g *giver) token(w http.ResponseWriter, r *http.Request) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.looks++
	switch {
	case r.FormValue("client_id") != g.client:
		answer(w, http.StatusUnauthorized, map[string]any{"error": "invalid_client"})
	case r.FormValue("grant_type") == "refresh_token" && (g.refresh == "" || r.FormValue("refresh_token") != g.refresh):
		answer(w, http.StatusBadRequest, map[string]any{"error": "invalid_grant"})
	case len(g.says) > 0:
		answer(w, http.StatusBadRequest, map[string]any{"error": g.says[0]})
		g.says = g.says[1:]
	case r.FormValue("grant_type") != "refresh_token" && g.looks == 1:
		answer(w, http.StatusBadRequest, map[string]any{"error": "authorization_pending"})
	default:
		g.refresh = rand.Text()
		raw, err := g.issue()
		if err != nil {
			panic(err)
		}
		answer(w, http.StatusOK, map[string]any{"access_token": raw, "token_type": "Bearer", "expires_in": 59, "refresh_token": g.refresh})
	}
}

func answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	_ = json.NewEncoder(w).Encode(v) // the client sees that it is cut
}

func scriptIssuer(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: issuer")
	}
	g, err := newGiver()
	ts.Check(err)
	ts.Defer(g.Close)
	ts.Setenv("ISSUER", g.URL)
	ts.Check(os.WriteFile(ts.MkAbs("oidc.yaml"), fmt.Appendf(nil, `
oidc:
- name: home
  issuer: %s
  audience: kontor
  clientID: cli
  createAccounts: true
  groupsClaim: groups
  tenantPrefix: kontor-
`, g.URL), 0o600))
}
