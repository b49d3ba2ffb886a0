package provider

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"testing"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/envelope/envelopetest"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/wire"
)

// each runs a test with a store that has the region r1.
func each(t *testing.T, test func(t *testing.T, s *Store)) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		s, err := Open(context.Background(), d, envelopetest.Box(t, d))
		no(t, err)
		no(t, s.CreateRegion(t.Context(), Region{Name: "r1", Country: "SE"}))
		test(t, s)
	})
}

func no(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

func kind(t *testing.T, err error, want fault.Kind) {
	t.Helper()
	if fault.KindOf(err) != want {
		t.Errorf("error %v has kind %q, want %q", err, fault.KindOf(err), want)
	}
}

func newKey(t *testing.T) crypto.Signer {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	no(t, err)
	return key
}

func newCSR(t *testing.T, key crypto.Signer) []byte {
	t.Helper()
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	no(t, err)
	return der
}

func newEnrolment(t *testing.T, s *Store, region string) string {
	t.Helper()
	token, err := s.NewEnrolment(t.Context(), region, MaxEnrolment)
	no(t, err)
	return token
}

// join enrols a new agent and returns its key with its certificate.
func join(t *testing.T, s *Store, region string) (crypto.Signer, wire.Enrolled) {
	t.Helper()
	key := newKey(t)
	e, err := s.Enrol(t.Context(), newEnrolment(t, s, region), newCSR(t, key))
	no(t, err)
	return key, e
}

// dial connects to the listener of s and returns what the listener sees. The
// error is the first of either side.
func dial(t *testing.T, s *Store, host string, ca []byte, key crypto.Signer, certificate []byte) (*tls.ConnectionState, error) {
	t.Helper()
	server, err := s.Authority.TLSConfig([]string{"exchange.example", "127.0.0.1"})
	no(t, err)
	root, err := x509.ParseCertificate(ca)
	no(t, err)
	client := &tls.Config{ServerName: host, RootCAs: x509.NewCertPool()}
	client.RootCAs.AddCert(root)
	if certificate != nil {
		client.Certificates = []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: key}}
	}
	l, err := tls.Listen("tcp", "127.0.0.1:0", server)
	no(t, err)
	defer l.Close()
	type seen struct {
		state tls.ConnectionState
		err   error
	}
	accepted := make(chan seen, 1)
	go func() {
		c, err := l.Accept()
		if err != nil {
			accepted <- seen{err: err}
			return
		}
		defer c.Close()
		err = c.(*tls.Conn).Handshake()
		accepted <- seen{c.(*tls.Conn).ConnectionState(), err}
	}()
	c, err := tls.Dial("tcp", l.Addr().String(), client)
	if err != nil {
		<-accepted
		return nil, err
	}
	defer c.Close()
	a := <-accepted
	return &a.state, a.err
}

// connect is dial by an agent that has joined.
func connect(t *testing.T, s *Store, key crypto.Signer, e wire.Enrolled) *tls.ConnectionState {
	t.Helper()
	state, err := dial(t, s, "exchange.example", e.CA, key, e.Certificate)
	no(t, err)
	return state
}
