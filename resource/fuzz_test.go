package resource

import (
	"encoding/json"
	"testing"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/urn"
)

// FuzzReference: a reference is echoed as it was written, leads out of its
// tenant only if it names another, and means the same once it is resolved.
func FuzzReference(f *testing.F) {
	for _, s := range []string{
		`"instances/vm1"`, `{"resource": "block-storages/d"}`, `{"resource": "d", "workspace": "w2"}`, `{"provider": "seca.storage/v1", "resource": "images/i"}`,
		`{"resource": "tenants/public/images/tiny"}`, `{"resource": "/networks/n/subnets/s"}`, `{"resource": "subnets/s"}`, `{"region": "r2", "resource": "skus/x"}`,
		`{"resource": "seca.network/v1/tenants/zeta/workspaces/w/public-ips/p"}`, `{"tenant": "zeta", "resource": "nics/n"}`, `{"resource": ""}`, `null`, `"0/0"`, `"vm/x"`, `"Instances/x"`,
	} {
		for n := range referred {
			f.Add(s, n)
		}
	}
	base := urn.URN{Tenant: "acme", Workspace: "w", Network: "n"}
	f.Fuzz(func(t *testing.T, text string, n int) {
		var ref seca.Reference
		if json.Unmarshal([]byte(text), &ref) != nil {
			return
		}
		echo(t, ref)
		k := referred[uint(n)%uint(len(referred))] //nolint:gosec // any will do
		k.ref = &ref
		u, err := resolve(k, base, "r1")
		if err != nil {
			if fault.KindOf(err) != fault.Invalid {
				t.Errorf("%s: %v", text, err)
			}
			return
		}
		if u.Collection == "" || u.Name == "" || u.Provider == "" || u.Tenant == "" || k.to != "" && u.Collection != k.to {
			t.Errorf("%s for %s means %+v", text, k.to, u)
		}
		if kind, ok := collectionNamed(u.Collection); k.to == "" && u.Collection != "skus" && (!ok || kind.Provider+"/v1" != u.Provider) {
			t.Errorf("%s means %+v, of which there can be none", text, u)
		}
		if own, _ := urn.Parse(ref.Resource); u.Tenant != base.Tenant && ref.Tenant == "" && own.Tenant == "" && u.Tenant != PublicTenant && ref.Resource[0] != '/' {
			t.Errorf("%s leads to tenant %s", text, u.Tenant)
		}
		full := seca.Ref(u.String())
		if len(full.Resource) > 256 {
			return // as long as the longest names make it; only authors are bound
		}
		k.ref = &full
		if again, err := resolve(k, base, "r1"); err != nil || again != u {
			t.Errorf("%s means %+v, written as %s it means %+v, %v", text, u, u, again, err)
		}
	})
}

// referred are the places where references stand.
var referred = []link{
	{to: "block-storages", in: "seca.storage"},
	{to: "images", in: "seca.storage"},
	{to: "skus", in: "seca.compute"},
	{to: "nics", in: "seca.network"},
	{to: "subnets", in: "seca.network"},
	{to: "route-tables", in: "seca.network"},
	{to: "security-groups", in: "seca.network"},
	{to: "public-ips", in: "seca.network"},
	{},
}

func echo(t *testing.T, ref seca.Reference) {
	t.Helper()
	b, err := json.Marshal(ref)
	if err != nil {
		t.Fatal(err)
	}
	var again seca.Reference
	if err := json.Unmarshal(b, &again); err != nil || again != ref {
		t.Errorf("%+v is echoed as %s", ref, b)
	}
}
