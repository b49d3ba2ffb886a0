package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"crypto/x509/pkix"
	"math/big"
	"net/http"
	"net/url"
	"slices"
	"sync"
	"sync/atomic"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/provider"
	"github.com/kontor-cloud/kontor/wire"
)

// shows has the intruder show a certificate whatever the listener asks for, which Go's client otherwise does not.
func (i *intruder) shows(c *tls.Certificate) {
	i.use(nil)
	i.http.Transport.(*http.Transport).TLSClientConfig.GetClientCertificate = func(*tls.CertificateRequestInfo) (*tls.Certificate, error) { return c, nil }
}

// forge signs a certificate as an agent's of this exchange, with what change makes of it, by an
// authority that has the name of ours and another key.
func (i *intruder) forge(change func(*x509.Certificate)) *tls.Certificate {
	i.w.t.Helper()
	real := i.w.Providers.Authority.Certificate
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(i.w.t, err)
	ca := &x509.Certificate{
		SerialNumber: real.SerialNumber, RawSubject: real.RawSubject, SubjectKeyId: real.SubjectKeyId, NotBefore: real.NotBefore, NotAfter: real.NotAfter,
		KeyUsage: real.KeyUsage, BasicConstraintsValid: true, IsCA: true,
	}
	leaf := &x509.Certificate{
		SerialNumber: big.NewInt(1), Subject: pkix.Name{CommonName: "r1"}, AuthorityKeyId: real.SubjectKeyId,
		URIs:      []*url.URL{{Scheme: "kontor", Host: i.w.Providers.Exchange, Path: "/regions/r1"}},
		NotBefore: time.Now().Add(-time.Hour), NotAfter: time.Now().Add(time.Hour), ExtKeyUsage: []x509.ExtKeyUsage{x509.ExtKeyUsageClientAuth},
	}
	change(leaf)
	der, err := x509.CreateCertificate(rand.Reader, leaf, ca, i.key.Public(), key)
	check(i.w.t, err)
	caDER, err := x509.CreateCertificate(rand.Reader, ca, ca, key.Public(), key)
	check(i.w.t, err)
	return &tls.Certificate{Certificate: [][]byte{der, caDER}, PrivateKey: i.key}
}

// TestForgedCertificatesOpenNothing shows the listener what looks like an agent's certificate.
func TestForgedCertificatesOpenNothing(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		agents := w.agents()
		agent := w.intruder(agents)
		agent.join("r1")
		good := agent.http.Transport.(*http.Transport).TLSClientConfig.Certificates[0]
		conf, err := w.Providers.Authority.TLSConfig([]string{"r1"})
		check(t, err)
		own, err := conf.GetCertificate(nil)
		check(t, err)

		thief := w.intruder(agents)
		for what, c := range map[string]*tls.Certificate{
			"by an authority of the same name": thief.forge(func(*x509.Certificate) {}),
			"that has ended":                   thief.forge(func(c *x509.Certificate) { c.NotAfter = time.Now().Add(-time.Minute) }),
			"for servers":                      thief.forge(func(c *x509.Certificate) { c.ExtKeyUsage = []x509.ExtKeyUsage{x509.ExtKeyUsageServerAuth} }),
			"for a public server":              thief.forge(func(c *x509.Certificate) { c.DNSNames, c.URIs = []string{"exchange.test"}, nil }),
			"of an agent, without its key":     {Certificate: good.Certificate, PrivateKey: thief.key},
			"of the listener itself":           own,
			"of the authority":                 {Certificate: [][]byte{w.Providers.Authority.Certificate.Raw}, PrivateKey: thief.key},
		} {
			thief.shows(c)
			for _, path := range slices.DeleteFunc(slices.Clone(agentPaths), func(p string) bool { return p == wire.PathEnrol }) {
				if status := thief.post(path, map[string]any{}, nil); status != 0 {
					t.Errorf("%s with a certificate %s: %d, want the connection refused", path, what, status)
				}
			}
		}
		if status := agent.post(wire.PathChanges, wire.Follow{}, nil); status != 200 {
			t.Errorf("the agent itself: %d", status)
		}
	})
}

