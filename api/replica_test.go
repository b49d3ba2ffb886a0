package api

import (
	"context"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/envelope/envelopetest"
	"github.com/kontor-cloud/kontor/provider"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/tenant"
	"github.com/kontor-cloud/kontor/wire"
)

// replicas gives two exchanges on one PostgreSQL, of which the second knows
// only what it reads and hears.
func replicas(t *testing.T) (one, two *world) {
	t.Helper()
	url := dbtest.PostgresURL(t)
	one = newWorld(t, opened(t, url), Strict)
	d := opened(t, url)
	providers, err := provider.Open(t.Context(), d, envelopetest.Box(t, d))
	check(t, err)
	tenants, err := tenant.Open(t.Context(), d, envelopetest.Box(t, d), "kontor:test")
	check(t, err)
	x := New(Config{
		Resources: resource.NewStore(d), Tenants: tenants, Providers: providers,
		URL: "http://exchange.test", AgentURL: "https://agents.test", Log: slog.New(slog.DiscardHandler),
	})
	two = &world{Exchange: x, t: t, token: one.token, http: httptest.NewServer(x.Handler(Strict))}
	t.Cleanup(two.http.Close)
	return one, two
}

func opened(t *testing.T, url string) *db.DB {
	t.Helper()
	d, err := db.Open(context.Background(), url, slog.New(slog.DiscardHandler))
	check(t, err)
	t.Cleanup(func() { d.Close() })
	return d
}

// connect lets the exchanges hear one another.
func connect(t *testing.T, all ...*world) {
	t.Helper()
	for _, w := range all {
		ctx, cancel := context.WithCancel(context.Background())
		ended := make(chan error, 1)
		go func() { ended <- w.Providers.DB.Bus().Run(ctx) }()
		t.Cleanup(func() {
			cancel()
			check(t, <-ended)
		})
	}
	for _, w := range all {
		soon(t, "to hear of the other process", func() bool { return w.Providers.DB.Bus().Peers() == len(all)-1 })
	}
}

// soon waits for what hints bring about.
func soon(t *testing.T, what string, try func() bool) {
	t.Helper()
	for end := time.Now().Add(20 * time.Second); !try(); time.Sleep(10 * time.Millisecond) {
		if time.Now().After(end) {
			t.Fatal("waited in vain: ", what)
		}
	}
}

// TestReplicasWorkAsOne has clients of one process and agents of another.
func TestReplicasWorkAsOne(t *testing.T) {
	one, two := replicas(t)
	connect(t, one, two)
	one.fill()

	check(t, one.Providers.CreateRegion(t.Context(), provider.Region{Name: "r2", Country: "FR"}))
	if status, b := two.do("op", "GET", "/providers/kontor.exchange/v1/regions/r2", ""); status != 200 {
		t.Errorf("a region that the other process has just made: %d %s", status, b)
	}

	agent := two.intruder(one.agents())
	agent.join("r1") // at one
	agent.url = two.agents()
	var c wire.Changes
	if status := agent.post(wire.PathChanges, wire.Follow{}, &c); status != 200 || len(c.Resources) < 10 {
		t.Fatalf("changes at the other process: %d, %d resources", status, len(c.Resources))
	}
	soon(t, "the agent to be alive at the process that it does not call", func() bool {
		state, _ := one.Providers.Liveness("r1")
		return state == provider.Alive
	})

	before := c.Revision
	polled := make(chan wire.Changes, 1)
	go func() {
		var c wire.Changes
		agent.post(wire.PathChanges, wire.Follow{Since: before, Wait: 8 * time.Second}, &c)
		polled <- c
	}()
	one.ok("acme-admin", "PUT", region+"seca.storage"+shop+"/block-storages/second", aVolume)
	if c = <-polled; len(c.Resources) != 1 || c.Reset || !strings.HasSuffix(c.Resources[0].URN, "/second") {
		t.Errorf("a write at one process woke a poll at the other with %+v", c)
	}

	check(t, one.Providers.Revoke(t.Context(), "r1"))
	soon(t, "a certificate revoked at one process to be refused at the other", func() bool {
		return agent.post(wire.PathChanges, wire.Follow{Since: c.Revision}, nil) == http.StatusUnauthorized
	})
}

