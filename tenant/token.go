package tenant

import (
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"slices"
	"time"

	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
)

// A Token lets a program act as an account. The secret itself is known to its
// holder only; here is what can be shown.
type Token struct {
	ID        string     `json:"id"`
	Account   string     `json:"account"`
	Name      string     `json:"name"`
	Scope     seca.Scope `json:"scope,omitzero"` // what it is narrowed to
	CreatedAt time.Time  `json:"createdAt"`
	ExpiresAt time.Time  `json:"expiresAt"`
	RevokedAt time.Time  `json:"revokedAt,omitzero"` // may be to come, for one that was rotated
	UsedAt    time.Time  `json:"usedAt,omitzero"`    // to about an hour
}

// MaxTTL is the longest life of a token.
const MaxTTL = 366 * 24 * time.Hour

// audience is what all our tokens are for.
const audience = "kontor"

// claims are those of RFC 7519 and SECA's.
type claims struct {
	jwt.Claims
	Tenants []string    `json:"tenants"`
	Scope   *seca.Scope `json:"scope,omitempty"`
}

// NewToken makes a token for an account and returns its secret, a JWT, which
// is shown this once. narrow takes away: what it names in a dimension is all
// that the token is good for; an empty dimension takes nothing away.
func (s *Store) NewToken(ctx context.Context, account, name string, ttl time.Duration, narrow seca.Scope) (Token, string, error) {
	now := time.Now().Truncate(time.Second) // the resolution of a JWT
	t := Token{ID: newID(), Account: account, Name: name, Scope: narrow, CreatedAt: now.UTC(), ExpiresAt: now.Add(ttl).UTC()}
	if err := t.validate(); err != nil {
		return Token{}, "", err
	}
	tenants, err := s.Memberships(ctx, account)
	if err != nil {
		return Token{}, "", err
	}
	for i, tenant := range narrow.Tenants {
		if !slices.Contains(tenants, tenant) {
			return Token{}, "", fault.At(fault.Invalid.Errorf("account %s is no member of tenant %s", account, tenant), fmt.Sprintf("/scope/tenants/%d", i))
		}
	}
	secret, err := s.sign(t, within(tenants, narrow.Tenants))
	if err != nil {
		return Token{}, "", fmt.Errorf("sign a token: %w", err)
	}
	hash := sha256.Sum256([]byte(secret))
	n, err := db.Exec(ctx, s.DB, `
		INSERT INTO token (id, account, name, hash, scope, created_at, expires_at, revoked_at, used_at)
		SELECT $1, id, $3, $4, $5, $6, $7, 0, 0 FROM account WHERE id = $2 AND NOT disabled`,
		t.ID, account, name, hash[:], db.JSON(narrow), db.Micros(t.CreatedAt), db.Micros(t.ExpiresAt))
	if err != nil {
		return Token{}, "", err
	}
	if n == 0 {
		return Token{}, "", fault.Missing.Errorf("there is no account %s, or it is disabled", account)
	}
	return t, secret, nil
}

func (t Token) validate() error {
	var l fault.List
	if t.Name == "" || len(t.Name) > MaxName {
		l.Add("/name", "must have 1 to %d bytes", MaxName)
	}
	if ttl := t.ExpiresAt.Sub(t.CreatedAt); ttl < time.Second || ttl > MaxTTL {
		l.Add("/ttl", "must be between a second and %d days", int(MaxTTL.Hours()/24))
	}
	return l.Err()
}

func (s *Store) sign(t Token, tenants []string) (string, error) {
	c := claims{
		Claims: jwt.Claims{
			Issuer: s.Issuer, Audience: jwt.Audience{audience}, Subject: t.Account, ID: t.ID,
			IssuedAt: jwt.NewNumericDate(t.CreatedAt), Expiry: jwt.NewNumericDate(t.ExpiresAt),
		},
		Tenants: tenants,
	}
	if !isZero(t.Scope) {
		c.Scope = &t.Scope
	}
	return jwt.Signed(s.keys.Load().signer).Claims(c).Serialize()
}

