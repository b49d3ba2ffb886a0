package tenant

import (
	"fmt"
	"strings"
	"testing"

	"github.com/kontor-cloud/kontor/seca"
)

// allowed decides for alice, member of acme, with one role of one permission.
func allowed(p seca.Permission, r Request) bool {
	a := Assignment{"acme", seca.RoleAssignmentSpec{Subs: []string{"alice"}, Roles: []string{"r"}, Scopes: []seca.Scope{{}}}}
	return Allowed(Principal{Subject: "alice", Tenants: []string{"acme"}}, []Assignment{a},
		map[string]seca.RoleSpec{"r": {Permissions: []seca.Permission{p}}}, r)
}

func TestPermissionsMatch(t *testing.T) {
	for _, test := range []struct {
		permission string // provider resource verb
		request    string // provider/version resource verb
		want       bool
	}{
		{"seca.compute/v1 * *", "seca.compute/v1 instances/vm1 get", true},
		{"seca.compute * *", "seca.compute/v1 instances/vm1 get", true},
		{"* * *", "kontor.exchange/v1 moves/m delete", true},
		{"seca.* * *", "seca.network/v1 nics/n put", true},
		{"seca.* * *", "kontor.exchange/v1 moves/m put", false},
		{"seca.compute/v2 * *", "seca.compute/v1 instances/vm1 get", false},
		{"seca.comp * *", "seca.compute/v1 instances/vm1 get", false},

		{"seca.compute/v1 instances get", "seca.compute/v1 instances/vm1 get", false},
		{"seca.compute/v1 instances list", "seca.compute/v1 instances list", true},
		{"seca.compute/v1 instances/* get", "seca.compute/v1 instances/vm1 get", true},
		{"seca.compute/v1 instances/* list", "seca.compute/v1 instances list", true},
		{"seca.compute/v1 instances/vm1 get", "seca.compute/v1 instances/vm1 get", true},
		{"seca.compute/v1 instances/vm1 get", "seca.compute/v1 instances/vm2 get", false},
		{"seca.compute/v1 instances/vm1 list", "seca.compute/v1 instances list", false},
		{"seca.compute/v1 instances/web-* get", "seca.compute/v1 instances/web-1 get", true},
		{"seca.compute/v1 instances/*-web-* get", "seca.compute/v1 instances/a-web-1 get", true},
		{"seca.compute/v1 instances/a*a get", "seca.compute/v1 instances/a get", false},
		{"seca.compute/v1 i* get", "seca.compute/v1 instances/vm1 get", false},

		{"seca.network/v1 subnets/* get", "seca.network/v1 networks/n1/subnets/s1 get", true},
		{"seca.network/v1 networks/subnets/* get", "seca.network/v1 networks/n1/subnets/s1 get", true},
		{"seca.network/v1 networks/n1/subnets/* get", "seca.network/v1 networks/n1/subnets/s1 get", true},
		{"seca.network/v1 networks/*/subnets/* get", "seca.network/v1 networks/n1/subnets/s1 get", true},
		{"seca.network/v1 networks/n2/subnets/* get", "seca.network/v1 networks/n1/subnets/s1 get", false},
		{"seca.network/v1 networks/* get", "seca.network/v1 networks/n1/subnets/s1 get", false},
		{"seca.network/v1 networks/n1/* get", "seca.network/v1 networks/n1 get", false},
		{"seca.network/v1 subnets/* list", "seca.network/v1 networks/n1/subnets list", true},
		{"seca.network/v1 networks/subnets list", "seca.network/v1 networks/n1/subnets list", true},
		{"seca.network/v1 networks/n1/subnets/* list", "seca.network/v1 networks/n1/subnets list", true},
		{"seca.network/v1 route-tables/* list", "seca.network/v1 networks/n1/subnets list", false},

		{"seca.compute/v1 * GET", "seca.compute/v1 instances list", true},
		{"seca.compute/v1 * GET", "seca.compute/v1 instances/vm1 get", true},
		{"seca.compute/v1 * get", "seca.compute/v1 instances list", false},
		{"seca.compute/v1 * GET", "seca.compute/v1 instances/vm1 put", false},
		{"seca.compute/v1 * PUT", "seca.compute/v1 instances/vm1 put", true},
		{"seca.compute/v1 * DELETE", "seca.compute/v1 instances/vm1 delete", true},
		{"seca.compute/v1 * Delete", "seca.compute/v1 instances/vm1 DELETE", true},
		{"seca.compute/v1 * POST", "seca.compute/v1 instances/vm1 post.start", true},
		{"seca.compute/v1 * post.start", "seca.compute/v1 instances/vm1 post.start", true},
		{"seca.compute/v1 * post.start", "seca.compute/v1 instances/vm1 post.stop", false},
		{"seca.compute/v1 * post.start", "seca.compute/v1 instances/vm1 post", false},
		{"seca.compute/v1 * pos", "seca.compute/v1 instances/vm1 post.stop", false},
	} {
		p, r := strings.Fields(test.permission), strings.Fields(test.request)
		provider, version, _ := strings.Cut(r[0], "/")
		got := allowed(seca.Permission{Provider: p[0], Resources: []string{"x", p[1]}, Verb: []string{"nothing", p[2]}},
			Request{Provider: provider, Version: version, Tenant: "acme", Resource: r[1], Verb: r[2]})
		if got != test.want {
			t.Errorf("%q for %q: %t, want %t", test.permission, test.request, got, test.want)
		}
	}
}

