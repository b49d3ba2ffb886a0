package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"os"
	"reflect"
	"regexp"
	"slices"
	"strconv"
	"strings"
	"testing"
	"unicode/utf8"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/resource"
)

// FuzzSelector: a selector is refused or decides, and asterisks mean what they
// mean in regular expressions.
func FuzzSelector(f *testing.F) {
	for _, s := range []string{
		"env=prod", "env!=prod,tier==web", "n>3,n<=5.5", "e*=p*d", "*=*", "env=", "=x", "a=b=c", "x>y", ",", "n>=1e400", "env = prod , a!=*",
	} {
		f.Add(s, "env", "prod")
	}
	f.Fuzz(func(t *testing.T, text, key, value string) {
		s, err := parseSelector(text)
		if err != nil {
			if fault.KindOf(err) != fault.Malformed || s != nil {
				t.Errorf("%q: %v, %v", text, s, err)
			}
			return
		}
		labels := map[string]string{key: value, "n": "4"}
		all := true
		for _, term := range s {
			all = all && term.holds(labels)
			if term.op == "=" || term.op == "!=" {
				not := term
				not.op = map[string]string{"=": "!=", "!=": "="}[term.op]
				if not.holds(labels) == term.holds(labels) {
					t.Errorf("%+v and its contrary agree on %v", term, labels)
				}
				if got, want := wild(term.value, value), like(term.value).MatchString(value); utf8.ValidString(text+value) && got != want {
					t.Errorf("%q matches %q: %t, want %t", term.value, value, got, want)
				}
			}
		}
		if s.matches(labels) != all {
			t.Errorf("%q on %v is not the conjunction of its terms", text, labels)
		}
	})
}

func like(pattern string) *regexp.Regexp {
	parts := strings.Split(pattern, "*")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(strings.ToValidUTF8(parts[i], "?"))
	}
	return regexp.MustCompile(`(?s)\A` + strings.Join(parts, ".*") + `\z`)
}

// exchange is a world that fuzz targets may use.
type exchange struct {
	handler http.Handler
	token   map[string]string
}

// newExchanges gives one on each database that is here.
func newExchanges(f *testing.F) []exchange {
	f.Helper()
	dbs := []*db.DB{dbtest.SQLite(f)}
	if os.Getenv(dbtest.Environment) != "" {
		dbs = append(dbs, dbtest.Postgres(f))
	}
	all := make([]exchange, len(dbs))
	for i, d := range dbs {
		w := newWorld(f, d, Strict)
		all[i] = exchange{w.http.Config.Handler, w.token}
	}
	return all
}

func (x exchange) do(as, method, path, query, body string) *httptest.ResponseRecorder {
	r := httptest.NewRequest(method, path, strings.NewReader(body))
	r.URL.RawQuery = query
	r.Header.Set("Authorization", "Bearer "+x.token[as])
	rec := httptest.NewRecorder()
	x.handler.ServeHTTP(rec, r)
	return rec
}

// FuzzSkipToken: a token of ours is read back; any other is refused, or gives
// nothing that the list would not have given without it.
func FuzzSkipToken(f *testing.F) {
	all := newExchanges(f)
	const volumes = "/regions/r1/providers/seca.storage/v1/tenants/TENANT/workspaces/w/block-storages"
	for tenant, names := range map[string][]string{"acme": {"a", "b", "c"}, "zeta": {"a", "secret", "z"}} {
		as := tenant + "-admin"
		at := strings.ReplaceAll(volumes, "TENANT", tenant)
		for _, x := range all {
			x.do(as, http.MethodPut, strings.TrimSuffix(strings.Replace(at, "seca.storage", "seca.workspace", 1), "/block-storages"), "", `{}`)
			for _, n := range names {
				if rec := x.do(as, http.MethodPut, at+"/"+n, "", `{"spec": {"sizeGB": 1, "skuRef": {"resource": "skus/seca.rd100"}}}`); rec.Code != http.StatusCreated {
					f.Fatal(rec.Code, rec.Body)
				}
			}
		}
	}
	for _, s := range []string{
		"", "seca.storage/v1/tenants/acme/workspaces/w/block-storages/a", "seca.storage/v1/tenants/acme/workspaces/w/block-storages/", "a", "\x00", "\xff",
		"seca.storage/v1/tenants/zeta/workspaces/w/block-storages/a x", "seca.storage/v1/tenants/acme/workspaces/w/block-storages/\xff",
	} {
		f.Add(s, encodeToken(s))
	}
	f.Fuzz(func(t *testing.T, after, token string) {
		if back, err := decodeToken(encodeToken(after)); err == nil && back != after {
			t.Errorf("%q became %q", after, back)
		}
		for _, x := range all {
			x.page(t, strings.ReplaceAll(volumes, "TENANT", "acme"), token)
			x.page(t, strings.ReplaceAll(volumes, "TENANT", "acme"), encodeToken(after))
		}
	})
}

