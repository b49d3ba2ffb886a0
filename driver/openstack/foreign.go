package openstack

import (
	"context"
	"fmt"
	"iter"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumes"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	servertags "github.com/gophercloud/gophercloud/v2/openstack/compute/v2/tags"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/floatingips"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/groups"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// owned reports whether a mark is that of any exchange.
func owned(mark string) bool { return strings.HasPrefix(mark, "kontor/") }

// A found thing is one of the project, whoever it belongs to.
type found struct {
	driver.Stray
	mark string
	tag  func(ctx context.Context, mark string, noted any) error // writes the note, then the mark
}

// strays yields what carries no mark. Routers are not among them: a gateway of
// ours is a thing that nobody else has. They stay as they are, and lead to where
// they led. Nor is the group that Neutron gives to each project.
func (a *account) strays(ctx context.Context) iter.Seq2[driver.Stray, error] {
	return func(yield func(driver.Stray, error) bool) {
		all, err := a.survey(ctx)
		if err != nil {
			yield(driver.Stray{}, kindOf(err, "list what belongs to nobody"))
			return
		}
		for _, f := range all {
			if !owned(f.mark) && !yield(f.Stray, nil) {
				return
			}
		}
	}
}

// adopt writes the note and then the mark, so that what has our mark has its
// note, too. Neither is to be noticed by a guest.
func (a *account) adopt(ctx context.Context, kind driver.Kind, native string, as driver.Meta) error {
	unlock, err := a.locks.take(ctx, string(kind)+"/"+as.ID)
	if err != nil {
		return err
	}
	defer unlock()
	doing := fmt.Sprintf("adopt %s %s", kind, native)
	all, err := a.survey(ctx)
	if err != nil {
		return kindOf(err, doing)
	}
	mark := a.mark(string(kind), as.ID)
	i := slices.IndexFunc(all, func(f found) bool { return f.Kind == kind && f.Native == native })
	switch {
	case i < 0:
		return fault.Missing.Errorf("%s: there is none in the project", doing)
	case all[i].mark == mark:
		return nil
	case owned(all[i].mark):
		return fault.Conflict.Errorf("%s: it has an owner", doing)
	case slices.ContainsFunc(all, func(f found) bool { return f.mark == mark }):
		return fault.Conflict.Errorf("%s: there is another with the id %s", doing, as.ID)
	}
	ids := naming{}
	for _, f := range all {
		ids[f.Native] = a.idIn(f.mark, string(f.Kind))
	}
	noted, err := ids.take(all[i].Thing, plain(as))
	if err != nil {
		return fault.Conflict.Errorf("%s: %w", doing, err)
	}
	return kindOf(all[i].tag(ctx, mark, noted), doing)
}

// naming gives the ids of what is ours, by native id.
type naming map[string]string

// take makes of a thing as found the one that its note tells of.
func (n naming) take(thing any, as driver.Meta) (any, error) {
	var strange []string
	id := func(native string) string {
		if n[native] == "" {
			strange = append(strange, native)
		}
		return n[native]
	}
	each := func(natives []string) []string {
		var out []string
		for _, native := range natives {
			out = append(out, id(native))
		}
		return out
	}
	var noted any
	switch t := thing.(type) {
	case driver.Network:
		t.Meta = as
		noted = t
	case driver.Subnet:
		t.Meta, t.Network = as, id(t.Network)
		noted = t
	case driver.SecurityGroup:
		t.Meta, t.Rules = as, slices.Clone(t.Rules)
		for i := range t.Rules {
			t.Rules[i].PeerGroups = each(t.Rules[i].PeerGroups)
		}
		noted = t
	case driver.PublicIP:
		noted = driver.PublicIP{Meta: as, Family: t.Family}
	case driver.NIC:
		t.Meta, t.MAC, t.Subnet = as, "", id(t.Subnet)
		t.PublicIPs, t.SecurityGroups = each(t.PublicIPs), each(t.SecurityGroups)
		noted = t
	case driver.Volume:
		t.Meta = as
		noted = notedVolume(t)
	case driver.Instance:
		t.Meta, t.BootVolume, t.DataVolumes, t.NICs = as, id(t.BootVolume), each(t.DataVolumes), each(t.NICs)
		noted = notedInstance(t)
	}
	if len(strange) > 0 {
		return nil, fmt.Errorf("it refers to %s, which is not ours", strings.Join(strange, ", "))
	}
	return noted, nil
}

// formerTags keep the description that a mark takes the place of.
func formerTags(description string) []string {
	if description == "" {
		return nil
	}
	pieces := encode(description, tagLength)
	for i, p := range pieces {
		pieces[i] = fmt.Sprintf("d%02d=%s", i, p)
	}
	return pieces
}

// marker writes note and mark of a thing of Neutron.
func (a *account) marker(collection, native, description string, tags []string, describe func(ctx context.Context, text *string) error) func(context.Context, string, any) error {
	return func(ctx context.Context, mark string, noted any) error {
		if err := a.note(ctx, collection, native, slices.Concat(tags, formerTags(description)), noted); err != nil {
			return err
		}
		return describe(ctx, &mark)
	}
}

func (a *account) describeNetwork(n networks.Network) func(context.Context, *string) error {
	return func(ctx context.Context, text *string) error {
		return networks.Update(ctx, a.network, n.ID, networks.UpdateOpts{Description: text}).Err
	}
}

func (a *account) describeSubnet(s subnets.Subnet) func(context.Context, *string) error {
	return func(ctx context.Context, text *string) error {
		return subnets.Update(ctx, a.network, s.ID, subnets.UpdateOpts{Description: text}).Err
	}
}

func (a *account) describeGroup(g groups.SecGroup) func(context.Context, *string) error {
	return func(ctx context.Context, text *string) error {
		return groups.Update(ctx, a.network, g.ID, groups.UpdateOpts{Description: text}).Err
	}
}

func (a *account) describeFloating(f floatingips.FloatingIP) func(context.Context, *string) error {
	return func(ctx context.Context, text *string) error {
		return floatingips.Update(ctx, a.network, f.ID, floatingips.UpdateOpts{Description: text}).Err
	}
}

func (a *account) describePort(p ports.Port) func(context.Context, *string) error {
	return func(ctx context.Context, text *string) error {
		return ports.Update(ctx, a.network, p.ID, ports.UpdateOpts{Description: text}).Err
	}
}

// markVolume writes all of it with one call.
func (a *account) markVolume(v volumes.Volume) func(context.Context, string, any) error {
	return func(ctx context.Context, mark string, noted any) error {
		all := a.metadataOf("volume", a.idIn(mark, "volume"), noted)
		for k, text := range v.Metadata {
			if _, ours := all[k]; !ours {
				all[k] = text
			}
		}
		return volumes.Update(ctx, a.volume, v.ID, volumes.UpdateOpts{Metadata: all}).Err
	}
}

// markServer begins with the tags, by which lists are filtered: the mark in the
// metadata is what counts.
func (a *account) markServer(s servers.Server) func(context.Context, string, any) error {
	return func(ctx context.Context, mark string, noted any) error {
		if speaks(a.compute, "2.52") {
			for _, tag := range []string{digest(a.ownerMark()), digest(mark)} {
				if err := servertags.Add(ctx, a.compute, s.ID, tag).ExtractErr(); err != nil {
					return err
				}
			}
		}
		meta := a.metadataOf("instance", a.idIn(mark, "instance"), noted)
		meta[restartsKey] = "0"
		return servers.UpdateMetadata(ctx, a.compute, s.ID, servers.MetadataOpts(meta)).Err
	}
}
