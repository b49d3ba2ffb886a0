package fake

import (
	"context"
	"encoding/json"
	"fmt"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// An account is all that one owner has on the platform. Platform.mu guards it.
type account struct {
	p     *Platform
	owner driver.Owner

	networks       *table[driver.Network]
	subnets        *table[driver.Subnet]
	routeTables    *table[driver.RouteTable]
	gateways       *table[driver.Gateway]
	securityGroups *table[driver.SecurityGroup]
	publicIPs      *table[driver.PublicIP]
	nics           *table[driver.NIC]
	images         *table[driver.Image]
	volumes        *table[driver.Volume]
	instances      *table[driver.Instance]

	users     map[string]map[string]string // id of a thing → ids of those that hold it → their kind
	addresses map[string]*pool             // by subnet
}

func newAccount(p *Platform, owner driver.Owner) *account {
	a := &account{p: p, owner: owner, users: map[string]map[string]string{}, addresses: map[string]*pool{}}
	a.networks = wire[driver.Network, *driver.Network](a, a.networkRules())
	a.subnets = wire[driver.Subnet, *driver.Subnet](a, a.subnetRules())
	a.routeTables = wire[driver.RouteTable, *driver.RouteTable](a, a.routeTableRules())
	a.gateways = wire[driver.Gateway, *driver.Gateway](a, a.gatewayRules())
	a.securityGroups = wire[driver.SecurityGroup, *driver.SecurityGroup](a, a.securityGroupRules())
	a.publicIPs = wire[driver.PublicIP, *driver.PublicIP](a, a.publicIPRules())
	a.nics = wire[driver.NIC, *driver.NIC](a, a.nicRules())
	a.images = wire[driver.Image, *driver.Image](a, a.imageRules())
	a.volumes = wire[driver.Volume, *driver.Volume](a, a.volumeRules())
	a.instances = wire[driver.Instance, *driver.Instance](a, a.instanceRules())
	return a
}

// A rack is what a table can do whatever its type.
type rack struct {
	kind string
	has  func(id string) bool
	drop func(id string) bool
	raw  func(json.RawMessage) error
	each func(func(string, any) error) error

	stray  func(yield func(driver.Stray) bool) bool // all, as strays
	take   func(native string, as driver.Meta) error
	native func(native string) (id string, ok bool)
}

func rackOf[T any](t *table[T]) rack {
	return rack{
		kind: t.kind, has: func(id string) bool { return t.rows[id] != nil }, drop: t.drop, raw: t.raw, each: t.each,
		stray: t.stray, take: t.take, native: t.native,
	}
}

func (a *account) racks() []rack {
	return []rack{
		rackOf(a.networks), rackOf(a.gateways), rackOf(a.securityGroups), rackOf(a.publicIPs), rackOf(a.volumes),
		rackOf(a.images), rackOf(a.routeTables), rackOf(a.subnets), rackOf(a.nics), rackOf(a.instances),
	}
}

func (a *account) has(id string) bool {
	return a.networks.rows[id] != nil || a.subnets.rows[id] != nil || a.routeTables.rows[id] != nil ||
		a.gateways.rows[id] != nil || a.securityGroups.rows[id] != nil || a.publicIPs.rows[id] != nil ||
		a.nics.rows[id] != nil || a.volumes.rows[id] != nil || a.instances.rows[id] != nil
}

// usersOf are those that hold a thing, also by hand.
func (a *account) usersOf(id, native string) map[string]string {
	if by := a.p.account(nobody).users[native]; len(a.users[id]) == 0 && a.owner != nobody {
		return by
	}
	return a.users[id]
}

func (a *account) use(ref, by, kind string) {
	m := a.users[ref]
	if m == nil {
		m = map[string]string{}
		a.users[ref] = m
	}
	m[by] = kind
}

// holder returns the one of a kind that holds a thing.
func (a *account) holder(ref, kind string) string {
	for id, k := range a.users[ref] {
		if k == kind {
			return id
		}
	}
	return ""
}

func (a *account) console(ctx context.Context, id string, tail int) ([]byte, error) {
	if _, err := a.p.gate(ctx, "console", Instances); err != nil {
		return nil, err
	}
	a.p.mu.Lock()
	defer a.p.mu.Unlock()
	r := a.instances.rows[id]
	if r == nil {
		return nil, fault.Missing.Errorf("instance %s does not exist", id)
	}
	var text []byte
	if !r.Have.PowerSince.IsZero() {
		text = fmt.Appendf(nil, "%s booting\n%s login: \n", r.Have.Name, r.Have.Name)
	}
	return text[max(0, len(text)-max(0, tail)):], nil
}
