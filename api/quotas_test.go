package api

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/wire"
)

const acmeQuotas = "/providers/kontor.exchange/v1/tenants/acme/quotas"

func TestQuotasAreForOperatorsToSet(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		for _, c := range []struct {
			as, method, path, body string
			want                   int
		}{
			{"acme-admin", "PUT", acmeQuotas + "/vcpu", `{"spec":{"limit":9}}`, 403},
			{"zeta-admin", "GET", acmeQuotas + "/vcpu", "", 403},
			{"zeta-admin", "GET", acmeQuotas, "", 403},
			{"", "GET", acmeQuotas, "", 401},
			{"op", "PUT", acmeQuotas + "/vcpu", `{"spec":{"limit":9}}`, 200},
			{"op", "PUT", acmeQuotas + "/vcpu", `{"spec":{"limit":-1}}`, 422},
			{"op", "PUT", acmeQuotas + "/wheels", `{"spec":{"limit":1}}`, 404},
			{"op", "GET", acmeQuotas + "/wheels", "", 404},
			{"op", "PUT", strings.Replace(acmeQuotas, "acme", "nobody", 1) + "/vcpu", `{"spec":{"limit":1}}`, 404},
			{"op", "GET", strings.Replace(acmeQuotas, "acme", "nobody", 1), "", 404},
			{"acme-admin", "GET", acmeQuotas, "", 200},
			{"op", "GET", acmeQuotas, "", 200},
		} {
			if status, body := w.do(c.as, c.method, c.path, c.body); status != c.want {
				t.Errorf("%s %s as %q: %d, want %d: %s", c.method, c.path, c.as, status, c.want, body)
			}
		}
		if body := w.ok("acme-admin", "GET", acmeQuotas+"/vcpu", ""); !strings.Contains(body, `"spec":{"limit":9}`) || !strings.Contains(body, `"status":{"used":0}`) {
			t.Error(body)
		}
		// Both logs tell who limited what.
		check(t, w.Audit.Seal(t.Context()))
		for as, path := range map[string]string{"op": "/audit", "acme-admin": "/tenants/acme/audit"} {
			if body := w.ok(as, "GET", "/providers/kontor.exchange/v1"+path, ""); !strings.Contains(body, `"resource":"kontor.exchange/v1/tenants/acme/quotas/vcpu"`) {
				t.Errorf("%s: %s", path, body)
			}
		}
		w.ok("op", "PUT", acmeQuotas+"/vcpu", `{"spec":{}}`)
		if body := w.ok("acme-admin", "GET", acmeQuotas+"/vcpu", ""); !strings.Contains(body, `"spec":{}`) {
			t.Error(body)
		}
	})
}

func TestQuotaRefusesWithWhatAProgramNeeds(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.fill()
		w.ok("op", "PUT", acmeQuotas+"/storage-gb", `{"spec":{"limit":15}}`)
		more := region + "seca.storage" + shop + "/block-storages/more"
		status, body := w.do("acme-admin", "PUT", more, aVolume)
		var p problem
		check(t, json.Unmarshal([]byte(body), &p))
		if status != 403 || !strings.HasSuffix(p.Type, "/forbidden") || !strings.Contains(p.Detail, "at most 15, and has 10: 10 more") {
			t.Errorf("%d %s", status, body)
		}
		for member, want := range map[string]any{"reason": "quota", "quota": "storage-gb", "limit": 15.0, "used": 10.0, "requested": 10.0, "tenant": "acme"} {
			if p.Meta[member] != want {
				t.Errorf("meta.%s is %v, want %v", member, p.Meta[member], want)
			}
		}
		w.ok("zeta-admin", "PUT", region+"seca.workspace"+strings.ReplaceAll(shop, "acme", "zeta"), `{}`)
		w.ok("zeta-admin", "PUT", strings.ReplaceAll(more, "acme", "zeta"), aVolume) // another tenant's

		// What is gone makes room; what is on its way does not yet.
		vm := region + "seca.compute" + shop + "/instances/vm"
		for _, p := range []string{vm, diskPath} {
			w.ok("acme-admin", "DELETE", p, "")
			if status, _ := w.do("acme-admin", "PUT", more, aVolume); status != 403 {
				t.Errorf("while %s is deleted: %d", p, status)
			}
			w.observed(p[strings.LastIndex(p, "/")+1:], seca.Deleting, wire.Absent)
		}
		w.ok("acme-admin", "PUT", more, aVolume)
	})
}
