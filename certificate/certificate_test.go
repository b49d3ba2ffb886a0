package certificate_test

import (
	"bytes"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/certificate"
	"github.com/kontor-cloud/kontor/certificate/certificatetest"
	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/envelope/envelopetest"
)

const domain = "cloud.kontor.test"

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
func (r *replica) shown(t *testing.T, s *certificatetest.Server, name string) (*x509.Certificate, error) {
	t.Helper()
	d := tls.Dialer{Config: &tls.Config{ServerName: name, RootCAs: s.Roots, MinVersion: tls.VersionTLS12}}
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
		s := certificatetest.Serve(t, ln.Addr().(*net.TCPAddr).Port, 24*time.Hour)
		c := certificate.Config{Domains: []string{domain}, Email: "ops@kontor.test", Directory: s.Directory, CA: s.CA}
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
	if _, err := r.shown(t, &certificatetest.Server{}, domain); err == nil {
		t.Error("it shows a certificate that it cannot have")
	}
	for _, c := range []certificate.Config{
		{},
		{Domains: []string{"localhost"}},
		{Domains: []string{"192.0.2.1"}},
		{Domains: []string{"*.example.eu"}},
		{Domains: []string{domain}, Directory: "http://acme"},
		{Domains: []string{domain}, CA: "/nonexistent"},
	} {
		if _, err := certificate.Open(t.Context(), d, envelopetest.Box(t, d), c, slog.New(slog.DiscardHandler)); err == nil {
			t.Errorf("%+v is taken", c)
		}
	}
}

// TestOneProcessOrders has several processes want a certificate at the same moment: any may be
// called by the authority, and one order is placed.
func TestOneProcessOrders(t *testing.T) {
	d := dbtest.Postgres(t)
	ln := listen(t)
	s := certificatetest.Serve(t, ln.Addr().(*net.TCPAddr).Port, 24*time.Hour)
	c := certificate.Config{Domains: []string{domain}, Directory: s.Directory, CA: s.CA}
	all := []*replica{newReplica(t, d, c, ln), newReplica(t, d, c, listen(t)), newReplica(t, d, c, listen(t))}
	var wg sync.WaitGroup
	for _, r := range all {
		wg.Go(func() {
			if err := r.Renew(t.Context(), time.Now()); err != nil {
				t.Error(err)
			}
		})
	}
	wg.Wait()
	serials := map[string]bool{}
	for _, r := range all {
		c, err := r.shown(t, s, domain)
		if err != nil {
			t.Fatal(err)
		}
		serials[c.SerialNumber.String()] = true
	}
	if n := s.Orders(); n != 1 || len(serials) != 1 {
		t.Errorf("%d orders and %d certificates, want one", n, len(serials))
	}
}

// TestFailedRenewalKeepsTheOld loses the authority when its certificate is to be renewed: the old
// one is shown on, also after a restart, until the authority is there again.
func TestFailedRenewalKeepsTheOld(t *testing.T) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) {
		ln := listen(t)
		port := ln.Addr().(*net.TCPAddr).Port
		s := certificatetest.Serve(t, port, 24*time.Hour)
		c := certificate.Config{Domains: []string{domain}, Directory: s.Directory, CA: s.CA}
		r := newReplica(t, d, c, ln)
		if err := r.Renew(t.Context(), time.Now()); err != nil {
			t.Fatal(err)
		}
		one, err := r.shown(t, s, domain)
		if err != nil {
			t.Fatal(err)
		}
		s.Stop()
		due := one.NotAfter.Add(-time.Hour)
		if err := r.Renew(t.Context(), due); err == nil || !strings.Contains(err.Error(), s.Directory) {
			t.Errorf("renewed without an authority: %v", err)
		}
		failed := r.Renew(t.Context(), due)
		if again := r.Renew(t.Context(), due.Add(time.Minute)); failed == nil || !errors.Is(again, failed) {
			t.Errorf("a minute later it is ordered again: %v", again)
		}
		if again := r.Renew(t.Context(), due.Add(time.Hour)); again == nil || errors.Is(again, failed) {
			t.Errorf("an hour later it is not: %v", again)
		}
		again := newReplica(t, d, c, listen(t))
		for _, r := range []*replica{r, again} {
			if two, err := r.shown(t, s, domain); err != nil || !two.Equal(one) {
				t.Errorf("after a failure it shows another: %v", err)
			}
		}
		rows, err := db.All(t.Context(), d, db.Scan[string], `SELECT id FROM certificate WHERE id LIKE 'challenge%'`)
		if err != nil || len(rows) > 0 {
			t.Errorf("answers to challenges stay: %v, %v", rows, err)
		}
	})
}
