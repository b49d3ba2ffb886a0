package provider

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/ed25519"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"errors"
	"math/big"
	"net"
	"net/url"
	"sync"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/envelope"
	"github.com/kontor-cloud/kontor/fault"
)

const (
	// AgentLifetime is how long an agent's certificate is good. Agents renew
	// theirs when a third of it has passed.
	AgentLifetime = 24 * time.Hour

	authorityLifetime = 20 * 365 * 24 * time.Hour
	serverLifetime    = 7 * 24 * time.Hour

	// backdate is for clocks that are behind ours, among them our own when it
	// has been set back. It is more than an agent's certificate lives: whatever
	// clock has got an agent that far, certificates from before are good.
	backdate = AgentLifetime + time.Hour
)

// An Authority is the exchange's own certificate authority. It vouches for
// agents, and for the listener that they call; nobody else has to trust it.
type Authority struct {
	Certificate *x509.Certificate

	exchange string
	key      crypto.Signer
	pool     *x509.CertPool
}

// Secret is where the authority's key is sealed.
var Secret = envelope.Column{Table: "authority", Name: "sealed"}

const authorityID = "1"

// openAuthority reads the authority. It is number 1, so that of all processes
// that start at once one makes it.
func openAuthority(ctx context.Context, d *db.DB, box *envelope.Box, exchange string) (*Authority, error) {
	key, certificate, err := newAuthority(exchange)
	if err != nil {
		return nil, err
	}
	sealed, err := box.Seal(ctx, Secret.Row(authorityID), key)
	if err != nil {
		return nil, err
	}
	_, err = db.Exec(ctx, d, `
		INSERT INTO authority (id, sealed, certificate, created_at) VALUES ($1, $2, $3, $4) ON CONFLICT (id) DO NOTHING`,
		authorityID, sealed, certificate, db.Micros(time.Now()))
	if err != nil {
		return nil, err
	}
	_, err = db.One(ctx, d, func(scan func(...any) error) (struct{}, error) {
		return struct{}{}, scan(&sealed, &certificate)
	}, `SELECT sealed, certificate FROM authority WHERE id = $1`, authorityID)
	if err != nil {
		return nil, err
	}
	if key, err = box.Open(ctx, Secret.Row(authorityID), sealed); err != nil {
		return nil, err
	}
	return parseAuthority(exchange, key, certificate)
}

// newAuthority makes a key (PKCS #8) and a certificate, both in DER.
func newAuthority(exchange string) (key, certificate []byte, err error) {
	private, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, nil, err
	}
	now := time.Now()
	template := &x509.Certificate{
		SerialNumber:          newSerial(),
		Subject:               pkix.Name{CommonName: "Kontor exchange " + exchange},
		NotBefore:             now.Add(-backdate),
		NotAfter:              now.Add(authorityLifetime),
		KeyUsage:              x509.KeyUsageCertSign | x509.KeyUsageCRLSign,
		BasicConstraintsValid: true,
		IsCA:                  true,
		MaxPathLenZero:        true,
	}
	if certificate, err = x509.CreateCertificate(rand.Reader, template, template, private.Public(), private); err != nil {
		return nil, nil, err
	}
	key, err = x509.MarshalPKCS8PrivateKey(private)
	return key, certificate, err
}

func parseAuthority(exchange string, key, certificate []byte) (*Authority, error) {
	private, err := x509.ParsePKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	signer, ok := private.(crypto.Signer)
	if !ok {
		return nil, errors.New("the key cannot sign")
	}
	c, err := x509.ParseCertificate(certificate)
	if err != nil {
		return nil, err
	}
	a := &Authority{Certificate: c, exchange: exchange, key: signer, pool: x509.NewCertPool()}
	a.pool.AddCert(c)
	return a, nil
}

// newSerial returns a positive number of 127 bits that nobody guesses.
func newSerial() *big.Int {
	b := make([]byte, 16)
	rand.Read(b) // never fails
	b[0] &= 0x7f
	return new(big.Int).SetBytes(b)
}

