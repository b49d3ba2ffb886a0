package provider

import (
	"bytes"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/rsa"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"strings"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/envelope/envelopetest"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/wire"
)

func TestAgentProvesItsRegion(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		key, e := join(t, s, "r1")
		if e.Region != "r1" || e.Exchange != s.Exchange || len(s.Exchange) != 16 {
			t.Errorf("enrolled as %q at %q", e.Region, e.Exchange)
		}
		for _, host := range []string{"exchange.example", "127.0.0.1"} {
			state, err := dial(t, s, host, e.CA, key, e.Certificate)
			no(t, err)
			before := s.DB.Statements()
			region, err := s.RegionOf(t.Context(), state)
			if region != "r1" || err != nil {
				t.Errorf("region %q, %v", region, err)
			}
			if n := s.DB.Statements() - before; n != 0 {
				t.Errorf("%d queries, want none", n)
			}
		}
		if _, err := dial(t, s, "other.example", e.CA, key, e.Certificate); err == nil {
			t.Error("the listener passes for other.example")
		}
		c, err := x509.ParseCertificate(e.Certificate)
		no(t, err)
		if got, want := c.URIs[0].String(), "kontor://"+s.Exchange+"/regions/r1"; got != want {
			t.Errorf("URI %s, want %s", got, want)
		}
		if life := time.Until(c.NotAfter); life > AgentLifetime || life < AgentLifetime-time.Minute {
			t.Errorf("the certificate lives for %v", life)
		}
		if time.Since(c.NotBefore) < backdate-time.Second {
			t.Errorf("the certificate begins %v", c.NotBefore)
		}
	})
}

// TestListenerShowsNoCertificateFromTheFuture: one that was made while our
// clock was ahead is good for nobody once that is right.
func TestListenerShowsNoCertificateFromTheFuture(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		l := &listener{authority: s.Authority, hosts: []string{"exchange.example"}}
		first, err := l.certificate(nil)
		no(t, err)
		again, err := l.certificate(nil)
		no(t, err)
		if again != first {
			t.Error("a certificate that is good was made anew")
		}
		l.now.Leaf.NotBefore = time.Now().Add(time.Hour)
		fresh, err := l.certificate(nil)
		no(t, err)
		if fresh == first || fresh.Leaf.NotBefore.After(time.Now()) {
			t.Errorf("the listener shows a certificate that begins %v", fresh.Leaf.NotBefore)
		}
	})
}

func TestCallersWithoutOurCertificateHaveNoRegion(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		key, e := join(t, s, "r1")
		state, err := dial(t, s, "exchange.example", e.CA, nil, nil)
		no(t, err) // the way to enrol
		for name, peer := range map[string]*tls.ConnectionState{"none": state, "nil": nil} {
			if _, err := s.RegionOf(t.Context(), peer); fault.KindOf(err) != fault.Unauthenticated {
				t.Errorf("%s: %v", name, err)
			}
		}
		d := dbtest.SQLite(t)
		other, err := Open(t.Context(), d, envelopetest.Box(t, d))
		no(t, err)
		no(t, other.CreateRegion(t.Context(), Region{Name: "r1"}))
		if state, err = dial(t, other, "exchange.example", other.Authority.Certificate.Raw, key, e.Certificate); err == nil {
			_, err = other.RegionOf(t.Context(), state) // Go's client keeps to itself what the listener did not ask for
			kind(t, err, fault.Unauthenticated)
		}
		_, err = other.RegionOf(t.Context(), connect(t, s, key, e))
		kind(t, err, fault.Unauthenticated)
		// The listener's own certificate makes no agent.
		l := &listener{authority: s.Authority, hosts: []string{"r1"}}
		own, err := l.certificate(nil)
		no(t, err)
		if _, err := dial(t, s, "exchange.example", e.CA, own.PrivateKey.(crypto.Signer), own.Certificate[0]); err == nil {
			t.Error("the listener's certificate passes for an agent's")
		}
	})
}

