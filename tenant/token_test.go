package tenant

import (
	"crypto/ed25519"
	"crypto/sha256"
	"encoding/base64"
	"encoding/json"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"
	"github.com/google/go-cmp/cmp"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/envelope/envelopetest"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
)

const alice = "alice@acme.example"

func newToken(tb testing.TB, s *Store, narrow seca.Scope) (Token, string) {
	tb.Helper()
	token, secret, err := s.NewToken(tb.Context(), alice, "laptop", time.Hour, narrow)
	no(tb, err)
	return token, secret
}

func TestTokenStandsForItsAccount(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		token, secret := newToken(t, s, seca.Scope{})
		want := Principal{Subject: alice, Tenants: []string{"acme", "beta"}, TokenID: token.ID, Expires: token.ExpiresAt}
		for range 2 {
			got, err := s.Verify(t.Context(), secret)
			no(t, err)
			if diff := cmp.Diff(want, got); diff != "" {
				t.Error(diff)
			}
		}
		// Another process, and one after a restart, know it, too.
		other, err := Open(t.Context(), s.DB, envelopetest.Box(t, s.DB), issuer)
		no(t, err)
		if _, err := other.Verify(t.Context(), secret); err != nil {
			t.Error(err)
		}
		list, err := s.Tokens(t.Context(), alice)
		no(t, err)
		if len(list) != 1 || list[0].UsedAt.IsZero() {
			t.Fatalf("tokens %+v", list)
		}
		list[0].UsedAt = time.Time{}
		if diff := cmp.Diff(token, list[0]); diff != "" {
			t.Error(diff)
		}
	})
}

func TestTokenSeenBeforeCostsNoQuery(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		_, secret := newToken(t, s, seca.Scope{})
		_, err := s.Verify(t.Context(), secret)
		no(t, err)
		before := s.DB.Statements()
		for range 100 {
			_, err := s.Verify(t.Context(), secret)
			no(t, err)
		}
		if n := s.DB.Statements() - before; n != 0 {
			t.Errorf("%d queries, want none", n)
		}
	})
}

func TestNarrowedTokenIsNarrow(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		no(t, s.PutAccount(t.Context(), Account{ID: alice, Operator: true}))
		narrow := seca.Scope{Tenants: []string{"beta"}, Workspaces: []string{"w1"}}
		_, secret := newToken(t, s, narrow)
		got, err := s.Verify(t.Context(), secret)
		no(t, err)
		if got.Operator || !got.Member("beta") || got.Member("acme") || cmp.Diff(narrow, got.Scope) != "" {
			t.Errorf("principal %+v", got)
		}
		claims := payload(t, secret)
		if diff := cmp.Diff(map[string]any{"tenants": []any{"beta"}, "workspaces": []any{"w1"}}, claims["scope"]); diff != "" {
			t.Error(diff)
		}
		if diff := cmp.Diff([]any{"beta"}, claims["tenants"]); diff != "" {
			t.Error(diff)
		}
		_, _, err = s.NewToken(t.Context(), alice, "x", time.Hour, seca.Scope{Tenants: []string{"acme", "gamma"}})
		kind(t, err, fault.Invalid)
	})
}

func payload(t *testing.T, secret string) map[string]any {
	t.Helper()
	b, err := base64.RawURLEncoding.DecodeString(strings.Split(secret, ".")[1])
	no(t, err)
	var m map[string]any
	no(t, json.Unmarshal(b, &m))
	return m
}

// Each of these must end what a token is good for at once, although it has
// just been seen and found good.
func TestRevocationTakesEffectAtOnce(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		ctx := t.Context()
		token, secret := newToken(t, s, seca.Scope{})
		verify := func() (Principal, error) { return s.Verify(ctx, secret) }
		good := func() Principal {
			p, err := verify()
			no(t, err)
			return p
		}
		good()
		no(t, s.RemoveMember(ctx, "beta", alice))
		if p := good(); p.Member("beta") {
			t.Error("still a member of beta")
		}
		no(t, s.PutAccount(ctx, Account{ID: alice, Operator: true}))
		if p := good(); !p.Operator {
			t.Error("not an operator yet")
		}
		no(t, s.PutAccount(ctx, Account{ID: alice, Disabled: true}))
		_, err := verify()
		kind(t, err, fault.Unauthenticated)
		no(t, s.PutAccount(ctx, Account{ID: alice}))
		good()
		no(t, s.DeleteTenant(ctx, "acme", nil))
		if p := good(); p.Member("acme") {
			t.Error("still a member of acme")
		}
		no(t, s.RevokeToken(ctx, token.ID))
		_, err = verify()
		kind(t, err, fault.Unauthenticated)
		no(t, s.RevokeToken(ctx, token.ID)) // again
		kind(t, s.RevokeToken(ctx, "nothing"), fault.Missing)
	})
}

