package openstack

import (
	"cmp"
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumes"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/floatingips"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/groups"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/security/rules"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"

	"github.com/kontor-cloud/kontor/driver"
)

// survey finds all things of the project that could be one of ours. Only what
// the platform tells counts, not what notes say.
func (a *account) survey(ctx context.Context) ([]found, error) {
	fabric, err := a.surveyNeutron(ctx)
	if err != nil || a.volume == nil {
		return fabric.all, err
	}
	disks, err := pages(ctx, volumes.List(a.volume, volumes.ListOpts{Limit: pageSize}), volumes.ExtractVolumes)
	if err != nil {
		return nil, err
	}
	machines, err := pages(ctx, servers.List(a.compute, servers.ListOpts{Limit: pageSize}), servers.ExtractServers)
	if err != nil {
		return nil, err
	}
	offer, err := a.offers(ctx)
	if err != nil {
		return nil, err
	}
	for _, v := range disks {
		fabric.add(driver.VolumeKind, v.ID, v.Name, v.Metadata[markKey], driver.Volume{
			Meta: ready(v.ID, v.Name), SizeGB: v.Size, SKU: skuName(v.VolumeType),
		}, a.markVolume(v))
	}
	for _, s := range machines {
		fabric.add(driver.InstanceKind, s.ID, s.Name, s.Metadata[markKey], a.machine(s, disks, fabric.ports, offer.flavors), a.markServer(s))
	}
	return fabric.all, nil
}

func ready(native, name string) driver.Meta {
	return driver.Meta{Name: name, Native: native, State: driver.Ready}
}

// A finding collects what was found.
type finding struct {
	all   []found
	ports []ports.Port
}

func (f *finding) add(kind driver.Kind, native, name, mark string, thing any, tag func(context.Context, string, any) error) {
	f.all = append(f.all, found{driver.Stray{Kind: kind, Native: native, Name: name, Thing: thing}, mark, tag})
}

// surveyNeutron finds networks, subnets, groups, public addresses and cards.
func (a *account) surveyNeutron(ctx context.Context) (f finding, err error) {
	nets, err := a.networkTable().list(ctx, "")
	if err != nil {
		return f, err
	}
	subs, err := a.subnetTable().list(ctx, "")
	if err != nil {
		return f, err
	}
	groups, err := a.groupTable().list(ctx, "")
	if err != nil {
		return f, err
	}
	public, err := a.floatingTable().list(ctx, "")
	if err != nil {
		return f, err
	}
	if f.ports, err = a.portTable().list(ctx, ""); err != nil {
		return f, err
	}
	for _, n := range nets {
		f.add(driver.NetworkKind, n.ID, n.Name, n.Description, wholeNetwork(n, subs), a.marker("networks", n.ID, n.Description, n.Tags, a.describeNetwork(n)))
	}
	for _, s := range subs {
		f.add(driver.SubnetKind, s.ID, s.Name, s.Description, wholeSubnet(s), a.marker("subnets", s.ID, s.Description, s.Tags, a.describeSubnet(s)))
	}
	for _, g := range groups {
		if g.Name != "default" && !strings.Contains(g.Description, "/gateway/") {
			f.add(driver.SecurityGroupKind, g.ID, g.Name, g.Description, wholeGroup(g), a.marker("security-groups", g.ID, g.Description, g.Tags, a.describeGroup(g)))
		}
	}
	for _, x := range public {
		thing := driver.PublicIP{Meta: ready(x.ID, x.FloatingIP), Family: 4, AttachedTo: x.PortID}
		thing.Address, _ = netip.ParseAddr(x.FloatingIP) // Neutron's own
		f.add(driver.PublicIPKind, x.ID, x.FloatingIP, x.Description, thing, a.marker("floatingips", x.ID, x.Description, x.Tags, a.describeFloating(x)))
	}
	for _, p := range f.ports {
		if p.DeviceOwner == "" || strings.HasPrefix(p.DeviceOwner, "compute:") {
			f.add(driver.NICKind, p.ID, cmp.Or(p.Name, p.MACAddress), p.Description, wholePort(p, public), a.marker("ports", p.ID, p.Description, p.Tags, a.describePort(p)))
		}
	}
	return f, nil
}

