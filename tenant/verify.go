package tenant

import (
	"context"
	"crypto/sha256"
	"crypto/subtle"
	"errors"
	"slices"
	"sync"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
)

// A Principal is who makes a request, as its token proves. It is shared by
// requests and must not be changed.
type Principal struct {
	Subject  string     // the account's id
	Operator bool       // may run the exchange; gives no right in any tenant
	Tenants  []string   // where it may act at all, sorted
	Scope    seca.Scope // what its token is narrowed to
	TokenID  string
	Issuer   string    // of the token, if not the exchange itself
	Expires  time.Time // of the token
}

// Member reports whether p may act in the tenant at all.
func (p Principal) Member(tenant string) bool {
	_, found := slices.BinarySearch(p.Tenants, tenant)
	return found
}

const (
	// Freshness bounds how long a token stays good here after another process
	// has revoked it.
	Freshness = 5 * time.Second

	// Leeway is how far clocks may be apart.
	Leeway = 30 * time.Second

	maxCached  = 10_000
	maxToken   = 8 << 10
	usedAtMost = time.Hour // how exact Token.UsedAt is
)

// Verify checks a token and returns who it stands for. An error is of kind
// Unauthenticated, or Unavailable if the database, or the token's issuer, could not be asked. A token
// seen within Freshness costs neither a query nor a look at its signature.
//
// Membership, and whether the account is an operator or disabled, are always
// those of now, not those of the time of issue. A narrowed token is never an
// operator's.
func (s *Store) Verify(ctx context.Context, raw string) (Principal, error) {
	if len(raw) > maxToken {
		return Principal{}, fault.Unauthenticated.Errorf("the token is too long")
	}
	now := time.Now()
	hash := sha256.Sum256([]byte(raw))
	seen, epoch := s.verified.of(hash)
	if !seen.Expires.IsZero() && now.After(seen.Expires.Add(Leeway)) {
		return Principal{}, errExpired
	}
	if now.Sub(seen.at) < Freshness {
		return seen.Principal, nil
	}
	p, err := s.judge(ctx, raw, seen.Principal, hash, now)
	if err != nil {
		return Principal{}, err
	}
	s.verified.put(hash, epoch, verdict{p, now})
	return p, nil
}

// Doubt has the next Verify of a token look again, however fresh what is known of it.
func (s *Store) Doubt(raw string) { s.verified.forget(sha256.Sum256([]byte(raw))) }

var (
	errExpired  = fault.Unauthenticated.Errorf("the token has expired")
	errDisabled = fault.Unauthenticated.Errorf("the account is disabled")
)

// judge finds out who a token stands for now. A signature of ours that was
// found good stays so; another issuer may have withdrawn its key.
func (s *Store) judge(ctx context.Context, raw string, seen Principal, hash [32]byte, now time.Time) (Principal, error) {
	if s.Others != nil && issuerOf(raw) != s.Issuer {
		return s.welcome(ctx, raw, hash, now)
	}
	if seen.TokenID == "" {
		c, err := s.parse(ctx, raw, now)
		if err != nil {
			return Principal{}, err
		}
		seen.Subject, seen.TokenID, seen.Expires = c.Subject, c.ID, c.Expiry.Time().UTC()
	}
	return s.lookup(ctx, seen, hash, now)
}

// parse checks everything that the token itself tells.
func (s *Store) parse(ctx context.Context, raw string, now time.Time) (claims, error) {
	var c claims
	token, err := jwt.ParseSigned(raw, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return c, fault.Unauthenticated.Errorf("the token is no JWT signed with EdDSA")
	}
	key, err := s.publicKey(ctx, token.Headers[0].KeyID)
	if err != nil {
		return c, err
	}
	if err := token.Claims(key, &c); err != nil {
		return c, fault.Unauthenticated.Errorf("the token's signature or claims are not valid")
	}
	c.IssuedAt = nil // says since when, not from when on; our clock may have been set back since
	want := jwt.Expected{Issuer: s.Issuer, AnyAudience: jwt.Audience{audience}, Time: now}
	switch err := c.ValidateWithLeeway(want, Leeway); {
	case errors.Is(err, jwt.ErrExpired):
		return c, errExpired
	case err != nil:
		return c, fault.Unauthenticated.Errorf("the token is not for here or not for now")
	case c.Expiry == nil || c.ID == "" || c.Subject == "":
		return c, fault.Unauthenticated.Errorf("the token lacks exp, jti or sub")
	}
	return c, nil
}

