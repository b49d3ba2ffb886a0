package main

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/x509"
	"crypto/x509/pkix"
	"encoding/pem"
	"log/slog"
	"math/big"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

// An authority makes certificates for 127.0.0.1.
type authority struct {
	certificate *x509.Certificate
	key         *ecdsa.PrivateKey
}

func newTestAuthority() (authority, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return authority{}, err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "authority"}, NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour),
		IsCA: true, BasicConstraintsValid: true, KeyUsage: x509.KeyUsageCertSign,
	}
	der, err := x509.CreateCertificate(rand.Reader, template, template, key.Public(), key)
	if err != nil {
		return authority{}, err
	}
	c, err := x509.ParseCertificate(der)
	return authority{c, key}, err
}

// write makes a certificate that ends then, and writes it, its key and the
// authority.
func (a authority) write(name string, ends time.Time) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	template := &x509.Certificate{
		SerialNumber: big.NewInt(time.Now().UnixNano()), NotBefore: ends.Add(-2 * time.Hour), NotAfter: ends,
		IPAddresses: []net.IP{net.IPv4(127, 0, 0, 1)}, ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth},
	}
	der, err := x509.CreateCertificate(rand.Reader, template, a.certificate, key.Public(), a.key)
	if err != nil {
		return err
	}
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	for _, f := range []struct {
		name, kind string
		der        []byte
	}{{name + ".key", "PRIVATE KEY", private}, {name + ".pem", "CERTIFICATE", der}, {name + ".ca", "CERTIFICATE", a.certificate.Raw}} {
		b := pem.EncodeToMemory(&pem.Block{Type: f.kind, Bytes: f.der})
		if err := os.WriteFile(f.name+".new", b, 0o600); err != nil {
			return err
		}
		if err := os.Rename(f.name+".new", f.name); err != nil {
			return err
		}
	}
	return nil
}

func scriptCertificate(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: certificate NAME")
	}
	a, err := newTestAuthority()
	ts.Check(err)
	ts.Check(a.write(ts.MkAbs(args[0]), time.Now().Add(time.Hour)))
}

// TestCertificateThatCannotBeUsedIsNotTaken says what keeps the old one.
func TestCertificateThatCannotBeUsedIsNotTaken(t *testing.T) {
	name := filepath.Join(t.TempDir(), "server")
	files := tlsFiles{name + ".pem", name + ".key"}
	a, err := newTestAuthority()
	must(t, err)
	must(t, a.write(name, time.Now().Add(time.Hour)))
	var log strings.Builder
	f, err := openCertificate(files, slog.New(slog.NewTextHandler(&log, nil)))
	must(t, err)
	first := f.now.Load()

	for what, spoil := range map[string]func() error{
		"it has ended":          func() error { return a.write(name, time.Now().Add(-time.Minute)) },
		"of another key":        func() error { return os.Rename(filepath.Join(filepath.Dir(name), "other.key"), name+".key") },
		"half written":          func() error { return os.WriteFile(name+".pem", []byte("-----BEGIN CERT"), 0o600) },
		"gone":                  func() error { return os.Remove(name + ".pem") },
		"a key for everybody":   func() error { return os.Chmod(name+".key", 0o644) },
		"nothing at all is new": func() error { return nil },
	} {
		must(t, a.write(name, time.Now().Add(time.Hour)))
		must(t, a.write(filepath.Join(filepath.Dir(name), "other"), time.Now().Add(time.Hour)))
		f.seen = files.state()
		must(t, spoil())
		f.look(t.Context())
		if f.now.Load() != first {
			t.Errorf("taken: %s", what)
		}
	}
	if n := strings.Count(log.String(), "not taken"); n != 5 {
		t.Errorf("%d warnings, want 5:\n%s", n, log.String())
	}
	must(t, a.write(name, time.Now().Add(time.Hour)))
	f.look(t.Context())
	if f.now.Load() == first {
		t.Error("a good one was not taken")
	}
}

func must(t *testing.T, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}
