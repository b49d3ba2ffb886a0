package issuer

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"os"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/fault"
)

const (
	maxAnswer = 1 << 20
	patience  = 5 * time.Second // for one answer of an issuer
)

// A Client asks issuers. It follows no redirect, and takes neither long nor much.
type Client struct{ *http.Client }

// NewClient makes a client that trusts the authorities in the file ca, or those
// of the system if ca is "".
func NewClient(ca string) (Client, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	if ca != "" {
		pem, err := os.ReadFile(ca)
		if err != nil {
			return Client{}, fault.Invalid.Errorf("read certificate authorities: %w", err)
		}
		roots := x509.NewCertPool()
		if !roots.AppendCertsFromPEM(pem) {
			return Client{}, fault.Invalid.Errorf("%s holds no certificate in PEM", ca)
		}
		t.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	}
	return Over(t), nil
}

// Over makes a client that asks by t.
func Over(t http.RoundTripper) Client {
	return Client{&http.Client{
		Transport: bounded{t}, Timeout: patience,
		CheckRedirect: func(*http.Request, []*http.Request) error { return errors.New("issuers do not redirect") },
	}}
}

// bounded cuts answers that are too long, also for libraries that read them whole.
type bounded struct{ http.RoundTripper }

// RoundTrip is that of http.RoundTripper.
func (b bounded) RoundTrip(r *http.Request) (*http.Response, error) {
	a, err := b.RoundTripper.RoundTrip(r)
	if err == nil {
		a.Body = struct {
			io.Reader
			io.Closer
		}{io.LimitReader(a.Body, maxAnswer), a.Body}
	}
	return a, err
}

// get reads a JSON document. Whatever goes wrong makes the issuer Unavailable.
func (c Client) get(ctx context.Context, url string, to any) error {
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return fault.Unavailable.Errorf("ask the issuer: %w", err)
	}
	r.Header.Set("Accept", "application/json")
	a, err := c.Do(r)
	if err != nil {
		return fault.Unavailable.Errorf("ask the issuer: %w", err)
	}
	defer a.Body.Close()
	if a.StatusCode != http.StatusOK {
		return fault.Unavailable.Errorf("%s answers %s", url, a.Status)
	}
	if err := json.NewDecoder(a.Body).Decode(to); err != nil {
		return fault.Unavailable.Errorf("%s answers with no JSON: %w", url, err)
	}
	return nil
}

func wellKnown(issuer string) string {
	return strings.TrimSuffix(issuer, "/") + "/.well-known/openid-configuration"
}

func clip(s string) string { return s[:min(len(s), 128)] }
