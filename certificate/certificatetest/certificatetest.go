// Package certificatetest has an ACME authority for tests: Pebble, Let's Encrypt's
// own test server.
package certificatetest

import (
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
	"math/big"
	mathrand "math/rand/v2"
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
)

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
	module, err := exec.CommandContext(context.Background(), "go", "env", "GOMOD").Output()
	if err != nil {
		return "", err
	}
	c := exec.CommandContext(context.Background(), "go", "build", "-modfile=pebble.mod", "-o", path, "github.com/letsencrypt/pebble/v2/cmd/pebble")
	c.Dir, c.Env = filepath.Join(filepath.Dir(string(module)), "tools"), append(os.Environ(), "GOFLAGS=-mod=mod")
	if out, err := c.CombinedOutput(); err != nil {
		return "", fmt.Errorf("%w: %s", err, out)
	}
	return path, nil
})

// A Server is a Pebble that finds every domain on this machine.
type Server struct {
	Directory string         // URL
	CA        string         // file with who certifies Directory
	Roots     *x509.CertPool // of the certificates that it gives
	Stop      func()         // ends it

	said *output
}

// Orders is how many have been placed.
func (s *Server) Orders() int { return strings.Count(s.said.String(), "POST /order-plz") }

// An output is written by a process and read by a test.
type output struct {
	mu   sync.Mutex
	text strings.Builder
}

func (o *output) Write(b []byte) (int, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.Write(b)
}

func (o *output) String() string {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.text.String()
}

// Serve runs a Pebble that looks for challenges at a port, and gives certificates for so long.
func Serve(t testing.TB, port int, lifetime time.Duration) *Server {
	t.Helper()
	path, err := program()
	if err != nil {
		t.Skipf("there is no Pebble, and none can be built: %v", err)
	}
	dir, api, management := t.TempDir(), FreePort(t), FreePort(t)
	s := &Server{Directory: fmt.Sprintf("https://127.0.0.1:%d/dir", api), CA: filepath.Join(dir, "cert.pem"), said: &output{}}
	selfSigned(t, s.CA, filepath.Join(dir, "key.pem"))
	config := map[string]any{"pebble": map[string]any{
		"listenAddress": fmt.Sprintf("127.0.0.1:%d", api), "managementListenAddress": fmt.Sprintf("127.0.0.1:%d", management),
		"certificate": s.CA, "privateKey": filepath.Join(dir, "key.pem"), "httpPort": 1, "tlsPort": port,
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
	c.Stdout, c.Stderr = s.said, s.said
	if err := c.Start(); err != nil {
		t.Fatal(err)
	}
	s.Stop = sync.OnceFunc(func() {
		_ = c.Process.Kill()
		_ = c.Wait()
	})
	t.Cleanup(func() {
		s.Stop()
		if t.Failed() {
			t.Logf("pebble: %s", s.said)
		}
	})
	s.Roots = s.rootsAt(t, fmt.Sprintf("https://127.0.0.1:%d/roots/0", management))
	return s
}

// rootsAt waits for the server, and reads its root.
func (s *Server) rootsAt(t testing.TB, url string) *x509.CertPool {
	t.Helper()
	own, err := os.ReadFile(s.CA)
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

// FreePort is one where nobody listens yet. It is none of those that the system gives to who
// does not care, so that nobody is given it before it is used.
func FreePort(t testing.TB) int {
	t.Helper()
	for range 100 {
		port := 10_000 + mathrand.IntN(20_000)
		if ln, err := net.Listen("tcp", fmt.Sprintf("127.0.0.1:%d", port)); err == nil {
			ln.Close()
			return port
		}
	}
	t.Fatal("no port is free")
	return 0
}

func selfSigned(t testing.TB, certFile, keyFile string) {
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
func resolver(t testing.TB) string {
	t.Helper()
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
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
