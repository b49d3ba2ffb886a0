// Package certificate keeps the certificate that clients of an exchange are shown,
// if an ACME authority (RFC 8555), such as Let's Encrypt, issues it.
//
// The certificate with its key, the account at the authority and the challenges
// under way are in the database, sealed. So all processes of an exchange show the
// same certificate, one of them orders it, and any of them can answer when the
// authority calls: it does on the listener for clients, by a protocol of its own
// (tls-alpn-01, RFC 8737).
package certificate

import (
	"bytes"
	"cmp"
	"context"
	"crypto"
	"crypto/tls"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"slices"
	"strings"
	"sync/atomic"
	"time"

	"golang.org/x/crypto/acme"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/envelope"
	"github.com/kontor-cloud/kontor/fault"
)

// Protocol is what a listener must offer, besides those of clients, to be called by the authority.
const Protocol = acme.ALPNProto

// How often a process looks whether another one has a new certificate, which is
// there long before the old one ends.
const lookAgain = time.Minute

// A Config says for which names there shall be a certificate, and by whom.
type Config struct {
	Domains   []string `json:"domains"`             // names of hosts, all in one certificate
	Email     string   `json:"email,omitempty"`     // where the authority may write to
	Directory string   `json:"directory,omitempty"` // URL of the authority; that of Let's Encrypt if empty
	CA        string   `json:"ca,omitempty"`        // file (PEM) with who certifies the authority's own server, if nobody whom the system trusts
}

// Validate reports what is wrong with the configuration.
func (c Config) Validate() error {
	if len(c.Domains) == 0 {
		return fault.Invalid.Errorf("an ACME authority certifies names; say which")
	}
	for _, d := range c.Domains {
		if net.ParseIP(d) != nil || !strings.Contains(strings.Trim(d, "."), ".") || strings.ContainsAny(d, "*/: ") || d != strings.ToLower(d) {
			return fault.Invalid.Errorf("%q is no name of a host that an ACME authority can call, like cloud.example.eu", d)
		}
	}
	if c.Directory != "" && !strings.HasPrefix(c.Directory, "https://") {
		return fault.Invalid.Errorf("the directory of an ACME authority begins with https://, not %q", c.Directory)
	}
	return nil
}

// A Keeper has the certificate for a Config. Its methods may be called from many
// goroutines.
type Keeper struct {
	config Config
	caller *http.Client
	rows   store
	log    *slog.Logger
	now    atomic.Pointer[tls.Certificate]
	failed atomic.Pointer[failure]
}

// A failure is of the last order. Authorities take few that fail (Let's Encrypt
// five of a name an hour), so the next one is later.
type failure struct {
	err   error
	until time.Time
}

const afterFailure = 15 * time.Minute

// Open reads the certificate, if there is one. It asks the authority for nothing.
func Open(ctx context.Context, d *db.DB, box *envelope.Box, c Config, log *slog.Logger) (*Keeper, error) {
	if err := c.Validate(); err != nil {
		return nil, err
	}
	caller, err := c.caller()
	if err != nil {
		return nil, err
	}
	c.Directory = cmp.Or(c.Directory, acme.LetsEncryptURL)
	k := &Keeper{config: c, caller: caller, rows: store{d, box}, log: log}
	return k, k.look(ctx)
}

// Show finds what to show: for the authority, the answer to its challenge.
func (k *Keeper) Show(hello *tls.ClientHelloInfo) (*tls.Certificate, error) {
	if slices.Equal(hello.SupportedProtos, []string{Protocol}) {
		if !slices.Contains(k.config.Domains, hello.ServerName) {
			return nil, fmt.Errorf("no challenge for %q", hello.ServerName)
		}
		return k.rows.certificate(hello.Context(), k.challenge(hello.ServerName))
	}
	if c := k.now.Load(); c != nil {
		return c, nil
	}
	return nil, errors.New("no certificate yet")
}

// Leaf is the certificate that is shown, or nil.
func (k *Keeper) Leaf() *x509.Certificate {
	if c := k.now.Load(); c != nil {
		return c.Leaf
	}
	return nil
}

// Watch takes what other processes have got, until ctx ends.
func (k *Keeper) Watch(ctx context.Context) error {
	tick := time.NewTicker(lookAgain)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		if err := k.look(ctx); err != nil && ctx.Err() == nil {
			k.log.WarnContext(ctx, "certificate not read", "error", err)
		}
	}
}