// RevokeToken ends a token, at once here and within Freshness in other
// processes. Revoking twice is fine.
func (s *Store) RevokeToken(ctx context.Context, id string) error {
	defer s.verified.clear()
	return must(ctx, s.DB, "token "+id,
		`UPDATE token SET revoked_at = CASE WHEN revoked_at = 0 OR revoked_at > $2 THEN $2 ELSE revoked_at END WHERE id = $1`,
		id, db.Micros(time.Now()))
}

// RotateToken makes a token like one of the account's, which is revoked when
// overlap has passed. Of one that is revoked already nothing new is made.
func (s *Store) RotateToken(ctx context.Context, account, id string, ttl, overlap time.Duration) (Token, string, error) {
	if overlap < 0 || overlap > MaxTTL {
		return Token{}, "", fault.At(fault.Invalid.Errorf("must be between nothing and %d days", int(MaxTTL.Hours()/24)), "/overlap")
	}
	old, err := db.One(ctx, s.DB, scanToken, tokenColumns+`WHERE account = $1 AND id = $2`, account, id)
	if err != nil {
		return Token{}, "", fmt.Errorf("token %s: %w", id, err)
	}
	if !old.RevokedAt.IsZero() {
		return Token{}, "", fault.Conflict.Errorf("token %s is revoked already; make a new one", id)
	}
	t, secret, err := s.NewToken(ctx, account, old.Name, ttl, old.Scope)
	if err != nil {
		return Token{}, "", err
	}
	defer s.verified.clear()
	n, err := db.Exec(ctx, s.DB, `UPDATE token SET revoked_at = $2 WHERE id = $1 AND revoked_at = 0`, id, db.Micros(time.Now().Add(overlap)))
	if err == nil && n == 0 { // somebody was faster: one successor is enough
		err = fault.Conflict.Errorf("token %s was revoked in the meantime", id)
	}
	if err != nil {
		return Token{}, "", errors.Join(err, s.RevokeToken(context.WithoutCancel(ctx), t.ID))
	}
	return t, secret, nil
}

// kept is how long after its end a token can still be looked up.
const kept = 30 * 24 * time.Hour

// Prune forgets tokens that ended long ago, challenges that are over, and signing keys
// that no token can be signed with any more.
func (s *Store) Prune(ctx context.Context, now time.Time) error {
	if err := s.pruneSpent(ctx, now); err != nil {
		return fmt.Errorf("prune challenges: %w", err)
	}
	if _, err := db.Exec(ctx, s.DB, `DELETE FROM token WHERE expires_at < $1`, db.Micros(now.Add(-kept))); err != nil {
		return fmt.Errorf("prune tokens: %w", err)
	}
	_, err := db.Exec(ctx, s.DB, `
		DELETE FROM signing_key WHERE EXISTS (
			SELECT 1 FROM signing_key newer WHERE newer.created_at > signing_key.created_at AND newer.created_at < $1)`,
		db.Micros(now.Add(-MaxTTL-kept)))
	if err != nil {
		return fmt.Errorf("prune signing keys: %w", err)
	}
	return nil
}

const tokenColumns = `SELECT id, account, name, scope, created_at, expires_at, revoked_at, used_at FROM token `

// Tokens lists the tokens of an account, the newest first; also those that
// are no longer good.
func (s *Store) Tokens(ctx context.Context, account string) ([]Token, error) {
	return db.All(ctx, s.DB, scanToken, tokenColumns+`WHERE account = $1 ORDER BY created_at DESC, id`, account)
}

func scanToken(scan func(...any) error) (t Token, err error) {
	var created, expires, revoked, used int64
	err = scan(&t.ID, &t.Account, &t.Name, db.JSON(&t.Scope), &created, &expires, &revoked, &used)
	t.CreatedAt, t.ExpiresAt, t.RevokedAt, t.UsedAt = db.Time(created), db.Time(expires), db.Time(revoked), db.Time(used)
	return t, err
}

// within returns those of all that are in only, or all if only is empty.
func within(all, only []string) []string {
	if len(only) == 0 {
		return all
	}
	return slices.DeleteFunc(slices.Clone(all), func(s string) bool { return !slices.Contains(only, s) })
}

func isZero(s seca.Scope) bool {
	return len(s.Tenants) == 0 && len(s.Regions) == 0 && len(s.Workspaces) == 0
}