// page asks for the page after a token, and checks that it shows nothing but
// volumes of acme.
func (x exchange) page(t *testing.T, at, token string) {
	t.Helper()
	rec := x.do("acme-admin", http.MethodGet, at, url.Values{"skipToken": {token}}.Encode(), "")
	if rec.Code != http.StatusOK && rec.Code != http.StatusBadRequest {
		t.Fatalf("token %q: %d %s", token, rec.Code, rec.Body)
	}
	var list struct {
		Items []struct{ Metadata struct{ Tenant, Name string } }
	}
	if err := json.Unmarshal(rec.Body.Bytes(), &list); err != nil {
		t.Fatal(err)
	}
	for _, i := range list.Items {
		if i.Metadata.Tenant != "acme" || !strings.Contains("abc", i.Metadata.Name) {
			t.Errorf("token %q shows %+v", token, i.Metadata)
		}
	}
}

// FuzzPut: whatever a body says, the answer is a document or a refusal. What
// was taken can be read back, and written again without a change.
func FuzzPut(f *testing.F) {
	all := newExchanges(f)
	kinds := resource.Kinds()
	for n := range kinds {
		for _, body := range putSeeds {
			f.Add(n, body)
		}
	}
	const inWorkspace = "/tenants/acme/workspaces/w"
	for _, x := range all {
		x.do("acme-admin", http.MethodPut, "/regions/r1/providers/seca.workspace/v1"+inWorkspace, "", `{}`)
		x.do("acme-admin", http.MethodPut, "/regions/r1/providers/seca.network/v1"+inWorkspace+"/networks/n", "", `{"spec": {"cidr": {"ipv4": "10.0.0.0/8"}, "skuRef": "skus/seca.n1k"}}`)
		x.do("acme-admin", http.MethodPut, "/regions/r1/providers/seca.network/v1"+inWorkspace+"/networks/n/subnets/s", "", `{"spec": {"cidr": {"ipv4": "10.1.0.0/16"}, "routeTableRef": ""}}`)
		x.do("acme-admin", http.MethodPut, "/regions/r1/providers/seca.storage/v1"+inWorkspace+"/block-storages/d", "", `{"spec": {"sizeGB": 1, "skuRef": "skus/seca.rd100"}}`)
	}
	names := 0
	f.Fuzz(func(t *testing.T, n int, body string) {
		k := kinds[uint(n)%uint(len(kinds))] //nolint:gosec // any will do
		names++
		at := providers + k.Provider + "/v1" + scopePaths[k.Scope] + "/" + k.Collection + "/fuzz-" + strconv.Itoa(names)
		if !k.Global {
			at = "/regions/r1" + at
		}
		at = strings.NewReplacer("{tenant}", "acme", "{workspace}", "w", "{network}", "n").Replace(at)
		for _, x := range all {
			x.put(t, at, body)
		}
	})
}

func (x exchange) put(t *testing.T, at, body string) {
	t.Helper()
	put := x.do("acme-admin", http.MethodPut, at, "", body)
	if put.Code >= 500 || !json.Valid(put.Body.Bytes()) {
		t.Fatalf("put %s %q: %d %s", at, body, put.Code, put.Body)
	}
	if put.Code >= 300 {
		return
	}
	get, again := x.do("acme-admin", http.MethodGet, at, "", ""), x.do("acme-admin", http.MethodPut, at, "", body)
	if get.Code != http.StatusOK || again.Code != http.StatusOK {
		t.Fatalf("%s %q was taken; get says %d %s, the same put %d %s", at, body, get.Code, get.Body, again.Code, again.Body)
	}
	if a, b, c := written(t, put), written(t, get), written(t, again); !reflect.DeepEqual(a, b) || !reflect.DeepEqual(b, c) {
		t.Errorf("%s %q was taken as %v, read as %v, and taken again as %v", at, body, a, b, c)
	}
}

// FuzzPath: whatever stands in a path, nothing of the database shows.
func FuzzPath(f *testing.F) {
	all := newExchanges(f)
	routes := ownRoutes()
	for _, k := range resource.Kinds() {
		routes = append(routes, kindRoutes(k)...)
	}
	routes = slices.DeleteFunc(routes, func(r route) bool { // these wait for an agent
		return strings.HasSuffix(r.path, "/resync") || strings.HasSuffix(r.path, "/console")
	})
	holes := regexp.MustCompile(`{[a-z]+}`)
	for n := range routes {
		for _, name := range []string{"a", "acme", "\x00", "\xff", "a b", "..", "%", strings.Repeat("x", 300)} {
			f.Add(n, name)
		}
	}
	f.Fuzz(func(t *testing.T, n int, name string) {
		r := routes[uint(n)%uint(len(routes))] //nolint:gosec // any will do
		for _, given := range []string{"", "acme"} {
			path := holes.ReplaceAllStringFunc(r.path, func(hole string) string {
				if given != "" && hole == "{tenant}" {
					return given
				}
				if given != "" && hole == "{region}" {
					return "r1"
				}
				return url.PathEscape(name)
			})
			for _, x := range all {
				for _, as := range []string{"op", "acme-admin"} {
					rec := x.do(as, r.method, path, "", `{}`)
					if rec.Code >= 500 || strings.Contains(rec.Body.String(), "SQL") {
						t.Errorf("%s %s: %d %s", r.method, path, rec.Code, rec.Body)
					}
				}
			}
		}
	})
}

