package drivertest

import (
	"errors"
	"fmt"
	"net/netip"
	"testing"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

func nicAddress(w *world) {
	need(w, nics)
	s := w.subnet()
	one := ensure(w, nics, w.wantNIC(s.ID))
	two := ensure(w, nics, w.wantNIC(s.ID))
	for _, n := range []driver.NIC{one, two} {
		if len(n.Addresses) != 1 || !s.CIDRs[0].Contains(n.Addresses[0]) {
			w.Errorf("addresses %v are not one of %s", n.Addresses, s.CIDRs[0])
		}
		if n.MAC == "" {
			w.Error("no MAC address")
		}
	}
	if one.Addresses[0] == two.Addresses[0] || one.MAC == two.MAC {
		w.Errorf("two cards share %s or %s", one.Addresses[0], one.MAC)
	}
	asked := w.wantNIC(s.ID)
	asked.Addresses = []netip.Addr{netip.MustParseAddr("10.20.3.77")}
	if got := ensure(w, nics, asked); got.Addresses[0] != asked.Addresses[0] {
		w.Errorf("asked for %s, got %s", asked.Addresses[0], got.Addresses[0])
	}
}

func publicIPUnique(w *world) {
	need(w, publicIPs)
	one := ensure(w, publicIPs, w.wantPublicIP())
	two := ensure(w, publicIPs, w.wantPublicIP())
	if !one.Address.IsValid() || !two.Address.IsValid() {
		w.Fatalf("addresses %v and %v are not both valid", one.Address, two.Address)
	}
	if one.Address == two.Address && !disjoint(one.Forwards, two.Forwards) {
		w.Errorf("two public addresses share %s and %v, %v", one.Address, one.Forwards, two.Forwards)
	}
	if w.cloud.NICs == nil {
		return
	}
	want := w.wantNIC(w.subnet().ID)
	want.PublicIPs = []string{one.ID}
	nic := ensure(w, nics, want)
	w.await("the public address to be attached", func() (bool, string) {
		have, _ := find[driver.PublicIP](w.Context(), w, w.cloud.PublicIPs, one.ID)
		return have.AttachedTo == nic.ID, fmt.Sprintf("attached to %q", have.AttachedTo)
	})
}

func disjoint(a, b []driver.Forward) bool {
	seen := map[string]bool{}
	for _, f := range a {
		seen[fmt.Sprint(f.Protocol, f.Outside)] = true
	}
	for _, f := range b {
		if seen[fmt.Sprint(f.Protocol, f.Outside)] {
			return false
		}
	}
	return len(a) > 0 && len(b) > 0
}

func groupRules(w *world) {
	k := need(w, securityGroups)
	want := w.wantSecurityGroup()
	one := ensure(w, securityGroups, want)
	want.Rules = want.Rules[1:3]
	two := settle(w, k, want)
	same(w, one, two)
	if have := listed(w, k, want.ID); !have.Satisfies(want) {
		w.Errorf("listed as\n%+v, which does not satisfy\n%+v", have, want)
	}
}

func volumeGrows(w *world) {
	k := need(w, volumes)
	want := w.wantVolume()
	one := ensure(w, volumes, want)
	want.SizeGB++
	two := settle(w, k, want)
	same(w, one, two)
	if two.SizeGB != want.SizeGB {
		w.Fatalf("grew to %d GB, want %d", two.SizeGB, want.SizeGB)
	}
	smaller := want
	smaller.SizeGB--
	if three, err := k.Ensure(w.Context(), smaller); err == nil && three.SizeGB < want.SizeGB {
		w.Errorf("shrank to %d GB", three.SizeGB)
	}
	if have := listed(w, k, want.ID); have.SizeGB != want.SizeGB {
		w.Errorf("listed with %d GB, want %d", have.SizeGB, want.SizeGB)
	}
}

// lostVolume checks that a blank volume never takes the place of one that held
// data: see driver.Meta.Lived.
func lostVolume(w *world) {
	k := need(w, volumes)
	want := w.wantVolume()
	want.Lived = true
	forget(w, k, want.ID)
	if have, err := k.Ensure(w.Context(), want); !errors.Is(err, fault.Missing) {
		w.Errorf("Ensure of a volume that lived and is not there: %s, %v; want missing", have.State, err)
	}
	want.Lived = false
	settle(w, k, want)
	want.Lived = true
	settle(w, k, want)
}

func volumeFromImage(w *world) {
	need(w, volumes)
	if w.image() == "" {
		w.Skip("no image is on offer")
	}
	w.bootVolume()
	want := w.wantVolume()
	want.Image = driver.OfferedImage("no-such-image")
	k := w.cloud.Volumes
	forget(w, k, want.ID)
	have, err := k.Ensure(w.Context(), want)
	if err == nil && have.State != driver.Failed {
		w.Errorf("a volume from an image that is not on offer is %s", have.State)
	}
	if err != nil && !errors.Is(err, fault.Invalid) && !errors.Is(err, fault.Missing) {
		w.Errorf("Ensure from an image that is not on offer: %v (%s), want invalid or missing", err, fault.KindOf(err))
	}
}

// volumeFromOwnImage has a volume start from an image that was made of another.
func volumeFromOwnImage(w *world) {
	need(w, volumes)
	need(w, images)
	want := w.wantVolume()
	want.Image = ensure(w, images, w.wantImage(w.bootVolume().ID)).ID
	ensure(w, volumes, want)
	want = w.wantVolume()
	want.Image = meta().ID
	forget(w, w.cloud.Volumes, want.ID)
	if have, err := w.cloud.Volumes.Ensure(w.Context(), want); err == nil && have.State == driver.Ready {
		w.Errorf("a volume from an image that nobody has made is %s", have.State)
	}
}

// attachedVolume checks that data outlives a mistake.
func attachedVolume(w *world) {
	need(w, instances)
	i := ensure(w, instances, w.wantInstance())
	err := w.cloud.Volumes.Delete(w.Context(), i.BootVolume)
	if !errors.Is(err, fault.Conflict) {
		w.Errorf("Delete of a volume in use: %v, want a conflict", err)
	}
	have, ok := find(w.Context(), w, w.cloud.Volumes, i.BootVolume)
	if !ok || have.State == driver.Leaving {
		w.Errorf("the volume in use is %q after the attempt", have.State)
	}
	if have.AttachedTo != i.ID {
		w.Errorf("the volume is attached to %q, want %q", have.AttachedTo, i.ID)
	}
}

func dataVolumes(w *world) {
	k := need(w, instances)
	data := w.volume()
	want := w.wantInstance()
	want.On = true
	one := ensure(w, instances, want)

	want.DataVolumes = []string{data.ID}
	two := settle(w, k, want)
	same(w, one, two)
	if have := listed(w, w.cloud.Volumes, data.ID); have.AttachedTo != want.ID {
		w.Errorf("the attached volume says %q, want %q", have.AttachedTo, want.ID)
	}
	want.DataVolumes = nil
	settle(w, k, want)
	if have := listed(w, w.cloud.Volumes, data.ID); have.AttachedTo != "" {
		w.Errorf("the detached volume says %q", have.AttachedTo)
	}
	if err := w.cloud.Volumes.Delete(w.Context(), data.ID); err != nil {
		w.Errorf("Delete of the detached volume: %v", err)
	}
}

func power(w *world) {
	k := need(w, instances)
	want := w.wantInstance()
	if have := ensure(w, instances, want); have.On {
		w.Error("a machine that is wanted off is on")
	}
	want.On = true
	on := settle(w, k, want)
	if on.PowerSince.IsZero() {
		w.Error("a machine that is on does not say since when")
	}
	want.Restarts++
	if have := settle(w, k, want); !have.On || have.Restarts < want.Restarts {
		w.Errorf("after a restart: on %v, restarts %d", have.On, have.Restarts)
	}
	want.On = false
	settle(w, k, want)
	if have := listed(w, k, want.ID); have.On {
		w.Error("listed as on after it was switched off")
	}
	want.On = true
	same(w, on, settle(w, k, want))
}

func restartOnce(w *world) {
	k := need(w, instances)
	want := w.wantInstance()
	want.On = true
	ensure(w, instances, want)
	want.Restarts = 1
	one := settle(w, k, want)
	two := settle(w, k, want)
	three := settle(w, instances(w.p.Open(w.T)), want)
	if !two.PowerSince.Equal(one.PowerSince) || !three.PowerSince.Equal(one.PowerSince) {
		w.Errorf("one restart was asked for, and power is on since %v, %v, %v", one.PowerSince, two.PowerSince, three.PowerSince)
	}
	if two.Restarts != 1 || three.Restarts != 1 {
		w.Errorf("restarts are %d and %d, want 1", two.Restarts, three.Restarts)
	}
}

func reopenRunning(w *world) {
	need(w, instances)
	want := w.wantInstance()
	want.On = true
	one := ensure(w, instances, want)
	two := listed(w, instances(w.p.Open(w.T)), want.ID)
	same(w, one, two)
	if !two.On || two.State != driver.Ready || !two.PowerSince.Equal(one.PowerSince) {
		w.Errorf("found again as %s, on %v since %v; it was on since %v", two.State, two.On, two.PowerSince, one.PowerSince)
	}
}

func console(w *world) {
	need(w, instances)
	if w.cloud.Console == nil {
		w.Skip("this cloud keeps no console")
	}
	want := w.wantInstance()
	want.On = true
	ensure(w, instances, want)
	var text []byte
	w.await("Console", func() (bool, string) {
		var err error
		text, err = w.cloud.Console(w.Context(), want.ID, 1<<20)
		return err == nil && len(text) >= 8, fmt.Sprintf("%d bytes, %v", len(text), err)
	})
	tail, err := w.cloud.Console(w.Context(), want.ID, 8)
	if err != nil || len(tail) != 8 {
		w.Errorf("Console(tail 8) = %q, %v", tail, err)
	}
	if _, err := w.cloud.Console(w.Context(), meta().ID, 8); !errors.Is(err, fault.Missing) {
		w.Errorf("Console of nothing: %v, want missing", err)
	}
}

func deleteRunning(w *world) {
	k := need(w, instances)
	want := w.wantInstance()
	want.On = true
	ensure(w, instances, want)
	remove(w.Context(), w, k, want.ID)
	if have := listed(w, w.cloud.Volumes, want.BootVolume); have.AttachedTo != "" {
		w.Errorf("the volume of the deleted machine is still attached to %s", have.AttachedTo)
	}
}

// everythingGoes checks that the tests before it left nothing behind.
func everythingGoes(t *testing.T, c *driver.Cloud) {
	empty(t, "network", c.Networks)
	empty(t, "subnet", c.Subnets)
	empty(t, "route-table", c.RouteTables)
	empty(t, "gateway", c.Gateways)
	empty(t, "security-group", c.SecurityGroups)
	empty(t, "public-ip", c.PublicIPs)
	empty(t, "nic", c.NICs)
	empty(t, "image", c.Images)
	empty(t, "volume", c.Volumes)
	empty(t, "instance", c.Instances)
}

func empty[T any](t *testing.T, kind string, k driver.Keeper[T]) {
	if k == nil {
		return
	}
	for have, err := range k.List(t.Context()) {
		if err != nil {
			t.Errorf("List of %s: %v", kind, err)
			return
		}
		t.Errorf("left behind: %s %+v", kind, have)
	}
}
