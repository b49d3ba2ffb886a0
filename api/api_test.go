package api

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"strings"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/envelope/envelopetest"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/participant"
	"github.com/kontor-cloud/kontor/policy"
	"github.com/kontor-cloud/kontor/provider"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/tenant"
	"github.com/kontor-cloud/kontor/urn"
	"github.com/kontor-cloud/kontor/wire"
)

// A world is an exchange with one region and two tenants, acme and zeta, each
// with one admin.
type world struct {
	*Exchange
	t     testing.TB
	http  *httptest.Server
	token map[string]string // by account

	contract *contract
}

func newWorld(t testing.TB, d *db.DB, p Profile) *world {
	t.Helper()
	ctx := t.Context()
	providers, err := provider.Open(ctx, d, envelopetest.Box(t, d))
	check(t, err)
	tenants, err := tenant.Open(ctx, d, envelopetest.Box(t, d), "kontor:test")
	check(t, err)
	data, err := policy.Builtin()
	check(t, err)
	parties := &participant.Store{DB: d, Data: data, Owns: providers.Owns}
	log := slog.New(slog.DiscardHandler)
	x := New(Config{
		Resources: resource.NewStore(d), Tenants: tenants, Providers: providers, Market: openMarket(t, d, providers, oneSeller{}),
		Participants: parties, Offers: &offer.Store{DB: d, Sellers: parties, Stock: Stock(providers), Log: log},
		URL: "http://exchange.test", AgentURL: "https://agents.test", Log: slog.New(slog.DiscardHandler),
	})
	w := &world{Exchange: x, t: t, token: map[string]string{}}
	w.contract = held(t, x, x.Handler(p))
	w.http = httptest.NewServer(w.contract)
	t.Cleanup(w.http.Close)
	check(t, providers.CreateRegion(ctx, provider.Region{Name: "r1", Country: "DE"}))
	w.report()
	check(t, tenants.PutAccount(ctx, tenant.Account{ID: "op", Operator: true}))
	for _, n := range []string{"acme", "zeta"} {
		check(t, tenants.PutAccount(ctx, tenant.Account{ID: n + "-admin"}))
		_, err := x.Bootstrap(ctx, tenant.Tenant{Name: n}, []string{n + "-admin"})
		check(t, err)
	}
	for _, a := range []string{"op", "acme-admin", "zeta-admin"} {
		_, secret, err := tenants.NewToken(ctx, a, "test", time.Hour, seca.Scope{})
		check(t, err)
		w.token[a] = secret
	}
	return w
}

// report says what the region offers, as its agent would.
func (w *world) report() {
	inv := wire.Inventory{Driver: "fake", Console: true, Inventory: driver.Inventory{
		Zones:        []string{"a"},
		InstanceSKUs: []driver.InstanceSKU{{SKU: driver.SKU{Name: "seca.d2xs", Labels: map[string]string{"Tier": "D2XS"}}, VCPU: 1, RAMGiB: 1}},
		StorageSKUs:  []driver.StorageSKU{{SKU: driver.SKU{Name: "seca.rd100"}, IOPS: 100, MinGB: 1, Type: "remote-durable"}},
		NetworkSKUs:  []driver.NetworkSKU{{SKU: driver.SKU{Name: "seca.n1k"}, Mbps: 1000, Packets: 1000}},
		Images:       []driver.OfferImage{{Name: "tiny", Arch: "amd64", Boot: "BIOS"}},
		Features:     []driver.Feature{driver.ImageFromVolume},
	}}
	for _, k := range resource.Kinds() {
		if k.Kept {
			inv.Kinds = append(inv.Kinds, k.Name)
		}
	}
	_, err := w.Providers.SaveInventory(w.t.Context(), "r1", inv)
	check(w.t, err)
}

func check(t testing.TB, err error) {
	t.Helper()
	if err != nil {
		t.Fatal(err)
	}
}

// do sends a request as an account and returns status and body.
func (w *world) do(as, method, path, body string, header ...string) (int, string) {
	w.t.Helper()
	r, err := http.NewRequestWithContext(context.Background(), method, w.http.URL+path, strings.NewReader(body))
	check(w.t, err)
	if as != "" {
		r.Header.Set("Authorization", "Bearer "+w.token[as])
	}
	for i := 0; i+1 < len(header); i += 2 {
		r.Header.Set(header[i], header[i+1])
	}
	resp, err := http.DefaultClient.Do(r)
	check(w.t, err)
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	check(w.t, err)
	return resp.StatusCode, string(b)
}

