package agent

import (
	"context"
	"net/netip"
	"slices"
	"testing"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/driver/fake"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/wire"
)

// byHand makes a machine with its disk and its network at the platform itself.
func (s *stage) byHand() {
	s.Helper()
	hand, ctx := s.platform.ByHand(), s.Context()
	if _, err := hand.Volumes.Ensure(ctx, driver.Volume{Meta: driver.Meta{ID: "h-disk"}, SizeGB: 7, SKU: "seca.rd100"}); err != nil {
		s.Fatal(err)
	}
	if _, err := hand.Networks.Ensure(ctx, driver.Network{Meta: driver.Meta{ID: "h-net"}, CIDRs: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}}); err != nil {
		s.Fatal(err)
	}
	if _, err := hand.Instances.Ensure(ctx, driver.Instance{
		Meta: driver.Meta{ID: "h-box"}, SKU: "big.one", VCPU: 1, RAMGiB: 1, BootVolume: "h-disk", On: true,
	}); err != nil {
		s.Fatal(err)
	}
}

// importing says at the exchange that a thing is to be taken over.
func (s *stage) importing(kind, name, native string, power seca.Power, spec any) {
	w := resource(name, kind, urnOf(kind, name), spec)
	w.Adopt, w.Power = native, power
	s.want(w)
}

func (s *stage) importBox() {
	s.importing("instance", "vm", "h-box", seca.On, seca.InstanceSpec{
		SKURef: sku("seca.d2xs"), Zone: "a", BootVolume: seca.VolumeReference{DeviceRef: ref("block-storage", "boot")},
	})
	s.importing("block-storage", "boot", "h-disk", "", seca.BlockStorageSpec{SizeGB: 7, SKURef: sku("seca.rd100")})
	s.importing("network", "net", "h-net", "", seca.NetworkSpec{CIDR: seca.CIDR{IPv4: "10.9.0.0/16"}, SKURef: sku("seca.n1k")})
}

// touched counts the calls that make, change or remove something.
func (s *stage) touched() (n int) {
	for _, kind := range []string{fake.Instances, fake.Volumes, fake.Networks} {
		n += s.platform.Calls("ensure", kind) + s.platform.Calls("delete", kind)
	}
	return n
}

func TestImportAdoptsAndTouchesNothing(t *testing.T) {
	s := newStage(t, fake.Config{})
	s.byHand()
	before := s.touched()
	s.start()
	s.importBox() // the machine is heard of before its disk
	s.active("vm", "boot", "net")
	if n := s.touched() - before; n != 0 {
		t.Errorf("the platform was asked %d times for more than the adoption", n)
	}
	if o := s.get("vm"); o.Native != "h-box" || status[seca.InstanceStatus](t, o).PowerState != seca.On {
		t.Errorf("the machine is %+v", o)
	}
	for _, kind := range []string{fake.Instances, fake.Volumes, fake.Networks} {
		if s.platform.Count(kind) != 1 || s.platform.Made(kind) != 1 {
			t.Errorf("%d %ss, %d made", s.platform.Count(kind), kind, s.platform.Made(kind))
		}
	}
}

// TestImportNeverMakesAThing has every way in which the thing is not to be had.
func TestImportNeverMakesAThing(t *testing.T) {
	s := newStage(t, fake.Config{})
	s.byHand()
	before := s.touched()
	other, _ := s.platform.Open(t.Context(), driver.Owner{Exchange: "x9", Region: "r"}, "", nil, nil)
	if err := other.Foreign.Adopt(t.Context(), driver.NetworkKind, "h-net", driver.Meta{ID: "theirs"}); err != nil {
		t.Fatal(err)
	}
	s.start()
	s.importing("network", "net", "h-net", "", seca.NetworkSpec{CIDR: seca.CIDR{IPv4: "10.9.0.0/16"}, SKURef: sku("seca.n1k")})
	s.importing("internet-gateway", "gw", "nothing", "", seca.InternetGatewaySpec{})
	s.importing("block-storage", "vol", "nothing", "", seca.BlockStorageSpec{SizeGB: 7, SKURef: sku("seca.rd100")})
	for _, id := range []string{"net", "gw", "vol"} {
		s.await(id+" is refused", func() bool { o := s.get(id); return o.State == seca.Error && o.Reason == "NotAdopted" })
	}
	if n := s.touched() - before; n != 0 || s.platform.Made(fake.Gateways) != 0 {
		t.Errorf("the platform was asked %d times for more than the adoption", n)
	}
}

func TestImportedThingThatVanishesIsNotMade(t *testing.T) {
	s := newStage(t, fake.Config{})
	s.byHand()
	s.start()
	s.importing("network", "net", "h-net", "", seca.NetworkSpec{CIDR: seca.CIDR{IPv4: "10.9.0.0/16"}, SKURef: sku("seca.n1k")})
	s.active("net")
	s.platform.Vanish("net")
	s.await("lost", func() bool { o := s.get("net"); return o.State == seca.Error && o.Reason == "Lost" })
	if s.platform.Made(fake.Networks) != 1 {
		t.Error("another was made")
	}
}

