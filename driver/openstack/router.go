package openstack

import (
	"context"
	"net/netip"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/floatingips"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/layer3/routers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/subnets"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

func (a *account) routerTable() table[routers.Router] {
	return table[routers.Router]{
		a: a, kind: "route-table",
		list: func(ctx context.Context, mark string) ([]routers.Router, error) {
			if !a.extensions["router"] {
				return nil, nil
			}
			o := routers.ListOpts{ProjectID: a.project, Description: mark, Limit: pageSize}
			return pages(ctx, routers.List(a.network, o), routers.ExtractRouters)
		},
		record: func(r *routers.Router) record { return record{r.ID, r.Description, r.CreatedAt} },
		drop: func(ctx context.Context, native string) error {
			return routers.Delete(ctx, a.network, native).ExtractErr()
		},
	}
}

func (a *account) routeTableKeeper() driver.Keeper[driver.RouteTable] {
	t := a.routerTable()
	return keeper[driver.RouteTable, *driver.RouteTable]{
		a: a, kind: t.kind, ensure: a.ensureRouteTable, remove: t.remove,
		list: func(ctx context.Context) ([]driver.RouteTable, error) {
			all, doubled, err := t.all(ctx)
			if err != nil {
				return nil, err
			}
			reach, err := a.connected(ctx)
			if err != nil {
				return nil, err
			}
			var out []driver.RouteTable
			for id, r := range all {
				have := a.viewRouter(id, r, reach)
				doubt(&have.Meta, doubled[id])
				out = append(out, have)
			}
			return out, nil
		},
	}
}

// A hop is a route as noted, with the address that it leads to.
type hop struct {
	driver.Route
	Next netip.Addr `json:"next,omitzero"`
}

// A routing is the note of a router.
type routing struct {
	driver.Meta
	Network string `json:"network"`
	Hops    []hop  `json:"hops"`
}

// viewRouter lists the routes that are noted and that the router has. One whose
// next hop is in no subnet of the router cannot be set yet; it counts as there,
// and is set when the subnet comes.
func (a *account) viewRouter(id string, r routers.Router, reach map[string][]netip.Prefix) driver.RouteTable {
	var n routing
	readTags(r.Tags, &n)
	settled(&n.Meta, id, r.ID)
	have := driver.RouteTable{Meta: n.Meta, Network: n.Network, Routes: []driver.Route{}}
	for _, h := range n.Hops {
		set := slices.ContainsFunc(r.Routes, func(x routers.Route) bool {
			return x.DestinationCIDR == h.Destination.String() && x.NextHop == h.Next.String()
		})
		switch {
		case h.Gateway != "" && r.GatewayInfo.NetworkID == a.external, h.Gateway == "" && (set || !within(reach[r.ID], h.Next)):
			have.Routes = append(have.Routes, h.Route)
		}
	}
	return have
}

func within(ranges []netip.Prefix, a netip.Addr) bool {
	return slices.ContainsFunc(ranges, func(p netip.Prefix) bool { return p.Contains(a) })
}

func (a *account) ensureRouteTable(ctx context.Context, want driver.RouteTable) (driver.RouteTable, error) {
	if _, err := a.networkTable().need(ctx, want.Network); err != nil {
		return want, err
	}
	n, err := a.route(ctx, want)
	if err != nil {
		return want, err
	}
	r, err := a.routerTable().single(ctx, want.ID)
	if err != nil {
		return want, err
	}
	if r == nil {
		r, err = routers.Create(ctx, a.network, routers.CreateOpts{Name: want.Name, Description: a.mark("route-table", want.ID)}).Extract()
		if err != nil {
			return want, err
		}
	}
	if err := a.note(ctx, "routers", r.ID, r.Tags, n); err != nil {
		return want, err
	}
	r.Tags = tagsOf(n)
	reach, err := a.connected(ctx)
	if err != nil {
		return want, err
	}
	if r, err = a.setRoutes(ctx, r, n, reach); err != nil {
		return want, err
	}
	return a.viewRouter(want.ID, *r, reach), nil
}

// route finds the next hop of each route.
func (a *account) route(ctx context.Context, want driver.RouteTable) (routing, error) {
	n := routing{Meta: plain(want.Meta), Network: want.Network}
	for _, r := range want.Routes {
		h := hop{Route: r, Next: r.Address}
		var err error
		switch {
		case !r.Destination.Addr().Is4():
			err = fault.Unsupported.Errorf("route to %s: this driver has IPv4 routes only", r.Destination)
		case r.Gateway != "" && a.external == "":
			err = fault.Unsupported.Errorf("route to %s: this cloud has no external network", r.Destination)
		case r.Gateway != "" && r.Destination.Bits() != 0:
			err = fault.Unsupported.Errorf("route to %s: a router's gateway takes all that no other route takes; name 0.0.0.0/0", r.Destination)
		case r.Gateway != "":
			_, err = a.gatewayTable().need(ctx, r.Gateway)
		case r.Instance != "":
			h.Next, err = a.addressOf(ctx, r.Instance, want.Network)
		}
		if err != nil {
			return n, err
		}
		n.Hops = append(n.Hops, h)
	}
	return n, nil
}

// setRoutes gives a router the gateway and the routes that its note asks for.
func (a *account) setRoutes(ctx context.Context, r *routers.Router, n routing, reach map[string][]netip.Prefix) (*routers.Router, error) {
	outside, routes := "", []routers.Route{}
	for _, h := range n.Hops {
		if h.Gateway != "" {
			outside = a.external
		} else if within(reach[r.ID], h.Next) {
			routes = append(routes, routers.Route{DestinationCIDR: h.Destination.String(), NextHop: h.Next.String()})
		}
	}
	var change routers.UpdateOpts
	if r.GatewayInfo.NetworkID != outside {
		if outside == "" {
			if err := a.letGo(ctx, floatingips.ListOpts{RouterID: r.ID}); err != nil {
				return r, err
			}
		}
		change.GatewayInfo = &routers.GatewayInfo{NetworkID: outside}
	}
	if !sameRoutes(r.Routes, routes) {
		change.Routes = &routes
	}
	if change == (routers.UpdateOpts{}) {
		return r, nil
	}
	next, err := routers.Update(ctx, a.network, r.ID, change).Extract()
	if err != nil {
		return r, err
	}
	next.Tags = r.Tags
	return next, nil
}

func sameRoutes(a, b []routers.Route) bool {
	order := func(x, y routers.Route) int {
		return strings.Compare(x.DestinationCIDR+" "+x.NextHop, y.DestinationCIDR+" "+y.NextHop)
	}
	return slices.Equal(slices.SortedFunc(slices.Values(a), order), slices.SortedFunc(slices.Values(b), order))
}

// letGo takes floating IPs off their ports, which keep routers and subnets
// where they are. The cards get them back when they are reachable again.
func (a *account) letGo(ctx context.Context, which floatingips.ListOpts) error {
	which.ProjectID, which.Limit = a.project, pageSize
	all, err := pages(ctx, floatingips.List(a.network, which), floatingips.ExtractFloatingIPs)
	if err != nil {
		return err
	}
	for _, f := range all {
		if a.idIn(f.Description, "public-ip") == "" || f.PortID == "" {
			continue
		}
		if err := a.bind(ctx, f.ID, "", ""); err != nil {
			return err
		}
	}
	return nil
}

// A plug is a router's interface in a subnet.
type plug struct {
	router string // native
	table  string // id
	way    bool   // leads to the internet, and lets public addresses in
}

// plugs finds the interfaces of routers, by native subnet. Of a router that is
// not ours, in a subnet that was imported, it tells only where it leads.
func (a *account) plugs(ctx context.Context, subnet string) (map[string]plug, error) {
	every, err := a.routerTable().list(ctx, "")
	if err != nil {
		return nil, err
	}
	all, _ := a.routerTable().ours(every)
	gateways, err := a.gateways(ctx)
	if err != nil {
		return nil, err
	}
	of := map[string]plug{}
	for _, r := range every {
		if !owned(r.Description) {
			of[r.ID] = plug{way: a.external != "" && r.GatewayInfo.NetworkID == a.external}
		}
	}
	for id, r := range all {
		var n routing
		readTags(r.Tags, &n)
		p := plug{router: r.ID, table: id}
		for _, h := range n.Hops {
			p.way = p.way || h.Gateway != "" && r.GatewayInfo.NetworkID == a.external && !gateways[h.Gateway].EgressOnly
		}
		of[r.ID] = p
	}
	list, err := a.interfaces(ctx, subnet)
	if err != nil {
		return nil, err
	}
	plugs := map[string]plug{}
	for _, i := range list {
		if p, known := of[i.DeviceID]; known {
			for _, ip := range i.FixedIPs {
				plugs[ip.SubnetID] = p
			}
		}
	}
	return plugs, nil
}

// interfaces lists the project's ports that belong to routers.
func (a *account) interfaces(ctx context.Context, subnet string) ([]ports.Port, error) {
	o := ports.ListOpts{ProjectID: a.project, Limit: pageSize}
	if subnet != "" {
		o.FixedIPs = []ports.FixedIPOpts{{SubnetID: subnet}}
	}
	all, err := pages(ctx, ports.List(a.network, o), ports.ExtractPorts)
	return slices.DeleteFunc(all, func(p ports.Port) bool {
		return !strings.HasPrefix(p.DeviceOwner, "network:") || !strings.Contains(p.DeviceOwner, "router_interface") &&
			!strings.Contains(p.DeviceOwner, "router_replicated_interface")
	}), err
}

// connected maps routers to the ranges that they have an interface in.
func (a *account) connected(ctx context.Context) (map[string][]netip.Prefix, error) {
	list, err := a.interfaces(ctx, "")
	if err != nil || len(list) == 0 {
		return nil, err
	}
	all, err := a.subnetTable().list(ctx, "")
	if err != nil {
		return nil, err
	}
	ranges := map[string]netip.Prefix{}
	for _, s := range all {
		ranges[s.ID], _ = netip.ParsePrefix(s.CIDR) // Neutron's own
	}
	reach := map[string][]netip.Prefix{}
	for _, i := range list {
		for _, ip := range i.FixedIPs {
			if p, ok := ranges[ip.SubnetID]; ok {
				reach[i.DeviceID] = append(reach[i.DeviceID], p)
			}
		}
	}
	return reach, nil
}

// replug moves a subnet to the router of the table that it names.
func (a *account) replug(ctx context.Context, s subnets.Subnet, want driver.Subnet) (map[string]plug, error) {
	plugs, err := a.plugs(ctx, s.ID)
	have := plugs[s.ID]
	if err != nil || have.table == want.RouteTable {
		return plugs, err
	}
	if err := a.unplug(ctx, s, have); err != nil {
		return nil, err
	}
	if want.RouteTable != "" {
		if err := a.plugIn(ctx, s, want.RouteTable); err != nil {
			return nil, err
		}
	}
	return a.plugs(ctx, s.ID)
}

// plugIn puts a router into a subnet, and sets the routes that waited for that.
func (a *account) plugIn(ctx context.Context, s subnets.Subnet, id string) error {
	unlock, err := a.locks.take(ctx, "route-table/"+id)
	if err != nil {
		return err
	}
	defer unlock()
	r, err := a.routerTable().single(ctx, id)
	if err != nil {
		return err
	}
	if r == nil {
		return fault.Conflict.Errorf("route-table %s does not exist", id)
	}
	if _, err := routers.AddInterface(ctx, a.network, r.ID, routers.AddInterfaceOpts{SubnetID: s.ID}).Extract(); err != nil {
		return err
	}
	return a.resetRoutes(ctx, r)
}

func (a *account) resetRoutes(ctx context.Context, r *routers.Router) error {
	reach, err := a.connected(ctx)
	if err != nil {
		return err
	}
	var n routing
	readTags(r.Tags, &n)
	_, err = a.setRoutes(ctx, r, n, reach)
	return err
}

// unplug takes a router out of a subnet, and before that what would keep it there.
func (a *account) unplug(ctx context.Context, s subnets.Subnet, p plug) error {
	if p.router == "" {
		return nil
	}
	unlock, err := a.locks.take(ctx, "route-table/"+p.table)
	if err != nil {
		return err
	}
	defer unlock()
	r, err := a.routerTable().single(ctx, p.table)
	if err != nil || r == nil {
		return err
	}
	cards, err := a.cardsIn(ctx, s.ID)
	if err != nil {
		return err
	}
	for _, c := range cards {
		if err := a.letGo(ctx, floatingips.ListOpts{PortID: c.ID}); err != nil {
			return err
		}
	}
	if err := a.dropRoutes(ctx, r, s); err != nil {
		return err
	}
	_, err = routers.RemoveInterface(ctx, a.network, r.ID, routers.RemoveInterfaceOpts{SubnetID: s.ID}).Extract()
	return unlessGone(err)
}

// dropRoutes takes from a router those whose next hop is in a subnet.
func (a *account) dropRoutes(ctx context.Context, r *routers.Router, s subnets.Subnet) error {
	left := []routers.Route{}
	in, err := netip.ParsePrefix(s.CIDR)
	if err != nil {
		return err
	}
	for _, x := range r.Routes {
		if next, err := netip.ParseAddr(x.NextHop); err != nil || !in.Contains(next) {
			left = append(left, x)
		}
	}
	if len(left) == len(r.Routes) {
		return nil
	}
	return routers.Update(ctx, a.network, r.ID, routers.UpdateOpts{Routes: &left}).Err
}
