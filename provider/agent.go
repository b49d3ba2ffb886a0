package provider

import (
	"context"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/audit"
	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/failpoint"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/wire"
)

// An Agent is a certificate that the agent of a region was given. A region has
// one agent: when another enrols, the certificates of the former are revoked.
type Agent struct {
	Serial    string    `json:"serial"`
	Region    string    `json:"region"`
	IssuedAt  time.Time `json:"issuedAt"`
	NotAfter  time.Time `json:"notAfter"`
	RevokedAt time.Time `json:"revokedAt,omitzero"`
}

const (
	// MaxEnrolment is the longest life of an enrolment token.
	MaxEnrolment = 30 * 24 * time.Hour

	// again is how long after its first use an agent that crashed before it had
	// its certificate may use the token again, with the same key.
	again = 10 * time.Minute
)

// errToken says the same for all that may be wrong with a token.
var errToken = fault.Denied.Errorf("the enrolment token is not known, has expired, or was used before; ask for a new one")

// NewEnrolment makes a token with which one agent can join a region, once,
// until ttl has passed. The token, ID.SECRET, is shown this once.
func (s *Store) NewEnrolment(ctx context.Context, region string, ttl time.Duration) (token string, err error) {
	if ttl < time.Second || ttl > MaxEnrolment {
		return "", fault.At(fault.Invalid.Errorf("an enrolment token lives between a second and %d days", int(MaxEnrolment.Hours()/24)), "/ttl")
	}
	id, secret := strings.ToLower(rand.Text()[:10]), strings.ToLower(rand.Text())
	now := time.Now()
	hash := sha256.Sum256([]byte(secret))
	n, err := db.Exec(ctx, s.DB, `
		INSERT INTO enrolment (id, region, hash, created_at, expires_at, used_at)
		SELECT $1, name, $3, $4, $5, 0 FROM region WHERE name = $2`,
		id, region, hash[:], db.Micros(now), db.Micros(now.Add(ttl)))
	if err != nil {
		return "", err
	}
	if n == 0 {
		return "", fault.Missing.Errorf("there is no region %s", region)
	}
	return id + "." + secret, nil
}

// Enrol gives a certificate to an agent that shows a token. A token that is
// not good is Denied.
func (s *Store) Enrol(ctx context.Context, token string, csr []byte) (wire.Enrolled, error) {
	part := strings.Split(token, ".")
	if len(part) != 2 {
		return wire.Enrolled{}, errToken
	}
	request, err := readCSR(csr)
	if err != nil {
		return wire.Enrolled{}, err
	}
	var certificate *x509.Certificate
	err = s.write(ctx, func(ctx context.Context, tx *db.Tx) error {
		region, err := useToken(ctx, tx, part[0], part[1], keyHash(request))
		if err != nil {
			return err
		}
		failpoint.Here(failpoint.EnrolUsed)
		if err := s.replace(ctx, tx, region, keyHash(request)); err != nil {
			return err
		}
		certificate, err = s.issue(ctx, tx, region, request)
		noteAgent(ctx, region, certificate)
		return err
	})
	if err != nil {
		return wire.Enrolled{}, err
	}
	failpoint.Here(failpoint.EnrolDone)
	return s.enrolled(certificate), s.reloadRevoked(ctx)
}

// noteAgent tells that the agent of a region has another certificate.
func noteAgent(ctx context.Context, region string, c *x509.Certificate) {
	if c != nil {
		audit.Note(ctx, audit.Change{
			Region: region, Resource: "kontor.exchange/v1/regions/" + region + "/agents/" + serial(c), Status: 200, After: c.Raw,
			By: &audit.Actor{Kind: audit.Agent, Subject: region},
		})
	}
}

