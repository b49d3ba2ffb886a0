package openstack

import (
	"context"
	"slices"

	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servergroups"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
)

// groupName is the name of the server group for a text of anti-affinity. Server
// groups have neither metadata nor descriptions.
func (a *account) groupName(text string) string {
	return a.ownerMark() + digest(a.mark("anti-affinity", text))
}

func (a *account) serverGroup(ctx context.Context, text string) (*servergroups.ServerGroup, error) {
	all, err := pages(ctx, servergroups.List(a.compute, servergroups.ListOpts{Limit: pageSize}), servergroups.ExtractServerGroups)
	if err != nil {
		return nil, err
	}
	i := slices.IndexFunc(all, func(g servergroups.ServerGroup) bool { return g.Name == a.groupName(text) })
	if i < 0 {
		return nil, nil
	}
	return &all[i], nil
}

// joinGroup finds or makes the server group of a text; no text means no group.
func (a *account) joinGroup(ctx context.Context, text string) (servers.SchedulerHintOptsBuilder, error) {
	if text == "" {
		return nil, nil
	}
	unlock, err := a.locks.take(ctx, "anti-affinity/"+text)
	if err != nil {
		return nil, err
	}
	defer unlock()
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

// leaveGroup removes the server group when this was the last machine in it.
func (a *account) leaveGroup(ctx context.Context, text, server string) error {
	if text == "" {
		return nil
	}
	unlock, err := a.locks.take(ctx, "anti-affinity/"+text)
	if err != nil {
		return err
	}
	defer unlock()
	g, err := a.serverGroup(ctx, text)
	if g == nil || err != nil || slices.ContainsFunc(g.Members, func(m string) bool { return m != server }) {
		return err
	}
	return unlessGone(servergroups.Delete(ctx, a.compute, g.ID).ExtractErr())
}