// TestRequestsReachAgentsOfOtherReplicas goes through the desks of both.
func TestRequestsReachAgentsOfOtherReplicas(t *testing.T) {
	one, two := replicas(t)
	connect(t, one, two)
	one.fill()
	agent := two.intruder(two.agents())
	agent.join("r1")
	var c wire.Changes
	agent.post(wire.PathChanges, wire.Follow{}, &c)
	console := make(chan string, 1)
	go func() {
		_, b := one.do("acme-admin", "GET", region+"kontor.exchange"+shop+"/instances/vm/console", "")
		console <- b
	}()
	for len(c.Requests) == 0 {
		if status := agent.post(wire.PathChanges, wire.Follow{Since: c.Revision, Wait: time.Second}, &c); status != 200 {
			t.Fatal("poll: ", status)
		}
	}
	if status := agent.post(wire.PathAnswers, wire.Answer{ID: c.Requests[0].ID, Body: []byte("login:")}, nil); status != 200 {
		t.Fatal("answer: ", status)
	}
	if got := <-console; got != "login:" {
		t.Errorf("the console is %q", got)
	}
	left, err := db.One(t.Context(), one.Providers.DB, db.Scan[int], `SELECT count(*) FROM answer`)
	if err != nil || left != 0 {
		t.Errorf("%d answers were left behind: %v", left, err)
	}
}

// TestAnswersAtOtherReplicas has an agent fetch a request where it was made, and answer at a
// process that has not heard of it.
func TestAnswersAtOtherReplicas(t *testing.T) {
	one, two := replicas(t)
	one.fill()
	agent := one.intruder(one.agents())
	agent.join("r1")
	check(t, two.Providers.Reload(t.Context()))
	var c wire.Changes
	agent.post(wire.PathChanges, wire.Follow{}, &c)
	console := make(chan string, 1)
	go func() {
		_, b := one.do("acme-admin", "GET", region+"kontor.exchange"+shop+"/instances/vm/console", "")
		console <- b
	}()
	for len(c.Requests) == 0 {
		agent.post(wire.PathChanges, wire.Follow{Since: c.Revision, Wait: time.Second}, &c)
	}
	agent.url = two.agents()
	for range 2 { // the agent may not know that the first arrived
		if status := agent.post(wire.PathAnswers, wire.Answer{ID: c.Requests[0].ID, Body: []byte("login:")}, nil); status != 200 {
			t.Fatal("answer: ", status)
		}
	}
	if got := <-console; got != "login:" {
		t.Errorf("the console is %q", got)
	}

	for i := range 300 { // an agent that answers what nobody asked
		agent.post(wire.PathAnswers, wire.Answer{ID: fmt.Sprint("none", i), Body: []byte("x")}, nil)
	}
	if n, err := db.One(t.Context(), one.Providers.DB, db.Scan[int], `SELECT count(*) FROM answer`); err != nil || n > 128 {
		t.Errorf("%d answers are kept: %v", n, err)
	}
}

// TestRightsFollowAtOtherReplicas takes a right away at one process.
func TestRightsFollowAtOtherReplicas(t *testing.T) {
	one, two := replicas(t)
	connect(t, one, two)
	one.fill()
	volumes := region + "seca.storage" + shop + "/block-storages"
	two.ok("acme-admin", "GET", volumes, "")
	one.ok("acme-admin", "DELETE", "/providers/seca.authorization"+acme+"/role-assignments/admins", "")
	if status, b := one.do("acme-admin", "GET", volumes, ""); status != http.StatusForbidden {
		t.Fatalf("the right is still there: %d %s", status, b)
	}
	soon(t, "a right taken away at one process to be gone at the other", func() bool {
		status, _ := two.do("acme-admin", "GET", volumes, "")
		return status == http.StatusForbidden
	})
}