func TestScopesCover(t *testing.T) {
	none := seca.Scope{}
	for name, test := range map[string]struct {
		scopes []seca.Scope
		token  seca.Scope
		region string
		ws     string
		want   bool
	}{
		"everything":               {[]seca.Scope{{}}, none, "r1", "w1", true},
		"no scope":                 {nil, none, "r1", "w1", false},
		"region":                   {[]seca.Scope{{Regions: []string{"r1"}}}, none, "r1", "w1", true},
		"other region":             {[]seca.Scope{{Regions: []string{"r2"}}}, none, "r1", "w1", false},
		"global call":              {[]seca.Scope{{Regions: []string{"r1"}}}, none, "", "", false},
		"workspace":                {[]seca.Scope{{Workspaces: []string{"w0", "w1"}}}, none, "r1", "w1", true},
		"without workspace":        {[]seca.Scope{{Workspaces: []string{"w1"}}}, none, "r1", "", false},
		"second of two":            {[]seca.Scope{{Regions: []string{"r2"}}, {Workspaces: []string{"w1"}}}, none, "r1", "w1", true},
		"not by halves":            {[]seca.Scope{{Regions: []string{"r1"}, Workspaces: []string{"w2"}}, {Regions: []string{"r2"}, Workspaces: []string{"w1"}}}, none, "r1", "w1", false},
		"own tenant":               {[]seca.Scope{{Tenants: []string{"acme"}}}, none, "r1", "w1", true},
		"other tenant":             {[]seca.Scope{{Tenants: []string{"other"}}}, none, "r1", "w1", false},
		"token of region":          {[]seca.Scope{{}}, seca.Scope{Regions: []string{"r1"}}, "r1", "w1", true},
		"token of other region":    {[]seca.Scope{{}}, seca.Scope{Regions: []string{"r2"}}, "r1", "w1", false},
		"token of other workspace": {[]seca.Scope{{}}, seca.Scope{Workspaces: []string{"w2"}}, "r1", "w1", false},
		"token of other tenant":    {[]seca.Scope{{}}, seca.Scope{Tenants: []string{"other"}}, "r1", "w1", false},
		"token does not widen":     {[]seca.Scope{{Regions: []string{"r2"}}}, seca.Scope{Regions: []string{"r1"}}, "r1", "w1", false},
	} {
		a := Assignment{"acme", seca.RoleAssignmentSpec{Subs: []string{"*"}, Roles: []string{"seca.admin"}, Scopes: test.scopes}}
		p := Principal{Subject: "alice", Tenants: []string{"acme"}, Scope: test.token}
		r := Request{Provider: "seca.compute", Version: "v1", Tenant: "acme", Region: test.region, Workspace: test.ws, Resource: "instances/a", Verb: "put"}
		if got := Allowed(p, []Assignment{a}, nil, r); got != test.want {
			t.Errorf("%s: %t, want %t", name, got, test.want)
		}
	}
}

func TestWorkspaceIsWithinItself(t *testing.T) {
	a := Assignment{"acme", seca.RoleAssignmentSpec{Subs: []string{"alice"}, Roles: []string{"seca.workspace-admin"}, Scopes: []seca.Scope{{Workspaces: []string{"w1"}}}}}
	p := Principal{Subject: "alice", Tenants: []string{"acme"}}
	for resource, want := range map[string]bool{"workspaces/w1": true, "workspaces/w2": false, "workspaces": false} {
		r := Request{Provider: "seca.workspace", Version: "v1", Tenant: "acme", Region: "r1", Resource: resource, Verb: "get"}
		if got := Allowed(p, []Assignment{a}, nil, r); got != want {
			t.Errorf("%s: %t, want %t", resource, got, want)
		}
	}
}

