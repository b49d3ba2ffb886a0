package api

import (
	"encoding/json"
	"errors"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/wire"
)

// tour is a request for each operation of Kontor's own provider, in an order in
// which all go well. {token} in a path is the id of the token made last; what asks the
// region's agent is in TestEveryOperationAnswersAsItSays.
var tour = []struct{ as, method, path, body string }{
	{"acme-admin", "GET", "/whoami", ""},
	{"", "GET", "/logins", ""},

	{"op", "GET", "/tenants", ""},
	{"op", "PUT", "/tenants/beta", `{"spec":{"displayName":"Beta","admins":["op"]}}`},
	{"op", "GET", "/tenants/beta", ""},
	{"op", "DELETE", "/tenants/beta", ""},

	{"op", "PUT", "/tenants/acme/quotas/vcpu", `{"spec":{"limit":64}}`},
	{"op", "GET", "/tenants/acme/quotas/vcpu", ""},
	{"acme-admin", "GET", "/tenants/acme/quotas", ""},

	{"acme-admin", "PUT", "/tenants/acme/service-accounts/ci", `{"spec":{"displayName":"CI"}}`},
	{"acme-admin", "GET", "/tenants/acme/service-accounts/ci", ""},
	{"acme-admin", "GET", "/tenants/acme/service-accounts", ""},

	{"op", "PUT", "/accounts/eve", `{"spec":{"displayName":"Eve"}}`},
	{"op", "GET", "/accounts/eve", ""},
	{"op", "GET", "/accounts", ""},
	{"op", "POST", "/accounts/eve/link", `{"issuer":"https://login.test","subject":"1"}`},
	{"op", "POST", "/accounts/eve/tokens", `{"name":"laptop","ttl":"1h"}`},
	{"op", "GET", "/accounts/eve/tokens", ""},
	{"op", "POST", "/accounts/eve/tokens/{token}/rotate", `{"overlap":"5m"}`},
	{"op", "DELETE", "/accounts/eve/tokens/{token}", ""},
	{"op", "DELETE", "/accounts/eve", ""},

	{"op", "POST", "/keys/rotate", ""},
	{"op", "GET", "/keys", ""},
	{"op", "GET", "/jobs", ""},

	{"op", "PUT", "/regions/r2", `{"spec":{"country":"FR"}}`},
	{"op", "GET", "/regions/r2", ""},
	{"op", "GET", "/regions", ""},
	{"op", "POST", "/regions/r2/join", `{"ttl":"5m"}`},
	{"op", "GET", "/regions/r1/agents", ""},
	{"op", "GET", "/regions/r1/orphans", ""},
	{"op", "POST", "/regions/r1/orphans/o1/approve", ""},
	{"op", "DELETE", "/regions/r2", ""},

	{"acme-admin", "GET", "/tenants/acme/audit", ""},
	{"acme-admin", "GET", "/tenants/acme/audit/head", ""},
	{"op", "GET", "/audit", ""},
	{"op", "GET", "/audit/head", ""},
}

// shopping is a tour of buying by rule. {id} is the name of what was made last; SWEEP looks for drift at
// that moment.
var shopping = []struct{ method, path, body string }{
	{"GET", "/policies", ""},
	{"GET", "/policies/eu-resident", ""},
	{"GET", "/decision-keys", ""},
	{"PUT", "/tenants/acme/policies/mine", `{"spec":{"name":"mine","version":1,"rule":"now < timestamp('2100-01-01T00:00:00Z')","parameters":{"x":{"type":"int","default":1}}}}`},
	{"GET", "/tenants/acme/policies/mine?version=1", ""},
	{"GET", "/tenants/acme/policies", ""},
	{"POST", "/tenants/acme/quotes", `{"spec":{"policies":["mine"],"maxPrice":"1 EUR","near":{"at":"45.7,4.8"},"documents":[],"validFor":"5m",` + aGroup + `}}`},
	{"GET", "/tenants/acme/quotes", ""},
	{"GET", "/tenants/acme/quotes/{id}", ""},
	{"POST", "/tenants/acme/quotes/{id}/order", ""},
	{"GET", "/tenants/acme/orders", ""},
	{"GET", "/tenants/acme/orders/{id}", ""},
	{"SWEEP", "2101-01-01T00:00:00Z", ""},
	{"GET", "/tenants/acme/drift", ""},
	{"GET", "/tenants/acme/drift/{id}", ""},
	{"GET", "/tenants/acme/orders/{id}", ""}, // with its drift
	{"DELETE", "/tenants/acme/orders/{id}", ""},
	{"GET", "/blueprints", ""},
	{"GET", "/blueprints/server", ""},
	{"GET", "/tenants/acme/decisions/{decision}", ""},
	{"GET", "/tenants/acme/decisions/{decision}/export", ""},
	{"DELETE", "/tenants/acme/policies/mine", ""},
}