// useToken marks the token as used, in one statement that only one of many can
// win, and returns its region.
func useToken(ctx context.Context, tx *db.Tx, id, secret string, key []byte) (region string, err error) {
	hash, now := sha256.Sum256([]byte(secret)), time.Now()
	region, err = db.One(ctx, tx, db.Scan[string], `
		UPDATE enrolment SET used_at = CASE used_at WHEN 0 THEN $3 ELSE used_at END, used_key = $4
		WHERE id = $1 AND hash = $2 AND (used_at = 0 AND expires_at > $3 OR used_at > $5 AND used_key = $4)
		RETURNING region`,
		id, hash[:], db.Micros(now), key, db.Micros(now.Add(-again)))
	if errors.Is(err, fault.Missing) {
		return "", errToken
	}
	return region, err
}

// replace revokes what agents with another key were given.
func (s *Store) replace(ctx context.Context, tx *db.Tx, region string, key []byte) error {
	if err := lockRegion(ctx, tx, region); err != nil {
		return err
	}
	_, err := db.Exec(ctx, tx, `UPDATE agent SET revoked_at = $3 WHERE region = $1 AND key_hash <> $2 AND revoked_at = 0`,
		region, key, db.Micros(time.Now()))
	return err
}

// lockRegion makes writers about one region wait for each other.
func lockRegion(ctx context.Context, tx *db.Tx, region string) error {
	n, err := db.Exec(ctx, tx, `UPDATE region SET position = position WHERE name = $1`, region)
	if err == nil && n == 0 {
		err = fault.Missing.Errorf("there is no region %s", region)
	}
	return err
}

// issue makes a certificate and notes it. Those long past are forgotten.
func (s *Store) issue(ctx context.Context, tx *db.Tx, region string, csr *x509.CertificateRequest) (*x509.Certificate, error) {
	c, err := s.Authority.forAgent(region, csr)
	if err != nil {
		return nil, fmt.Errorf("sign the certificate of region %s: %w", region, err)
	}
	now := time.Now()
	if _, err := db.Exec(ctx, tx, `DELETE FROM agent WHERE region = $1 AND not_after < $2`, region, db.Micros(now.Add(-AgentLifetime))); err != nil {
		return nil, err
	}
	_, err = db.Exec(ctx, tx, `
		INSERT INTO agent (serial, region, key_hash, enrolled_at, not_after, revoked_at) VALUES ($1, $2, $3, $4, $5, 0)`,
		serial(c), region, keyHash(csr), db.Micros(now), db.Micros(c.NotAfter))
	return c, err
}

func (s *Store) enrolled(c *x509.Certificate) wire.Enrolled {
	return wire.Enrolled{Exchange: s.Exchange, Region: c.Subject.CommonName, Certificate: c.Raw, CA: s.Authority.Certificate.Raw}
}

// Renew gives a fresh certificate to the agent at the other end of a
// connection. The key may be a new one.
func (s *Store) Renew(ctx context.Context, peer *tls.ConnectionState, csr []byte) (wire.Enrolled, error) {
	region, err := s.RegionOf(ctx, peer)
	if err != nil {
		return wire.Enrolled{}, err
	}
	request, err := readCSR(csr)
	if err != nil {
		return wire.Enrolled{}, err
	}
	var certificate *x509.Certificate
	err = s.DB.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := lockRegion(ctx, tx, region); err != nil {
			return err
		}
		bad, err := db.One(ctx, tx, db.Scan[int], `SELECT count(*) FROM agent WHERE serial = $1 AND revoked_at <> 0`, serial(peer.PeerCertificates[0]))
		if err != nil {
			return err
		}
		if bad != 0 {
			return errRevoked
		}
		certificate, err = s.issue(ctx, tx, region, request)
		noteAgent(ctx, region, certificate)
		return err
	})
	if err != nil {
		return wire.Enrolled{}, err
	}
	failpoint.Here(failpoint.RenewDone)
	return s.enrolled(certificate), nil
}

var errRevoked = fault.Unauthenticated.Errorf("the certificate was revoked; the agent has to join again")

