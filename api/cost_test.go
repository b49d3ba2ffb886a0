package api

import (
	"fmt"
	"net/http"
	"strings"
	"testing"

	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/tenant"
	"github.com/kontor-cloud/kontor/wire"
)

// statements is how many a request asks of the database, who asks included.
func (w *world) statements(do func()) int64 {
	before := w.Providers.DB.Statements()
	do()
	return w.Providers.DB.Statements() - before
}

// TestStatementsPerRequest counts all that a request asks of the database: once
// the exchange knows who asks, nothing about him is asked again for seconds.
func TestStatementsPerRequest(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.fill()
		vm := region + "seca.compute" + shop + "/instances/vm"
		spec := `{"spec":{"skuRef":{"resource":"skus/seca.d2xs"},"bootVolume":{"deviceRef":{"resource":"block-storages/disk"}}}}`
		const quotas = "/providers/kontor.exchange/v1/tenants/acme/quotas/"
		w.ok("acme-admin", "GET", vm, "") // now it does
		for _, c := range []struct {
			want               int64
			method, path, body string
		}{
			{1, "GET", vm, ""},
			{0, "GET", region + "seca.compute" + acme + "/skus", ""},
			{2, "GET", region + "seca.workspace" + shop, ""}, // its resources are counted
			{1, "GET", region + "seca.compute" + shop + "/instances", ""},
			{1, "GET", region + "seca.storage" + shop + "/block-storages?labels=env%3Dprod", ""},
			{5, "PUT", strings.Replace(vm, "/vm", "/vm2", 1), `{"labels":{"env":"prod","tier":"web"},` + spec[1:]},
			{5, "PUT", vm, `{"labels":{"env":"test"},` + spec[1:]},
			{5, "PUT", vm, spec},
			{4, "DELETE", vm, ""},
		} {
			if n := w.statements(func() { w.ok("acme-admin", c.method, c.path, c.body) }); n != c.want {
				t.Errorf("%s %s took %d statements, want %d", c.method, c.path, n, c.want)
			}
		}
		for _, quota := range []string{"instance", "vcpu"} {
			w.ok("op", "PUT", quotas+quota, `{"spec":{"limit":9}}`)
		}
		if n := w.statements(func() { w.ok("acme-admin", "PUT", strings.Replace(vm, "/vm", "/vm3", 1), spec) }); n > 6 {
			t.Errorf("a new instance under two quotas took %d statements, want at most 6", n)
		}
		check(t, w.Tenants.PutAccount(t.Context(), tenant.Account{ID: "somebody"})) // nobody is known any more
		if n := w.statements(func() { w.ok("acme-admin", "GET", vm, "") }); n != 2 {
			t.Errorf("a GET by somebody who was not seen for a while took %d statements, want 2", n)
		}
	})
}

// TestStatementsPerMessage: what an agent's report costs does not depend on how
// much there is to report.
func TestStatementsPerMessage(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.fill()
		i := w.intruder(w.agents())
		i.join("r1")
		for n := range 100 {
			w.ok("acme-admin", "PUT", fmt.Sprintf("%sseca.storage%s/block-storages/v%d", region, shop, n), aVolume)
		}
		var c wire.Changes
		i.post(wire.PathChanges, wire.Follow{}, &c)
		var batch []wire.Observation
		for _, r := range c.Resources {
			if r.Kind == "block-storage" {
				batch = append(batch, wire.Observation{ID: r.ID, Generation: r.Generation, Presence: wire.Present, State: seca.Active})
			}
		}
		if len(batch) != 101 {
			t.Fatalf("%d volumes", len(batch))
		}
		for _, some := range [][]wire.Observation{batch[:1], batch[1:]} {
			n := w.statements(func() {
				if status := i.post(wire.PathObservations, some, nil); status != http.StatusOK {
					t.Errorf("refused with %d", status)
				}
			})
			if n != 4 {
				t.Errorf("%d observations took %d statements, want 4", len(some), n)
			}
		}
	})
}
