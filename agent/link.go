package agent

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"math/rand/v2"
	"net"
	"net/http"
	"strconv"
	"sync/atomic"
	"time"

	"github.com/kontor-cloud/kontor/failpoint"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/wire"
)

// A link is the connection to the exchange: HTTPS with certificates of the
// exchange's own authority on both sides.
type link struct {
	dir  string
	log  *slog.Logger
	who  atomic.Pointer[identity]
	http atomic.Pointer[http.Client]
	up   atomic.Bool
	ups  atomic.Int64
}

// requestTimeout is more than a poll takes. A connection that is cut without a word
// is noticed after it.
const requestTimeout = pollFor + 12*time.Second

func newLink(dir string, log *slog.Logger) *link { return &link{dir: dir, log: log} }

// client speaks HTTP/1.1: an agent has hardly ever more to say at once than its poll, for which
// HTTP/2 has more goroutines and buffers on both sides. In processor time they were alike.
func client(tlsConfig *tls.Config) *http.Client {
	return &http.Client{
		Timeout: requestTimeout,
		Transport: &http.Transport{
			DialContext:         (&net.Dialer{Timeout: 10 * time.Second, KeepAlive: 15 * time.Second}).DialContext,
			TLSClientConfig:     tlsConfig,
			TLSHandshakeTimeout: 10 * time.Second,
			IdleConnTimeout:     time.Minute,
		},
	}
}

// secure is the link's TLS: it trusts the exchange's authority alone, and shows
// the newest certificate.
func (l *link) secure(ca *x509.Certificate) *tls.Config {
	roots := x509.NewCertPool()
	roots.AddCert(ca)
	return &tls.Config{
		MinVersion: tls.VersionTLS13,
		RootCAs:    roots,
		GetClientCertificate: func(*tls.CertificateRequestInfo) (*tls.Certificate, error) {
			return l.identity().certificate(), nil
		},
	}
}

func (l *link) identity() *identity { return l.who.Load() }
func (l *link) name() string        { return l.identity().Exchange }
func (l *link) region() string      { return l.identity().Region }
func (l *link) epoch() int64        { return l.ups.Load() }

// post sends a message and reads the reply, if out is not nil.
func (l *link) post(ctx context.Context, path string, in, out any) error {
	err := l.send(ctx, l.identity().URL+path, in, out)
	if path == wire.PathObservations && failpoint.On(failpoint.Stutter) {
		l.stutter(ctx, in)
	}
	switch {
	case err == nil:
		if !l.up.Swap(true) {
			l.ups.Add(1)
			l.log.InfoContext(ctx, "exchange connected", "url", l.identity().URL)
		}
	case fault.KindOf(err) == fault.Unavailable && ctx.Err() == nil:
		if l.up.Swap(false) {
			l.log.WarnContext(ctx, "exchange lost", "error", err)
		}
	}
	return err
}

// stutter says something again after a while, and it may be that later things
// have been said meanwhile.
func (l *link) stutter(ctx context.Context, in any) {
	time.AfterFunc(time.Duration(rand.Int64N(int64(400*time.Millisecond))), func() { //nolint:gosec // no secret
		l.send(context.WithoutCancel(ctx), l.identity().URL+wire.PathObservations, in, nil) //nolint:errcheck // it was said before
	})
}

func (l *link) send(ctx context.Context, url string, in, out any) error {
	body, err := json.Marshal(in)
	if err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	req, err := http.NewRequestWithContext(ctx, http.MethodPost, url, bytes.NewReader(body))
	if err != nil {
		return fmt.Errorf("write message: %w", err)
	}
	req.Header.Set("Content-Type", "application/json")
	req.Header.Set(wire.HeaderCapability, strconv.Itoa(wire.Capability))
	resp, err := l.http.Load().Do(req)
	if err != nil {
		return fault.Unavailable.Errorf("call the exchange: %w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, wire.MaxBody+1))
	switch {
	case err != nil:
		return fault.Unavailable.Errorf("read the exchange's answer: %w", err)
	case len(b) > wire.MaxBody:
		return fault.TooLarge.Errorf("the exchange's answer is larger than %d bytes", wire.MaxBody)
	case resp.StatusCode != http.StatusOK:
		return refusal(resp, b)
	case out == nil:
		return nil
	}
	if err := json.Unmarshal(b, out); err != nil {
		return fault.Unavailable.Errorf("read the exchange's answer: %w", err)
	}
	return nil
}

var kindOfStatus = map[int]fault.Kind{
	http.StatusBadRequest:            fault.Malformed,
	http.StatusUnauthorized:          fault.Unauthenticated,
	http.StatusForbidden:             fault.Denied,
	http.StatusNotFound:              fault.Missing,
	http.StatusConflict:              fault.Conflict,
	http.StatusRequestEntityTooLarge: fault.TooLarge,
	http.StatusPreconditionFailed:    fault.Invalid,
	http.StatusUnprocessableEntity:   fault.Invalid,
}

// refusal reads a problem document.
func refusal(resp *http.Response, body []byte) error {
	var problem struct {
		Detail string `json:"detail"`
	}
	json.Unmarshal(body, &problem) //nolint:errcheck // then the status has to do
	text := "the exchange answered " + resp.Status
	if problem.Detail != "" {
		text = "the exchange says: " + problem.Detail
	}
	kind, ok := kindOfStatus[resp.StatusCode]
	if ok {
		return kind.Errorf("%s", text)
	}
	after, _ := strconv.Atoi(resp.Header.Get("Retry-After"))
	return fault.RetryAfter(errors.New(text), time.Duration(after)*time.Second)
}
