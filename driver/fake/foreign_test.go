package fake

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"slices"
	"testing"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

var (
	us   = driver.Owner{Exchange: "x1", Region: "r"}
	them = driver.Owner{Exchange: "x2", Region: "r"}
)

func openAs(t *testing.T, p *Platform, o driver.Owner) *driver.Cloud {
	t.Helper()
	c, err := p.Open(t.Context(), o, "", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// byHand makes a machine with a volume at the platform's own console.
func byHand(t *testing.T, c *driver.Cloud) {
	t.Helper()
	if _, err := c.Volumes.Ensure(t.Context(), driver.Volume{Meta: driver.Meta{ID: "disk", Name: "a disk"}, SizeGB: 7}); err != nil {
		t.Fatal(err)
	}
	i := driver.Instance{Meta: driver.Meta{ID: "box", Name: "a box"}, SKU: "seca.d2xs", VCPU: 1, RAMGiB: 1, BootVolume: "disk", On: true}
	if _, err := c.Instances.Ensure(t.Context(), i); err != nil {
		t.Fatal(err)
	}
}

func straysOf(t *testing.T, c *driver.Cloud) []string {
	t.Helper()
	all := []string{}
	for s, err := range c.Foreign.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, fmt.Sprintf("%s %s %q", s.Kind, s.Native, s.Name))
	}
	slices.Sort(all)
	return all
}

func adopt(ctx context.Context, c *driver.Cloud, kind driver.Kind, native, id string) error {
	return c.Foreign.Adopt(ctx, kind, native, driver.Meta{ID: id, Attempt: 1, Name: id, URN: "urn/" + id})
}

func TestStraysAreWhatNobodyOwns(t *testing.T) {
	p := New(Config{})
	c := openAs(t, p, us)
	if _, err := c.Networks.Ensure(t.Context(), driver.Network{Meta: driver.Meta{ID: "n"}}); err != nil {
		t.Fatal(err)
	}
	byHand(t, p.ByHand())
	if got, want := straysOf(t, c), []string{`instance box "a box"`, `volume disk "a disk"`}; !slices.Equal(got, want) {
		t.Errorf("strays are %v, want %v", got, want)
	}
}

func TestAdoptTagsAndTouchesNothingElse(t *testing.T) {
	p := New(Config{})
	c := openAs(t, p, us)
	byHand(t, p.ByHand())
	if err := adopt(t.Context(), c, driver.InstanceKind, "box", "i1"); !errors.Is(err, fault.Conflict) {
		t.Errorf("a machine whose volume is not ours: %v", err)
	}
	for range 2 { // once more is no error
		if err := adopt(t.Context(), c, driver.VolumeKind, "disk", "v1"); err != nil {
			t.Fatal(err)
		}
	}
	if err := c.Volumes.Delete(t.Context(), "v1"); !errors.Is(err, fault.Conflict) {
		t.Errorf("delete of a volume that a machine of nobody uses: %v", err)
	}
	if err := adopt(t.Context(), c, driver.InstanceKind, "box", "i1"); err != nil {
		t.Fatal(err)
	}
	for i, err := range c.Instances.List(t.Context()) {
		if err != nil || i.ID != "i1" || i.Native != "box" || i.BootVolume != "v1" || !i.On || i.URN != "urn/i1" {
			t.Errorf("the machine is %+v, %v", i, err)
		}
	}
	if left := straysOf(t, c); len(left) > 0 || p.Made(Instances) != 1 || p.Count(Instances) != 1 {
		t.Errorf("strays %v, %d made, %d there", left, p.Made(Instances), p.Count(Instances))
	}
}

func TestAdoptRefusesWhatHasAnOwner(t *testing.T) {
	p := New(Config{})
	ours, theirs := openAs(t, p, us), openAs(t, p, them)
	byHand(t, p.ByHand())
	if err := adopt(t.Context(), theirs, driver.VolumeKind, "disk", "v1"); err != nil {
		t.Fatal(err)
	}
	if err := adopt(t.Context(), ours, driver.VolumeKind, "disk", "v1"); !errors.Is(err, fault.Conflict) {
		t.Errorf("what is theirs: %v", err)
	}
	if err := adopt(t.Context(), theirs, driver.VolumeKind, "disk", "v2"); !errors.Is(err, fault.Conflict) {
		t.Errorf("the same under another id: %v", err)
	}
	if err := adopt(t.Context(), ours, driver.VolumeKind, "none", "v3"); !errors.Is(err, fault.Missing) {
		t.Errorf("what is not there: %v", err)
	}
}

func TestAdoptionOutlivesTheProcess(t *testing.T) {
	dir, persist := t.TempDir(), json.RawMessage(`{"persist":true}`)
	open := func(o driver.Owner) *driver.Cloud {
		c, err := Open(t.Context(), o, dir, persist, nil)
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := open(nobody)
	byHand(t, c)
	c.Close()
	c = open(us)
	if err := adopt(t.Context(), c, driver.VolumeKind, "disk", "v1"); err != nil {
		t.Fatal(err)
	}
	c.Close()
	c = open(us)
	defer c.Close()
	if got := straysOf(t, c); !slices.Equal(got, []string{`instance box "a box"`}) {
		t.Errorf("strays after a restart: %v", got)
	}
	for v, err := range c.Volumes.List(t.Context()) {
		if err != nil || v.ID != "v1" || v.SizeGB != 7 {
			t.Errorf("the volume is %+v, %v", v, err)
		}
	}
}

func TestNetworkThingsAreAdoptedFromTheBottomUp(t *testing.T) {
	p := New(Config{})
	hand, c := p.ByHand(), openAs(t, p, us)
	ctx := t.Context()
	_, err1 := hand.Networks.Ensure(ctx, driver.Network{Meta: driver.Meta{ID: "net"}, CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/16")}})
	_, err2 := hand.Subnets.Ensure(ctx, driver.Subnet{Meta: driver.Meta{ID: "sub"}, Network: "net", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.1.0/24")}})
	n, err3 := hand.NICs.Ensure(ctx, driver.NIC{Meta: driver.Meta{ID: "card"}, Subnet: "sub", Addresses: []netip.Addr{netip.IPv4Unspecified()}})
	if err := errors.Join(err1, err2, err3); err != nil {
		t.Fatal(err)
	}
	for _, s := range []struct {
		kind       driver.Kind
		native, id string
	}{{driver.NetworkKind, "net", "N"}, {driver.SubnetKind, "sub", "S"}, {driver.NICKind, "card", "C"}} {
		if err := adopt(ctx, c, s.kind, s.native, s.id); err != nil {
			t.Fatal(err)
		}
	}
	for have, err := range c.NICs.List(ctx) {
		if err != nil || have.Subnet != "S" || !slices.Equal(have.Addresses, n.Addresses) {
			t.Errorf("the card is %+v, %v", have, err)
		}
	}
	other, err := c.NICs.Ensure(ctx, driver.NIC{Meta: driver.Meta{ID: "C2"}, Subnet: "S", Addresses: []netip.Addr{netip.IPv4Unspecified()}})
	if err != nil || other.Addresses[0] == n.Addresses[0] {
		t.Errorf("a new card gets %v, %v", other.Addresses, err)
	}
}