// TestOwnAuthorityIsNotEnough shows what our own authority has signed, and is yet no agent's.
func TestOwnAuthorityIsNotEnough(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		no(t, s.CreateRegion(t.Context(), Region{Name: "r2"}))
		a, client := s.Authority, []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}
		for what, c := range map[string]struct {
			template x509.Certificate
			life     time.Duration
		}{
			"ended":               {x509.Certificate{Subject: pkix.Name{CommonName: "r1"}, URIs: []*url.URL{a.uri("r1")}, ExtKeyUsage: client}, -time.Minute},
			"for servers":         {x509.Certificate{Subject: pkix.Name{CommonName: "r1"}, URIs: []*url.URL{a.uri("r1")}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}, time.Hour},
			"for nothing":         {x509.Certificate{Subject: pkix.Name{CommonName: "r1"}, URIs: []*url.URL{a.uri("r1")}}, time.Hour},
			"of no region":        {x509.Certificate{Subject: pkix.Name{CommonName: "r1"}, ExtKeyUsage: client}, time.Hour},
			"of two regions":      {x509.Certificate{Subject: pkix.Name{CommonName: "r1"}, URIs: []*url.URL{a.uri("r1"), a.uri("r2")}, ExtKeyUsage: client}, time.Hour},
			"of another than it":  {x509.Certificate{Subject: pkix.Name{CommonName: "r1"}, URIs: []*url.URL{a.uri("r2")}, ExtKeyUsage: client}, time.Hour},
			"of another exchange": {x509.Certificate{Subject: pkix.Name{CommonName: "r1"}, URIs: []*url.URL{{Scheme: "kontor", Host: "other", Path: "/regions/r1"}}, ExtKeyUsage: client}, time.Hour},
		} {
			key := newKey(t)
			signed, err := a.sign(&c.template, key.Public(), c.life)
			no(t, err)
			state, err := dial(t, s, "exchange.example", a.Certificate.Raw, key, signed.Raw)
			if err == nil {
				_, err = s.RegionOf(t.Context(), state)
				kind(t, err, fault.Unauthenticated)
			}
			if err == nil {
				t.Errorf("a certificate that is %s passes for an agent's", what)
			}
		}
	})
}

func TestCertificateEndsOnAnOpenConnection(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		state := connect2(t, s)
		expired := *state.VerifiedChains[0][0]
		expired.NotAfter = time.Now().Add(-time.Second)
		state.VerifiedChains[0][0] = &expired
		_, err := s.RegionOf(t.Context(), state)
		kind(t, err, fault.Unauthenticated)
	})
}

func connect2(t *testing.T, s *Store) *tls.ConnectionState {
	key, e := join(t, s, "r1")
	return connect(t, s, key, e)
}

func TestTokenIsGoodForOneAgent(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		token := newEnrolment(t, s, "r1")
		const agents = 32
		csr := make([][]byte, agents)
		for i := range csr {
			csr[i] = newCSR(t, newKey(t))
		}
		var won atomic.Int32
		var wg sync.WaitGroup
		for _, csr := range csr {
			wg.Go(func() {
				switch _, err := s.Enrol(t.Context(), token, csr); fault.KindOf(err) {
				case "":
					won.Add(1)
				case fault.Denied:
				default:
					t.Error(err)
				}
			})
		}
		wg.Wait()
		if won.Load() != 1 {
			t.Errorf("%d agents joined with one token", won.Load())
		}
		list, err := s.Agents(t.Context(), "r1")
		no(t, err)
		if len(list) != 1 {
			t.Errorf("%d certificates were issued", len(list))
		}
	})
}

func TestAgentThatCrashedMayUseItsTokenAgain(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		token, key := newEnrolment(t, s, "r1"), newKey(t)
		for range 3 {
			e, err := s.Enrol(t.Context(), token, newCSR(t, key))
			no(t, err)
			if _, err := s.RegionOf(t.Context(), connect(t, s, key, e)); err != nil {
				t.Error(err)
			}
		}
		_, err := s.Enrol(t.Context(), token, newCSR(t, newKey(t)))
		kind(t, err, fault.Denied)
		// The ten minutes count from the first use.
		_, err = db.Exec(t.Context(), s.DB, `UPDATE enrolment SET used_at = used_at - $1`, again.Microseconds())
		no(t, err)
		_, err = s.Enrol(t.Context(), token, newCSR(t, key))
		kind(t, err, fault.Denied)
	})
}

