package openstack

import (
	"context"
	"net/http"
	"slices"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/groups"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/rules"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

func (a *account) groupsOf(kind string) table[groups.SecGroup] {
	return table[groups.SecGroup]{
		a: a, kind: kind,
		list: func(ctx context.Context, mark string) ([]groups.SecGroup, error) {
			o := groups.ListOpts{ProjectID: a.project, Description: mark, Limit: pageSize}
			return pages(ctx, groups.List(a.network, o), groups.ExtractGroups)
		},
		record: func(g *groups.SecGroup) record { return record{g.ID, g.Description, g.CreatedAt} },
		drop: func(ctx context.Context, native string) error {
			return groups.Delete(ctx, a.network, native).ExtractErr()
		},
	}
}

func (a *account) groupTable() table[groups.SecGroup]   { return a.groupsOf("security-group") }
func (a *account) gatewayTable() table[groups.SecGroup] { return a.groupsOf("gateway") }

// makeGroup finds a group or makes it.
func (a *account) makeGroup(ctx context.Context, t table[groups.SecGroup], m driver.Meta) (*groups.SecGroup, error) {
	g, err := t.single(ctx, m.ID)
	if g != nil || err != nil {
		return g, err
	}
	name := m.Name
	if name == "" {
		name = m.ID
	}
	return groups.Create(ctx, a.network, groups.CreateOpts{Name: name, Description: a.mark(t.kind, m.ID)}).Extract()
}

func (a *account) gatewayKeeper() driver.Keeper[driver.Gateway] {
	t := a.gatewayTable()
	return keeper[driver.Gateway, *driver.Gateway]{
		a: a, kind: t.kind, remove: a.removeGateway,
		list: func(ctx context.Context) ([]driver.Gateway, error) {
			all, doubled, err := t.all(ctx)
			var out []driver.Gateway
			for id, g := range all {
				have := viewGateway(id, g)
				doubt(&have.Meta, doubled[id])
				out = append(out, have)
			}
			return out, err
		},
		ensure: func(ctx context.Context, want driver.Gateway) (driver.Gateway, error) {
			g, err := a.makeGroup(ctx, t, want.Meta)
			if err != nil {
				return want, err
			}
			want.Meta = plain(want.Meta)
			if err := a.note(ctx, "security-groups", g.ID, g.Tags, want); err != nil {
				return want, err
			}
			g.Tags = tagsOf(want)
			return viewGateway(want.ID, *g), nil
		},
	}
}

func viewGateway(id string, g groups.SecGroup) (have driver.Gateway) {
	readTags(g.Tags, &have)
	settled(&have.Meta, id, g.ID)
	return have
}

// gateways returns all by id.
func (a *account) gateways(ctx context.Context) (map[string]driver.Gateway, error) {
	all, _, err := a.gatewayTable().all(ctx)
	out := map[string]driver.Gateway{}
	for id, g := range all {
		out[id] = viewGateway(id, g)
	}
	return out, err
}

func (a *account) removeGateway(ctx context.Context, id string) error {
	all, _, err := a.routerTable().all(ctx)
	if err != nil {
		return err
	}
	for table, r := range all {
		var n routing
		readTags(r.Tags, &n)
		if slices.ContainsFunc(n.Hops, func(h hop) bool { return h.Gateway == id }) {
			return fault.Conflict.Errorf("route table %s leads to it", table)
		}
	}
	return a.gatewayTable().remove(ctx, id)
}

func (a *account) securityGroupKeeper() driver.Keeper[driver.SecurityGroup] {
	t := a.groupTable()
	return keeper[driver.SecurityGroup, *driver.SecurityGroup]{
		a: a, kind: t.kind, ensure: a.ensureGroup, remove: t.remove,
		list: func(ctx context.Context) ([]driver.SecurityGroup, error) {
			all, doubled, err := t.all(ctx)
			natives := map[string]string{}
			for id, g := range all {
				natives[id] = g.ID
			}
			var out []driver.SecurityGroup
			for id, g := range all {
				have := viewGroup(id, g, natives)
				doubt(&have.Meta, doubled[id])
				out = append(out, have)
			}
			return out, err
		},
	}
}

// viewGroup lists the rules as noted if the platform has just those, and else
// those that it has, none of which is then quite what was wanted.
func viewGroup(id string, g groups.SecGroup, natives map[string]string) (have driver.SecurityGroup) {
	readTags(g.Tags, &have)
	settled(&have.Meta, id, g.ID)
	want, err := expand(have.Rules, natives)
	more, less := compare(g.Rules, want)
	if err != nil || len(more) > 0 || len(less) > 0 {
		have.Rules = nil
		for _, r := range g.Rules {
			have.Rules = append(have.Rules, driver.Rule{Ingress: r.Direction == "ingress", Protocol: driver.Protocol(said(r))})
		}
	}
	return have
}

func (a *account) ensureGroup(ctx context.Context, want driver.SecurityGroup) (driver.SecurityGroup, error) {
	g, err := a.makeGroup(ctx, a.groupTable(), want.Meta)
	if err != nil {
		return want, err
	}
	natives, err := a.peers(ctx, want, g.ID)
	if err != nil {
		return want, err
	}
	list, err := expand(want.Rules, natives)
	if err != nil {
		return want, err
	}
	want.Meta = plain(want.Meta)
	if err := a.note(ctx, "security-groups", g.ID, g.Tags, want); err != nil {
		return want, err
	}
	if err := a.setRules(ctx, g, list); err != nil {
		return want, err
	}
	now, err := groups.Get(ctx, a.network, g.ID).Extract()
	if err != nil {
		return want, err
	}
	return viewGroup(want.ID, *now, natives), nil
}

// peers finds the groups that rules name.
func (a *account) peers(ctx context.Context, want driver.SecurityGroup, self string) (map[string]string, error) {
	natives := map[string]string{want.ID: self}
	for _, r := range want.Rules {
		for _, id := range r.PeerGroups {
			if natives[id] != "" {
				continue
			}
			native, err := a.groupTable().need(ctx, id)
			if err != nil {
				return nil, err
			}
			natives[id] = native
		}
	}
	return natives, nil
}

// setRules drops what is not wanted before it allows more. The default rules,
// which let everything out, are among the former.
func (a *account) setRules(ctx context.Context, g *groups.SecGroup, want map[string]rule) error {
	more, less := compare(g.Rules, want)
	for _, native := range more {
		if err := unlessGone(rules.Delete(ctx, a.network, native).ExtractErr()); err != nil {
			return err
		}
	}
	if len(less) == 0 {
		return nil
	}
	body := make([]rule, 0, len(less))
	for _, r := range less {
		r["security_group_id"] = g.ID
		body = append(body, r)
	}
	// The SDK's own type cannot say ICMP type 0.
	resp, err := a.network.Post(ctx, a.network.ServiceURL("security-group-rules"), //nolint:bodyclose // the SDK has drained and closed it
		map[string]any{"security_group_rules": body}, nil,
		&gophercloud.RequestOpts{OkCodes: []int{http.StatusCreated}})
	_, _, err = gophercloud.ParseResponse(resp, err)
	return err
}

// A rule is one of Neutron's, as it is sent.
type rule map[string]any

// compare tells which rules are too many, by native id, and which are missing.
func compare(have []rules.SecGroupRule, want map[string]rule) (more []string, less []rule) {
	seen := map[string]bool{}
	for _, r := range have {
		key := said(r)
		if want[key] == nil || seen[key] {
			more = append(more, r.ID)
		}
		seen[key] = true
	}
	for key, r := range want {
		if !seen[key] {
			less = append(less, r)
		}
	}
	return more, less
}

// expand makes of rules those of Neutron, which have one range of ports, one
// peer and one family each; by description.
func expand(all []driver.Rule, natives map[string]string) (map[string]rule, error) {
	out := map[string]rule{}
	for _, r := range all {
		for _, family := range []int{4, 6} {
			if r.Family != 0 && r.Family != family {
				continue
			}
			for _, p := range ranges(r) {
				for _, peer := range peersOf(r, family) {
					group := natives[peer.group]
					if peer.group != "" && group == "" {
						return nil, fault.Conflict.Errorf("security group %s does not exist", peer.group)
					}
					key, n := native(r, family, p, peer, group)
					out[key] = n
				}
			}
		}
	}
	return out, nil
}
