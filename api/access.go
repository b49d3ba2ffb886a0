package api

import (
	"cmp"
	"encoding/json"
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/tenant"
)

// authorize is the one place where tenants are kept apart. A denial never says
// whether what was asked for exists.
func (c *call) authorize(p permission) error { return c.authorizeAt(p, c.regionInPath()) }

// authorizeAt is authorize for something in a region that the path does not name.
func (c *call) authorizeAt(p permission, region string) error {
	switch {
	case p.open || p.anybody:
		return nil
	case p.operator && c.who.Operator:
		return nil
	case p.operator && !p.member:
		return fault.Denied.Errorf("this needs an operator of the exchange")
	}
	if p.acting || p.owner {
		return c.acting(p)
	}
	if c.sharedRead(p) {
		return nil
	}
	if err := c.member(); err != nil || p.member {
		return err
	}
	grants, err := c.server.access.of(c, c.at.Tenant)
	if err != nil {
		return err
	}
	req := tenant.Request{
		Provider: p.provider, Version: cmp.Or(p.version, "v1"), Tenant: c.at.Tenant, Region: region, Workspace: c.at.Workspace,
		Resource: c.filled(p.resource), Verb: p.verb,
	}
	if p.provider == "seca.workspace" && c.at.Name != "" {
		req.Workspace = c.at.Name
	}
	if !tenant.Allowed(c.who, grants.assignments, grants.roles, req) {
		return fault.Denied.Errorf("%s may not %s %s/%s %s in tenant %s", c.who.Subject, p.verb, p.provider, req.Version, req.Resource, clip(c.at.Tenant, 64))
	}
	return nil
}

// sharedRead lets everybody read what is shared: SKUs and images on offer,
// under the aliases that SECA has for them.
func (c *call) sharedRead(p permission) bool {
	if p.verb != "get" && p.verb != "list" {
		return false
	}
	return c.at.Tenant == resource.PublicTenant && c.kind != nil && c.kind.Name == "image" ||
		(c.at.Tenant == "seca" || c.at.Tenant == resource.PublicTenant) && strings.HasPrefix(p.resource, "skus")
}

// member refuses who does not belong to the tenant of the path, whatever
// roles name him. Being an operator opens no tenant.
func (c *call) member() error {
	if c.who.Member(c.at.Tenant) {
		return nil
	}
	return fault.Denied.Errorf("%s does not belong to tenant %s", c.who.Subject, clip(c.at.Tenant, 64))
}

// acting refuses who neither acts for the participant that the path is about nor is an operator.
func (c *call) acting(p permission) error {
	if c.who.Operator {
		return nil
	}
	name := c.req.PathValue("participant")
	if p.owner {
		name = c.ownerOf(c.at.Name)
	}
	own, err := c.actsFor(name)
	if err == nil && !own {
		err = fault.Denied.Errorf("%s does not act for the participant that this belongs to", c.who.Subject)
	}
	return err
}

// actsFor reports whether the caller acts for a participant. A token that is narrowed to
// tenants is no participant's.
func (c *call) actsFor(participant string) (bool, error) {
	if participant == "" || !noScope(c.who.Scope) {
		return false, nil
	}
	of, err := c.server.Participants.Of(c.ctx, c.who.Subject)
	return slices.Contains(of, participant), err
}

// ownerOf is the participant whose region it is, or would be: the name of a region that
// a participant makes ends with its own.
func (c *call) ownerOf(region string) string {
	if r, err := c.server.Providers.Find(c.ctx, region); err == nil {
		return r.Provider
	}
	of, err := c.server.Participants.Of(c.ctx, c.who.Subject)
	if err != nil {
		return ""
	}
	for _, name := range of {
		if strings.HasSuffix(region, "-"+name) {
			return name
		}
	}
	return ""
}

func (c *call) regionInPath() string { return c.req.PathValue("region") }

// filled puts the names of the path into a permission's resource.
func (c *call) filled(s string) string {
	return strings.NewReplacer("{network}", c.at.Network, "{name}", c.at.Name).Replace(s)
}

// access remembers who may do what in each tenant, until a role or an
// assignment changes.
type access struct {
	mu      sync.Mutex
	tenants map[string]*grants
	changed <-chan struct{}
}

type grants struct {
	assignments []tenant.Assignment
	roles       map[string]seca.RoleSpec
}

const maxAssignments = 100_000

func (a *access) of(c *call, name string) (*grants, error) {
	a.mu.Lock()
	select {
	case <-a.changed:
		a.tenants, a.changed = nil, nil
	default:
	}
	if a.changed == nil {
		_, a.changed = c.server.Resources.Changed("")
	}
	changed, g := a.changed, a.tenants[name]
	a.mu.Unlock()
	if g != nil && !c.afresh {
		return g, nil
	}
	g, err := load(c, name)
	if err != nil {
		return nil, err
	}
	a.mu.Lock()
	defer a.mu.Unlock()
	if a.changed == changed { // else something changed while we read
		if a.tenants == nil {
			a.tenants = map[string]*grants{}
		}
		a.tenants[name] = g
	}
	return g, nil
}

// load reads the tenant's assignments, and the roles that they name.
func load(c *call, name string) (*grants, error) {
	k, _ := resource.KindNamed("role-assignment")
	given, after, err := c.server.Resources.List(c.ctx, "", k.URN(name, "", "", ""), resource.Page{Size: maxAssignments})
	if err == nil && after != "" {
		err = fault.Exhausted.Errorf("tenant %s has more than %d role assignments", name, maxAssignments)
	}
	if err != nil {
		return nil, err
	}
	g := &grants{roles: maps.Clone(tenant.SystemRoles)}
	var wanted []string
	role, _ := resource.KindNamed("role")
	for _, r := range given {
		a := tenant.Assignment{Tenant: name}
		if err := json.Unmarshal(r.Spec, &a.RoleAssignmentSpec); err != nil {
			return nil, err
		}
		g.assignments = append(g.assignments, a)
		for _, n := range a.Roles {
			if _, known := g.roles[n]; !known {
				wanted = append(wanted, role.URN(name, "", "", n).String())
			}
		}
	}
	slices.Sort(wanted)
	roles, err := c.server.Resources.Named(c.ctx, "", slices.Compact(wanted))
	if err != nil {
		return nil, err
	}
	for _, r := range roles {
		var spec seca.RoleSpec
		if err := json.Unmarshal(r.Spec, &spec); err != nil {
			return nil, err
		}
		g.roles[r.URN.Name] = spec
	}
	return g, nil
}