// shop buys something by rule.
func (w *world) shop() {
	w.t.Helper()
	var id, decision string
	for _, step := range shopping {
		if step.method == "SWEEP" {
			at, err := time.Parse(time.RFC3339, step.path)
			check(w.t, errors.Join(err, w.Market.Sweep(w.t.Context(), at)))
			continue
		}
		path := strings.NewReplacer("{id}", id, "{decision}", decision).Replace(step.path)
		answer := w.ok("acme-admin", step.method, "/providers/kontor.exchange/v1"+path, step.body)
		var made struct {
			Metadata struct{ Name string }
			Status   struct{ Decision string }
		}
		if step.method == "POST" && json.Unmarshal([]byte(answer), &made) == nil {
			id, decision = made.Metadata.Name, made.Status.Decision
		}
	}
}

// TestEveryOperationAnswersAsItSays has each operation succeed once, under the
// eyes of the contract.
func TestEveryOperationAnswersAsItSays(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.Providers.Seen("r1", time.Now())
		paths := w.fill()
		assignment := "/providers/seca.authorization" + acme + "/role-assignments/a"
		w.ok("acme-admin", "PUT", assignment, `{"spec":{"subs":["zeta-admin"],"roles":["reader"],"scopes":[{"tenants":["acme"]}]}}`)
		paths = append(paths, assignment)
		w.visitKinds(paths)
		w.ok("", "GET", "/.wellknown/secapi", "")
		for _, path := range []string{"/healthz", "/readyz", "/openapi.json", "/docs", "/docs/docs.js"} {
			w.ok("", "GET", path, "")
		}
		for _, name := range []string{"regions", "regions/r1"} {
			w.ok("acme-admin", "GET", "/providers/seca.region/v1/"+name, "")
		}
		for _, sku := range []string{"compute/seca.d2xs", "storage/seca.rd100", "network/seca.n1k"} {
			p, name, _ := strings.Cut(sku, "/")
			w.ok("acme-admin", "GET", region+"seca."+p+acme+"/skus", "")
			w.ok("acme-admin", "GET", region+"seca."+p+acme+"/skus/"+name, "")
		}
		agent := w.intruder(w.agents())
		agent.join("r1")
		agent.post(wire.PathOrphans, []wire.Orphan{{ID: "o1", Kind: "block-storage"}}, nil)
		w.visitAgent(agent)
		w.removeKinds(paths)
		check(t, w.Audit.Seal(t.Context()))
		w.ok("acme-admin", "GET", strings.Replace(region, "/providers/", "/providers/seca.activitylog/v1beta1", 1)+strings.TrimPrefix(shop, "/v1")+"/activity-logs", "")

		w.shop()
		w.visitParticipants()
		var token string
		for _, step := range tour {
			answer := w.ok(step.as, step.method, "/providers/kontor.exchange/v1"+strings.ReplaceAll(step.path, "{token}", token), step.body)
			var made issuedToken
			if json.Unmarshal([]byte(answer), &made) == nil && made.Token != "" && made.ID != "" {
				token = made.ID
			}
		}
		w.ok("op", "POST", "/providers/kontor.exchange/v1/regions/r1/revoke", "")
		w.Recover = true
		w.ok("op", "GET", "/providers/kontor.exchange/v1/recovery", "")
		for _, pattern := range w.contract.unseen() {
			t.Errorf("nothing here has %s succeed: add a request for it to tour in api/tour_test.go", pattern)
		}
	})
}

// visitKinds reads what fill has made, and has the machine go on and off.
func (w *world) visitKinds(paths []string) {
	for _, p := range paths {
		w.ok("acme-admin", "GET", p, "")
		w.ok("acme-admin", "GET", p[:strings.LastIndex(p, "/")], "")
	}
	w.observed("vm", seca.Active, wire.Present)
	for _, action := range []string{"start", "restart", "stop"} {
		w.ok("acme-admin", "POST", region+"seca.compute"+shop+"/instances/vm/"+action, "")
	}
}

// removeKinds removes what fill has made, the last first, as its agent would.
func (w *world) removeKinds(paths []string) {
	for _, p := range slices.Backward(paths) {
		w.ok("acme-admin", "DELETE", p, "")
		if name := p[strings.LastIndex(p, "/")+1:]; w.kept(name) {
			w.observed(name, seca.Deleting, wire.Absent)
		}
	}
}

// kept reports whether an agent knows of a resource of a name.
func (w *world) kept(name string) bool {
	return slices.ContainsFunc(w.wanted(), func(r wire.Resource) bool { return strings.HasSuffix(r.URN, "/"+name) })
}

// visitAgent asks what an agent answers.
func (w *world) visitAgent(agent *intruder) {
	own := "/providers/kontor.exchange/v1/regions/r1"
	for _, ask := range []struct {
		as, method, path, body string
		answer                 any
	}{
		{"op", "GET", straysPath, "", found},
		{"op", "POST", importPath, `{"tenant":"acme","workspace":"shop","items":[{"native":"d1","name":"d1"}]}`, found},
		{"op", "POST", own + "/resync", `{}`, []any{}},
		{"acme-admin", "GET", region + "kontor.exchange" + shop + "/instances/vm/console", "", "login:"},
	} {
		if status, b := w.asked(agent, ask.as, ask.method, ask.path, ask.body, ask.answer); status != 200 {
			w.t.Errorf("%s %s: %d %s", ask.method, ask.path, status, b)
		}
	}
}