func TestRevocationElsewhereTakesEffectWhenTheVerdictIsOld(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		here, err := Open(t.Context(), s.DB, envelopetest.Box(t, s.DB), issuer)
		no(t, err)
		token, secret := newToken(t, s, seca.Scope{})
		_, err = here.Verify(t.Context(), secret)
		no(t, err)
		no(t, s.RevokeToken(t.Context(), token.ID))
		for hash, v := range here.verified.by {
			v.at = v.at.Add(-Freshness)
			here.verified.by[hash] = v
		}
		_, err = here.Verify(t.Context(), secret)
		kind(t, err, fault.Unauthenticated)
	})
}

func TestSeenTokenExpires(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		_, secret := newToken(t, s, seca.Scope{})
		_, err := s.Verify(t.Context(), secret)
		no(t, err)
		for hash, v := range s.verified.by {
			v.Expires = time.Now().Add(-Leeway - time.Second)
			s.verified.by[hash] = v
		}
		_, err = s.Verify(t.Context(), secret)
		kind(t, err, fault.Unauthenticated)
	})
}

// forge signs claims as s would, after a change to them.
func forge(t *testing.T, s *Store, token Token, change func(*claims)) string {
	t.Helper()
	c := claims{Claims: jwt.Claims{
		Issuer: s.Issuer, Audience: jwt.Audience{audience}, Subject: token.Account, ID: token.ID,
		IssuedAt: jwt.NewNumericDate(token.CreatedAt), Expiry: jwt.NewNumericDate(token.ExpiresAt),
	}}
	change(&c)
	secret, err := jwt.Signed(s.keys.Load().signer).Claims(c).Serialize()
	no(t, err)
	return secret
}

func TestForgedTokensAreRefused(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		token, secret := newToken(t, s, seca.Scope{})
		part := strings.Split(secret, ".")
		past := jwt.NewNumericDate(time.Now().Add(-time.Hour))
		future := jwt.NewNumericDate(time.Now().Add(time.Hour))
		_, stranger, err := ed25519.GenerateKey(nil)
		no(t, err)
		var known string
		for id := range s.keys.Load().public {
			known = id
		}
		other, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.EdDSA, Key: jose.JSONWebKey{Key: stranger, KeyID: known}}, nil)
		no(t, err)
		hmac, err := jose.NewSigner(jose.SigningKey{Algorithm: jose.HS256, Key: jose.JSONWebKey{Key: []byte(s.keys.Load().public[known]), KeyID: known}}, nil)
		no(t, err)
		sign := func(by jose.Signer) string {
			raw, err := jwt.Signed(by).Claims(payload(t, secret)).Serialize()
			no(t, err)
			return raw
		}
		none := base64.RawURLEncoding.EncodeToString([]byte(`{"alg":"none","typ":"JWT"}`))
		for name, raw := range map[string]string{
			"empty":            "",
			"noise":            "a.b.c",
			"too long":         secret + strings.Repeat("a", maxToken),
			"no signature":     part[0] + "." + part[1] + ".",
			"alg none":         none + "." + part[1] + ".",
			"other key":        sign(other),
			"public as secret": sign(hmac),
			"issuer":           forge(t, s, token, func(c *claims) { c.Issuer = "https://evil.example" }),
			"audience":         forge(t, s, token, func(c *claims) { c.Audience = jwt.Audience{"other"} }),
			"expired":          forge(t, s, token, func(c *claims) { c.Expiry = past }),
			"no expiry":        forge(t, s, token, func(c *claims) { c.Expiry = nil }),
			"not yet":          forge(t, s, token, func(c *claims) { c.NotBefore = future }),
			"unknown id":       forge(t, s, token, func(c *claims) { c.ID = "other" }),
			"no id":            forge(t, s, token, func(c *claims) { c.ID = "" }),
			"other subject":    forge(t, s, token, func(c *claims) { c.Subject = "bob@acme.example" }),
			"other text":       forge(t, s, token, func(c *claims) { c.Tenants = []string{"gamma"} }),
		} {
			_, err := s.Verify(t.Context(), raw)
			if fault.KindOf(err) != fault.Unauthenticated {
				t.Errorf("%s: %v", name, err)
			}
			if raw != "" && err != nil && strings.Contains(err.Error(), raw) {
				t.Errorf("%s: the error shows the token", name)
			}
		}
	})
}

