package main

import (
	"context"
	"crypto/sha256"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"log/slog"
	"os"
	"sync/atomic"
	"time"
)

// A clientCertificate is what clients are served with.
type clientCertificate interface {
	// config is for a listener that shows it.
	config() *tls.Config
	// watch keeps it fresh until ctx ends.
	watch(ctx context.Context) error
	// Leaf is the one that is shown.
	Leaf() *x509.Certificate
}

// checkCertificate is for readiness: with a certificate that has ended no client
// talks to this process.
func checkCertificate(c clientCertificate) func(context.Context) error {
	return func(context.Context) error {
		if ends := c.Leaf().NotAfter; time.Now().After(ends) {
			return fmt.Errorf("the certificate for clients ended on %s", ends.Format(time.RFC3339))
		}
		return nil
	}
}

// tlsFiles name the certificate that clients are shown, with those of its
// issuers after it, and its key, both PEM.
type tlsFiles struct {
	Certificate string `json:"certificate"`
	Key         string `json:"key"`
}

// How often files of certificates are looked at.
const lookAtFiles = 2 * time.Second

// A fileCertificate is read anew when its files change. One that cannot be used
// is not taken: the one before stays.
type fileCertificate struct {
	files tlsFiles
	log   *slog.Logger
	now   atomic.Pointer[tls.Certificate]
	seen  string // of the files, when last read
}

func openCertificate(files tlsFiles, log *slog.Logger) (*fileCertificate, error) {
	f := &fileCertificate{files: files, log: log, seen: files.state()}
	c, err := files.read()
	if err != nil {
		return nil, usagef("the certificate for clients: %v", err)
	}
	f.now.Store(c)
	return f, nil
}

// read checks that key and certificate belong together, and that it is one for
// now.
func (f tlsFiles) read() (*tls.Certificate, error) {
	if i, err := os.Stat(f.Key); err == nil && i.Mode().Perm()&0o007 != 0 {
		return nil, fmt.Errorf("everybody on this machine can read %s; chmod 640 or less", f.Key)
	}
	c, err := tls.LoadX509KeyPair(f.Certificate, f.Key)
	if err != nil {
		return nil, err
	}
	switch now := time.Now(); {
	case now.After(c.Leaf.NotAfter):
		return nil, fmt.Errorf("%s ended on %s", f.Certificate, c.Leaf.NotAfter.Format(time.RFC3339))
	case len(c.Leaf.DNSNames)+len(c.Leaf.IPAddresses) == 0:
		return nil, fmt.Errorf("%s is for no name and no address (subjectAltName)", f.Certificate)
	}
	return &c, nil
}

// state changes whenever one of the files does. A time of change would be too
// coarse to tell two files apart.
func (f tlsFiles) state() (s string) {
	for _, name := range []string{f.Certificate, f.Key} {
		b, err := os.ReadFile(name)
		s += fmt.Sprintf("%x %v;", sha256.Sum256(b), err)
		if i, err := os.Stat(name); err == nil {
			s += i.Mode().String()
		}
	}
	return s
}

// watch reads the files again when they change, until ctx ends.
func (f *fileCertificate) watch(ctx context.Context) error {
	tick := time.NewTicker(lookAtFiles)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
			f.look(ctx)
		case <-ctx.Done():
			return nil
		}
	}
}

// look reads the files if they have changed. Two files are never replaced at
// once, so a pair that does not fit is read again at the next look.
func (f *fileCertificate) look(ctx context.Context) {
	state := f.files.state()
	if state == f.seen {
		return
	}
	c, err := f.files.read()
	if err != nil {
		f.log.WarnContext(ctx, "new certificate not taken; the old one stays", "certificate", f.files.Certificate, "ends", f.now.Load().Leaf.NotAfter, "error", err)
		return
	}
	f.seen = state
	f.now.Store(c)
	f.log.InfoContext(ctx, "new certificate", "certificate", f.files.Certificate, "names", c.Leaf.DNSNames, "ends", c.Leaf.NotAfter)
}

// Leaf is the one that is shown.
func (f *fileCertificate) Leaf() *x509.Certificate { return f.now.Load().Leaf }

// config is for a listener that shows it. Connections that are there keep the
// certificate that they have.
func (f *fileCertificate) config() *tls.Config {
	return clientTLS(func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return f.now.Load(), nil })
}

// clientTLS is how clients are served, whatever the certificate comes from.
func clientTLS(certificate func(*tls.ClientHelloInfo) (*tls.Certificate, error)) *tls.Config {
	return &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{"h2", "http/1.1"}, GetCertificate: certificate}
}