// ok is do for what must succeed.
func (w *world) ok(as, method, path, body string) string {
	w.t.Helper()
	status, b := w.do(as, method, path, body)
	if status >= 300 {
		w.t.Fatalf("%s %s as %s: %d %s", method, path, as, status, b)
	}
	return b
}

const (
	region  = "/regions/r1/providers/"
	acme    = "/v1/tenants/acme"
	shop    = acme + "/workspaces/shop"
	aVolume = `{"labels":{"env":"prod"},"spec":{"sizeGB":10,"skuRef":{"resource":"skus/seca.rd100"}}}`
)

func each(t *testing.T, test func(t *testing.T, w *world)) {
	dbtest.Each(t, func(t *testing.T, d *db.DB) { test(t, newWorld(t, d, Strict)) })
}

// fill gives acme one resource of each kind.
func (w *world) fill() (paths []string) {
	w.t.Helper()
	n := region + "seca.network" + shop
	for _, p := range []struct{ path, body string }{
		{region + "seca.workspace" + shop, `{"spec":null}`},
		{region + "seca.storage" + shop + "/block-storages/disk", aVolume},
		{region + "seca.storage" + acme + "/images/img", `{"spec":{"blockStorageRef":{"resource":"workspaces/shop/block-storages/disk"},"cpuArchitecture":"amd64"}}`},
		{n + "/networks/net", `{"spec":{"cidr":{"ipv4":"10.0.0.0/16"},"skuRef":{"resource":"skus/seca.n1k"}}}`},
		{n + "/internet-gateways/gw", `{"spec":{}}`},
		{n + "/networks/net/route-tables/rt", `{"spec":{"routes":[{"destinationCidrBlock":"0.0.0.0/0","targetRef":{"resource":"internet-gateways/gw"}}]}}`},
		{n + "/networks/net/subnets/sub", `{"spec":{"cidr":{"ipv4":"10.0.1.0/24"},"zone":"","routeTableRef":{"resource":"route-tables/rt"}}}`},
		{n + "/security-group-rules/ssh", `{"spec":{"direction":"ingress","protocol":"tcp","ports":{"from":22}}}`},
		{n + "/security-groups/sg", `{"spec":{"ruleRefs":[{"resource":"security-group-rules/ssh"}]}}`},
		{n + "/public-ips/ip", `{"spec":{"version":"IPv4"}}`},
		{n + "/nics/nic", `{"spec":{"subnetRef":{"resource":"networks/net/subnets/sub"},"addresses":["0.0.0.0"]}}`},
		{region + "seca.compute" + shop + "/instances/vm", `{"spec":{"skuRef":{"resource":"skus/seca.d2xs"},"bootVolume":{"deviceRef":{"resource":"block-storages/disk"}},"primaryNicRef":{"resource":"nics/nic"}}}`},
		{"/providers/seca.authorization" + acme + "/roles/reader", `{"spec":{"permissions":[{"provider":"seca.compute","resources":["*"],"verb":["get"]}]}}`},
	} {
		w.ok("acme-admin", "PUT", p.path, p.body)
		paths = append(paths, p.path)
	}
	return paths
}

// TestForeignTenantSeesNothing tries every path of a tenant, in every way, as
// the admin of another one, as an operator, and as nobody.
func TestForeignTenantSeesNothing(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		paths := w.fill()
		var attempts int
		try := func(as, method, path, body string, want int, header ...string) {
			t.Helper()
			attempts++
			status, b := w.do(as, method, path, body, header...)
			if status != want {
				t.Errorf("%s %s as %q: %d, want %d: %s", method, path, as, status, want, b)
			}
			if strings.Contains(b, "10.0.0.0") || strings.Contains(b, "sizeGB") {
				t.Errorf("%s %s as %q tells what is there: %s", method, path, as, b)
			}
		}
		for _, p := range paths {
			list := p[:strings.LastIndex(p, "/")]
			for _, as := range []string{"zeta-admin", "op"} {
				try(as, "GET", p, "", 403)
				try(as, "PUT", p, `{"spec":{}}`, 403)
				try(as, "DELETE", p, "", 403)
				for _, q := range []string{"", "?limit=1", "?labels=env=prod", "?labels=*=*", "?skipToken=" + encodeToken("seca.storage/v1/tenants/acme x")} {
					try(as, "GET", list+q, "", 403)
					try(as, "GET", list+q, "", 403, "Accept", "application/json; deleted=true")
				}
				try(as, "GET", strings.Replace(p, "acme", "acm%65", 1), "", 403)
				try(as, "GET", strings.Replace(p, "tenants/acme", "tenants/zeta%2F..%2Facme", 1), "", 403)
			}
			try("", "GET", p, "", 401)
			try("", "GET", list, "", 401)
			// The same names in one's own tenant are simply not there.
			mine := strings.Replace(p, "acme", "zeta", 1)
			try("zeta-admin", "GET", mine, "", 404)
			try("zeta-admin", "DELETE", mine, "", 404)
		}
		for _, action := range []string{"start", "stop", "restart"} {
			try("zeta-admin", "POST", region+"seca.compute"+shop+"/instances/vm/"+action, "", 403)
		}
		try("zeta-admin", "GET", region+"kontor.exchange"+shop+"/instances/vm/console", "", 403)
		if attempts < 300 {
			t.Errorf("only %d attempts", attempts)
		}
	})
}

