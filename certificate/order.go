package certificate

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"net/http"
	"os"
	"slices"
	"sync"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/kontor-cloud/kontor/fault"
)

const (
	orderLimit = 2 * time.Minute // for all of an order
	callLimit  = 10 * time.Second
	retries    = 3 // of a call that the authority was too busy for
)

// caller is how the authority is called.
func (c Config) caller() (*http.Client, error) {
	transport := http.DefaultTransport.(*http.Transport).Clone()
	transport.TLSClientConfig = &tls.Config{MinVersion: tls.VersionTLS12}
	if c.CA != "" {
		b, err := os.ReadFile(c.CA)
		if err != nil {
			return nil, fmt.Errorf("read who certifies the ACME authority: %w", err)
		}
		transport.TLSClientConfig.RootCAs = x509.NewCertPool()
		if !transport.TLSClientConfig.RootCAs.AppendCertsFromPEM(b) {
			return nil, fault.Invalid.Errorf("%s holds no certificate in PEM", c.CA)
		}
	}
	return &http.Client{Transport: transport, Timeout: callLimit}, nil
}

// backoff bounds how often the authority is called again that is too busy: the
// next run of the job is soon enough.
func backoff(n int, _ *http.Request, _ *http.Response) time.Duration {
	if n > retries {
		return -1
	}
	return time.Duration(n) * time.Second
}

// order gets a new certificate, keeps it and shows it.
func (k *Keeper) order(ctx context.Context) error {
	ctx, cancel := context.WithTimeout(ctx, orderLimit)
	defer cancel()
	client, err := k.registered(ctx)
	if err != nil {
		return fault.Unavailable.Errorf("register at the ACME authority %s: %w", k.config.Directory, err)
	}
	order, err := client.AuthorizeOrder(ctx, acme.DomainIDs(k.config.Domains...))
	if err != nil {
		return fault.Unavailable.Errorf("order a certificate for %v: %w", k.config.Domains, err)
	}
	for _, url := range order.AuthzURLs {
		if err := k.prove(ctx, client, url); err != nil {
			return err
		}
	}
	if order, err = client.WaitOrder(ctx, order.URI); err != nil {
		return fault.Unavailable.Errorf("order a certificate for %v: %w", k.config.Domains, err)
	}
	return k.finish(ctx, client, order)
}

// finish makes the key, and takes the certificate for it.
func (k *Keeper) finish(ctx context.Context, client *acme.Client, order *acme.Order) error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return err
	}
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{DNSNames: k.config.Domains}, key)
	if err != nil {
		return err
	}
	chain, _, err := client.CreateCertFromOrder(ctx, order, csr, true)
	if err != nil {
		return fault.Unavailable.Errorf("fetch the certificate for %v: %w", k.config.Domains, err)
	}
	if err := k.rows.keep(ctx, k.certificate(), chain, key); err != nil {
		return err
	}
	return k.look(ctx)
}

// prove answers the authority's challenge for one name.
func (k *Keeper) prove(ctx context.Context, client *acme.Client, url string) error {
	z, err := client.GetAuthorization(ctx, url)
	if err != nil {
		return fault.Unavailable.Errorf("ask for the ACME authority's challenge: %w", err)
	}
	if z.Status == acme.StatusValid {
		return nil // it remembers an order of before
	}
	domain := z.Identifier.Value
	i := slices.IndexFunc(z.Challenges, func(c *acme.Challenge) bool { return c.Type == "tls-alpn-01" })
	if i < 0 {
		return fault.Unsupported.Errorf("the ACME authority has no challenge tls-alpn-01 for %s", domain)
	}
	answer, err := client.TLSALPN01ChallengeCert(z.Challenges[i].Token, domain)
	if err != nil {
		return err
	}
	if err := k.rows.keep(ctx, k.challenge(domain), answer.Certificate, answer.PrivateKey); err != nil {
		return err
	}
	defer func() {
		if err := k.rows.remove(context.WithoutCancel(ctx), k.challenge(domain)); err != nil {
			k.log.WarnContext(ctx, "answer to a challenge not removed", "domain", domain, "error", err)
		}
	}()
	if _, err = client.Accept(ctx, z.Challenges[i]); err == nil {
		_, err = client.WaitAuthorization(ctx, z.URI)
	}
	if err != nil {
		return fault.Unavailable.Errorf("show that %s is ours: %w", domain, err)
	}
	return nil
}

// registered is a client with the account, which it makes if need be: also if the
// authority has forgotten it.
func (k *Keeper) registered(ctx context.Context) (*acme.Client, error) {
	key, err := k.accountKey(ctx)
	if err != nil {
		return nil, err
	}
	client := &acme.Client{DirectoryURL: k.config.Directory, UserAgent: "kontor", HTTPClient: k.caller, RetryBackoff: backoff, Key: key}
	account := &acme.Account{}
	if k.config.Email != "" {
		account.Contact = []string{"mailto:" + k.config.Email}
	}
	_, err = client.Register(ctx, account, acme.AcceptTOS)
	if errors.Is(err, acme.ErrAccountAlreadyExists) {
		err = nil
	}
	return client, err
}

// accountKey is called by one process at a time.
func (k *Keeper) accountKey(ctx context.Context) (crypto.Signer, error) {
	b, err := k.rows.get(ctx, k.account())
	if err == nil {
		return x509.ParseECPrivateKey(b)
	}
	if !errors.Is(err, fault.Missing) {
		return nil, err
	}
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	if b, err = x509.MarshalECPrivateKey(key); err != nil {
		return nil, err
	}
	return key, k.rows.put(ctx, k.account(), b)
}

// A Listener can be told to stop accepting without being closed, as that of TCP can.
type Listener interface {
	net.Listener
	SetDeadline(t time.Time) error
}

// First makes sure that there is a certificate before clients are served on ln.
// Meanwhile only the authority is answered there.
func (k *Keeper) First(ctx context.Context, ln Listener) error {
	if k.Leaf() != nil {
		return nil // Renew is for the rest
	}
	var calls sync.WaitGroup
	calls.Go(func() { k.answer(ctx, ln, &calls) })
	err := k.Renew(ctx, time.Now())
	if stop := ln.SetDeadline(time.Now()); stop != nil {
		return errors.Join(err, stop)
	}
	calls.Wait()
	return errors.Join(err, ln.SetDeadline(time.Time{}))
}

// answer shakes hands with whoever calls, until ln has a deadline.
func (k *Keeper) answer(ctx context.Context, ln net.Listener, calls *sync.WaitGroup) {
	for {
		conn, err := ln.Accept()
		if err != nil {
			return
		}
		calls.Go(func() {
			defer conn.Close()
			ctx, cancel := context.WithTimeout(ctx, callLimit)
			defer cancel()
			c := tls.Server(conn, &tls.Config{MinVersion: tls.VersionTLS12, NextProtos: []string{Protocol}, GetCertificate: k.Show})
			_ = c.HandshakeContext(ctx) // whether it was good, the authority says
		})
	}
}
