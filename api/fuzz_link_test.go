package api

import (
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"crypto/x509"
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"os"
	"strings"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/provider"
	"github.com/kontor-cloud/kontor/wire"
)

// A link is an agents' handler, called as the agent of r1, beside a region r2.
type link struct {
	*world
	clients exchange
	handler http.Handler
	peer    *tls.ConnectionState
	names   *strings.Replacer // of what messages speak of
	before  string            // what a customer sees of it
}

const otherVolume = "/regions/r2/providers/seca.storage" + shop + "/block-storages/disk"

func newLink(f *testing.F, d *db.DB) *link {
	f.Helper()
	l := &link{world: newWorld(f, d, Strict)}
	check(f, l.Providers.CreateRegion(f.Context(), provider.Region{Name: "r2"}))
	r1, err := l.Providers.Find(f.Context(), "r1")
	check(f, err)
	_, err = l.Providers.SaveInventory(f.Context(), "r2", wire.Inventory{Driver: "fake", Kinds: r1.Kinds, Inventory: r1.Inventory})
	check(f, err)
	l.fill()
	l.ok("acme-admin", "PUT", "/regions/r2/providers/seca.workspace"+shop, `{}`)
	l.ok("acme-admin", "PUT", otherVolume, aVolume)
	stop := make(chan struct{})
	close(stop) // nobody waits for long
	l.Stop = stop
	l.handler = l.AgentHandler()
	l.peer = l.enrolled("r1")
	l.names = strings.NewReplacer("MINE", l.idOf("r1"), "THEIRS", l.idOf("r2"))
	l.clients = exchange{l.Handler(Strict), l.token} // not held to its document: an agent may leave out what it promises
	l.before = l.clients.do("acme-admin", http.MethodGet, otherVolume, "", "").Body.String()
	return l
}

// enrolled is the connection of an agent with a certificate.
func (l *link) enrolled(region string) *tls.ConnectionState {
	l.t.Helper()
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	check(l.t, err)
	csr, err := x509.CreateCertificateRequest(rand.Reader, &x509.CertificateRequest{}, key)
	check(l.t, err)
	token, err := l.Providers.NewEnrolment(l.t.Context(), region, time.Hour)
	check(l.t, err)
	e, err := l.Providers.Enrol(l.t.Context(), token, csr)
	check(l.t, err)
	leaf, err := x509.ParseCertificate(e.Certificate)
	check(l.t, err)
	chain := []*x509.Certificate{leaf, l.Providers.Authority.Certificate}
	return &tls.ConnectionState{PeerCertificates: chain, VerifiedChains: [][]*x509.Certificate{chain}}
}

func (l *link) idOf(region string) string {
	l.t.Helper()
	all, _, err := l.Resources.Follow(l.t.Context(), region, 0, 100)
	check(l.t, err)
	for _, r := range all {
		if r.Kind == "block-storage" {
			return r.ID
		}
	}
	l.t.Fatal("no volume in ", region)
	return ""
}

func (l *link) say(path, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(http.MethodPost, path, strings.NewReader(l.names.Replace(body)))
	r.Header.Set(wire.HeaderCapability, "4")
	r.TLS = l.peer
	rec := httptest.NewRecorder()
	l.handler.ServeHTTP(rec, r)
	return rec
}

var agentPaths = []string{
	wire.PathObservations, wire.PathChanges, wire.PathInventory, wire.PathOrphans, wire.PathAnswers, wire.PathRenew, wire.PathEnrol,
}

// FuzzAgentMessage: whatever an agent says is answered or refused, and changes
// nothing in another region; customers can still read their own.
func FuzzAgentMessage(f *testing.F) {
	links := []*link{newLink(f, dbtest.SQLite(f))}
	if os.Getenv(dbtest.Environment) != "" {
		links = append(links, newLink(f, dbtest.Postgres(f)))
	}
	for n := range agentPaths {
		for _, body := range agentSeeds {
			f.Add(n, body)
		}
	}
	const mine = region + "seca.storage" + shop + "/block-storages/disk"
	f.Fuzz(func(t *testing.T, n int, body string) {
		path := agentPaths[uint(n)%uint(len(agentPaths))] //nolint:gosec // any will do
		for _, l := range links {
			rec := l.say(path, body)
			if rec.Code >= 500 || !json.Valid(rec.Body.Bytes()) {
				t.Errorf("%s %q: %d %s", path, body, rec.Code, rec.Body)
			}
			if now := l.clients.do("acme-admin", http.MethodGet, otherVolume, "", ""); now.Body.String() != l.before {
				t.Errorf("%s %q: in the other region, %s became %s", path, body, l.before, now.Body)
			}
			if now := l.clients.do("acme-admin", http.MethodGet, mine, "", ""); now.Code >= 500 || !json.Valid(now.Body.Bytes()) {
				t.Errorf("%s %q: the volume reads %d %s", path, body, now.Code, now.Body)
			}
		}
	})
}

var agentSeeds = []string{
	``, `null`, `[]`, `{}`, `[null]`, `[{}]`,
	`[{"id":"MINE","generation":1,"presence":"present","state":"active","status":{"sizeGB":10},"native":"n1","at":"2026-11-26T00:00:00Z"}]`,
	`[{"id":"MINE","generation":1,"presence":"absent","state":"creating","life":"a","seq":1},{"id":"THEIRS","generation":1,"presence":"present","state":"active"}]`,
	`[{"id":"MINE","generation":9,"presence":"unknown","state":"error","reason":"Broken","message":"a\u0000b","status":[],"forwards":{}}]`,
	`[{"id":"MINE","generation":1,"presence":"present","state":"\ud800","status":"x","native":"\u0000","forwards":1,"trace":"00-0-0-0"}]`,
	`{"since":0,"wait":1000000000}`, `{"since":-1}`, `{"since":9223372036854775807,"epoch":"x","wait":-1}`,
	`{"driver":"fake","kinds":["instance","x"],"console":true,"inventory":{"zones":["a"],"instanceSKUs":[{"name":"x","vcpu":-1}],"images":[{"name":"\u0000"}]},"version":"1","trouble":"t"}`,
	`[{"id":"MINE","kind":"block-storage"},{"id":"THEIRS","kind":"instance","name":"\u0000","native":"n"},{"id":""}]`,
	`{"id":"x","body":"AAAA","error":"e","kind":"missing"}`, `{"csr":"AAAA"}`, `{"token":"a.b","csr":""}`, `{"token":"\u0000.\u0000","csr":"MIH"}`,
}
