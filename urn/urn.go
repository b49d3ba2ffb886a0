// Package urn reads and writes the names of SECA resources, in every spelling
// that clients use (SECA v1.7, "resource identifiers").
package urn

import (
	"slices"
	"strings"

	"github.com/kontor-cloud/kontor/fault"
)

// A URN names one resource within its region, or a global one.
type URN struct {
	Provider   string // with its version: seca.compute/v1
	Tenant     string
	Workspace  string
	Network    string
	Collection string // instances, route-tables
	Name       string
}

// String gives the full form,
// provider/version/tenants/t/workspaces/w/networks/n/collection/name, without
// the segments that are empty.
func (u URN) String() string {
	var b strings.Builder
	b.Grow(128)
	b.WriteString(u.Provider)
	segment := func(kind, name string) {
		if name != "" {
			b.WriteByte('/')
			b.WriteString(kind)
			b.WriteByte('/')
			b.WriteString(name)
		}
	}
	segment("tenants", u.Tenant)
	segment("workspaces", u.Workspace)
	segment("networks", u.Network)
	segment(u.Collection, u.Name)
	return b.String()
}

// Resource gives the part after the workspace: instances/vm1,
// networks/n1/subnets/s1.
func (u URN) Resource() string {
	s := u.Collection + "/" + u.Name
	if u.Network != "" {
		s = "networks/" + u.Network + "/" + s
	}
	return s
}

// IsZero reports whether u names nothing.
func (u URN) IsZero() bool { return u == URN{} }

// Parse reads
//
//	[provider "/" version "/"] ["tenants/" t "/"] ["workspaces/" w "/"] ["networks/" n "/"] collection "/" name
//
// leaving what is not spelled empty. "networks/n" alone is the network n.
func Parse(s string) (URN, error) {
	var u URN
	part := strings.Split(s, "/")
	if slices.Contains(part, "") {
		return URN{}, fault.Invalid.Errorf("%q has an empty segment", s)
	}
	if len(part) > 2 && isVersion(part[1]) && strings.Contains(part[0], ".") {
		u.Provider = s[:len(part[0])+1+len(part[1])]
		part = part[2:]
	}
	for _, container := range []struct {
		name string
		to   *string
	}{{"tenants", &u.Tenant}, {"workspaces", &u.Workspace}, {"networks", &u.Network}} {
		if len(part) > 2 && part[0] == container.name {
			*container.to = part[1]
			part = part[2:]
		}
	}
	if len(part) != 2 {
		return URN{}, fault.Invalid.Errorf("%q does not end in collection/name", s)
	}
	u.Collection, u.Name = part[0], part[1]
	return u, nil
}

// Under fills what u leaves out from the context in which it is written.
// Collection and Name stay as they are.
func (u URN) Under(base URN) URN {
	fill := func(to *string, from string) {
		if *to == "" {
			*to = from
		}
	}
	fill(&u.Provider, base.Provider)
	fill(&u.Tenant, base.Tenant)
	fill(&u.Workspace, base.Workspace)
	fill(&u.Network, base.Network)
	return u
}

func isVersion(s string) bool {
	return len(s) >= 2 && s[0] == 'v' && s[1] >= '0' && s[1] <= '9'
}
