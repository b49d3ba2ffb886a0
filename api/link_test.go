package api

import (
	"bytes"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"io"
	"net"
	"net/http"
	"strings"
	"testing"
	"time"

	"pgregory.net/rapid"

	"github.com/kontor-cloud/kontor/provider"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/wire"
)

// agents serves the agents' listener of a world with its real TLS.
func (w *world) agents() (url string) {
	w.t.Helper()
	conf, err := w.Providers.Authority.TLSConfig([]string{"127.0.0.1"})
	check(w.t, err)
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	check(w.t, err)
	s := Server(w.AgentHandler(), w.Log)
	go func() { _ = s.Serve(tls.NewListener(ln, conf)) }()
	w.t.Cleanup(func() { s.Close() })
	return "https://" + ln.Addr().String()
}

// An intruder is somebody at the agents' listener, with or without a certificate.
type intruder struct {
	w    *world
	url  string
	key  *ecdsa.PrivateKey
	http *http.Client
}

func (w *world) intruder(url string) *intruder {
	w.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(w.t, err)
	i := &intruder{w: w, url: url, key: key}
	i.use(nil)
	return i
}

func (i *intruder) use(certificate []byte) {
	roots := x509.NewCertPool()
	roots.AddCert(i.w.Providers.Authority.Certificate)
	conf := &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS13}
	if certificate != nil {
		conf.Certificates = []tls.Certificate{{Certificate: [][]byte{certificate}, PrivateKey: i.key}}
	}
	i.http = &http.Client{Transport: &http.Transport{TLSClientConfig: conf}, Timeout: 20 * time.Second}
}

func (i *intruder) post(path string, in, out any) int {
	i.w.t.Helper()
	b, err := json.Marshal(in)
	check(i.w.t, err)
	resp, err := i.http.Post(i.url+path, "application/json", bytes.NewReader(b))
	if err != nil {
		return 0 // refused by TLS itself
	}
	defer resp.Body.Close()
	b, err = io.ReadAll(resp.Body)
	check(i.w.t, err)
	if out != nil && resp.StatusCode == http.StatusOK {
		check(i.w.t, json.Unmarshal(b, out))
	}
	return resp.StatusCode
}

func (i *intruder) csr() []byte {
	der, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, i.key)
	check(i.w.t, err)
	return der
}

// join enrols as a region and uses the certificate from then on.
func (i *intruder) join(region string) {
	i.w.t.Helper()
	text, err := i.w.JoinToken(i.w.t.Context(), region, time.Hour)
	check(i.w.t, err)
	token, err := wire.DecodeJoinToken(text)
	check(i.w.t, err)
	var e wire.Enrolled
	if status := i.post(wire.PathEnrol, wire.Enrol{Token: token.Token, CSR: i.csr()}, &e); status != 200 {
		i.w.t.Fatalf("enrol: %d", status)
	}
	if other := i.w.intruder(i.url); other.post(wire.PathEnrol, wire.Enrol{Token: token.Token, CSR: other.csr()}, nil) != 403 {
		i.w.t.Error("a join token was good for two keys")
	}
	i.use(e.Certificate)
}

// An agent that has seen more than a restored database holds must hear all anew,
// also when the database has caught up with the agent's revision meanwhile.
func TestRestoredDatabaseResetsAgents(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.fill()
		i := w.intruder(w.agents())
		i.join("r1")
		var c wire.Changes
		follow := func(f wire.Follow) wire.Changes {
			c = wire.Changes{}
			if status := i.post(wire.PathChanges, f, &c); status != 200 {
				t.Fatalf("follow: %d", status)
			}
			return c
		}
		all := follow(wire.Follow{})
		if len(all.Resources) == 0 || all.Epoch == "" {
			t.Fatalf("%+v", all)
		}
		half := all.Revision / 2
		if c := follow(wire.Follow{Since: half, Epoch: all.Epoch}); c.Reset || len(c.Resources) >= len(all.Resources) {
			t.Errorf("of the same epoch: %+v", c)
		}
		if c := follow(wire.Follow{Since: half, Epoch: "of another life"}); !c.Reset || len(c.Resources) != len(all.Resources) {
			t.Errorf("of another epoch: reset %v, %d resources", c.Reset, len(c.Resources))
		}
		if c := follow(wire.Follow{Since: half}); c.Reset { // agents of before know no epochs
			t.Errorf("of no epoch: reset")
		}
	})
}

