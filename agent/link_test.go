package agent

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"encoding/hex"
	"encoding/json"
	"errors"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strconv"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/driver/fake"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/wire"
)

// A house is an office behind TLS, with an authority of its own.
type house struct {
	*office
	t      *testing.T
	ca     *x509.Certificate
	key    *ecdsa.PrivateKey
	server *httptest.Server
	life   time.Duration // of the certificates that it gives
	age    time.Duration // that they have at once, as a clock that is ahead has it
	enrols int           // certificates given for the token
	lose   int           // so many answers to Enrol never arrive
	renews int
	serial int64
}

func newHouse(t *testing.T) *house {
	h := &house{office: newOffice(), t: t, life: time.Hour}
	h.key, _ = ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	h.ca = h.sign(&x509.Certificate{
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign, NotAfter: time.Now().Add(time.Hour),
	}, h.key.Public())
	key, _ := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	leaf := h.sign(&x509.Certificate{
		DNSNames: []string{"localhost"}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth}, NotAfter: time.Now().Add(time.Hour),
	}, key.Public())
	pool := x509.NewCertPool()
	pool.AddCert(h.ca)
	h.server = httptest.NewUnstartedServer(h)
	h.server.TLS = &tls.Config{
		ClientCAs: pool, ClientAuth: tls.VerifyClientCertIfGiven, MinVersion: tls.VersionTLS13,
		Certificates: []tls.Certificate{{Certificate: [][]byte{leaf.Raw, h.ca.Raw}, PrivateKey: key}},
	}
	h.server.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)
	h.server.StartTLS()
	t.Cleanup(func() { h.set(func() { h.down = true }); h.server.Close() })
	return h
}

func (h *house) sign(c *x509.Certificate, public any) *x509.Certificate {
	h.serial++
	c.SerialNumber = big.NewInt(h.serial)
	c.NotBefore = time.Now().Add(-time.Minute - h.age)
	parent := h.ca
	if parent == nil {
		parent = c
	}
	der, err := x509.CreateCertificate(rand.Reader, c, parent, public, h.key)
	if err != nil {
		h.t.Fatal(err)
	}
	out, err := x509.ParseCertificate(der)
	if err != nil {
		h.t.Fatal(err)
	}
	return out
}

func (h *house) give(csr []byte) wire.Enrolled {
	r, err := x509.ParseCertificateRequest(csr)
	if err != nil || r.CheckSignature() != nil {
		h.t.Errorf("certificate request: %v", err)
		return wire.Enrolled{}
	}
	leaf := h.sign(&x509.Certificate{ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth}, NotAfter: time.Now().Add(h.life)}, r.PublicKey)
	return wire.Enrolled{Exchange: owner.Exchange, Region: owner.Region, Certificate: leaf.Raw, CA: h.ca.Raw}
}