// TestRefusalsRestOnTheDatabase has two processes that never hear of one another. What
// one of them was told, the other must not refuse.
func TestRefusalsRestOnTheDatabase(t *testing.T) {
	one, two := replicas(t)
	volumes := region + "seca.storage" + shop + "/block-storages/"
	one.ok("acme-admin", "PUT", region+"seca.workspace"+shop, `{"spec":{}}`)
	two.ok("acme-admin", "PUT", volumes+"a", aVolume) // two remembers region and rights

	told, err := two.Providers.Snapshot().Region("r1")
	check(t, err)
	more := wire.Inventory{Driver: told.Driver, Kinds: told.Kinds, Inventory: told.Inventory}
	more.Inventory.StorageSKUs = append(slices.Clone(told.Inventory.StorageSKUs), driver.StorageSKU{SKU: driver.SKU{Name: "seca.rd500"}, IOPS: 500, MinGB: 1, Type: "remote-durable"})
	_, err = one.Providers.SaveInventory(t.Context(), "r1", more)
	check(t, err)
	two.ok("acme-admin", "PUT", volumes+"b", strings.Replace(aVolume, "rd100", "rd500", 1))

	none := more
	none.Kinds = nil
	_, err = one.Providers.SaveInventory(t.Context(), "r1", none)
	check(t, err)
	check(t, two.Providers.Reload(t.Context()))
	if status, b := two.do("acme-admin", "PUT", volumes+"c", aVolume); status != http.StatusUnprocessableEntity {
		t.Fatalf("a volume where there are none: %d %s", status, b)
	}
	_, err = one.Providers.SaveInventory(t.Context(), "r1", more)
	check(t, err)
	two.ok("acme-admin", "PUT", volumes+"c", aVolume)

	if status, b := two.do("zeta-admin", "GET", volumes+"a", ""); status != http.StatusForbidden {
		t.Fatalf("somebody else's volume: %d %s", status, b)
	}
	check(t, one.Tenants.AddMember(t.Context(), "acme", "zeta-admin"))
	if status, b := two.do("zeta-admin", "GET", volumes+"a", ""); status != http.StatusForbidden || !strings.Contains(b, "may not get") {
		t.Fatalf("as a member without a role: %d %s", status, b)
	}
	one.ok("acme-admin", "PUT", "/providers/seca.authorization"+acme+"/role-assignments/zeta", `{"spec":{"subs":["zeta-admin"],"scopes":[{"tenants":["acme"]}],"roles":["seca.admin"]}}`)
	two.ok("zeta-admin", "GET", volumes+"a", "")
}

// TestReplicaBehindTheOthersResetsNobody has an agent that has seen more than
// the process knows to which it comes next.
func TestReplicaBehindTheOthersResetsNobody(t *testing.T) {
	one, two := replicas(t)
	agent := one.intruder(one.agents())
	agent.join("r1")
	check(t, two.Providers.Reload(t.Context()))
	home, there := agent.url, two.agents()
	var c wire.Changes
	agent.url = there
	agent.post(wire.PathChanges, wire.Follow{}, &c) // two learns of the first revision
	agent.url = home
	one.fill()
	agent.post(wire.PathChanges, wire.Follow{Since: c.Revision}, &c)
	agent.url = there
	seen := c.Revision
	if status := agent.post(wire.PathChanges, wire.Follow{Since: seen, Wait: 20 * time.Millisecond}, &c); status != 200 || c.Reset || c.Revision != seen {
		t.Errorf("polled since %d: %d %+v", seen, status, c)
	}
}

// TestReplicaCatchesUpWithoutHints cuts the bus for good.
func TestReplicaCatchesUpWithoutHints(t *testing.T) {
	one, two := replicas(t)
	connect(t, two) // which hears nobody: one does not tell
	check(t, one.Providers.CreateRegion(t.Context(), provider.Region{Name: "r2", Country: "FR"}))
	soon(t, "a region to be found by looking", func() bool {
		_, err := two.Providers.Snapshot().Region("r2")
		return err == nil
	})
}
