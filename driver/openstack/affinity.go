package openstack

import (
	"context"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servergroups"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
)

// groupName is the name of the server group for a text of anti-affinity. Server
// groups have neither metadata nor descriptions.
func (a *account) groupName(text string) string {
	return a.ownerMark() + digest(a.mark("anti-affinity", text))
}

// serverGroups lists those of ours; Nova has no filter for them.
func (a *account) serverGroups(ctx context.Context) ([]servergroups.ServerGroup, error) {
	all, err := pages(ctx, servergroups.List(a.compute, servergroups.ListOpts{Limit: pageSize}), servergroups.ExtractServerGroups)
	return slices.DeleteFunc(all, func(g servergroups.ServerGroup) bool { return !strings.HasPrefix(g.Name, a.ownerMark()) }), err
}

func (a *account) serverGroup(ctx context.Context, text string) (*servergroups.ServerGroup, error) {
	all, err := a.serverGroups(ctx)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(g servergroups.ServerGroup) bool { return g.Name == a.groupName(text) })
	if i < 0 {
		return nil, nil
	}
	return &all[i], nil
}

// groupsLock is held while a group may be without members and yet be needed.
const groupsLock = "server-groups"

// joinGroup finds or makes the server group of a text; no text means no group.
// The caller holds groupsLock until the machine is in it.
func (a *account) joinGroup(ctx context.Context, text string) (servers.SchedulerHintOptsBuilder, error) {
	if text == "" {
		return nil, nil
	}
	g, err := a.serverGroup(ctx, text)
	if g == nil && err == nil {
		policy := "anti-affinity"
		if a.config.AntiAffinity == "soft" {
			policy = "soft-anti-affinity"
		}
		g, err = servergroups.Create(ctx, a.compute, servergroups.CreateOpts{Name: a.groupName(text), Policies: []string{policy}}).Extract()
	}
	if err != nil {
		return nil, err
	}
	return servers.SchedulerHintOpts{Group: g.ID}, nil
}

// leaveGroups removes the groups that have no members but these, which are about
// to go; also those that a machine which never came about has left.
func (a *account) leaveGroups(ctx context.Context, leaving []servers.Server) error {
	unlock, err := a.locks.take(ctx, groupsLock)
	if err != nil {
		return err
	}
	defer unlock()
	stays := func(member string) bool {
		return !slices.ContainsFunc(leaving, func(s servers.Server) bool { return s.ID == member })
	}
	all, err := a.serverGroups(ctx)
	if err != nil {
		return err
	}
	for _, g := range all {
		if slices.ContainsFunc(g.Members, stays) {
			continue
		}
		if err := unlessGone(servergroups.Delete(ctx, a.compute, g.ID).ExtractErr()); err != nil {
			return err
		}
	}
	return nil
}
