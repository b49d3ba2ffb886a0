package tenant

import (
	"context"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/go-jose/go-jose/v4/jwt"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
)

// forChallenge keeps a challenge from being a token, and a token from being a challenge.
const forChallenge = "kontor-challenge"

// ChallengeTTL is how long a challenge can be met.
const ChallengeTTL = 2 * time.Minute

// Challenge makes a text that a subject is to sign, to prove that it holds a key now.
// Nothing is kept of it, so that it may be had by everybody.
func (s *Store) Challenge(subject string) (text string, expires time.Time, err error) {
	now := time.Now().Truncate(time.Second)
	expires = now.Add(ChallengeTTL)
	text, err = jwt.Signed(s.keys.Load().signer).Claims(jwt.Claims{
		Issuer: s.Issuer, Audience: jwt.Audience{forChallenge}, Subject: subject, ID: newID(), Expiry: jwt.NewNumericDate(expires),
	}).Serialize()
	return text, expires.UTC(), err
}

// A Challenged is a challenge that was found to be ours.
type Challenged struct {
	Subject string
	id      string
	expires time.Time
}

// ReadChallenge checks that a text is a challenge of ours for a subject, and not over. Whether
// it was met before is for Spend to say.
func (s *Store) ReadChallenge(ctx context.Context, text, subject string) (Challenged, error) {
	none := fault.Unauthenticated.Errorf("this is no challenge of this exchange for %s, or it is over: ask for another one", subject)
	if len(text) > maxToken {
		return Challenged{}, none
	}
	token, err := jwt.ParseSigned(text, []jose.SignatureAlgorithm{jose.EdDSA})
	if err != nil {
		return Challenged{}, none
	}
	key, err := s.publicKey(ctx, token.Headers[0].KeyID)
	if err != nil {
		return Challenged{}, none
	}
	var c jwt.Claims
	if err := token.Claims(key, &c); err != nil {
		return Challenged{}, none
	}
	want := jwt.Expected{Issuer: s.Issuer, AnyAudience: jwt.Audience{forChallenge}, Subject: subject, Time: time.Now()}
	if err := c.ValidateWithLeeway(want, 0); err != nil || c.Expiry == nil || c.ID == "" {
		return Challenged{}, none
	}
	return Challenged{c.Subject, c.ID, c.Expiry.Time()}, nil
}

// Spend notes that a challenge was met: nobody meets it again, in whatever process.
func (s *Store) Spend(ctx context.Context, c Challenged) error {
	n, err := db.Exec(ctx, s.DB, `INSERT INTO spent (id, expires_at) VALUES ($1, $2) ON CONFLICT (id) DO NOTHING`, c.id, db.Micros(c.expires))
	if err == nil && n == 0 {
		err = fault.Unauthenticated.Errorf("the challenge was met before: ask for another one")
	}
	return err
}

// pruneSpent forgets challenges that are over by their own date.
func (s *Store) pruneSpent(ctx context.Context, now time.Time) error {
	_, err := db.Exec(ctx, s.DB, `DELETE FROM spent WHERE expires_at < $1`, db.Micros(now.Add(-time.Hour)))
	return err
}