func TestBadTokensAndRequestsAreRefused(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		token, csr := newEnrolment(t, s, "r1"), newCSR(t, newKey(t))
		part := strings.Split(token, ".")
		weak, err := rsa.GenerateKey(rand.Reader, 2048)
		no(t, err)
		small, err := ecdsa.GenerateKey(elliptic.P224(), rand.Reader)
		no(t, err)
		changed := bytes.Clone(csr)
		changed[len(changed)-1] ^= 1
		for name, test := range map[string]struct {
			token string
			csr   []byte
			want  fault.Kind
		}{
			"empty":         {"", csr, fault.Denied},
			"other secret":  {part[0] + "." + part[0], csr, fault.Denied},
			"other id":      {part[1] + "." + part[1], csr, fault.Denied},
			"no request":    {token, nil, fault.Malformed},
			"bad signature": {token, changed, fault.Invalid},
			"RSA":           {token, newCSR(t, weak), fault.Invalid},
			"small curve":   {token, newCSR(t, small), fault.Invalid},
		} {
			if _, err := s.Enrol(t.Context(), test.token, test.csr); fault.KindOf(err) != test.want {
				t.Errorf("%s: %v, want %q", name, err, test.want)
			}
		}
		_, err = db.Exec(t.Context(), s.DB, `UPDATE enrolment SET expires_at = $1`, db.Micros(time.Now()))
		no(t, err)
		_, err = s.Enrol(t.Context(), token, csr)
		kind(t, err, fault.Denied)
		for _, ttl := range []time.Duration{0, -1, MaxEnrolment + time.Second} {
			_, err = s.NewEnrolment(t.Context(), "r1", ttl)
			kind(t, err, fault.Invalid)
		}
		_, err = s.NewEnrolment(t.Context(), "nowhere", time.Hour)
		kind(t, err, fault.Missing)
	})
}

// TestAuthorityIsShown: an agent that knows only the authority's fingerprint
// finds it last in the chain.
func TestAuthorityIsShown(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		l := &listener{authority: s.Authority, hosts: []string{"exchange.example"}}
		shown, err := l.certificate(nil)
		no(t, err)
		got, want := wire.Fingerprint(shown.Certificate[len(shown.Certificate)-1]), wire.Fingerprint(s.Authority.Certificate.Raw)
		if got != want || len(got) != 64 {
			t.Errorf("fingerprint of the last certificate is %q, want %q", got, want)
		}
	})
}

func TestRenewalTakesANewKey(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		key, e := join(t, s, "r1")
		fresh := newKey(t)
		renewed, err := s.Renew(t.Context(), connect(t, s, key, e), newCSR(t, fresh))
		no(t, err)
		if region, err := s.RegionOf(t.Context(), connect(t, s, fresh, renewed)); region != "r1" || err != nil {
			t.Errorf("region %q, %v", region, err)
		}
		_, err = s.Renew(t.Context(), nil, newCSR(t, fresh))
		kind(t, err, fault.Unauthenticated)
	})
}

// Who joins last is the region's agent, and what the former one was given, or
// got by renewal, is worth nothing.
func TestAgentIsReplaced(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		key, e := join(t, s, "r1")
		former := connect(t, s, key, e)
		newer := newKey(t)
		renewed, err := s.Renew(t.Context(), former, newCSR(t, newer))
		no(t, err)
		key2, e2 := join(t, s, "r1")
		for name, peer := range map[string]*tls.ConnectionState{"first": former, "renewed": connect(t, s, newer, renewed)} {
			if _, err := s.RegionOf(t.Context(), peer); fault.KindOf(err) != fault.Unauthenticated {
				t.Errorf("%s certificate: %v", name, err)
			}
			_, err := s.Renew(t.Context(), peer, newCSR(t, key))
			kind(t, err, fault.Unauthenticated)
		}
		if _, err := s.RegionOf(t.Context(), connect(t, s, key2, e2)); err != nil {
			t.Error(err)
		}
	})
}