// sign completes a template and signs it.
func (a *Authority) sign(template *x509.Certificate, public crypto.PublicKey, life time.Duration) (*x509.Certificate, error) {
	now := time.Now()
	template.SerialNumber = newSerial()
	template.NotBefore, template.NotAfter = now.Add(-backdate), now.Add(life)
	template.KeyUsage = x509.KeyUsageDigitalSignature
	der, err := x509.CreateCertificate(rand.Reader, template, a.Certificate, public, a.key)
	if err != nil {
		return nil, err
	}
	return x509.ParseCertificate(der)
}

// uri is how a certificate names the region that its agent serves.
func (a *Authority) uri(region string) *url.URL {
	return &url.URL{Scheme: "kontor", Host: a.exchange, Path: "/regions/" + region}
}

// forAgent makes the certificate of an agent.
func (a *Authority) forAgent(region string, csr *x509.CertificateRequest) (*x509.Certificate, error) {
	return a.sign(&x509.Certificate{
		Subject:     pkix.Name{CommonName: region},
		URIs:        []*url.URL{a.uri(region)},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}, csr.PublicKey, AgentLifetime)
}

// readCSR checks that whoever asks has the key, and that the key is of a kind
// that we use.
func readCSR(der []byte) (*x509.CertificateRequest, error) {
	csr, err := x509.ParseCertificateRequest(der)
	if err != nil {
		return nil, fault.Malformed.Errorf("the certificate request cannot be read")
	}
	if err := csr.CheckSignature(); err != nil {
		return nil, fault.Invalid.Errorf("the certificate request is not signed by its key")
	}
	switch key := csr.PublicKey.(type) {
	case ed25519.PublicKey:
		return csr, nil
	case *ecdsa.PublicKey:
		if key.Curve.Params().BitSize >= 256 {
			return csr, nil
		}
	}
	return nil, fault.Invalid.Errorf("the certificate request's key must be Ed25519 or ECDSA with at least 256 bits")
}

// keyHash is what is remembered of an agent's key.
func keyHash(csr *x509.CertificateRequest) []byte {
	sum := sha256.Sum256(csr.RawSubjectPublicKeyInfo)
	return sum[:]
}

// TLSConfig is for the listener that agents call by one of hosts, names or
// addresses. Its certificate is made anew before it ends. A client needs no
// certificate, as it has none before it enrols, but one that it shows must be
// ours; RegionOf tells whose it is.
func (a *Authority) TLSConfig(hosts []string) (*tls.Config, error) {
	l := &listener{authority: a, hosts: hosts}
	if _, err := l.certificate(nil); err != nil {
		return nil, err
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS13,
		GetCertificate: l.certificate,
		ClientAuth:     tls.VerifyClientCertIfGiven,
		ClientCAs:      a.pool,
		NextProtos:     []string{"h2", "http/1.1"},
	}, nil
}

// good tells whether a listener's certificate can be shown for now. One that
// was made while our clock was far ahead cannot.
func good(leaf *x509.Certificate) bool {
	return time.Until(leaf.NotAfter) > serverLifetime/2 && time.Since(leaf.NotBefore) > backdate/2
}

// A listener has the certificate that the exchange shows to agents.
type listener struct {
	authority *Authority
	hosts     []string
	mu        sync.Mutex
	now       *tls.Certificate
}

func (l *listener) certificate(*tls.ClientHelloInfo) (*tls.Certificate, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	if l.now != nil && good(l.now.Leaf) {
		return l.now, nil
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	template := &x509.Certificate{
		Subject:     pkix.Name{CommonName: "Kontor exchange " + l.authority.exchange},
		ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	for _, host := range l.hosts {
		if ip := net.ParseIP(host); ip != nil {
			template.IPAddresses = append(template.IPAddresses, ip)
		} else {
			template.DNSNames = append(template.DNSNames, host)
		}
	}
	leaf, err := l.authority.sign(template, key.Public(), serverLifetime)
	if err != nil {
		return nil, err
	}
	// The authority goes along, for agents that know only its pin.
	l.now = &tls.Certificate{Certificate: [][]byte{leaf.Raw, l.authority.Certificate.Raw}, PrivateKey: key, Leaf: leaf}
	return l.now, nil
}