// TestForeignReferencesDoNotResolve: neither do tokens of another list.
func TestForeignReferencesDoNotResolve(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.fill()
		zeta := strings.Replace(shop, "acme", "zeta", 1)
		w.ok("zeta-admin", "PUT", region+"seca.workspace"+zeta, `{}`)
		for _, ref := range []string{
			`{"resource":"seca.storage/v1/tenants/acme/workspaces/shop/block-storages/disk"}`,
			`{"tenant":"acme","workspace":"shop","resource":"block-storages/disk"}`,
			`"tenants/acme/workspaces/shop/block-storages/disk"`,
		} {
			status, b := w.do("zeta-admin", "PUT", region+"seca.compute"+zeta+"/instances/vm",
				`{"spec":{"skuRef":{"resource":"skus/seca.d2xs"},"bootVolume":{"deviceRef":`+ref+`}}}`)
			if status != 422 || !strings.Contains(b, `"/spec/bootVolume/deviceRef"`) {
				t.Errorf("reference %s: %d %s", ref, status, b)
			}
		}
		status, b := w.do("zeta-admin", "GET", region+"seca.storage"+zeta+"/block-storages?skipToken="+encodeToken("seca.storage/v1/tenants/acme/workspaces/shop/block-storages/a x"), "")
		if status != 400 {
			t.Errorf("a token into another tenant: %d %s", status, b)
		}
	})
}

func TestRejections(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.fill()
		disk := region + "seca.storage" + shop + "/block-storages/disk"
		for _, c := range []struct {
			method, path, body string
			header             []string
			status             int
			contains           string
		}{
			{"PUT", disk, `{"spec":`, nil, 400, "invalid-request"},
			{"PUT", disk, `{"spec":{}} x`, nil, 400, "follows"},
			{"PUT", disk, `{"labels":7}`, nil, 422, `"/labels"`},
			{"PUT", disk, ``, nil, 400, "empty"},
			{"PUT", disk, `{"spec":{"sizeGB":"x"}}`, nil, 422, `"/spec/sizeGB"`},
			{"PUT", disk, strings.Replace(aVolume, "10", "9", 1), nil, 422, "shrink"},
			{"PUT", disk, aVolume, []string{"If-Unmodified-Since", "99"}, 412, "precondition-failed"},
			{"PUT", disk, aVolume, []string{"If-Unmodified-Since", "Tue"}, 400, "if-unmodified-since"},
			{"PUT", disk, aVolume, []string{"Content-Type", "text/xml"}, 400, "application/json"},
			{"PUT", disk, `{"metadata":{"region":"r9"},"spec":{}}`, nil, 422, `"/metadata/region"`},
			{"PUT", disk, `{"extensions":{"x":"y"},"spec":{"sizeGB":10,"skuRef":{"resource":"skus/seca.rd100"}}}`, nil, 422, `"/extensions/x"`},
			{"PUT", region + "seca.storage" + acme + "/workspaces/none/block-storages/d", aVolume, nil, 404, "workspace"},
			{"PUT", region + "seca.storage" + acme + "/workspaces/seca.workspace%2Fv1%2Ftenants%2Facme%2Fworkspaces%2Fshop/block-storages/d", aVolume, nil, 422, "plain name"},
			{"PUT", region + "seca.storage" + shop + "/block-storages/UPPER", aVolume, nil, 422, "lower case"},
			{"GET", region + "seca.storage" + shop + "/block-storages/none", "", nil, 404, "resource-not-found"},
			{"GET", region + "seca.storage" + shop + "/block-storages?limit=0", "", nil, 400, `"parameter":"limit"`},
			{"GET", region + "seca.storage" + shop + "/block-storages?labels=a%26b", "", nil, 400, `"parameter":"labels"`},
			{"GET", region + "seca.storage" + shop + "/block-storages?skipToken=%25", "", nil, 400, "skipToken"},
			{"GET", strings.Replace(disk, "r1", "r9", 1), "", nil, 404, `"parameter":"region"`},
			{"DELETE", disk, "", nil, 409, "used by instances/vm"},
			{"DELETE", region + "seca.workspace" + shop, "", nil, 409, "still contains"},
			{"DELETE", region + "seca.network" + shop + "/networks/net", "", nil, 409, "still contains"},
			{"POST", region + "seca.compute" + shop + "/instances/vm/stop", "", nil, 409, "pending"},
			{"PATCH", disk, "{}", nil, 405, "GET, PUT, DELETE"},
			{"GET", "/nothing", "", nil, 404, "wellknown"},
		} {
			status, b := w.do("acme-admin", c.method, c.path, c.body, c.header...)
			if status != c.status || !strings.Contains(b, c.contains) {
				t.Errorf("%s %s %s: %d %s\nwant %d with %q", c.method, c.path, c.body, status, b, c.status, c.contains)
			}
			var p problem
			if err := json.Unmarshal([]byte(b), &p); err != nil || p.Status != status || p.Type == "" || p.Title == "" || p.Meta["requestId"] == "" {
				t.Errorf("%s %s: not a whole problem document: %s", c.method, c.path, b)
			}
		}
		big := bytes.Repeat([]byte(" "), maxBody+1)
		if status, b := w.do("acme-admin", "PUT", disk, string(big)); status != 413 {
			t.Errorf("a body over the limit: %d %s", status, b)
		}
	})
}

