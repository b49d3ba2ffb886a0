package api

import (
	"encoding/json"
	"maps"
	"net/http"
	"slices"
	"strings"

	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/tenant"
)

// The system roles are the same in every tenant, and nobody's to change: they
// are read as if each tenant had them, behind its own.

// systemRole renders a system role for the tenant of the call.
func (c *call) systemRole(name string) (seca.Document, bool) {
	role, ok := tenant.SystemRoles[name]
	if !ok || c.kind.Name != "role" {
		return seca.Document{}, false
	}
	spec, err := json.Marshal(role)
	if err != nil {
		panic(err) // strings
	}
	made := c.server.Providers.Authority.Certificate.NotBefore // when the exchange began
	return c.document(&resource.Resource{
		Kind: c.kind, URN: c.kind.URN(c.at.Tenant, "", "", name), Spec: spec, Version: 1, State: seca.Active, CreatedAt: made, ModifiedAt: made,
		Log: resource.LogOf(seca.Condition{State: seca.Active, LastTransitionAt: made, Type: "Lifecycle", Reason: "Predefined"}),
	}, http.MethodGet), true
}

// systemMark begins the tokens of pages that end within the system roles.
const systemMark = "system "

// withSystemRoles fills the last page of a tenant's roles with the system's.
func (c *call) withSystemRoles(q listQuery, docs []seca.Document) reply {
	behind, within := strings.CutPrefix(q.after, systemMark)
	if !within {
		behind = ""
	}
	for _, name := range slices.Sorted(maps.Keys(tenant.SystemRoles)) {
		if name <= behind || q.deleted == resource.OnlyDeleted {
			continue
		}
		d, _ := c.systemRole(name)
		if !q.selector.matches(d.Labels) {
			continue
		}
		if len(docs) == q.limit {
			return reply{status: http.StatusOK, body: c.page(docs, systemMark+behind)}
		}
		docs, behind = append(docs, d), name
	}
	return reply{status: http.StatusOK, body: c.page(docs, "")}
}
