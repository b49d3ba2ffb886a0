package tenant

import (
	"slices"
	"strings"

	"github.com/kontor-cloud/kontor/seca"
)

// An Assignment is a role assignment of a tenant.
type Assignment struct {
	Tenant string
	seca.RoleAssignmentSpec
}

// A Request is what somebody wants to do in a tenant.
type Request struct {
	Provider  string // seca.compute
	Version   string // v1
	Tenant    string
	Region    string // empty for what has none, such as roles
	Workspace string // empty for what has none, such as images
	Resource  string // instances, instances/vm1, networks/n1/subnets/s1
	Verb      string // get, list, put, delete, post.start
}

// Allowed decides whether p may do it: p is a member of the tenant, its token
// is not narrowed to something else, and an assignment of the tenant whose
// subjects and scopes cover the request names a role that has a permission for
// it. There are no denials and no groups. roles are those of the tenant by
// name; they cannot stand in for a system role.
func Allowed(p Principal, assignments []Assignment, roles map[string]seca.RoleSpec, r Request) bool {
	if r.Tenant == "" || !p.Member(r.Tenant) {
		return false
	}
	if name, ok := strings.CutPrefix(r.Resource, "workspaces/"); ok && r.Workspace == "" {
		r.Workspace = name // a workspace is within itself
	}
	if !r.covered(p.Scope) {
		return false
	}
	forms := forms(r.Resource)
	for _, a := range assignments {
		if a.Tenant != r.Tenant || !names(a.Subs, p.Subject) || !slices.ContainsFunc(a.Scopes, r.covered) {
			continue
		}
		for _, name := range a.Roles {
			role, ok := SystemRoles[name]
			if !ok {
				role = roles[name]
			}
			if slices.ContainsFunc(role.Permissions, func(p seca.Permission) bool { return r.permitted(p, forms) }) {
				return true
			}
		}
	}
	return false
}

// names reports whether a list of subjects has this one.
func names(subs []string, subject string) bool {
	return slices.Contains(subs, subject) || slices.Contains(subs, "*")
}

// covered reports whether the request is within the scope. A dimension that
// the scope names and the request lacks is not.
func (r Request) covered(s seca.Scope) bool {
	in := func(list []string, value string) bool {
		return len(list) == 0 || value != "" && slices.Contains(list, value)
	}
	return in(s.Tenants, r.Tenant) && in(s.Regions, r.Region) && in(s.Workspaces, r.Workspace)
}

func (r Request) permitted(p seca.Permission, forms []string) bool {
	if !glob(p.Provider, r.Provider) && !glob(p.Provider, r.Provider+"/"+r.Version) {
		return false
	}
	return slices.ContainsFunc(p.Verb, r.does) && slices.ContainsFunc(p.Resources, func(pattern string) bool {
		return pattern == "*" || slices.ContainsFunc(forms, func(form string) bool { return r.about(pattern, form) })
	})
}

// does reports whether a permission's verb covers the request's. GET, as
// clients write that think in HTTP, means to list, too.
func (r Request) does(verb string) bool {
	want := strings.ToLower(r.Verb)
	switch {
	case verb == "*":
		return true
	case verb == "GET" && want == "list":
		return true
	case strings.EqualFold(verb, "post"):
		return want == "post" || strings.HasPrefix(want, "post.")
	}
	return strings.EqualFold(verb, want)
}

// forms gives the spellings of a resource: networks/n1/subnets/s1 is also
// subnets/s1 and networks/subnets/s1.
func forms(resource string) []string {
	part := strings.Split(resource, "/")
	if len(part) < 3 {
		return []string{resource}
	}
	own := strings.Join(part[2:], "/")
	return []string{resource, own, part[0] + "/" + own}
}

// about reports whether a permission's pattern is about a spelling of the
// resource. Permission to list all items of a collection is one to list it.
func (r Request) about(pattern, form string) bool {
	if segments(pattern, form) {
		return true
	}
	collection, all := strings.CutSuffix(pattern, "/*")
	return all && strings.EqualFold(r.Verb, "list") && segments(collection, form)
}

// segments matches segment by segment, so that networks/* is not about what
// lies within networks.
func segments(pattern, s string) bool {
	for {
		p, moreP, inP := strings.Cut(pattern, "/")
		v, moreV, inV := strings.Cut(s, "/")
		if inP != inV || !glob(p, v) {
			return false
		}
		if !inP {
			return true
		}
		pattern, s = moreP, moreV
	}
}

// glob matches s against a pattern in which * stands for any text.
func glob(pattern, s string) bool {
	first, rest, star := strings.Cut(pattern, "*")
	if !star {
		return pattern == s
	}
	s, ok := strings.CutPrefix(s, first)
	for ok {
		middle, more, star := strings.Cut(rest, "*")
		if !star {
			return strings.HasSuffix(s, rest)
		}
		_, s, ok = strings.Cut(s, middle)
		rest = more
	}
	return false
}
