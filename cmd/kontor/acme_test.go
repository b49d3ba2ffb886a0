package main

import (
	"context"
	"crypto/tls"
	"fmt"
	"log/slog"
	"net/http"
	"slices"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/certificate"
	"github.com/kontor-cloud/kontor/certificate/certificatetest"
	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/job"
	"github.com/kontor-cloud/kontor/telemetry"
)

// TestServeByACME starts an exchange that has no certificate, whose clients trust it once it says that it
// is ready; then the authority goes away, and a renewal that fails is seen and harms nobody.
func TestServeByACME(t *testing.T) {
	const domain = "cloud.kontor.test"
	port := certificatetest.FreePort(t)
	s := certificatetest.Serve(t, port, time.Hour)
	c := defaultExchange()
	c.Data, c.Agents, c.Listen[0].Address = shortDir(t), "127.0.0.1:0", fmt.Sprintf("127.0.0.1:%d", port)
	c.ACME = &certificate.Config{Domains: []string{domain}, Directory: s.Directory, CA: s.CA}
	ctx, stop := context.WithCancel(t.Context())
	var log logText
	x, err := new(app).openExchange(ctx, c, slog.New(slog.NewTextHandler(&log, nil)))
	must(t, err)
	defer x.close()
	ended := make(chan error, 1)
	go func() { ended <- x.run(ctx) }()
	defer func() { stop(); must(t, <-ended) }()

	if want := fmt.Sprintf("https://%s:%d", domain, port); x.publicURL() != want {
		t.Errorf("clients are sent to %s, want %s", x.publicURL(), want)
	}
	asks := &http.Client{Transport: &http.Transport{ForceAttemptHTTP2: true, TLSClientConfig: &tls.Config{RootCAs: s.Roots, ServerName: domain, MinVersion: tls.VersionTLS12}}}
	ready := func() {
		t.Helper()
		resp, err := asks.Get(fmt.Sprintf("https://127.0.0.1:%d/readyz", port))
		must(t, err)
		resp.Body.Close()
		if resp.StatusCode != http.StatusOK || resp.ProtoMajor != 2 {
			t.Errorf("readyz: %d, HTTP/%d", resp.StatusCode, resp.ProtoMajor)
		}
		asks.CloseIdleConnections()
	}
	ready()
	_, text := shown(t, privateDefault(c.Data), "/metrics")
	all, err := telemetry.ReadSamples(strings.NewReader(text))
	must(t, err)
	if i := slices.IndexFunc(all, func(s telemetry.Sample) bool { return s.Name == "kontor_certificate_expiry_timestamp_seconds" }); i < 0 || all[i].Value != moment(x.shown.Leaf().NotAfter) {
		t.Error("metrics do not say when the certificate ends")
	}

	s.Stop()
	k := x.shown.(acmeCertificate)
	due := job.Job{Name: "renew-certificate", Every: time.Hour, Do: func(ctx context.Context, _ time.Time) error { return k.Renew(ctx, k.Leaf().NotAfter) }}
	_, err = db.Exec(ctx, x.db, `DELETE FROM job WHERE name = $1`, due.Name) // it has just gone well
	must(t, err)
	failing, enough := context.WithCancel(ctx)
	over := make(chan error, 1)
	go func() { over <- job.Run(failing, x.db, x.log, due) }()
	for deadline := time.Now().Add(time.Minute); !strings.Contains(log.String(), "job failed"); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(deadline) {
			t.Fatalf("nobody tells that the renewal failed:\n%s", log.String())
		}
	}
	enough()
	must(t, <-over)
	if !strings.Contains(log.String(), s.Directory) {
		t.Errorf("the log does not say which authority: %s", log.String())
	}
	told, err := job.Outcomes(t.Context(), x.db)
	must(t, err)
	if !slices.ContainsFunc(told, func(o job.Outcome) bool {
		return o.Name == due.Name && o.Failures > 0 && strings.Contains(o.Error, s.Directory)
	}) {
		t.Errorf("operators are told %+v", told)
	}
	ready()
}

// A logText is written by many goroutines.
type logText struct {
	mu   sync.Mutex
	text strings.Builder
}

func (l *logText) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.Write(b)
}

func (l *logText) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.text.String()
}