func TestRevocationTakesEffectAtOnce(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		key, e := join(t, s, "r1")
		state := connect(t, s, key, e)
		open := newEnrolment(t, s, "r1")
		other, err := Open(t.Context(), s.DB, envelopetest.Box(t, s.DB)) // another process
		no(t, err)
		no(t, s.Revoke(t.Context(), "r1"))
		_, err = s.RegionOf(t.Context(), state)
		kind(t, err, fault.Unauthenticated)
		_, err = s.Enrol(t.Context(), open, newCSR(t, key))
		kind(t, err, fault.Denied)
		_, err = other.Renew(t.Context(), state, newCSR(t, key)) // asks the database
		kind(t, err, fault.Unauthenticated)
		no(t, other.Reload(t.Context()))
		_, err = other.RegionOf(t.Context(), state)
		kind(t, err, fault.Unauthenticated)
		kind(t, s.Revoke(t.Context(), "nowhere"), fault.Missing)
	})
}

func TestCertificateDiesWithItsRegion(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		state := connect2(t, s)
		no(t, s.DeleteRegion(t.Context(), "r1", nil))
		_, err := s.RegionOf(t.Context(), state)
		kind(t, err, fault.Unauthenticated)
		// Another region by the same name, two seconds later.
		no(t, s.CreateRegion(t.Context(), Region{Name: "r1"}))
		_, err = db.Exec(t.Context(), s.DB, `UPDATE region SET created_at = $1`, db.Micros(time.Now().Add(2*time.Second)))
		no(t, err)
		no(t, s.Reload(t.Context()))
		_, err = s.RegionOf(t.Context(), state)
		kind(t, err, fault.Unauthenticated)
	})
}

func TestListenerRenewsItsCertificate(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		l := &listener{authority: s.Authority, hosts: []string{"exchange.example"}}
		first, err := l.certificate(nil)
		no(t, err)
		same, err := l.certificate(nil)
		no(t, err)
		if same != first {
			t.Error("a fresh certificate was made anew")
		}
		first.Leaf.NotAfter = time.Now().Add(serverLifetime / 3)
		next, err := l.certificate(nil)
		no(t, err)
		if next == first {
			t.Error("an old certificate was not made anew")
		}
	})
}

// All processes that start at once on an empty database agree who they are.
func TestManyFirstStarts(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		stores := make([]*Store, 8)
		var wg sync.WaitGroup
		for i := range stores {
			wg.Go(func() {
				var err error
				if stores[i], err = Open(t.Context(), d, envelopetest.Box(t, d)); err != nil {
					t.Error(err)
				}
			})
		}
		wg.Wait()
		for _, s := range stores {
			if s.Exchange != stores[0].Exchange || !s.Authority.Certificate.Equal(stores[0].Authority.Certificate) {
				t.Error("two exchanges, or two authorities")
			}
		}
	})
}

// What can be used no more, or was, is forgotten after a while; what can be used is not.
func TestPruneForgetsEnrolments(t *testing.T) {
	each(t, func(t *testing.T, s *Store) {
		ctx, now := t.Context(), time.Now()
		for _, e := range []struct {
			id            string
			expires, used time.Time
		}{
			{"open", now.Add(time.Hour), time.Time{}},
			{"just expired", now.Add(-time.Hour), time.Time{}},
			{"just used", now.Add(-2 * MaxEnrolment), now.Add(-time.Hour)},
			{"expired long ago", now.Add(-MaxEnrolment - time.Hour), time.Time{}},
			{"used long ago", now.Add(-MaxEnrolment - time.Hour), now.Add(-MaxEnrolment - 2*time.Hour)},
		} {
			_, err := db.Exec(ctx, s.DB, `INSERT INTO enrolment (id, region, hash, created_at, expires_at, used_at) VALUES ($1, 'r1', $2, 0, $3, $4)`,
				e.id, []byte{}, db.Micros(e.expires), db.Micros(e.used))
			if err != nil {
				t.Fatal(err)
			}
		}
		if err := s.Prune(ctx, now); err != nil {
			t.Fatal(err)
		}
		left, err := db.All(ctx, s.DB, db.Scan[string], `SELECT id FROM enrolment ORDER BY id`)
		if err != nil || strings.Join(left, ", ") != "just expired, just used, open" {
			t.Errorf("left: %v, %v", left, err)
		}
	})
}