// written is what an author has said, as it is echoed.
func written(t *testing.T, r *httptest.ResponseRecorder) map[string]any {
	t.Helper()
	var all map[string]any
	if err := json.Unmarshal(r.Body.Bytes(), &all); err != nil {
		t.Fatal(err)
	}
	return map[string]any{"spec": all["spec"], "labels": all["labels"], "annotations": all["annotations"], "extensions": all["extensions"]}
}

var putSeeds = []string{
	``, `{}`, `null`, `[]`, `{"spec": null}`, `{"spec": []}`, `{"spec": {}, "labels": {"a": "b"}, "annotations": {"c": "d"}, "extensions": {"e": "f"}}`, `{"labels": {"": null}}`,
	`{"spec": {"permissions": [{"provider": "seca.compute", "resources": ["*"], "verb": ["*"]}]}}`,
	`{"spec": {"subs": ["acme-admin"], "roles": ["seca.admin"], "scopes": [{"tenants": ["acme"]}]}}`,
	`{"spec": {"blockStorageRef": {"resource": "workspaces/w/block-storages/d"}, "cpuArchitecture": "amd64", "boot": "UEFI"}}`,
	`{"spec": {"sizeGB": 9, "skuRef": {"resource": "skus/seca.rd100"}, "sourceImageRef": "tenants/public/images/tiny"}}`,
	`{"spec": {"cidr": {"ipv4": "0.0.0.0/16", "ipv6": "::/56"}, "additionalCidrs": [{"ipv4": "10.1.0.0/16"}], "skuRef": "skus/seca.n1k"}}`,
	`{"spec": {"routes": [{"destinationCidrBlock": "0.0.0.0/0", "targetRef": "internet-gateways/g"}, {"destinationCidrBlock": "10.0.0.1", "targetRef": {"resource": "10.0.0.2"}}]}}`,
	`{"spec": {"cidr": {"ipv4": "10.1.0.0/16"}, "zone": "a", "routeTableRef": {"resource": ""}}}`,
	`{"spec": {"direction": "ingress", "version": "IPv4", "protocol": "tcp+udp", "ports": {"from": 1, "to": 65535, "list": [80]}, "sourceRef": ["10.0.0.0/8", "security-groups/fuzz"]}}`,
	`{"spec": {"rules": [{"direction": "egress", "protocol": "icmp", "icmp": {"type": 8, "code": 0}}], "ruleRefs": ["security-group-rules/fuzz"]}}`,
	`{"spec": {"version": "IPv4", "address": "192.0.2.1"}}`, `{"spec": {"egressOnly": true}}`,
	`{"spec": {"subnetRef": "networks/n/subnets/fuzz", "addresses": ["0.0.0.0", "10.1.0.5"], "publicIpRefs": ["public-ips/p"], "securityGroupRefs": []}}`,
	`{"spec": {"skuRef": "skus/seca.d2xs", "zone": "", "bootVolume": {"deviceRef": "block-storages/d"}, "dataVolumes": [], "primaryNicRef": {"resource": "nics/x"}, "userData": "#!"}}`,
	`{"spec": {"sizeGB": 1, "skuRef": "skus/seca.rd100"}, "labels": {"a": "\u0000"}}`, `{"spec": {"sizeGB": 1, "skuRef": "skus/seca.rd100"}, "annotations": {"\u0000": "\ud800"}}`,
	`{"spec": {"skuRef": "skus/seca.d2xs", "bootVolume": {"deviceRef": "block-storages/d"}, "userData": "\u0000", "primaryNicRef": {"resource": "nics/\u0000"}}}`,
	`{"spec": {"subnetRef": "subnets/s", "addresses": ["0.0.0.0"], "publicIpRefs": ["public-ips/a\u0000b"]}}`, `{"spec": {"routes": [{"destinationCidrBlock": "0.0.0.0/0", "targetRef": "instances/\u0000"}]}}`,
	`{"spec": {"permissions": [{"provider": "\u0000", "resources": ["\ud800"], "verb": ["\u0000"]}]}}`,
	`{"spec": {"sizeGB": 1e3, "skuRef": {"resource": "skus/seca.rd100"}}, "metadata": {"region": "r1"}}`,
}