func TestSuiteProfileAnswers412(t *testing.T) {
	w := newWorld(t, dbtest.SQLite(t), Suite)
	w.ok("acme-admin", "PUT", region+"seca.workspace"+shop, `{}`)
	for _, path := range []string{shop + "/block-storages/d", acme + "/workspaces/none/block-storages/d"} {
		if status, b := w.do("acme-admin", "PUT", region+"seca.storage"+path, `{"spec":{"sizeGB":0}}`); status != 412 {
			t.Errorf("%s: %d %s, want 412", path, status, b)
		}
	}
	if status, _ := w.do("acme-admin", "GET", region+"seca.storage"+shop+"/block-storages/d", ""); status != 404 {
		t.Errorf("get of what is missing: %d, want 404", status)
	}
}

func TestListsPageAndSelect(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.ok("acme-admin", "PUT", region+"seca.workspace"+shop, `{}`)
		base := region + "seca.storage" + shop + "/block-storages"
		for i := range 5 {
			w.ok("acme-admin", "PUT", fmt.Sprintf("%s/d%d", base, i), strings.Replace(aVolume, "prod", fmt.Sprint(i), 1))
		}
		page := func(q string) (names []string, token string) {
			t.Helper()
			var l seca.List[seca.Document]
			check(t, json.Unmarshal([]byte(w.ok("acme-admin", "GET", base+q, "")), &l))
			for _, d := range l.Items {
				names = append(names, d.Metadata.Name)
			}
			return names, l.Metadata.SkipToken
		}
		var got []string
		token := ""
		for range 6 {
			names, next := page("?limit=2&skipToken=" + token)
			if len(names) == 0 {
				t.Error("an empty page: clients stop there")
			}
			got = append(got, names...)
			if token = next; token == "" {
				break
			}
		}
		if fmt.Sprint(got) != "[d0 d1 d2 d3 d4]" {
			t.Errorf("pages gave %v", got)
		}
		for q, want := range map[string]string{
			"?labels=env%3E2": "[d3 d4]", "?labels=env!=1,env%3C=3": "[d0 d2 d3]", "?labels=e*=*": "[d0 d1 d2 d3 d4]", "?labels=none=1": "[]",
			"?labels=env%3E=3&limit=1": "[d3]",
		} {
			if names, _ := page(q); fmt.Sprint(names) != want {
				t.Errorf("%s gave %v, want %s", q, names, want)
			}
		}
	})
}