// TestRegionsDoNotTouchEachOther has the agent of one region say what only another's may.
func TestRegionsDoNotTouchEachOther(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.fill()
		agents := w.agents()
		check(t, w.Providers.CreateRegion(t.Context(), provider.Region{Name: "r2"}))
		r2 := w.intruder(agents)
		r2.join("r2")
		say := func(path string, in, out any) {
			t.Helper()
			if status := r2.post(path, in, out); status != 200 {
				t.Errorf("%s: %d", path, status)
			}
		}
		// Its life is not another's.
		say(wire.PathChanges, wire.Follow{}, nil)
		if state, _ := w.Providers.Liveness("r1"); state == provider.Alive {
			t.Error("r1 lives by what r2 says")
		}
		r1 := w.intruder(agents)
		r1.join("r1")
		ask := func(path string, in, out any) {
			t.Helper()
			if status := r1.post(path, in, out); status != 200 {
				t.Errorf("%s of r1: %d", path, status)
			}
		}
		var mine wire.Changes
		ask(wire.PathChanges, wire.Follow{}, &mine)

		// Nor are its inventory and its list of orphans.
		before, err := w.Providers.Snapshot().Region("r1")
		check(t, err)
		say(wire.PathInventory, wire.Inventory{Driver: "evil"}, nil)
		if after, err := w.Providers.Snapshot().Region("r1"); err != nil || after.Driver != before.Driver {
			t.Errorf("r1 has the driver %q, %v", after.Driver, err)
		}
		o := wire.Orphan{ID: "lost", Kind: "instance", Native: "n-1"}
		ask(wire.PathOrphans, []wire.Orphan{o}, nil)
		check(t, w.Providers.ApproveOrphan(t.Context(), "r1", o.ID))
		w.ok("acme-admin", "DELETE", region+"seca.compute"+shop+"/instances/vm", "")
		gone := mine.Resources[slices.IndexFunc(mine.Resources, func(r wire.Resource) bool { return r.Kind == "instance" })].ID
		ask(wire.PathObservations, []wire.Observation{{ID: gone, Generation: 1 << 40, Presence: wire.Absent, State: "deleting"}}, nil)
		var v wire.Verdicts
		say(wire.PathOrphans, []wire.Orphan{o, {ID: gone, Kind: "instance"}, {ID: mine.Resources[0].ID, Kind: "workspace"}}, &v)
		if len(v.Remove) != 0 {
			t.Errorf("r2 may remove %v, which are r1's", v.Remove)
		}
		say(wire.PathOrphans, []wire.Orphan{}, nil)
		ask(wire.PathOrphans, []wire.Orphan{o, {ID: gone, Kind: "instance"}}, &v)
		if !slices.Contains(v.Remove, o.ID) || !slices.Contains(v.Remove, gone) {
			t.Errorf("r1 itself may remove %v", v.Remove)
		}
	})
}

// TestAnotherRegionsAnswerIsNotHeard answers in the place of the agent that was asked: for a
// customer's console, and for what is to be recovered, which is asked the same way.
func TestAnotherRegionsAnswerIsNotHeard(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.fill()
		agents := w.agents()
		check(t, w.Providers.CreateRegion(t.Context(), provider.Region{Name: "r2"}))
		r1, r2 := w.intruder(agents), w.intruder(agents)
		r1.join("r1")
		r2.join("r2")
		var c wire.Changes
		r1.post(wire.PathChanges, wire.Follow{}, &c)
		for verb, ask := range map[string]func() string{
			wire.VerbConsole: func() string {
				_, b := w.do("acme-admin", "GET", region+"kontor.exchange"+shop+"/instances/vm/console", "")
				return b
			},
			wire.VerbHoldings: func() string {
				b, err := w.desk.ask(t.Context(), "r1", wire.Request{Verb: wire.VerbHoldings, Resource: "instance"})
				if err != nil {
					return err.Error()
				}
				return string(b)
			},
		} {
			done := make(chan string, 1)
			go func() { done <- ask() }()
			for c.Requests = nil; len(c.Requests) == 0; {
				if status := r1.post(wire.PathChanges, wire.Follow{Since: c.Revision, Wait: time.Second}, &c); status != 200 {
					t.Fatal("poll: ", status)
				}
			}
			var others wire.Changes
			if r2.post(wire.PathChanges, wire.Follow{}, &others); len(others.Requests) != 0 {
				t.Errorf("r2 is asked what r1 was: %+v", others.Requests)
			}
			if status := r2.post(wire.PathAnswers, wire.Answer{ID: c.Requests[0].ID, Body: []byte(`"evil"`)}, nil); status != 200 {
				t.Errorf("an answer to nobody: %d", status) // it learns nothing from it
			}
			r1.post(wire.PathAnswers, wire.Answer{ID: c.Requests[0].ID, Body: []byte(`"good"`)}, nil)
			if b := <-done; b != `"good"` {
				t.Errorf("%s: the answer is %s", verb, b)
			}
		}
	})
}

// TestOneTokenManyThieves has many use one join token at the same moment, over the wire.
func TestOneTokenManyThieves(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		agents := w.agents()
		text, err := w.JoinToken(t.Context(), "r1", time.Hour)
		check(t, err)
		token, err := wire.DecodeJoinToken(text)
		check(t, err)
		const many = 64
		all := make([]*intruder, many)
		for n := range all {
			all[n] = w.intruder(agents)
		}
		var won, refused atomic.Int32
		var wg sync.WaitGroup
		for _, i := range all {
			wg.Go(func() {
				switch i.post(wire.PathEnrol, wire.Enrol{Token: token.Token, CSR: i.csr()}, nil) {
				case 200:
					won.Add(1)
				case 403:
					refused.Add(1)
				}
			})
		}
		wg.Wait()
		list, err := w.Providers.Agents(t.Context(), "r1")
		check(t, err)
		if won.Load() != 1 || refused.Load() != many-1 || len(list) != 1 {
			t.Errorf("%d joined and %d were refused, with %d certificates; want 1 of %d", won.Load(), refused.Load(), len(list), many)
		}
	})
}
