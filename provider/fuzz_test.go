package provider

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"net/url"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/envelope/envelopetest"
	"github.com/kontor-cloud/kontor/fault"
)

func fuzzed(f *testing.F) (*Store, *ecdsa.PrivateKey) {
	f.Helper()
	d := dbtest.SQLite(f)
	s, err := Open(context.Background(), d, envelopetest.Box(f, d))
	no(f, err)
	no(f, s.CreateRegion(f.Context(), Region{Name: "r1"}))
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	no(f, err)
	return s, key
}

// FuzzCSR: what an agent writes into its certificate request is refused, or
// gives a certificate of its key for its region and nothing else.
func FuzzCSR(f *testing.F) {
	s, key := fuzzed(f)
	good, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	no(f, err)
	for _, der := range [][]byte{nil, good, good[:40], append([]byte{0x30, 0x84}, good...)} {
		f.Add(der, "r2", "exchange.example", []byte{0x30, 0x03, 0x01, 0x01, 0xff})
	}
	f.Fuzz(func(t *testing.T, der []byte, name, host string, basic []byte) {
		requests := [][]byte{der}
		asked, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{
			Subject: pkix.Name{CommonName: name}, DNSNames: []string{host}, URIs: []*url.URL{s.Authority.uri(name)},
			ExtraExtensions: []pkix.Extension{{Id: []int{2, 5, 29, 19}, Critical: true, Value: basic}},
		}, key)
		if err == nil {
			requests = append(requests, asked)
		}
		for _, der := range requests {
			s.certify(t, der)
		}
	})
}

func (s *Store) certify(t *testing.T, der []byte) {
	t.Helper()
	csr, err := readCSR(der)
	if err != nil {
		if k := fault.KindOf(err); k != fault.Malformed && k != fault.Invalid {
			t.Errorf("%x: %v", der, err)
		}
		return
	}
	c, err := s.Authority.forAgent("r1", csr)
	no(t, err)
	if !bytes.Equal(c.RawSubjectPublicKeyInfo, csr.RawSubjectPublicKeyInfo) {
		t.Errorf("%x gives a certificate of another key", der)
	}
	if c.IsCA || len(c.DNSNames)+len(c.IPAddresses)+len(c.EmailAddresses) > 0 || len(c.URIs) != 1 || c.Subject.String() != "CN=r1" ||
		len(c.ExtKeyUsage) != 1 || c.ExtKeyUsage[0] != x509.ExtKeyUsageClientAuth || len(c.UnhandledCriticalExtensions) > 0 {
		t.Errorf("%x gives %+v", der, c)
	}
}

// FuzzPeer: a certificate stands for a region only if it was issued for it, to
// the bit, or names it in the one way that we do, signed by our key.
func FuzzPeer(f *testing.F) {
	s, key := fuzzed(f)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	no(f, err)
	request, err := readCSR(csr)
	no(f, err)
	good, err := s.Authority.forAgent("r1", request)
	no(f, err)
	ours := s.Authority.uri("r1").String()
	for _, uri := range []string{"", ours, ours + "/", ours + "?x", "kontor://other/regions/r1", s.Authority.uri("r2").String()} {
		f.Add(good.Raw, "r1", uri, true)
		f.Add(s.Authority.Certificate.Raw, "r2", uri, false)
	}
	f.Fuzz(func(t *testing.T, der []byte, name, uri string, client bool) {
		if c, err := x509.ParseCertificate(der); err == nil && s.accepts(t, c) != "" && !c.Equal(good) {
			t.Errorf("%x stands for a region", der)
		}
		template := &x509.Certificate{Subject: pkix.Name{CommonName: name}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}}
		if client {
			template.ExtKeyUsage[0] = x509.ExtKeyUsageClientAuth
		}
		if u, err := url.Parse(uri); err == nil {
			template.URIs = []*url.URL{u}
		}
		c, err := s.Authority.sign(template, key.Public(), time.Hour)
		if err != nil {
			return
		}
		if region := s.accepts(t, c); region != "" && (region != "r1" || name != "r1" || c.URIs[0].String() != ours || !client) {
			t.Errorf("%q, %q: stands for region %s", name, uri, region)
		}
	})
}

// accepts is what the listener and RegionOf make of a certificate, "" if
// either refuses it.
func (s *Store) accepts(t *testing.T, c *x509.Certificate) string {
	t.Helper()
	chains, err := c.Verify(x509.VerifyOptions{Roots: s.Authority.pool, KeyUsages: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}})
	if err != nil {
		return ""
	}
	region, err := s.RegionOf(t.Context(), &tls.ConnectionState{PeerCertificates: chains[0], VerifiedChains: chains})
	if err != nil && fault.KindOf(err) != fault.Unauthenticated {
		t.Errorf("%x: %v", c.Raw, err)
	}
	return region
}