// wholeNetwork gives a network ranges, which Neutron's have not: for each subnet
// the next larger one, as a subnet is a part of a range and never all of it.
func wholeNetwork(n networks.Network, all []subnets.Subnet) driver.Network {
	t := driver.Network{Meta: ready(n.ID, n.Name)}
	for _, s := range all {
		p, err := netip.ParsePrefix(s.CIDR)
		if err != nil || !p.Addr().Is4() || p.Bits() == 0 || s.NetworkID != n.ID {
			continue
		}
		t.CIDRs = append(t.CIDRs, netip.PrefixFrom(p.Addr(), p.Bits()-1).Masked())
	}
	slices.SortFunc(t.CIDRs, func(x, y netip.Prefix) int {
		return cmp.Or(cmp.Compare(x.Bits(), y.Bits()), x.Addr().Compare(y.Addr()))
	})
	var wide []netip.Prefix
	for _, p := range t.CIDRs {
		if !slices.ContainsFunc(wide, p.Overlaps) {
			wide = append(wide, p)
		}
	}
	t.CIDRs = wide
	return t
}

// wholeSubnet names no route table: the router that it has is not ours to change.
func wholeSubnet(s subnets.Subnet) driver.Subnet {
	t := driver.Subnet{Meta: ready(s.ID, s.Name), Network: s.NetworkID}
	if p, err := netip.ParsePrefix(s.CIDR); err == nil {
		t.CIDRs = []netip.Prefix{p}
	}
	return t
}

// wholeGroup has a rule for each of Neutron's, in an order that does not change.
func wholeGroup(g groups.SecGroup) driver.SecurityGroup {
	t := driver.SecurityGroup{Meta: ready(g.ID, g.Name)}
	for _, r := range slices.SortedFunc(slices.Values(g.Rules), func(x, y rules.SecGroupRule) int { return cmp.Compare(said(x), said(y)) }) {
		t.Rules = append(t.Rules, ruleOf(r))
	}
	return t
}

func wholePort(p ports.Port, public []floatingips.FloatingIP) driver.NIC {
	t := driver.NIC{Meta: ready(p.ID, p.Name), Addresses: addressesOf(&p), SecurityGroups: slices.Sorted(slices.Values(p.SecurityGroups)), MAC: p.MACAddress}
	if len(p.FixedIPs) > 0 {
		t.Subnet = p.FixedIPs[0].SubnetID
	}
	for _, f := range public {
		if f.PortID == p.ID {
			t.PublicIPs = append(t.PublicIPs, f.ID)
		}
	}
	slices.Sort(t.PublicIPs)
	return t
}

// machine tells what a server is. One that Nova made of an image, and not of a
// volume, has no boot volume.
func (a *account) machine(s servers.Server, disks []volumes.Volume, cards []ports.Port, offer []flavors.Flavor) driver.Instance {
	t := driver.Instance{Meta: ready(s.ID, s.Name), Zone: s.AvailabilityZone, On: isOn(s), PowerSince: powerSince(s)}
	t.State, t.Detail = stateOf(s)
	for _, f := range offer {
		if f.ID == s.Flavor["id"] || f.Name == s.Flavor["original_name"] {
			if size, ok := a.instanceSKU(f); ok {
				t.SKU, t.VCPU, t.RAMGiB = size.Name, size.VCPU, size.RAMGiB
			}
		}
	}
	device := map[string]string{} // of attached volumes, by native id
	for _, v := range disks {
		for _, at := range v.Attachments {
			if at.ServerID == s.ID {
				device[v.ID] = at.Device
			}
		}
	}
	for id := range device {
		t.DataVolumes = append(t.DataVolumes, id)
	}
	slices.SortFunc(t.DataVolumes, func(x, y string) int { return cmp.Compare(device[x], device[y]) })
	if len(s.Image) == 0 && len(t.DataVolumes) > 0 {
		t.BootVolume, t.DataVolumes = t.DataVolumes[0], t.DataVolumes[1:]
	}
	slices.SortFunc(cards, func(x, y ports.Port) int { return cmp.Or(x.CreatedAt.Compare(y.CreatedAt), cmp.Compare(x.ID, y.ID)) })
	for _, p := range cards {
		if p.DeviceID == s.ID {
			t.NICs = append(t.NICs, p.ID)
		}
	}
	return t
}