func TestTokensEndWhenRevoked(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		const tokens = "/providers/kontor.exchange/v1/accounts/acme-admin/tokens"
		var made struct{ ID, Token string }
		check(t, json.Unmarshal([]byte(w.ok("acme-admin", "POST", tokens, `{"name":"ci","ttl":"1h"}`)), &made))
		w.token["ci"] = made.Token
		w.ok("ci", "GET", "/providers/kontor.exchange/v1/whoami", "")
		if status, _ := w.do("zeta-admin", "GET", tokens, ""); status != 403 {
			t.Errorf("somebody else's tokens: %d, want 403", status)
		}
		if status, _ := w.do("acme-admin", "PUT", "/providers/kontor.exchange/v1/tenants/mine", `{}`); status != 403 {
			t.Errorf("operator's path as a customer: %d, want 403", status)
		}
		w.ok("acme-admin", "DELETE", tokens+"/"+made.ID, "")
		if status, _ := w.do("ci", "GET", "/providers/kontor.exchange/v1/whoami", ""); status != 401 {
			t.Errorf("a revoked token: %d, want 401", status)
		}
	})
}

func TestRolesLimitWhatMembersMayDo(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.fill()
		check(t, w.Tenants.PutAccount(t.Context(), tenant.Account{ID: "eve"}))
		check(t, w.Tenants.AddMember(t.Context(), "acme", "eve"))
		_, secret, err := w.Tenants.NewToken(t.Context(), "eve", "x", time.Hour, seca.Scope{})
		check(t, err)
		w.token["eve"] = secret
		vm := region + "seca.compute" + shop + "/instances/vm"
		if status, _ := w.do("eve", "GET", vm, ""); status != 403 {
			t.Errorf("a member without a role: %d, want 403", status)
		}
		w.ok("acme-admin", "PUT", "/providers/seca.authorization"+acme+"/role-assignments/eve",
			`{"spec":{"subs":["eve"],"roles":["reader"],"scopes":[{"workspaces":["shop"]}]}}`)
		w.ok("eve", "GET", vm, "") // at once: the change is seen by the next request
		for _, c := range []struct{ method, path string }{{"DELETE", vm}, {"POST", vm + "/start"}, {"GET", region + "seca.storage" + shop + "/block-storages/disk"}} {
			if status, _ := w.do("eve", c.method, c.path, ""); status != 403 {
				t.Errorf("%s %s with a reader's role: %d, want 403", c.method, c.path, status)
			}
		}
		w.ok("acme-admin", "DELETE", "/providers/seca.authorization"+acme+"/role-assignments/eve", "")
		if status, _ := w.do("eve", "GET", vm, ""); status != 403 {
			t.Errorf("after the assignment is gone: %d, want 403", status)
		}
	})
}

func TestSharedImagesAndSKUs(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		if b := w.ok("zeta-admin", "GET", region+"seca.storage/v1/tenants/public/images", ""); !strings.Contains(b, `"tiny"`) {
			t.Errorf("images on offer: %s", b)
		}
		if b := w.ok("acme-admin", "GET", region+"seca.compute"+acme+"/skus?labels=Tier=D2XS", ""); !strings.Contains(b, `"seca.d2xs"`) {
			t.Errorf("skus: %s", b)
		}
		if status, _ := w.do("acme-admin", "PUT", region+"seca.storage/v1/tenants/public/images/x", `{}`); status != 403 {
			t.Errorf("a write to shared images: %d, want 403", status)
		}
	})
}

func mustURN(t testing.TB, s string) urn.URN {
	t.Helper()
	u, err := urn.Parse(s)
	check(t, err)
	return u
}

func TestSystemRolesAreListedBehindTheTenantsOwn(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		const roles = "/providers/seca.authorization" + acme + "/roles"
		w.ok("acme-admin", "PUT", roles+"/reader", `{"spec":{"permissions":[{"provider":"seca.compute","resources":["*"],"verb":["get"]}]}}`)
		for _, limit := range []string{"1", "2", "6", "1000"} {
			var got []string
			for token := ""; ; {
				var l seca.List[seca.Document]
				check(t, json.Unmarshal([]byte(w.ok("acme-admin", "GET", roles+"?limit="+limit+"&skipToken="+token, "")), &l))
				for _, d := range l.Items {
					got = append(got, d.Metadata.Name)
				}
				if token = l.Metadata.SkipToken; token == "" {
					break
				}
			}
			if s := fmt.Sprint(got); s != "[reader seca.admin seca.region-admin seca.workspace-admin seca.workspace-editor seca.workspace-viewer]" {
				t.Errorf("limit %s: %s", limit, s)
			}
		}
		w.ok("acme-admin", "GET", roles+"/seca.admin", "")
		if status, _ := w.do("acme-admin", "PUT", roles+"/seca.admin", `{"spec":{}}`); status != 422 {
			t.Errorf("a change to a system role: %d, want 422", status)
		}
	})
}
