package certificate_test

import (
	"bytes"
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/json"
	"encoding/pem"
	"fmt"
	"io"
	"log/slog"
	"math/big"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/miekg/dns"

	"github.com/kontor-cloud/kontor/certificate"
	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/envelope/envelopetest"
)

const domain = "cloud.kontor.test"

// program builds Let's Encrypt's own test server, which checks challenges as the real one does.
var program = sync.OnceValues(func() (string, error) {
	cache, err := os.UserCacheDir()
	if err != nil {
		return "", err
	}
	path := filepath.Join(cache, "kontor", "bin", "pebble-v2.10.1")
	if _, err := os.Stat(path); err == nil {
		return path, nil
	}
	c := exec.CommandContext(context.Background(), "go", "build", "-modfile=pebble.mod", "-o", path, "github.com/letsencrypt/pebble/v2/cmd/pebble")
	c.Dir, c.Env = "../tools", append(os.Environ(), "GOFLAGS=-mod=mod")
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// A server is a Pebble that finds every domain on this machine.
type server struct {
	directory, ca string
	roots         *x509.CertPool // of the certificates that it gives
}

// serve runs a Pebble that looks for challenges at a port, and gives certificates for so long.
func serve(t *testing.T, port int, lifetime time.Duration) *server {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Skipf("there is no Pebble, and none can be built: %v", err)
	}
	dir, api, management := t.TempDir(), freePort(t), freePort(t)
	s := &server{directory: fmt.Sprintf("https://127.0.0.1:%d/dir", api), ca: filepath.Join(dir, "cert.pem")}
	selfSigned(t, s.ca, filepath.Join(dir, "key.pem"))
	config := map[string]any{"pebble": map[string]any{
		"listenAddress": fmt.Sprintf("127.0.0.1:%d", api), "managementListenAddress": fmt.Sprintf("127.0.0.1:%d", management),
		"certificate": s.ca, "privateKey": filepath.Join(dir, "key.pem"), "httpPort": 1, "tlsPort": port,
		"keyAlgorithm": "ecdsa", "retryAfter": map[string]int{"authz": 1, "order": 1},
		"profiles": map[string]any{"default": map[string]any{"description": "", "validityPeriod": int(lifetime / time.Second)}},
	}}
	b, err := json.Marshal(config)
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(dir, "config.json")
	if err := os.WriteFile(file, b, 0o600); err != nil {
		t.Fatal(err)
	}
	c := exec.CommandContext(t.Context(), path, "-config", file, "-dnsserver", resolver(t))
	c.Env = append(os.Environ(), "PEBBLE_VA_NOSLEEP=1")
	var out bytes.Buffer
	c.Stdout, c.Stderr = &out, &out
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
		if t.Failed() {
			t.Logf("pebble: %s", out.String())
		}
	})
	s.roots = s.rootsAt(t, fmt.Sprintf("https://127.0.0.1:%d/roots/0", management))
	return s
}

// rootsAt waits for the server, and reads its root.
func (s *server) rootsAt(t *testing.T, url string) *x509.CertPool {
	t.Helper()
	own, err := os.ReadFile(s.ca)
	if err != nil {
		t.Fatal(err)
	}
	pool, roots := x509.NewCertPool(), x509.NewCertPool()
	pool.AppendCertsFromPEM(own)
	client := &http.Client{Transport: &http.Transport{TLSClientConfig: &tls.Config{RootCAs: pool, MinVersion: tls.VersionTLS12}}}
	for range 600 {
		r, err := http.NewRequestWithContext(t.Context(), http.MethodGet, url, nil)
		if err != nil {
			t.Fatal(err)
		}
		resp, err := client.Do(r)
		if err != nil {
			time.Sleep(50 * time.Millisecond)
			continue
		}
		b, err := io.ReadAll(resp.Body)
		resp.Body.Close()
		if err != nil || !roots.AppendCertsFromPEM(b) {
			t.Fatalf("%s, %v", b, err)
		}
		return roots
	}
	t.Fatal("pebble does not answer")
	return nil
}

func freePort(t *testing.T) int {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	defer ln.Close()
	return ln.Addr().(*net.TCPAddr).Port
}

func selfSigned(t *testing.T, certFile, keyFile string) {
	t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	c := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "pebble"}, IsCA: true, BasicConstraintsValid: true,
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)},
	}
	der, err := x509.CreateCertificate(rand.Reader, c, c, &key.PublicKey, key)
	if err != nil {
		t.Fatal(err)
	}
	private, err := x509.MarshalECPrivateKey(key)
	if err != nil {
		t.Fatal(err)
	}
	for name, block := range map[string]*pem.Block{certFile: {Type: "CERTIFICATE", Bytes: der}, keyFile: {Type: "EC PRIVATE KEY", Bytes: private}} {
		if err := os.WriteFile(name, pem.EncodeToMemory(block), 0o600); err != nil {
			t.Fatal(err)
		}
	}
}