// Renew gets a certificate if there is none, or if two thirds of the life of the
// one that is there have passed by now. Of several processes one orders. On error
// everything is as before, and for a while the same error is all that comes.
func (k *Keeper) Renew(ctx context.Context, now time.Time) error {
	if !k.due(now) {
		return nil
	}
	if f := k.failed.Load(); f != nil && now.Before(f.until) {
		return f.err
	}
	return k.rows.db.Alone(ctx, "certificate", func(ctx context.Context) error {
		if err := k.look(ctx); err != nil || !k.due(now) { // another process was faster
			return err
		}
		err := k.order(ctx)
		if err != nil {
			k.failed.Store(&failure{err, now.Add(afterFailure)})
		}
		return err
	})
}

func (k *Keeper) due(now time.Time) bool {
	l := k.Leaf()
	return l == nil || now.After(l.NotAfter.Add(-l.NotAfter.Sub(l.NotBefore)/3))
}

// look takes the certificate that is in the database, even one that has ended: it
// tells a client more than none.
func (k *Keeper) look(ctx context.Context) error {
	c, err := k.rows.certificate(ctx, k.certificate())
	if errors.Is(err, fault.Missing) {
		return nil
	}
	if err != nil {
		return err
	}
	k.take(ctx, c)
	return nil
}

// take shows a certificate from now on, if it is another one, and for all names.
func (k *Keeper) take(ctx context.Context, c *tls.Certificate) {
	old := k.Leaf()
	for _, d := range k.config.Domains {
		if c.Leaf.VerifyHostname(d) != nil {
			return
		}
	}
	if old != nil && old.Equal(c.Leaf) {
		return
	}
	k.now.Store(c)
	k.log.InfoContext(ctx, "new certificate", "names", c.Leaf.DNSNames, "issuer", c.Leaf.Issuer.CommonName, "ends", c.Leaf.NotAfter)
}

// Rows are of one authority, so that with another one everything begins anew.

func (k *Keeper) certificate() string            { return "certificate " + k.config.Directory }
func (k *Keeper) account() string                { return "account " + k.config.Directory }
func (k *Keeper) challenge(domain string) string { return "challenge " + domain }

// Secret is where all of it is sealed.
var Secret = envelope.Column{Table: "certificate", Name: "sealed"}

// A store has what is secret in the database, by name.
type store struct {
	db  *db.DB
	box *envelope.Box
}

func (s store) get(ctx context.Context, name string) ([]byte, error) {
	sealed, err := db.One(ctx, s.db, db.Scan[[]byte], `SELECT sealed FROM certificate WHERE id = $1`, name)
	if err != nil {
		return nil, err
	}
	return s.box.Open(ctx, Secret.Row(name), sealed)
}

func (s store) put(ctx context.Context, name string, plain []byte) error {
	sealed, err := s.box.Seal(ctx, Secret.Row(name), plain)
	if err != nil {
		return err
	}
	_, err = db.Exec(ctx, s.db, `
		INSERT INTO certificate (id, sealed, changed_at) VALUES ($1, $2, $3)
		ON CONFLICT (id) DO UPDATE SET sealed = excluded.sealed, changed_at = excluded.changed_at`,
		name, sealed, db.Micros(time.Now()))
	return err
}

func (s store) remove(ctx context.Context, name string) error {
	_, err := db.Exec(ctx, s.db, `DELETE FROM certificate WHERE id = $1`, name)
	return err
}

// certificate reads one with its key, or Missing.
func (s store) certificate(ctx context.Context, name string) (*tls.Certificate, error) {
	b, err := s.get(ctx, name)
	if err != nil {
		return nil, err
	}
	c, err := tls.X509KeyPair(b, b)
	return &c, err
}

// keep writes a certificate, with those of its issuers, and its key.
func (s store) keep(ctx context.Context, name string, chain [][]byte, key crypto.PrivateKey) error {
	private, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return err
	}
	var b bytes.Buffer
	_ = pem.Encode(&b, &pem.Block{Type: "PRIVATE KEY", Bytes: private}) // into memory
	for _, der := range chain {
		_ = pem.Encode(&b, &pem.Block{Type: "CERTIFICATE", Bytes: der})
	}
	return s.put(ctx, name, b.Bytes())
}
