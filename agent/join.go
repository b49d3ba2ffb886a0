package agent

import (
	"context"
	"crypto"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/url"
	"os"
	"path/filepath"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kontor-cloud/kontor/failpoint"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/wire"
)

// An identity is what an agent is at its exchange, as it is kept in
// identity.json. Its key is in key.pem.
type identity struct {
	URL string `json:"url"`
	wire.Enrolled

	key  crypto.Signer
	leaf *x509.Certificate
}

func (i *identity) certificate() *tls.Certificate {
	return &tls.Certificate{Certificate: [][]byte{i.Certificate}, PrivateKey: i.key, Leaf: i.leaf}
}

// dial gives a link: with the identity in the agent's directory, or a new one
// for a join token.
func dial(ctx context.Context, c Config, log *slog.Logger) (*link, error) {
	key, err := ownKey(filepath.Join(c.Dir, "key.pem"))
	if err != nil {
		return nil, fmt.Errorf("prepare the agent's key: %w", err)
	}
	who, err := readIdentity(c.Dir, key)
	if err == nil && time.Now().After(who.leaf.NotAfter) {
		log.WarnContext(ctx, "the agent's certificate has expired", "expired", who.leaf.NotAfter)
		err = os.ErrNotExist
	}
	if errors.Is(err, os.ErrNotExist) {
		if c.Join == "" {
			return nil, fault.Invalid.Errorf("this agent has not joined an exchange, or too long ago; give it the line that `kontor region join` printed")
		}
		who, err = enrol(ctx, c, key, log)
	} else if err == nil && c.Join != "" {
		who, err = rejoin(ctx, c, who, log)
	}
	if err != nil {
		return nil, err
	}
	ca, err := x509.ParseCertificate(who.CA)
	if err != nil {
		return nil, fmt.Errorf("read the exchange's CA certificate: %w", err)
	}
	l := newLink(c.Dir, log)
	l.who.Store(who)
	l.http.Store(client(l.secure(ca)))
	return l, nil
}

// lockWithin is how long an agent waits for its directory. When its predecessor
// was killed while it started a process, that process has the lock, too, for
// the moment until it is another program.
const lockWithin = 2 * time.Second

// lock makes this the only agent in a directory.
func lock(ctx context.Context, dir string) (unlock func() error, err error) {
	f, err := os.OpenFile(filepath.Join(dir, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, fmt.Errorf("lock the agent's directory: %w", err)
	}
	for began := time.Now(); ; {
		err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
		if err == nil {
			return f.Close, nil
		}
		if time.Since(began) > lockWithin || !sleep(ctx, 20*time.Millisecond) {
			f.Close()
			return nil, fault.Conflict.Errorf("another agent runs in %s", dir)
		}
	}
}

// ownKey reads the agent's key, or makes it, once.
func ownKey(path string) (crypto.Signer, error) {
	text, err := os.ReadFile(path)
	if errors.Is(err, os.ErrNotExist) {
		text, err = makeKey(path)
	}
	if err != nil {
		return nil, err
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil, fmt.Errorf("%s holds no key", path)
	}
	key, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	if err != nil {
		return nil, err
	}
	signer, ok := key.(crypto.Signer)
	if !ok {
		return nil, fmt.Errorf("the key in %s cannot sign", path)
	}
	return signer, nil
}

func makeKey(path string) ([]byte, error) {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return nil, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, err
	}
	text := pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})
	err = writeFile(path, text)
	failpoint.Here(failpoint.KeyMade)
	return text, err
}

// writeFile puts a file in place whole, or not at all.
func writeFile(path string, text []byte) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(text)
	if err == nil {
		err = f.Sync()
	}
	if e := f.Close(); err == nil {
		err = e
	}
	if err == nil {
		err = os.Rename(path+".new", path)
	}
	if err == nil {
		err = syncDir(filepath.Dir(path))
	}
	return err
}

func readIdentity(dir string, key crypto.Signer) (*identity, error) {
	text, err := os.ReadFile(filepath.Join(dir, "identity.json"))
	if err != nil {
		return nil, err
	}
	who := &identity{key: key}
	if err := json.Unmarshal(text, who); err != nil {
		return nil, fmt.Errorf("read identity.json: %w", err)
	}
	if who.leaf, err = x509.ParseCertificate(who.Certificate); err != nil {
		return nil, fmt.Errorf("read the certificate in identity.json: %w", err)
	}
	return who, nil
}

// take makes what the exchange sent the agent's identity, durably.
func (i *identity) take(dir string, e wire.Enrolled) (*identity, error) {
	leaf, err := x509.ParseCertificate(e.Certificate)
	if err != nil {
		return nil, fault.Unavailable.Errorf("read the certificate that the exchange sent: %w", err)
	}
	who := &identity{URL: i.URL, Enrolled: e, key: i.key, leaf: leaf}
	text, err := json.MarshalIndent(who, "", "\t")
	if err == nil {
		err = writeFile(filepath.Join(dir, "identity.json"), text)
	}
	if err != nil {
		return nil, fmt.Errorf("keep the agent's identity: %w", err)
	}
	return who, nil
}