func (h *house) ServeHTTP(w http.ResponseWriter, r *http.Request) {
	body, _ := io.ReadAll(r.Body)
	if r.Header.Get(wire.HeaderCapability) != strconv.Itoa(wire.Capability) {
		h.t.Error("a message without the capability header")
	}
	var reply any
	err := error(nil)
	switch {
	case r.URL.Path == wire.PathEnrol:
		h.set(func() {
			var e wire.Enrol
			json.Unmarshal(body, &e)
			if e.Token != "s3cret" {
				err = errors.New("wrong token")
				return
			}
			h.enrols++
			reply = h.give(e.CSR)
			if h.lose > 0 {
				h.lose--
				panic(http.ErrAbortHandler)
			}
		})
		if err != nil {
			w.WriteHeader(http.StatusForbidden)
			io.WriteString(w, `{"detail":"the token is used up"}`)
			return
		}
	case len(r.TLS.VerifiedChains) == 0:
		w.WriteHeader(http.StatusUnauthorized)
		return
	case r.URL.Path == wire.PathRenew:
		h.set(func() {
			var m wire.Renew
			json.Unmarshal(body, &m)
			h.renews++
			reply = h.give(m.CSR)
		})
	default:
		reply, err = h.serve(r.Context(), r.URL.Path, body)
	}
	if err != nil {
		w.WriteHeader(http.StatusServiceUnavailable)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	json.NewEncoder(w).Encode(reply)
}

func (h *house) token() wire.JoinToken {
	sum := sha256.Sum256(h.ca.Raw)
	_, port, _ := net.SplitHostPort(h.server.Listener.Addr().String())
	return wire.JoinToken{URL: "https://localhost:" + port, Token: "s3cret", CASHA256: hex.EncodeToString(sum[:])}
}

// run runs a whole agent against the house until stop is called.
func (h *house) run(c Config, p *fake.Platform) (stop func() error) {
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	go func() { ended <- Run(ctx, c, p.Open, slog.New(slog.DiscardHandler)) }()
	return func() error { cancel(); return <-ended }
}

func TestAgentJoinsAndComesBackWithoutItsToken(t *testing.T) {
	h := newHouse(t)
	h.lose = 1 // a crash between the use of the token and the certificate
	s := &stage{T: t, office: h.office, platform: fake.New(fake.Config{})}
	c := Config{Dir: filepath.Join(t.TempDir(), "agent"), Driver: "fake", Join: h.token().Encode()}
	stop := h.run(c, s.platform)
	s.gateway()
	s.active("gw")
	if err := stop(); err != nil {
		t.Fatalf("Run: %v", err)
	}
	for _, file := range []string{"key.pem", "identity.json"} {
		if info, err := os.Stat(filepath.Join(c.Dir, file)); err != nil || info.Mode().Perm() != 0o600 {
			t.Errorf("%s: %v, %v", file, info, err)
		}
	}
	c.Join = ""
	stop = h.run(c, s.platform)
	s.network()
	s.active("net")
	if err := stop(); err != nil {
		t.Fatalf("Run again: %v", err)
	}
	if n := read(h.office, func() int { return h.enrols }); n != 2 {
		t.Errorf("enrolled %d times, want twice: the first answer was lost", n)
	}
}

func TestCertificateIsRenewedInTime(t *testing.T) {
	h := newHouse(t)
	h.life = 3 * time.Second
	s := &stage{T: t, office: h.office, platform: fake.New(fake.Config{})}
	stop := h.run(Config{Dir: t.TempDir(), Driver: "fake", Join: h.token().Encode()}, s.platform)
	s.await("two renewals", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return h.renews >= 2 })
	s.gateway()
	s.active("gw")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

// TestClockThatIsAheadRenewsOnce: by an agent's clock that is ahead every
// certificate is old at once.
func TestClockThatIsAheadRenewsOnce(t *testing.T) {
	h := newHouse(t)
	h.life, h.age = time.Hour, 24*time.Hour // a hundredth of which is a quarter of an hour
	s := &stage{T: t, office: h.office, platform: fake.New(fake.Config{})}
	stop := h.run(Config{Dir: t.TempDir(), Driver: "fake", Join: h.token().Encode()}, s.platform)
	renews := func() int { return read(h.office, func() int { return h.renews }) }
	s.await("a renewal", func() bool { return renews() > 0 })
	time.Sleep(2500 * time.Millisecond)
	if n := renews(); n != 1 {
		t.Errorf("the agent renewed its certificate %d times", n)
	}
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

func TestAgentTrustsTheExchangeOfItsTokenAlone(t *testing.T) {
	h, other := newHouse(t), newHouse(t)
	token := h.token()
	token.URL = other.token().URL
	ctx, cancel := context.WithTimeout(t.Context(), 10*time.Second)
	defer cancel()
	err := Run(ctx, Config{Dir: t.TempDir(), Join: token.Encode()}, nil, slog.New(slog.DiscardHandler))
	if !errors.Is(err, errPin) {
		t.Errorf("Run: %v, want %v", err, errPin)
	}
	if read(other.office, func() int { return other.enrols }) != 0 {
		t.Error("the token was shown to a stranger")
	}
}

func TestExpiredAgentMayJoinAgain(t *testing.T) {
	h := newHouse(t)
	h.life = -time.Second
	c := Config{Dir: t.TempDir(), Driver: "fake", Join: h.token().Encode()}
	if _, err := dial(t.Context(), c, slog.New(slog.DiscardHandler)); err != nil {
		t.Fatal(err)
	}
	h.set(func() { h.life = time.Hour })
	s := &stage{T: t, office: h.office, platform: fake.New(fake.Config{})}
	stop := h.run(c, s.platform)
	s.gateway()
	s.active("gw")
	if err := stop(); err != nil {
		t.Fatal(err)
	}
}

func TestOneAgentInADirectory(t *testing.T) {
	dir := t.TempDir()
	unlock, err := lock(t.Context(), dir)
	if err != nil {
		t.Fatal(err)
	}
	if err := Run(t.Context(), Config{Dir: dir}, nil, slog.New(slog.DiscardHandler)); !errors.Is(err, fault.Conflict) {
		t.Errorf("a second agent in the same directory: %v", err)
	}
	if err := unlock(); err != nil {
		t.Fatal(err)
	}
	if unlock, err = lock(t.Context(), dir); err != nil {
		t.Fatalf("after the first has ended: %v", err)
	}
	first := unlock
	time.AfterFunc(100*time.Millisecond, func() { first() }) // as what a killed agent has just started does
	if unlock, err = lock(t.Context(), dir); err != nil {
		t.Fatalf("while the first ends: %v", err)
	}
	unlock()
}

func TestRefusedTokenEndsTheAgent(t *testing.T) {
	h := newHouse(t)
	token := h.token()
	token.Token = "guess"
	err := Run(t.Context(), Config{Dir: t.TempDir(), Join: token.Encode()}, nil, slog.New(slog.DiscardHandler))
	if err == nil || err.Error() != "join the exchange: the exchange says: the token is used up" {
		t.Errorf("Run: %v", err)
	}
}
