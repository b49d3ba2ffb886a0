package api

import (
	"strings"
	"testing"
)

// TestStatementsPerRequest counts all that a request asks of the database, who
// asks included, once the exchange knows him.
func TestStatementsPerRequest(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.fill()
		vm := region + "seca.compute" + shop + "/instances/vm"
		spec := `{"spec":{"skuRef":{"resource":"skus/seca.d2xs"},"bootVolume":{"deviceRef":{"resource":"block-storages/disk"}}}}`
		w.ok("acme-admin", "GET", vm, "") // now it does
		for _, c := range []struct {
			most               int64
			method, path, body string
		}{
			{2, "GET", vm, ""},
			{2, "GET", region + "seca.workspace" + shop, ""},
			{2, "GET", region + "seca.compute" + shop + "/instances", ""},
			{2, "GET", region + "seca.storage" + shop + "/block-storages?labels=env%3Dprod", ""},
			{6, "PUT", strings.Replace(vm, "/vm", "/vm2", 1), `{"labels":{"env":"prod","tier":"web"},` + spec[1:]},
			{6, "PUT", vm, `{"labels":{"env":"test"},` + spec[1:]},
			{6, "PUT", vm, spec},
		} {
			before := w.Providers.DB.Statements()
			w.ok("acme-admin", c.method, c.path, c.body)
			if n := w.Providers.DB.Statements() - before; n > c.most {
				t.Errorf("%s %s took %d statements, want at most %d", c.method, c.path, n, c.most)
			}
		}
	})
}
