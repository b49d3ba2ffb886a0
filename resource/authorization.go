package resource

import (
	"fmt"
	"slices"
	"strings"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
)

// Providers whose resources a permission may be about.
var providers = []string{
	"seca.region", "seca.authorization", "seca.wellknown", "seca.workspace", "seca.compute", "seca.storage",
	"seca.network", "seca.kubernetes", "seca.objectstorage", "seca.loadbalancer", "seca.natgateway",
	"seca.activitylog", "kontor.exchange", "kontor.identity", "kontor.audit",
}

var verbs = []string{"get", "list", "put", "delete", "post", "*"}

type role struct {
	none
	seca.RoleSpec
}

func (r *role) check(_ Env, l *fault.List) {
	count(l, "/spec/permissions", len(r.Permissions), 1, 256)
	for i, p := range r.Permissions {
		at := fmt.Sprintf("/spec/permissions/%d", i)
		length(l, at+"/provider", p.Provider, 1, 64)
		if name, _, _ := strings.Cut(p.Provider, "/"); !slices.Contains(providers, name) && p.Provider != "*" {
			l.Add(at+"/provider", "%q is not a provider; known are %s", p.Provider, strings.Join(providers, ", "))
		}
		texts(l, at+"/resources", p.Resources, 1, 256, 1, 256)
		count(l, at+"/verb", len(p.Verb), 1, 16)
		for j, v := range p.Verb {
			checkVerb(l, fmt.Sprintf("%s/verb/%d", at, j), v)
		}
	}
}

func checkVerb(l *fault.List, at, v string) {
	v = strings.ToLower(v)
	if action, ok := strings.CutPrefix(v, "post."); ok {
		oneOf(l, at, action, "start", "stop", "restart")
		return
	}
	oneOf(l, at, v, verbs...)
}

type assignment struct {
	none
	seca.RoleAssignmentSpec
}

func (a *assignment) check(e Env, l *fault.List) {
	texts(l, "/spec/subs", a.Subs, 1, 256, 1, 128)
	texts(l, "/spec/roles", a.Roles, 1, 32, 1, 64)
	count(l, "/spec/scopes", len(a.Scopes), 1, 256)
	for i, s := range a.Subs {
		if s != "*" && e.Subject != nil && !e.Subject(s) {
			l.Add(fmt.Sprintf("/spec/subs/%d", i), "%q is not an account of this exchange", s)
		}
	}
	for i, s := range a.Scopes {
		at := fmt.Sprintf("/spec/scopes/%d", i)
		texts(l, at+"/tenants", s.Tenants, 0, 64, 1, 64)
		texts(l, at+"/regions", s.Regions, 0, 64, 1, 64)
		texts(l, at+"/workspaces", s.Workspaces, 0, 256, 1, 64)
		known(l, at+"/tenants", s.Tenants, e.Tenants)
		known(l, at+"/regions", s.Regions, e.Regions)
	}
}

func known(l *fault.List, at string, names []string, exists func(string) bool) {
	for i, n := range names {
		if exists != nil && !exists(n) {
			l.Add(fmt.Sprintf("%s/%d", at, i), "%q does not exist", n)
		}
	}
}

type workspace struct {
	none
	seca.WorkspaceSpec
}

// MarshalJSON writes the free-form object itself.
func (w *workspace) MarshalJSON() ([]byte, error) { return marshalFree(w.WorkspaceSpec) }

// UnmarshalJSON reads any object.
func (w *workspace) UnmarshalJSON(b []byte) error { return decodeFree(b, &w.WorkspaceSpec) }