// A record is what the database knows of a token.
type record struct {
	hash               []byte
	account            string
	scope              seca.Scope
	revoked, used      int64
	operator, disabled bool
	tenants            []string // of the account
}

// record reads all of it at once: a token that was not seen for a while costs one
// statement.
func (s *Store) record(ctx context.Context, token string) (r record, err error) {
	rows, err := db.All(ctx, s.DB, func(scan func(...any) error) (tenant *string, err error) {
		return tenant, scan(&r.hash, &r.account, db.JSON(&r.scope), &r.revoked, &r.used, &r.operator, &r.disabled, &tenant)
	}, `SELECT t.hash, t.account, t.scope, t.revoked_at, t.used_at, a.operator, a.disabled, m.tenant
		FROM token t JOIN account a ON a.id = t.account LEFT JOIN membership m ON m.account = a.id WHERE t.id = $1 ORDER BY m.tenant`, token)
	if err == nil && len(rows) == 0 {
		err = fault.Unauthenticated.Errorf("the token is not known")
	}
	for _, tenant := range rows {
		if tenant != nil {
			r.tenants = append(r.tenants, *tenant)
		}
	}
	return r, err
}

// lookup checks that the token is known and good, and completes the principal.
func (s *Store) lookup(ctx context.Context, p Principal, hash [32]byte, now time.Time) (Principal, error) {
	r, err := s.record(ctx, p.TokenID)
	switch {
	case err != nil:
		return Principal{}, err
	case subtle.ConstantTimeCompare(r.hash, hash[:]) != 1 || r.account != p.Subject:
		return Principal{}, fault.Unauthenticated.Errorf("the token is not the one that was issued")
	case r.revoked != 0 && r.revoked <= db.Micros(now):
		return Principal{}, fault.Unauthenticated.Errorf("the token was revoked")
	case r.disabled:
		return Principal{}, errDisabled
	}
	p.Tenants, p.Scope = within(r.tenants, r.scope.Tenants), r.scope
	p.Operator = r.operator && isZero(r.scope)
	return p, s.noteUse(ctx, p.TokenID, db.Time(r.used), now)
}

// noteUse keeps the time of the last use, about, for those who ask which
// tokens they may revoke.
func (s *Store) noteUse(ctx context.Context, id string, last, now time.Time) error {
	if now.Sub(last) < usedAtMost {
		return nil
	}
	_, err := db.Exec(ctx, s.DB, `UPDATE token SET used_at = $2 WHERE id = $1`, id, db.Micros(now))
	return err
}

// A verdict says that a token was found good.
type verdict struct {
	Principal
	at time.Time
}

// A cache remembers verdicts by the hash of the token. Any change of accounts,
// members or tokens clears it: changes are rare.
type cache struct {
	mu    sync.RWMutex
	by    map[[32]byte]verdict
	epoch int // counts clears, so that no verdict from before one is put after it
}

func (c *cache) of(hash [32]byte) (verdict, int) {
	c.mu.RLock()
	defer c.mu.RUnlock()
	return c.by[hash], c.epoch
}

func (c *cache) put(hash [32]byte, epoch int, v verdict) {
	c.mu.Lock()
	defer c.mu.Unlock()
	if c.epoch != epoch {
		return
	}
	if c.by == nil {
		c.by = make(map[[32]byte]verdict)
	}
	for other := range c.by {
		if len(c.by) < maxCached {
			break
		}
		delete(c.by, other)
	}
	c.by[hash] = v
}

func (c *cache) forget(hash [32]byte) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.by, hash)
}

func (c *cache) clear() {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.by = nil
	c.epoch++
}