func TestImportedThingThatDiffersIsNotChanged(t *testing.T) {
	s := newStage(t, fake.Config{})
	s.byHand()
	before := s.touched()
	s.start()
	s.importing("block-storage", "boot", "h-disk", "", seca.BlockStorageSpec{SizeGB: 9, SKURef: sku("seca.rd100")})
	s.await("differs", func() bool { o := s.get("boot"); return o.State == seca.Error && o.Reason == "Differs" })
	if n := s.touched() - before; n != 0 {
		t.Errorf("the platform was asked %d times for more than the adoption", n)
	}
	s.importing("block-storage", "boot", "h-disk", "", seca.BlockStorageSpec{SizeGB: 10, SKURef: sku("seca.rd100")}) // now somebody wants it so
	s.active("boot")
	if v := status[seca.BlockStorageStatus](t, s.get("boot")); v.SizeGB != 10 {
		t.Errorf("the volume is %+v", v)
	}
}

// TestImportSurvivesTheAgent kills the agent at each moment of an adoption.
func TestImportSurvivesTheAgent(t *testing.T) {
	for name, f := range map[string]fake.Fault{
		"before the call": {Op: "adopt", Hang: true, Times: 1e6},
		"after the call":  {Op: "adopt", Hang: true, Done: true, Times: 1e6},
		"answer lost":     {Op: "adopt", Done: true, Times: 2},
	} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, fake.Config{})
			s.byHand()
			before := s.touched()
			s.platform.Fail(f)
			s.start()
			s.importBox()
			s.await("a call", func() bool { return s.platform.Calls("adopt", fake.Networks) > 0 })
			s.stop()
			s.platform.Calm()
			s.start()
			s.active("vm", "boot", "net")
			if n := s.touched() - before; n != 0 {
				t.Errorf("the platform was asked %d times for more than the adoption", n)
			}
		})
	}
}

func TestDeletedImportGoesWithItsThing(t *testing.T) {
	s := newStage(t, fake.Config{})
	s.byHand()
	s.start()
	s.importBox()
	s.active("vm", "boot", "net")
	s.del("vm", "boot", "net")
	s.isGone("vm", "boot", "net")
	if s.platform.Count(fake.Instances)+s.platform.Count(fake.Volumes)+s.platform.Count(fake.Networks) != 0 {
		t.Error("something is left")
	}
}

func TestImportThatIsWithdrawnLeavesTheThing(t *testing.T) {
	s := newStage(t, fake.Config{})
	s.byHand()
	s.platform.Fail(fake.Fault{Op: "adopt", Times: 1e6, Err: fault.Conflict.Errorf("not now")})
	s.start()
	s.importing("network", "net", "h-net", "", seca.NetworkSpec{CIDR: seca.CIDR{IPv4: "10.9.0.0/16"}, SKURef: sku("seca.n1k")})
	s.await("refused", func() bool { return s.get("net").Reason == "NotAdopted" })
	s.del("net")
	s.isGone("net")
	if s.platform.Count(fake.Networks) != 1 {
		t.Error("what was never ours is gone")
	}
}

func TestStraysAreDescribedInSECAsWords(t *testing.T) {
	s := newStage(t, fake.Config{})
	s.byHand()
	ctx := t.Context()
	if _, err := s.platform.ByHand().SecurityGroups.Ensure(ctx, driver.SecurityGroup{Meta: driver.Meta{ID: "h-sg"}, Rules: []driver.Rule{
		{Ingress: true, Family: 4, Protocol: driver.TCP, Ports: []driver.PortRange{{From: 80, To: 90}, {From: 443, To: 443}}, Peers: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}},
		{Ingress: true, Protocol: driver.UDP, Ports: []driver.PortRange{{From: 1, To: 2}, {From: 5, To: 9}}},
	}}); err != nil {
		t.Fatal(err)
	}
	cloud, _ := s.platform.Open(ctx, owner, "", nil, nil)
	a := &agent{cloud: cloud, throttle: newThrottle(Config{}, cloud.Limits, func(bool) {})}
	all, err := a.foreigners(context.WithoutCancel(ctx))
	if err != nil {
		t.Fatal(err)
	}
	by := map[string]wire.Stray{}
	for _, x := range all {
		by[x.Native] = x
	}
	if x := by["h-box"]; string(x.Spec) != `{"skuRef":{"resource":"skus/seca.d2xs"},"zone":"a","bootVolume":{"deviceRef":{"resource":"foreign:h-disk"}}}` ||
		x.Power != seca.On || !slices.Equal(x.Notes, []string{`its size "big.one" is not on offer; seca.d2xs has as much`}) || len(x.Problems) > 0 {
		t.Errorf("the machine is %+v: %s", x, x.Spec)
	}
	if x := by["h-disk"]; string(x.Spec) != `{"sizeGB":7,"skuRef":{"resource":"skus/seca.rd100"}}` || x.Kind != "block-storage" {
		t.Errorf("the disk is %+v: %s", x, x.Spec)
	}
	if x := by["h-sg"]; !slices.Equal(x.Problems, []string{"SECA has no words for its rule 2"}) {
		t.Errorf("the group is %+v: %s", x, x.Spec)
	}
}
