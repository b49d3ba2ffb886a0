package drivertest

import (
	"context"
	"crypto/rand"
	"errors"
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// A thing is a pointer to one of the driver's types.
type thing[T any] interface {
	*T
	Base() *driver.Meta
	Satisfies(T) bool
}

// A world is what one subtest has made. All of it goes when the test ends, in
// reverse order.
type world struct {
	*testing.T
	p     Platform
	cloud *driver.Cloud
	inv   *driver.Inventory
}

func newWorld(t *testing.T, p Platform) *world {
	t.Helper()
	w := &world{T: t, p: p, cloud: p.Open(t)}
	inv, err := w.cloud.Inventory(t.Context())
	if err != nil {
		t.Fatalf("Inventory: %v", err)
	}
	w.inv = inv
	return w
}

func networks(c *driver.Cloud) driver.Keeper[driver.Network]             { return c.Networks }
func subnets(c *driver.Cloud) driver.Keeper[driver.Subnet]               { return c.Subnets }
func routeTables(c *driver.Cloud) driver.Keeper[driver.RouteTable]       { return c.RouteTables }
func gateways(c *driver.Cloud) driver.Keeper[driver.Gateway]             { return c.Gateways }
func securityGroups(c *driver.Cloud) driver.Keeper[driver.SecurityGroup] { return c.SecurityGroups }
func publicIPs(c *driver.Cloud) driver.Keeper[driver.PublicIP]           { return c.PublicIPs }
func nics(c *driver.Cloud) driver.Keeper[driver.NIC]                     { return c.NICs }
func images(c *driver.Cloud) driver.Keeper[driver.Image]                 { return c.Images }
func volumes(c *driver.Cloud) driver.Keeper[driver.Volume]               { return c.Volumes }
func instances(c *driver.Cloud) driver.Keeper[driver.Instance]           { return c.Instances }

// need gives the world's keeper of a kind, or skips the test.
func need[T any](w *world, keeper func(*driver.Cloud) driver.Keeper[T]) driver.Keeper[T] {
	w.Helper()
	k := keeper(w.cloud)
	if k == nil {
		w.Skipf("this cloud has no %T", *new(T))
	}
	return k
}

func meta() driver.Meta {
	id := strings.ToLower(rand.Text())
	return driver.Meta{ID: id, Attempt: 1, Name: "test-" + id[:8], URN: "test/" + id}
}

// ensure brings a thing to Ready, as an agent does, and has it removed when
// the test ends.
func ensure[T any, P thing[T]](w *world, keeper func(*driver.Cloud) driver.Keeper[T], want T) T {
	w.Helper()
	k := need(w, keeper)
	forget[T, P](w, k, P(&want).Base().ID)
	return settle[T, P](w, k, want)
}

// forget removes a thing when the test ends, whatever became of it.
func forget[T any, P thing[T]](w *world, k driver.Keeper[T], id string) {
	w.Cleanup(func() {
		all, _ := w.p.patience()
		ctx, stop := context.WithTimeout(context.Background(), all)
		defer stop()
		remove[T, P](ctx, w, k, id)
	})
}

// settle calls Ensure until the thing is Ready and as wanted.
func settle[T any, P thing[T]](w *world, k driver.Keeper[T], want T) T {
	w.Helper()
	var have T
	w.await(fmt.Sprintf("Ensure(%T %s)", want, P(&want).Base().ID), func() (bool, string) {
		var err error
		have, err = k.Ensure(w.Context(), want)
		if err != nil {
			if !passing(err) {
				w.Fatalf("Ensure(%+v): %v", want, err)
			}
			return false, err.Error()
		}
		m := P(&have).Base()
		if m.State == driver.Failed {
			w.Fatalf("Ensure(%+v): failed: %s", want, m.Detail)
		}
		return m.State == driver.Ready && P(&have).Satisfies(want), fmt.Sprintf("%s: %+v", m.State, have)
	})
	if id := P(&have).Base().ID; id != P(&want).Base().ID {
		w.Fatalf("Ensure(%s) returned the thing %s", P(&want).Base().ID, id)
	}
	return have
}

// remove deletes a thing and waits until the list lacks it.
func remove[T any, P thing[T]](ctx context.Context, w *world, k driver.Keeper[T], id string) {
	w.Helper()
	_, step := w.p.patience()
	for {
		err := k.Delete(ctx, id)
		if err != nil && !passing(err) && !errors.Is(err, fault.Conflict) {
			w.Errorf("Delete(%s): %v", id, err)
			return
		}
		if err == nil {
			if _, there := find[T, P](ctx, w, k, id); !there {
				return
			}
		}
		select {
		case <-ctx.Done():
			w.Errorf("Delete(%s): it is still there: %v", id, err)
			return
		case <-time.After(step):
		}
	}
}

func passing(err error) bool {
	k := fault.KindOf(err)
	return k == fault.Unavailable || k == ""
}

// list gives the whole list by id.
func list[T any, P thing[T]](ctx context.Context, w *world, k driver.Keeper[T]) map[string]T {
	w.Helper()
	all := map[string]T{}
	w.await("List", func() (bool, string) {
		clear(all)
		for have, err := range k.List(ctx) {
			if err != nil {
				if !passing(err) {
					w.Fatalf("List: %v", err)
				}
				return false, err.Error()
			}
			id := P(&have).Base().ID
			if _, twice := all[id]; twice {
				w.Errorf("List has %s twice", id)
			}
			all[id] = have
		}
		return true, ""
	})
	return all
}

// find looks for a thing in the list.
func find[T any, P thing[T]](ctx context.Context, w *world, k driver.Keeper[T], id string) (T, bool) {
	w.Helper()
	have, ok := list[T, P](ctx, w, k)[id]
	return have, ok
}

func first[S any](all []S, name func(S) string, asked string) string {
	if asked == "" && len(all) > 0 {
		return name(all[0])
	}
	return asked
}

func (w *world) wantNetwork() driver.Network {
	sku := first(w.inv.NetworkSKUs, func(s driver.NetworkSKU) string { return s.Name }, w.p.NetworkSKU)
	return driver.Network{Meta: meta(), CIDRs: []netip.Prefix{netip.MustParsePrefix("10.20.0.0/16")}, SKU: sku}
}

func (w *world) network() driver.Network { return ensure(w, networks, w.wantNetwork()) }

func (w *world) wantSubnet(network string) driver.Subnet {
	s := driver.Subnet{
		Meta: meta(), Network: network, Zone: w.inv.Zones[0],
		CIDRs: []netip.Prefix{netip.MustParsePrefix("10.20.3.0/24")},
	}
	if w.cloud.RouteTables != nil {
		s.RouteTable = ensure(w, routeTables, driver.RouteTable{Meta: meta(), Network: network}).ID
	}
	return s
}

func (w *world) subnet() driver.Subnet {
	w.Helper()
	need(w, subnets)
	return ensure(w, subnets, w.wantSubnet(w.network().ID))
}

func (w *world) wantGateway() driver.Gateway { return driver.Gateway{Meta: meta()} }

func (w *world) wantRouteTable() driver.RouteTable {
	r := driver.RouteTable{Meta: meta(), Network: w.network().ID}
	if w.cloud.Gateways != nil {
		gateway := ensure(w, gateways, w.wantGateway())
		r.Routes = []driver.Route{{Destination: netip.MustParsePrefix("0.0.0.0/0"), Gateway: gateway.ID}}
	}
	return r
}

func (w *world) wantSecurityGroup() driver.SecurityGroup {
	return driver.SecurityGroup{Meta: meta(), Rules: []driver.Rule{
		{Ingress: true, Family: 4, Protocol: driver.TCP, Ports: []driver.PortRange{{From: 80, To: 80}, {From: 8000, To: 8010}}},
		{Ingress: true, Family: 4, Protocol: driver.ICMPAny, ICMP: &driver.ICMP{Type: 8}},
		{Ingress: true, Protocol: driver.TCP, Ports: []driver.PortRange{{From: 22, To: 22}}, Peers: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
		{Protocol: driver.AnyProto},
	}}
}

func (w *world) wantPublicIP() driver.PublicIP { return driver.PublicIP{Meta: meta(), Family: 4} }

func (w *world) wantNIC(subnet string) driver.NIC {
	return driver.NIC{Meta: meta(), Subnet: subnet, Addresses: []netip.Addr{netip.IPv4Unspecified()}}
}

func (w *world) wantVolume() driver.Volume {
	sku := first(w.inv.StorageSKUs, func(s driver.StorageSKU) string { return s.Name }, w.p.StorageSKU)
	return driver.Volume{Meta: meta(), SizeGB: max(1, w.p.VolumeGB), SKU: sku}
}

func (w *world) volume() driver.Volume { return ensure(w, volumes, w.wantVolume()) }

// bootVolume gives a volume from which an instance starts.
func (w *world) bootVolume() driver.Volume {
	v := w.wantVolume()
	if image := w.image(); image != "" {
		v.Image = driver.OfferedImage(image)
	}
	return ensure(w, volumes, v)
}

// image names an offered image, or is empty.
func (w *world) image() string {
	return first(w.inv.Images, func(i driver.OfferImage) string { return i.Name }, w.p.Image)
}

func (w *world) wantImage(volume string) driver.Image {
	return driver.Image{Meta: meta(), Volume: volume, Arch: "amd64"}
}

// wantInstance gives a machine that is off, with a card if the cloud has cards.
func (w *world) wantInstance() driver.Instance {
	i := driver.Instance{Meta: meta(), Zone: w.inv.Zones[0], UserData: w.p.UserData}
	for _, sku := range w.inv.InstanceSKUs {
		if w.p.InstanceSKU == "" || sku.Name == w.p.InstanceSKU {
			i.SKU, i.VCPU, i.RAMGiB = sku.Name, sku.VCPU, sku.RAMGiB
			break
		}
	}
	if w.cloud.NICs != nil {
		i.NICs = []string{ensure(w, nics, w.wantNIC(w.subnet().ID)).ID}
	}
	i.BootVolume = w.bootVolume().ID
	return i
}