// enrol asks for a certificate with a join token, until it gets one or is
// refused. After a crash the same key asks again, and the exchange knows it.
func enrol(ctx context.Context, c Config, key crypto.Signer, log *slog.Logger) (*identity, error) {
	token, err := wire.DecodeJoinToken(c.Join)
	if err != nil {
		return nil, err
	}
	tlsConfig, err := pinned(token)
	if err != nil {
		return nil, err
	}
	request, err := newCSR(key)
	if err != nil {
		return nil, err
	}
	l := newLink(c.Dir, log)
	l.http.Store(client(tlsConfig))
	defer l.http.Load().CloseIdleConnections()
	for try := 0; ; try++ {
		var e wire.Enrolled
		err := l.send(ctx, token.URL+wire.PathEnrol, wire.Enrol{Token: token.Token, CSR: request}, &e)
		if err == nil {
			failpoint.Here(failpoint.EnrolledUnkept)
			return (&identity{URL: token.URL, key: key}).take(c.Dir, e)
		}
		if fault.KindOf(err) != fault.Unavailable || errors.Is(err, errPin) {
			return nil, fmt.Errorf("join the exchange: %w", err)
		}
		log.WarnContext(ctx, "exchange not reached", "url", token.URL, "error", err)
		if !sleep(ctx, max(fault.After(err), backoff(try, 100*time.Millisecond, 10*time.Second))) {
			return nil, ctx.Err()
		}
	}
}

// rejoin is for an agent that has joined before: a token of the same exchange
// tells it where that answers now, and is used up only if the agent's own
// certificate has run out.
func rejoin(ctx context.Context, c Config, who *identity, log *slog.Logger) (*identity, error) {
	token, err := wire.DecodeJoinToken(c.Join)
	if err != nil {
		return nil, err
	}
	if wire.Fingerprint(who.CA) != token.CASHA256 {
		return nil, fault.Conflict.Errorf("this agent belongs to exchange %s and the join token is of another one; give it a directory of its own", who.Exchange)
	}
	if time.Now().After(who.leaf.NotAfter) {
		return enrol(ctx, c, who.key, log)
	}
	if who.URL == token.URL {
		return who, nil
	}
	return (&identity{URL: token.URL, key: who.key}).take(c.Dir, who.Enrolled)
}

func newCSR(key crypto.Signer) ([]byte, error) {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	if err != nil {
		return nil, fmt.Errorf("make the certificate request: %w", err)
	}
	return der, nil
}

var errPin = errors.New("whoever answers there is not the exchange of the join token")

// pinned is the TLS of an agent that knows of its exchange's authority the
// fingerprint alone: the authority must be in the chain, and vouch for the leaf.
func pinned(t wire.JoinToken) (*tls.Config, error) {
	u, err := url.Parse(t.URL)
	if err != nil {
		return nil, fault.Invalid.Errorf("the join token has no URL: %w", err)
	}
	return &tls.Config{
		MinVersion:         tls.VersionTLS13,
		InsecureSkipVerify: true, //nolint:gosec // VerifyConnection does it, with the pinned authority
		VerifyConnection: func(s tls.ConnectionState) error {
			roots := x509.NewCertPool()
			for _, c := range s.PeerCertificates {
				if c.IsCA && wire.Fingerprint(c.Raw) == t.CASHA256 {
					roots.AddCert(c)
				}
			}
			_, err := s.PeerCertificates[0].Verify(x509.VerifyOptions{Roots: roots, DNSName: u.Hostname()})
			if err != nil {
				return fmt.Errorf("%w: %w", errPin, err)
			}
			return nil
		},
	}, nil
}

// renewal gets a fresh certificate when two thirds of the present one's life
// are over. It looks at the clock every minute, as that may be set meanwhile.
// By a clock that is wrong every certificate may look old: then each gets a
// while, too.
func (l *link) renewal(ctx context.Context) error {
	for tries, rest := 0, time.Second; ; {
		leaf := l.identity().leaf
		life := leaf.NotAfter.Sub(leaf.NotBefore)
		due := time.Until(leaf.NotBefore.Add(life * 2 / 3))
		if failpoint.On(failpoint.Hurry) {
			due, rest = 0, time.Second
		}
		if !sleep(ctx, max(min(due, time.Minute), rest, backoff(tries, time.Second, time.Minute))) {
			return nil
		}
		if due > time.Minute {
			continue
		}
		if err := l.renew(ctx); err != nil {
			l.log.WarnContext(ctx, "certificate not renewed", "expires", leaf.NotAfter, "error", err)
			tries++
			continue
		}
		tries, rest = 0, life/100
	}
}

func (l *link) renew(ctx context.Context) error {
	who := l.identity()
	request, err := newCSR(who.key)
	if err != nil {
		return err
	}
	var e wire.Enrolled
	if err := l.post(ctx, wire.PathRenew, wire.Renew{CSR: request}, &e); err != nil {
		return err
	}
	failpoint.Here(failpoint.RenewedUnkept)
	fresh, err := who.take(l.dir, e)
	if err != nil {
		return err
	}
	ca, err := x509.ParseCertificate(fresh.CA)
	if err != nil {
		return fault.Unavailable.Errorf("read the CA certificate that the exchange sent: %w", err)
	}
	l.who.Store(fresh)
	l.http.Swap(client(l.secure(ca))).CloseIdleConnections() // a connection goes on with the certificate that it began with
	l.log.InfoContext(ctx, "certificate renewed", "expires", fresh.leaf.NotAfter)
	return nil
}
