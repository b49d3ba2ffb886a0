package api

import (
	"encoding/json"
	"net/http"
	"net/http/httptest"
	"net/url"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"unicode/utf8"

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

func newExchange(f *testing.F) exchange {
	f.Helper()
	w := newWorld(f, dbtest.SQLite(f), Strict)
	return exchange{w.http.Config.Handler, w.token}
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
	x := newExchange(f)
	const volumes = "/regions/r1/providers/seca.storage/v1/tenants/TENANT/workspaces/w/block-storages"
	for tenant, names := range map[string][]string{"acme": {"a", "b", "c"}, "zeta": {"a", "secret", "z"}} {
		as := tenant + "-admin"
		at := strings.ReplaceAll(volumes, "TENANT", tenant)
		x.do(as, http.MethodPut, strings.TrimSuffix(strings.Replace(at, "seca.storage", "seca.workspace", 1), "/block-storages"), "", `{}`)
		for _, n := range names {
			if rec := x.do(as, http.MethodPut, at+"/"+n, "", `{"spec": {"sizeGB": 1, "skuRef": {"resource": "skus/seca.rd100"}}}`); rec.Code != http.StatusCreated {
				f.Fatal(rec.Code, rec.Body)
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
		for _, s := range []string{token, encodeToken(after)} {
			query := url.Values{"skipToken": {s}}.Encode()
			rec := x.do("acme-admin", http.MethodGet, strings.ReplaceAll(volumes, "TENANT", "acme"), query, "")
			if rec.Code != http.StatusOK && rec.Code != http.StatusBadRequest {
				t.Fatalf("token %q: %d %s", s, rec.Code, rec.Body)
			}
			var list struct {
				Items []struct{ Metadata struct{ Tenant, Name string } }
			}
			if err := json.Unmarshal(rec.Body.Bytes(), &list); err != nil {
				t.Fatal(err)
			}
			for _, i := range list.Items {
				if i.Metadata.Tenant != "acme" || !strings.Contains("abc", i.Metadata.Name) {
					t.Errorf("token %q shows %+v", s, i.Metadata)
				}
			}
		}
	})
}

// FuzzPut: whatever a body says, the answer is a document or a refusal. What
// was taken can be read back, and written again without a change.
func FuzzPut(f *testing.F) {
	x := newExchange(f)
	kinds := resource.Kinds()
	for n := range kinds {
		for _, body := range putSeeds {
			f.Add(n, body)
		}
	}
	x.do("acme-admin", http.MethodPut, "/regions/r1/providers/seca.workspace/v1/tenants/acme/workspaces/w", "", `{}`)
	const inWorkspace = "/tenants/acme/workspaces/w/"
	x.do("acme-admin", http.MethodPut, "/regions/r1/providers/seca.network/v1"+inWorkspace+"networks/n", "", `{"spec": {"cidr": {"ipv4": "10.0.0.0/8"}, "skuRef": "skus/seca.n1k"}}`)
	x.do("acme-admin", http.MethodPut, "/regions/r1/providers/seca.storage/v1"+inWorkspace+"block-storages/d", "", `{"spec": {"sizeGB": 1, "skuRef": "skus/seca.rd100"}}`)
	f.Fuzz(func(t *testing.T, n int, body string) {
		k := kinds[uint(n)%uint(len(kinds))] //nolint:gosec // any will do
		at := strings.NewReplacer("{tenant}", "acme", "{workspace}", "w", "{network}", "n").Replace(providers + k.Provider + "/v1" + scopePaths[k.Scope] + "/" + k.Collection + "/fuzz")
		if !k.Global {
			at = "/regions/r1" + at
		}
		put := x.do("acme-admin", http.MethodPut, at, "", body)
		if put.Code >= 500 || !json.Valid(put.Body.Bytes()) {
			t.Fatalf("put of %s: %d %s", k.Name, put.Code, put.Body)
		}
		if put.Code >= 300 {
			return
		}
		get, again := x.do("acme-admin", http.MethodGet, at, "", ""), x.do("acme-admin", http.MethodPut, at, "", body)
		if get.Code != http.StatusOK || again.Code != http.StatusOK {
			t.Fatalf("%s %s was taken; get says %d %s, the same put %d %s", k.Name, body, get.Code, get.Body, again.Code, again.Body)
		}
		if a, b, c := written(t, put), written(t, get), written(t, again); !reflect.DeepEqual(a, b) || !reflect.DeepEqual(b, c) {
			t.Errorf("%s %s was taken as %v, read as %v, and taken again as %v", k.Name, body, a, b, c)
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
	`{"spec": {"sizeGB": 1e3, "skuRef": {"resource": "skus/seca.rd100"}}, "metadata": {"region": "r1"}}`,
}
