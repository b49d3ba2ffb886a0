package qemu

import (
	"net/netip"
	"slices"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

func (h *host) networkKeeper() driver.Keeper[driver.Network] {
	return keeper[driver.Network, *driver.Network]{
		shelf: h.networks,
		admit: func(have *driver.Network, want driver.Network) (driver.Network, error) {
			return want, onlyIPv4(want.CIDRs)
		},
		users: func(n driver.Network) ([]string, error) {
			subnets, err := h.subnetsOf(n.ID)
			if err != nil || len(subnets) > 0 {
				return ids(subnets), err
			}
			return which(h.routeTables, func(r driver.RouteTable) bool { return r.Network == n.ID })
		},
		networks: func(n driver.Network) ([]string, error) { return []string{n.ID}, nil },
		look:     h.lookAtNetwork,
	}
}

func (h *host) subnetKeeper() driver.Keeper[driver.Subnet] {
	return keeper[driver.Subnet, *driver.Subnet]{
		shelf: h.subnets,
		admit: h.admitSubnet,
		users: func(s driver.Subnet) ([]string, error) {
			return which(h.nics, func(n driver.NIC) bool { return n.Subnet == s.ID })
		},
		networks: func(s driver.Subnet) ([]string, error) { return []string{s.Network}, nil },
	}
}

// admitSubnet checks that the subnet is a part of its network, and no part of another one.
func (h *host) admitSubnet(have *driver.Subnet, want driver.Subnet) (driver.Subnet, error) {
	if err := onlyIPv4(want.CIDRs); err != nil {
		return want, err
	}
	network, err := h.networks.need(want.Network)
	if err != nil {
		return want, err
	}
	others, err := h.subnetsOf(want.Network)
	if err != nil {
		return want, err
	}
	for _, c := range want.CIDRs {
		inside := func(n netip.Prefix) bool { return n.Bits() <= c.Bits() && n.Contains(c.Addr()) }
		if c.Bits() > 29 || !slices.ContainsFunc(network.CIDRs, inside) {
			return want, fault.Invalid.Errorf("range %s is not a part of network %s with room for guests", c, want.Network)
		}
		for _, o := range others {
			if o.ID != want.ID && slices.ContainsFunc(o.CIDRs, c.Overlaps) {
				return want, fault.Conflict.Errorf("range %s overlaps subnet %s", c, o.ID)
			}
		}
	}
	if want.RouteTable == "" {
		return want, nil
	}
	_, err = h.routeTables.need(want.RouteTable)
	return want, err
}

func (h *host) routeTableKeeper() driver.Keeper[driver.RouteTable] {
	return keeper[driver.RouteTable, *driver.RouteTable]{
		shelf: h.routeTables,
		admit: func(have *driver.RouteTable, want driver.RouteTable) (driver.RouteTable, error) {
			_, err := h.networks.need(want.Network)
			for _, r := range want.Routes {
				if r.Gateway != "" && err == nil {
					_, err = h.gateways.need(r.Gateway)
				}
			}
			return want, err
		},
		users: func(r driver.RouteTable) ([]string, error) {
			return which(h.subnets, func(s driver.Subnet) bool { return s.RouteTable == r.ID })
		},
		networks: func(r driver.RouteTable) ([]string, error) { return []string{r.Network}, nil },
	}
}

func (h *host) gatewayKeeper() driver.Keeper[driver.Gateway] {
	routed := func(g driver.Gateway) ([]driver.RouteTable, error) {
		return where(h.routeTables, func(r driver.RouteTable) bool {
			return slices.ContainsFunc(r.Routes, func(r driver.Route) bool { return r.Gateway == g.ID })
		})
	}
	return keeper[driver.Gateway, *driver.Gateway]{
		shelf: h.gateways,
		admit: func(have *driver.Gateway, want driver.Gateway) (driver.Gateway, error) { return want, nil },
		users: func(g driver.Gateway) ([]string, error) {
			tables, err := routed(g)
			return ids(tables), err
		},
		networks: func(g driver.Gateway) ([]string, error) {
			tables, err := routed(g)
			return names(tables, func(r driver.RouteTable) string { return r.Network }), err
		},
	}
}

func (h *host) securityGroupKeeper() driver.Keeper[driver.SecurityGroup] {
	return keeper[driver.SecurityGroup, *driver.SecurityGroup]{
		shelf: h.securityGroups,
		admit: func(have *driver.SecurityGroup, want driver.SecurityGroup) (driver.SecurityGroup, error) {
			return want, nil
		},
		users: func(g driver.SecurityGroup) ([]string, error) {
			return which(h.nics, func(n driver.NIC) bool { return slices.Contains(n.SecurityGroups, g.ID) })
		},
		networks: func(g driver.SecurityGroup) ([]string, error) {
			// Rules may name groups as peers, so that a group's change can reach any network.
			all, err := h.networks.all()
			return ids(all), err
		},
	}
}

func (h *host) nicKeeper() driver.Keeper[driver.NIC] {
	return keeper[driver.NIC, *driver.NIC]{
		shelf: h.nics,
		admit: h.admitNIC,
		users: func(n driver.NIC) ([]string, error) {
			return which(h.instances, func(i instance) bool { return slices.Contains(i.NICs, n.ID) })
		},
		networks: func(n driver.NIC) ([]string, error) {
			s, err := h.subnets.get(n.Subnet)
			return []string{s.Network}, err
		},
	}
}

func (h *host) publicIPKeeper() driver.Keeper[driver.PublicIP] {
	return keeper[driver.PublicIP, *driver.PublicIP]{
		shelf: h.publicIPs,
		admit: h.admitPublicIP,
		look:  h.lookAtPublicIP,
		gone:  func(p driver.PublicIP) error { return h.release(p.Address, p.ID) },
		users: func(p driver.PublicIP) ([]string, error) {
			return which(h.nics, func(n driver.NIC) bool { return slices.Contains(n.PublicIPs, p.ID) })
		},
		networks: func(p driver.PublicIP) ([]string, error) { return nil, nil },
	}
}

func onlyIPv4(ranges []netip.Prefix) error {
	for _, c := range ranges {
		if !c.Addr().Is4() {
			return fault.Unsupported.Errorf("range %s: this platform has IPv4 only", c)
		}
	}
	return nil
}

func (h *host) subnetsOf(network string) ([]driver.Subnet, error) {
	return where(h.subnets, func(s driver.Subnet) bool { return s.Network == network })
}

// where returns the things for which match says so.
func where[T any, P kept[T]](s shelf[T, P], match func(T) bool) ([]T, error) {
	all, err := s.all()
	return slices.DeleteFunc(all, func(thing T) bool { return !match(thing) }), err
}

// which returns the ids of the things for which match says so.
func which[T any, P kept[T]](s shelf[T, P], match func(T) bool) ([]string, error) {
	found, err := where(s, match)
	return ids[T, P](found), err
}

func ids[T any, P kept[T]](things []T) []string {
	return names(things, func(thing T) string { return P(&thing).Base().ID })
}

func names[T any](things []T, name func(T) string) []string {
	var all []string
	for _, thing := range things {
		all = append(all, name(thing))
	}
	return all
}