// TestTokenOfAClockThatWasAhead: since the exchange's clock was set right, the
// token is from the future. It is as good as it was.
func TestTokenOfAClockThatWasAhead(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		token, _ := newToken(t, s, seca.Scope{})
		future := jwt.NewNumericDate(time.Now().Add(time.Hour))
		secret := forge(t, s, token, func(c *claims) { c.IssuedAt = future })
		hash := sha256.Sum256([]byte(secret))
		_, err := db.Exec(t.Context(), s.DB, `UPDATE token SET hash = $1 WHERE id = $2`, hash[:], token.ID)
		no(t, err)
		_, err = s.Verify(t.Context(), secret)
		no(t, err)
	})
}

func TestTokensAreRefusedWhoseTermsAreNot(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		no(t, s.PutAccount(t.Context(), Account{ID: "gone", Disabled: true}))
		for _, test := range []struct {
			account, name string
			ttl           time.Duration
			want          fault.Kind
		}{
			{alice, "", time.Hour, fault.Invalid},
			{alice, "x", 0, fault.Invalid},
			{alice, "x", -time.Hour, fault.Invalid},
			{alice, "x", MaxTTL + time.Second, fault.Invalid},
			{"nobody", "x", time.Hour, fault.Missing},
			{"gone", "x", time.Hour, fault.Missing},
		} {
			_, secret, err := s.NewToken(t.Context(), test.account, test.name, test.ttl, seca.Scope{})
			kind(t, err, test.want)
			if secret != "" {
				t.Error("a secret came with an error")
			}
		}
	})
}

func TestSecretIsNotStored(t *testing.T) {
	s := populated(t, dbtest.SQLite(t))
	_, secret := newToken(t, s, seca.Scope{})
	rows, err := s.DB.QueryContext(t.Context(), `SELECT * FROM token`)
	no(t, err)
	defer rows.Close()
	columns, err := rows.Columns()
	no(t, err)
	for rows.Next() {
		values := make([]any, len(columns))
		for i := range values {
			values[i] = new(string)
		}
		no(t, rows.Scan(values...))
		for i, v := range values {
			if strings.Contains(*v.(*string), strings.Split(secret, ".")[2]) {
				t.Errorf("column %s has the secret", columns[i])
			}
		}
	}
	no(t, rows.Err())
}

// All processes that start at once on an empty database agree on a key.
func TestManyFirstStarts(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		stores := make([]*Store, 8)
		var wg sync.WaitGroup
		for i := range stores {
			wg.Go(func() {
				var err error
				if stores[i], err = Open(t.Context(), d, envelopetest.Box(t, d), issuer); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		no(t, stores[0].PutAccount(t.Context(), Account{ID: alice}))
		for _, from := range stores {
			_, secret := newToken(t, from, seca.Scope{})
			for _, at := range stores {
				if _, err := at.Verify(t.Context(), secret); err != nil {
					t.Fatal(err)
				}
			}
		}
	})
}

func TestCacheIsBounded(t *testing.T) {
	var c cache
	for i := range maxCached + 50 {
		_, epoch := c.of([32]byte{})
		c.put([32]byte{byte(i), byte(i >> 8), byte(i >> 16)}, epoch, verdict{})
	}
	if len(c.by) > maxCached {
		t.Errorf("%d verdicts, want at most %d", len(c.by), maxCached)
	}
}

// A verdict that was being reached while something was revoked is not kept.
func TestVerdictFromBeforeAClearIsNotKept(t *testing.T) {
	var c cache
	_, epoch := c.of([32]byte{})
	c.clear()
	c.put([32]byte{}, epoch, verdict{at: time.Now()})
	if len(c.by) != 0 {
		t.Error("it is kept")
	}
}

func BenchmarkVerify(b *testing.B) {
	s := populated(b, dbtest.SQLite(b))
	_, secret := newToken(b, s, seca.Scope{})
	b.Run("seen", func(b *testing.B) {
		for b.Loop() {
			_, err := s.Verify(b.Context(), secret)
			no(b, err)
		}
	})
	b.Run("new", func(b *testing.B) {
		for b.Loop() {
			s.verified.clear()
			_, err := s.Verify(b.Context(), secret)
			no(b, err)
		}
	})
}