// RegionOf tells which region's agent is at the other end of a connection
// accepted with TLSConfig. It looks at the clock, too, as connections outlive
// certificates. It costs no query.
func (s *Store) RegionOf(ctx context.Context, peer *tls.ConnectionState) (string, error) {
	if peer == nil || len(peer.VerifiedChains) == 0 {
		return "", fault.Unauthenticated.Errorf("the caller shows no certificate of this exchange")
	}
	chain := peer.VerifiedChains[0]
	leaf, now := chain[0], time.Now()
	region := leaf.Subject.CommonName
	switch {
	case !chain[len(chain)-1].Equal(s.Authority.Certificate),
		!slices.Contains(leaf.ExtKeyUsage, x509.ExtKeyUsageClientAuth),
		len(leaf.URIs) != 1 || leaf.URIs[0].String() != s.Authority.uri(region).String():
		return "", fault.Unauthenticated.Errorf("the certificate is none of an agent of this exchange")
	case now.After(leaf.NotAfter) || now.Before(leaf.NotBefore):
		return "", fault.Unauthenticated.Errorf("the certificate has expired; the agent has to join again")
	case (*s.revoked.Load())[serial(leaf)]:
		return "", errRevoked
	}
	r, err := s.Find(ctx, region)
	if err != nil && fault.KindOf(err) != fault.Missing {
		return "", err
	}
	if err != nil || issuedAt(leaf).Before(r.CreatedAt) { // or another one by the same name
		return "", fault.Unauthenticated.Errorf("the region of the certificate is no more")
	}
	return region, nil
}

// Revoke ends the certificates of a region's agent and the tokens with which
// another could join, at once in this process.
func (s *Store) Revoke(ctx context.Context, region string) error {
	err := s.write(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := s.replace(ctx, tx, region, []byte{}); err != nil {
			return err
		}
		audit.Note(ctx, audit.Change{Region: region, Resource: "kontor.exchange/v1/regions/" + region + "/agents", Status: 204})
		_, err := db.Exec(ctx, tx, `DELETE FROM enrolment WHERE region = $1`, region)
		return err
	})
	if err != nil {
		return err
	}
	return s.reloadRevoked(ctx)
}

// Agents lists the certificates of a region, the newest first.
func (s *Store) Agents(ctx context.Context, region string) ([]Agent, error) {
	return db.All(ctx, s.DB, func(scan func(...any) error) (a Agent, err error) {
		var issued, ends, revoked int64
		err = scan(&a.Serial, &a.Region, &issued, &ends, &revoked)
		a.IssuedAt, a.NotAfter, a.RevokedAt = db.Time(issued), db.Time(ends), db.Time(revoked)
		return a, err
	}, `SELECT serial, region, enrolled_at, not_after, revoked_at FROM agent WHERE region = $1 ORDER BY enrolled_at DESC, serial`, region)
}

func (s *Store) reloadRevoked(ctx context.Context) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.loadRevoked(context.WithoutCancel(ctx))
}

// loadRevoked reads which certificates are revoked; it is called under the lock.
func (s *Store) loadRevoked(ctx context.Context) error {
	serials, err := db.All(ctx, s.DB, db.Scan[string], `SELECT serial FROM agent WHERE revoked_at <> 0`)
	if err != nil {
		return fmt.Errorf("read the revoked certificates: %w", err)
	}
	revoked := make(map[string]bool, len(serials))
	for _, serial := range serials {
		revoked[serial] = true
	}
	s.revoked.Store(&revoked)
	return nil
}

// issuedAt is when a certificate was made, or up to a second later: they are dated in seconds.
func issuedAt(c *x509.Certificate) time.Time { return c.NotBefore.Add(backdate + time.Second) }

// serial is how a certificate is called in the database.
func serial(c *x509.Certificate) string { return c.SerialNumber.Text(16) }

// Prune forgets enrolments that can no longer be used.
func (s *Store) Prune(ctx context.Context, now time.Time) error {
	_, err := db.Exec(ctx, s.DB, `DELETE FROM enrolment WHERE expires_at < $1 AND used_at < $1`, db.Micros(now.Add(-MaxEnrolment)))
	if err != nil {
		return fmt.Errorf("prune enrolments: %w", err)
	}
	return nil
}
