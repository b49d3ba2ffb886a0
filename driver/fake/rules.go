package fake

import (
	"net/netip"
	"slices"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

func (a *account) networkRules() *table[driver.Network] {
	return &table[driver.Network]{
		kind: Networks,
		same: func(have, want driver.Network) bool { return have.Satisfies(want) && have.SKU == want.SKU },
		change: func(have *driver.Network, want driver.Network) error {
			have.CIDRs, have.SKU = want.CIDRs, want.SKU
			return nil
		},
	}
}

func (a *account) subnetRules() *table[driver.Subnet] {
	return &table[driver.Subnet]{
		kind: Subnets,
		rename: func(s *driver.Subnet, id func(string) string) {
			s.Network, s.RouteTable = id(s.Network), id(s.RouteTable)
		},
		refs: func(s *driver.Subnet) []string { return given(s.Network, s.RouteTable) },
		same: driver.Subnet.Satisfies,
		change: func(have *driver.Subnet, want driver.Subnet) error {
			if have.Network != want.Network {
				return fault.Invalid.Errorf("a subnet stays in its network")
			}
			have.CIDRs, have.RouteTable = want.CIDRs, want.RouteTable
			return nil
		},
		free: func(s *driver.Subnet) { delete(a.addresses, s.ID) },
	}
}

func (a *account) routeTableRules() *table[driver.RouteTable] {
	return &table[driver.RouteTable]{
		kind: RouteTables,
		rename: func(r *driver.RouteTable, id func(string) string) {
			r.Network, r.Routes = id(r.Network), slices.Clone(r.Routes)
			for i, route := range r.Routes {
				r.Routes[i].Gateway, r.Routes[i].Instance = id(route.Gateway), id(route.Instance)
			}
		},
		refs: func(r *driver.RouteTable) []string {
			refs := given(r.Network)
			for _, route := range r.Routes {
				refs = append(refs, given(route.Gateway, route.Instance)...)
			}
			return refs
		},
		same: driver.RouteTable.Satisfies,
		change: func(have *driver.RouteTable, want driver.RouteTable) error {
			have.Routes = want.Routes
			return nil
		},
	}
}

func (a *account) gatewayRules() *table[driver.Gateway] {
	return &table[driver.Gateway]{
		kind: Gateways,
		same: driver.Gateway.Satisfies,
		change: func(have *driver.Gateway, want driver.Gateway) error {
			have.EgressOnly = want.EgressOnly
			return nil
		},
	}
}

func (a *account) securityGroupRules() *table[driver.SecurityGroup] {
	return &table[driver.SecurityGroup]{
		kind: SecurityGroups,
		same: driver.SecurityGroup.Satisfies,
		change: func(have *driver.SecurityGroup, want driver.SecurityGroup) error {
			have.Rules = want.Rules
			return nil
		},
	}
}

func (a *account) publicIPRules() *table[driver.PublicIP] {
	return &table[driver.PublicIP]{
		kind: PublicIPs,
		make: func(p *driver.PublicIP) (err error) {
			if !p.Address.IsValid() {
				in := a.p.config.Pool
				if p.Family == 6 {
					in = netip.MustParsePrefix("2001:db8::/64")
				}
				p.Address, err = a.p.pool.next(in)
			}
			if err == nil {
				a.p.pool.take(p.Address)
			}
			return err
		},
		same: driver.PublicIP.Satisfies,
		change: func(have *driver.PublicIP, want driver.PublicIP) error {
			if have.Family != want.Family {
				return fault.Invalid.Errorf("a public address stays in its family")
			}
			a.p.pool.put(have.Address)
			a.p.pool.take(want.Address)
			have.Address = want.Address
			return nil
		},
		view:  func(p *driver.PublicIP) { p.AttachedTo = a.holder(p.ID, NICs) },
		free:  func(p *driver.PublicIP) { a.p.pool.put(p.Address) },
		adopt: func(p *driver.PublicIP) { a.p.pool.take(p.Address) },
	}
}

func (a *account) nicRules() *table[driver.NIC] {
	return &table[driver.NIC]{
		kind: NICs,
		rename: func(n *driver.NIC, id func(string) string) {
			n.Subnet, n.PublicIPs, n.SecurityGroups = id(n.Subnet), renamed(n.PublicIPs, id), renamed(n.SecurityGroups, id)
		},
		refs: func(n *driver.NIC) []string {
			return slices.Concat(given(n.Subnet), n.PublicIPs, n.SecurityGroups)
		},
		make: func(n *driver.NIC) error {
			n.MAC = mac(n.ID)
			return a.assign(n, n.Addresses, nil)
		},
		same: driver.NIC.Satisfies,
		change: func(have *driver.NIC, want driver.NIC) error {
			if have.Subnet != want.Subnet {
				return fault.Invalid.Errorf("a network card stays in its subnet")
			}
			have.PublicIPs, have.SecurityGroups = want.PublicIPs, want.SecurityGroups
			return a.assign(have, want.Addresses, have.Addresses)
		},
		free: func(n *driver.NIC) {
			for _, x := range n.Addresses {
				a.subnetPool(n.Subnet).put(x)
			}
		},
		adopt: func(n *driver.NIC) {
			for _, x := range n.Addresses {
				a.subnetPool(n.Subnet).take(x)
			}
		},
	}
}

func (a *account) imageRules() *table[driver.Image] {
	return &table[driver.Image]{
		kind: Images,
		make: func(i *driver.Image) error {
			v := a.volumes.rows[i.Volume]
			if v == nil {
				return fault.Conflict.Errorf("volume %s does not exist", i.Volume)
			}
			i.SizeMB = v.Have.SizeGB * 1000
			return nil
		},
		same: driver.Image.Satisfies,
		change: func(have *driver.Image, want driver.Image) error {
			have.Arch, have.Boot, have.Initializer = want.Arch, want.Boot, want.Initializer
			return nil
		},
	}
}

func (a *account) volumeRules() *table[driver.Volume] {
	return &table[driver.Volume]{
		kind: Volumes,
		make: func(v *driver.Volume) error { return a.startsFrom(v.Image) },
		same: driver.Volume.Satisfies,
		change: func(have *driver.Volume, want driver.Volume) error {
			have.SizeGB = want.SizeGB
			return nil
		},
		view: func(v *driver.Volume) { v.AttachedTo = a.holder(v.ID, Instances) },
	}
}

func (a *account) startsFrom(image string) error {
	if name, offered := strings.CutPrefix(image, driver.OfferedImage("")); offered {
		if !slices.ContainsFunc(a.p.config.Images, func(i driver.OfferImage) bool { return i.Name == name }) {
			return fault.Invalid.Errorf("no image %q is on offer", name)
		}
		return nil
	}
	if image != "" && a.images.rows[image] == nil {
		return fault.Conflict.Errorf("image %s does not exist", image)
	}
	return nil
}

func (a *account) instanceRules() *table[driver.Instance] {
	return &table[driver.Instance]{
		kind: Instances,
		rename: func(i *driver.Instance, id func(string) string) {
			i.BootVolume, i.DataVolumes, i.NICs = id(i.BootVolume), renamed(i.DataVolumes, id), renamed(i.NICs, id)
		},
		refs: func(i *driver.Instance) []string {
			return slices.Concat(given(i.BootVolume), i.DataVolumes, i.NICs)
		},
		make: func(i *driver.Instance) error {
			i.PowerSince = time.Time{}
			return a.power(i, i.On)
		},
		same: func(have, want driver.Instance) bool {
			return have.Satisfies(want) && have.BootVolume == want.BootVolume
		},
		change: func(have *driver.Instance, want driver.Instance) error {
			if have.SKU != want.SKU && (have.VCPU != want.VCPU || have.RAMGiB != want.RAMGiB) { // a size may have two names
				return fault.Unsupported.Errorf("a machine keeps its size")
			}
			have.DataVolumes, have.NICs, have.BootVolume = want.DataVolumes, want.NICs, want.BootVolume
			restart := want.Restarts > have.Restarts && have.On && want.On
			have.Restarts = max(have.Restarts, want.Restarts)
			if have.On != want.On || restart {
				return a.power(have, want.On)
			}
			return nil
		},
	}
}

// power switches a machine. Several may name a boot volume, but one of them
// runs on it at a time.
func (a *account) power(i *driver.Instance, on bool) error {
	for id, kind := range a.users[i.BootVolume] {
		if on && kind == Instances && id != i.ID && a.instances.rows[id].Have.On {
			return fault.Conflict.Errorf("volume %s is in use by instance %s", i.BootVolume, id)
		}
	}
	if on || i.On {
		i.PowerSince = time.Now().UTC()
	}
	i.On = on
	return nil
}

// given drops the references that are not there.
func given(ids ...string) []string {
	return slices.DeleteFunc(ids, func(id string) bool { return id == "" })
}

func renamed(ids []string, id func(string) string) []string {
	out := slices.Clone(ids)
	for i := range out {
		out[i] = id(out[i])
	}
	return out
}