func TestStrangersAreNotAllowed(t *testing.T) {
	all := seca.RoleAssignmentSpec{Subs: []string{"alice"}, Roles: []string{"seca.admin"}, Scopes: []seca.Scope{{}}}
	alice := Principal{Subject: "alice", Tenants: []string{"acme", "other"}}
	r := Request{Provider: "seca.compute", Version: "v1", Tenant: "acme", Resource: "instances/a", Verb: "get"}
	ok := []Assignment{{"acme", all}}
	if !Allowed(alice, ok, nil, r) {
		t.Fatal("alice is not allowed")
	}
	for name, got := range map[string]bool{
		"other subject":              Allowed(Principal{Subject: "bob", Tenants: alice.Tenants}, ok, nil, r),
		"no member":                  Allowed(Principal{Subject: "alice", Tenants: []string{"other"}}, ok, nil, r),
		"operator who is no member":  Allowed(Principal{Subject: "alice", Operator: true}, ok, nil, r),
		"assignment of other tenant": Allowed(alice, []Assignment{{"other", all}}, nil, r),
		"no assignment":              Allowed(alice, nil, nil, r),
		"no tenant":                  Allowed(alice, ok, nil, Request{Provider: "seca.compute", Version: "v1", Resource: "instances/a", Verb: "get"}),
	} {
		if got {
			t.Errorf("%s is allowed", name)
		}
	}
}

func TestSystemRoles(t *testing.T) {
	roles := []string{"seca.admin", "seca.region-admin", "seca.workspace-admin", "seca.workspace-editor", "seca.workspace-viewer"}
	for _, test := range []struct {
		request string
		want    string // y or n for each role
	}{
		{"seca.compute instances/a get", "yyyyy"},
		{"seca.compute instances list", "yyyyy"},
		{"seca.compute instances/a put", "yyyyn"},
		{"seca.compute instances/a post.start", "yyyyn"},
		{"seca.compute instances/a delete", "yyynn"},
		{"seca.network networks/n/subnets/s delete", "yyynn"},
		{"seca.workspace workspaces/w get", "yyyyy"},
		{"seca.workspace workspaces/w put", "yyyyn"},
		{"seca.workspace workspaces/w delete", "yynnn"},
		{"seca.authorization roles/r get", "ynnnn"},
		{"seca.authorization roles/r put", "ynnnn"},
		{"kontor.exchange moves list", "yyyyy"},
		{"kontor.exchange moves/m put", "yyyyn"},
	} {
		f := strings.Fields(test.request)
		var got strings.Builder
		for _, role := range roles {
			a := Assignment{"acme", seca.RoleAssignmentSpec{Subs: []string{"alice"}, Roles: []string{role}, Scopes: []seca.Scope{{}}}}
			// A role of the tenant with the same name changes nothing.
			own := map[string]seca.RoleSpec{role: {}}
			if Allowed(Principal{Subject: "alice", Tenants: []string{"acme"}}, []Assignment{a}, own,
				Request{Provider: f[0], Version: "v1", Tenant: "acme", Region: "r", Workspace: "w", Resource: f[1], Verb: f[2]}) {
				got.WriteByte('y')
			} else {
				got.WriteByte('n')
			}
		}
		if got.String() != test.want {
			t.Errorf("%s: %s, want %s", test.request, got.String(), test.want)
		}
	}
	if len(SystemRoles) != len(roles) {
		t.Errorf("%d system roles, want %d", len(SystemRoles), len(roles))
	}
}

func BenchmarkAllowed(b *testing.B) {
	p := Principal{Subject: "alice", Tenants: []string{"acme"}}
	var as []Assignment
	for i := range 20 {
		as = append(as, Assignment{"acme", seca.RoleAssignmentSpec{Subs: []string{fmt.Sprint("user-", i), "alice"}, Roles: []string{"seca.workspace-viewer"}, Scopes: []seca.Scope{{}}}})
	}
	r := Request{Provider: "seca.network", Version: "v1", Tenant: "acme", Workspace: "w", Resource: "networks/n/subnets/s", Verb: "put"}
	for b.Loop() {
		if Allowed(p, as, nil, r) {
			b.Fatal("allowed")
		}
	}
}