// TestAgentSpeaksForItsRegionAlone attacks the agents' listener.
func TestAgentSpeaksForItsRegionAlone(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.fill()
		url := w.agents()
		check(t, w.Providers.CreateRegion(t.Context(), provider.Region{Name: "r2"}))

		nobody := w.intruder(url)
		for _, path := range []string{wire.PathChanges, wire.PathObservations, wire.PathInventory, wire.PathOrphans, wire.PathAnswers, wire.PathRenew} {
			if status := nobody.post(path, map[string]any{}, nil); status != 401 {
				t.Errorf("%s without a certificate: %d, want 401", path, status)
			}
		}

		r1, r2 := w.intruder(url), w.intruder(url)
		r1.join("r1")
		r2.join("r2")
		var mine, others wire.Changes
		if status := r1.post(wire.PathChanges, wire.Follow{}, &mine); status != 200 || len(mine.Resources) < 10 {
			t.Fatalf("changes of r1: %d, %d resources", status, len(mine.Resources))
		}
		if status := r2.post(wire.PathChanges, wire.Follow{}, &others); status != 200 || len(others.Resources) != 0 {
			t.Errorf("changes of r2: %d, %d resources; want none", status, len(others.Resources))
		}
		var told wire.Accepted
		o := wire.Observation{ID: mine.Resources[0].ID, Generation: 9, Presence: wire.Present, State: seca.Active}
		if status := r2.post(wire.PathObservations, []wire.Observation{o}, &told); status != 200 || len(told.Strangers) != 1 {
			t.Errorf("an observation about another region: %d, strangers %v", status, told.Strangers)
		}
		r, err := w.Resources.Get(t.Context(), "r1", mustURN(t, mine.Resources[0].URN))
		check(t, err)
		if r.State != seca.Pending {
			t.Errorf("the foreign observation made it %s", r.State)
		}
		if status := r1.post(wire.PathObservations, make([]wire.Observation, wire.MaxObservations+1), nil); status != 413 {
			t.Errorf("too many observations: %d, want 413", status)
		}

		polled := make(chan int, 1)
		go func() {
			polled <- r1.post(wire.PathChanges, wire.Follow{Since: mine.Revision, Wait: time.Minute}, nil)
		}()
		w.do("acme-admin", "GET", region+"seca.compute"+shop+"/instances", "")
		if status, b := w.do("op", "POST", "/providers/kontor.exchange/v1/regions/r1/revoke", ""); status != 204 {
			t.Fatal("revoke: ", status, b)
		}
		if status := r1.post(wire.PathChanges, wire.Follow{}, nil); status != 401 {
			t.Errorf("with a revoked certificate: %d, want 401", status)
		}
		if status, b := w.do("acme-admin", "PUT", region+"seca.storage"+shop+"/block-storages/late", aVolume); status != 201 {
			t.Fatal("put: ", status, b)
		}
		if status := <-polled; status != 401 {
			t.Errorf("a poll that waited meanwhile: %d, want 401", status)
		}
	})
}

// TestIdleAgentCostsNoQuery holds for a poll that finds nothing.
func TestIdleAgentCostsNoQuery(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		agent := w.intruder(w.agents())
		agent.join("r1")
		var c wire.Changes
		agent.post(wire.PathChanges, wire.Follow{}, &c)
		before := w.Providers.DB.Statements()
		for range 3 {
			if status := agent.post(wire.PathChanges, wire.Follow{Since: c.Revision, Wait: 20 * time.Millisecond}, &c); status != 200 {
				t.Fatal("poll: ", status)
			}
		}
		if n := w.Providers.DB.Statements() - before; n != 0 {
			t.Errorf("three idle polls took %d statements, want 0", n)
		}
	})
}

// TestConsoleIsAskedOfTheAgent goes through the desk and back.
func TestConsoleIsAskedOfTheAgent(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.fill()
		agent := w.intruder(w.agents())
		agent.join("r1")
		var c wire.Changes
		agent.post(wire.PathChanges, wire.Follow{}, &c)
		done := make(chan string, 1)
		go func() {
			_, b := w.do("acme-admin", "GET", region+"kontor.exchange"+shop+"/instances/vm/console?tail=10", "")
			done <- b
		}()
		for len(c.Requests) == 0 {
			if status := agent.post(wire.PathChanges, wire.Follow{Since: c.Revision, Wait: time.Second}, &c); status != 200 {
				t.Fatal("poll: ", status)
			}
		}
		if q := c.Requests[0]; q.Verb != wire.VerbConsole || q.Tail != 10 || q.Resource == "" {
			t.Errorf("the agent was asked %+v", q)
		}
		agent.post(wire.PathAnswers, wire.Answer{ID: c.Requests[0].ID, Body: []byte("login: ")}, nil)
		if b := <-done; b != "login: " {
			t.Errorf("the customer got %q", b)
		}
	})
}

// TestPartialRegion: what a platform lacks is not listed, and refused.
func TestPartialRegion(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		r, err := w.Providers.Snapshot().Region("r1")
		check(t, err)
		_, err = w.Providers.SaveInventory(t.Context(), "r1", wire.Inventory{Driver: "fake", Kinds: []string{"network", "instance"}, Inventory: r.Inventory})
		check(t, err)
		b := w.ok("acme-admin", "GET", "/providers/seca.region/v1/regions/r1", "")
		if strings.Contains(b, `"seca.storage"`) || !strings.Contains(b, `"seca.compute"`) || !strings.Contains(b, "http://exchange.test/regions/r1/providers/seca.compute") {
			t.Errorf("region without volumes: %s", b)
		}
		w.ok("acme-admin", "PUT", region+"seca.workspace"+shop, `{}`)
		if status, b := w.do("acme-admin", "PUT", region+"seca.storage"+shop+"/block-storages/d", aVolume); status != 422 || !strings.Contains(b, "has no block-storages") {
			t.Errorf("a volume in it: %d %s", status, b)
		}
	})
}

// TestPollsEndTogether has waits of any length that begin at any moment end on a beat, never later than
// was asked and less than a beat earlier; those too short for that end as asked.
func TestPollsEndTogether(t *testing.T) {
	midnight := time.Date(2026, time.November, 1, 0, 0, 0, 0, time.UTC)
	rapid.Check(t, func(t *rapid.T) {
		now := midnight.Add(time.Duration(rapid.Int64Range(0, int64(time.Minute)).Draw(t, "now")))
		asked := time.Duration(rapid.Int64Range(0, int64(maxWait)).Draw(t, "asked"))
		got := together(now, asked)
		switch end := now.Add(got); {
		case asked < 2*beat && got != asked:
			t.Fatalf("waits %s, not %s", got, asked)
		case asked >= 2*beat && (got > asked || got <= asked-beat || !end.Equal(end.Truncate(beat))):
			t.Fatalf("waits %s of %s, until %s", got, asked, end)
		}
	})
}