// resolver answers for every name with this machine, over TCP, as Pebble asks.
func resolver(t *testing.T) string {
	t.Helper()
	ln := listen(t)
	s := &dns.Server{Listener: ln, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		if q.Question[0].Qtype == dns.TypeA {
			m.Answer = append(m.Answer, &dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(127, 0, 0, 1)})
		}
		_ = w.WriteMsg(m)
	})}
	go func() { _ = s.ActivateAndServe() }()
	t.Cleanup(func() { _ = s.Shutdown() })
	return ln.Addr().String()
}

// A replica is a process that serves clients, as far as TLS goes.
type replica struct {
	*certificate.Keeper
	port int
	log  *bytes.Buffer
}

func newReplica(t *testing.T, d *db.DB, c certificate.Config, ln net.Listener) *replica {
	t.Helper()
	r := &replica{log: &bytes.Buffer{}, port: ln.Addr().(*net.TCPAddr).Port}
	var err error
	if r.Keeper, err = certificate.Open(t.Context(), d, envelopetest.Box(t, d), c, slog.New(slog.NewTextHandler(r.log, nil))); err != nil {
		t.Fatal(err)
	}
	s := &http.Server{ReadHeaderTimeout: time.Minute, Handler: http.NotFoundHandler(), ErrorLog: slog.NewLogLogger(slog.DiscardHandler, slog.LevelError)}
	go func() {
		_ = s.Serve(tls.NewListener(ln, &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: r.Show, NextProtos: []string{"http/1.1", certificate.Protocol}}))
	}()
	t.Cleanup(func() { _ = s.Close() })
	return r
}

func listen(t *testing.T) net.Listener {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	return ln
}

// shown is the certificate that a client who asks for a name gets.
func (r *replica) shown(t *testing.T, s *server, name string) (*x509.Certificate, error) {
	t.Helper()
	d := tls.Dialer{Config: &tls.Config{ServerName: name, RootCAs: s.roots, MinVersion: tls.VersionTLS12}}
	conn, err := d.DialContext(t.Context(), "tcp", fmt.Sprintf("127.0.0.1:%d", r.port))
	if err != nil {
		return nil, err
	}
	defer conn.Close()
	return conn.(*tls.Conn).ConnectionState().PeerCertificates[0], nil
}

// TestProcessesShowOneCertificate gets one from a real ACME server by the challenge on the
// listener itself; another process, and the same after a restart, shows it without asking.
func TestProcessesShowOneCertificate(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ln := listen(t)
		s := serve(t, ln.Addr().(*net.TCPAddr).Port, 24*time.Hour)
		c := certificate.Config{Domains: []string{domain}, Email: "ops@kontor.test", Directory: s.directory, CA: s.ca}
		first := newReplica(t, d, c, ln)
		if err := first.Renew(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		one, err := first.shown(t, s, domain)
		if err != nil {
			t.Fatalf("%v\n%s", err, first.log)
		}
		second := newReplica(t, d, c, listen(t))
		if err := second.Renew(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		if other, err := second.shown(t, s, domain); err != nil || other.SerialNumber.Cmp(one.SerialNumber) != 0 {
			t.Errorf("another process shows %v, %v", other, err)
		}
		if _, err := second.shown(t, s, "evil.kontor.test"); err == nil {
			t.Error("it has a certificate for a name of somebody else")
		}
		if err := first.Renew(t.Context(), one.NotAfter.Add(-time.Hour)); err != nil {
			t.Fatal(err)
		}
		if two, err := first.shown(t, s, domain); err != nil || two.SerialNumber.Cmp(one.SerialNumber) == 0 {
			t.Errorf("not renewed: %v", err)
		}
		rows, err := db.All(t.Context(), d, db.Scan[[]byte], `SELECT sealed FROM certificate`)
		if err != nil || len(rows) < 2 {
			t.Errorf("%d rows, %v", len(rows), err)
		}
		for _, row := range rows {
			if bytes.Contains(row, []byte("PRIVATE KEY")) {
				t.Error("a key is in the database as it is")
			}
		}
	})
}

func TestWhatIsWrongIsTold(t *testing.T) {
	d := dbtest.SQLite(t)
	r := newReplica(t, d, certificate.Config{Domains: []string{domain}, Directory: "https://127.0.0.1:1/dir"}, listen(t))
	if err := r.Renew(t.Context(), time.Now()); err == nil || !strings.Contains(err.Error(), "https://127.0.0.1:1/dir") {
		t.Errorf("an authority that is not there: %v", err)
	}
	if _, err := r.shown(t, &server{}, domain); err == nil {
		t.Error("it shows a certificate that it cannot have")
	}
	for _, c := range []certificate.Config{
		{}, {Domains: []string{"localhost"}}, {Domains: []string{"192.0.2.1"}}, {Domains: []string{"*.example.eu"}},
		{Domains: []string{domain}, Directory: "http://acme"}, {Domains: []string{domain}, CA: "/nonexistent"},
	} {
		if _, err := certificate.Open(t.Context(), d, envelopetest.Box(t, d), c, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}
