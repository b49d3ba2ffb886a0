package qemu

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// hostIn is a host for tests that need no QEMU.
func hostIn(t *testing.T, dir string, owner driver.Owner, config string) *host {
	t.Helper()
	c, err := decode([]byte(config), dir)
	if err != nil {
		t.Fatal(err)
	}
	h := newHost(owner, dir, c, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err := os.MkdirAll(filepath.Join(h.root, "tmp"), 0o700); err != nil {
		t.Fatal(err)
	}
	h.qemu, h.accel = oldest, "tcg"
	return h
}

func TestRecordsSurviveAndBelongToOneOwner(t *testing.T) {
	dir := t.TempDir()
	h := hostIn(t, dir, us, `{}`)
	ids := []string{"plain-id_1.x", "../../escape", "with/slash", strings.Repeat("long", 100), ".hidden"}
	for _, id := range ids {
		g := driver.Gateway{Meta: driver.Meta{ID: id, Attempt: 3, URN: "u/" + id}, EgressOnly: true}
		if err := h.gateways.create(g, nil); err != nil {
			t.Fatal(err)
		}
	}
	again := hostIn(t, dir, us, `{}`)
	for _, id := range ids {
		g, err := again.gateways.get(id)
		if err != nil || g.ID != id || !g.EgressOnly || g.Attempt != 3 || g.State != driver.Ready || g.Native == "" {
			t.Errorf("get(%q) = %+v, %v", id, g, err)
		}
		if !strings.HasPrefix(again.gateways.dir(id), again.root+"/gateways/") {
			t.Errorf("%q is kept in %s", id, again.gateways.dir(id))
		}
	}
	all, err := again.gateways.all()
	if err != nil || len(all) != len(ids) {
		t.Errorf("all() = %d things, %v, want %d", len(all), err, len(ids))
	}
	other := hostIn(t, dir, driver.Owner{Exchange: "x2", Region: us.Region}, `{}`)
	if all, err := other.gateways.all(); err != nil || len(all) != 0 {
		t.Errorf("another exchange sees %v, %v", all, err)
	}
}

func TestARecordCopiedFromAnotherOwnerIsNotOurs(t *testing.T) {
	dir := t.TempDir()
	h, other := hostIn(t, dir, us, `{}`), hostIn(t, dir, driver.Owner{Exchange: "x2", Region: "r"}, `{}`)
	if err := other.gateways.create(driver.Gateway{Meta: meta("g")}, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.CopyFS(h.root, os.DirFS(other.root)); err != nil {
		t.Fatal(err)
	}
	if _, err := h.gateways.get("g"); !errors.Is(err, fault.Missing) {
		t.Errorf("get: %v, want missing", err)
	}
}

func TestABrokenRecordIsNoList(t *testing.T) {
	h := hostIn(t, t.TempDir(), us, `{}`)
	if err := h.gateways.create(driver.Gateway{Meta: meta("g")}, nil); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(filepath.Join(h.gateways.dir("g"), "record.json"), []byte("{"), 0o600); err != nil {
		t.Fatal(err)
	}
	for _, err := range h.gatewayKeeper().List(t.Context()) {
		if !errors.Is(err, fault.Unavailable) {
			t.Errorf("List: %v, want unavailable", err)
		}
		return
	}
	t.Error("List is empty, as if there were nothing")
}

func TestSweepRemovesOnlyWhatTheDeadHaveLeft(t *testing.T) {
	h := hostIn(t, t.TempDir(), us, `{}`)
	ours, err := h.stage()
	if err != nil {
		t.Fatal(err)
	}
	for _, dead := range []string{"4194399.1.1", fmt.Sprintf("%d.1.1", os.Getpid()), "rubbish"} {
		if err := os.MkdirAll(filepath.Join(h.root, "tmp", dead, "disk"), 0o700); err != nil {
			t.Fatal(err)
		}
	}
	if err := h.sweep(); err != nil {
		t.Fatal(err)
	}
	left, err := os.ReadDir(filepath.Join(h.root, "tmp"))
	if err != nil || len(left) != 1 || left[0].Name() != filepath.Base(ours) {
		t.Errorf("left are %v, %v, want %s", left, err, filepath.Base(ours))
	}
}

func TestPublicAddressesAreUniqueAcrossRegionsOfADirectory(t *testing.T) {
	dir := t.TempDir()
	const regions, each = 4, 5
	var all sync.WaitGroup
	addresses := make(chan netip.Addr, regions*each)
	for r := range regions {
		owner := driver.Owner{Exchange: "x1", Region: fmt.Sprintf("r%d", r)}
		k := hostIn(t, dir, owner, `{"publicIPs": ["127.9.9.1-127.9.9.19", "127.9.9.30"]}`).publicIPKeeper()
		for n := range each {
			all.Go(func() {
				p, err := k.Ensure(t.Context(), driver.PublicIP{Meta: meta(fmt.Sprint("p", n)), Family: 4})
				if err != nil {
					t.Error(err)
				}
				addresses <- p.Address
			})
		}
	}
	all.Wait()
	close(addresses)
	seen := map[netip.Addr]bool{}
	for a := range addresses {
		if seen[a] {
			t.Errorf("%s was given twice", a)
		}
		seen[a] = true
	}
	h := hostIn(t, dir, driver.Owner{Exchange: "x1", Region: "r0"}, `{"publicIPs": ["127.9.9.1-127.9.9.19", "127.9.9.30"]}`)
	k := h.publicIPKeeper()
	if _, err := k.Ensure(t.Context(), driver.PublicIP{Meta: meta("more"), Family: 4}); !errors.Is(err, fault.Exhausted) {
		t.Errorf("one more: %v, want exhausted", err)
	}
	if err := k.Delete(t.Context(), "p1"); err != nil {
		t.Fatal(err)
	}
	if left, err := h.addressesLeft(); left != 1 || err != nil {
		t.Errorf("%d addresses are left, %v, want 1", left, err)
	}
	if _, err := k.Ensure(t.Context(), driver.PublicIP{Meta: meta("more"), Family: 4}); err != nil {
		t.Errorf("after one was given back: %v", err)
	}
}

func TestAClaimWithoutAThingIsTakenAgain(t *testing.T) {
	h := hostIn(t, t.TempDir(), us, `{"publicIPs": ["127.9.9.1"]}`)
	// An agent that dies after this has claimed an address and written no record.
	if _, err := h.admitPublicIP(nil, driver.PublicIP{Meta: meta("p"), Family: 4}); err != nil {
		t.Fatal(err)
	}
	other := hostIn(t, h.shared, driver.Owner{Exchange: "x1", Region: "other"}, `{"publicIPs": ["127.9.9.1"]}`)
	if _, err := other.publicIPKeeper().Ensure(t.Context(), driver.PublicIP{Meta: meta("q"), Family: 4}); !errors.Is(err, fault.Exhausted) {
		t.Errorf("another region, at once: %v, want exhausted", err)
	}
	if _, err := h.publicIPKeeper().Ensure(t.Context(), driver.PublicIP{Meta: meta("q"), Family: 4}); err != nil {
		t.Errorf("the same region: %v", err)
	}
}

func TestAddressesInASubnet(t *testing.T) {
	subnet := driver.Subnet{Meta: meta("s"), CIDRs: []netip.Prefix{netip.MustParsePrefix("10.0.0.0/29")}}
	taken := map[netip.Addr]bool{}
	var got []string
	for {
		a, err := assign(subnet, netip.IPv4Unspecified(), taken)
		if errors.Is(err, fault.Exhausted) {
			break
		}
		if err != nil {
			t.Fatal(err)
		}
		taken[a] = true
		got = append(got, a.String())
	}
	// 0 is the network, 1 the gateway, 7 the broadcast address.
	if diff := cmp.Diff([]string{"10.0.0.2", "10.0.0.3", "10.0.0.4", "10.0.0.5", "10.0.0.6"}, got); diff != "" {
		t.Error(diff)
	}
	for asked, want := range map[string]fault.Kind{
		"10.0.0.0": fault.Invalid, "10.0.0.1": fault.Invalid, "10.0.0.7": fault.Invalid,
		"10.0.1.2": fault.Invalid, "10.0.0.3": fault.Conflict, "fd00::1": fault.Unsupported, "::": fault.Unsupported,
	} {
		if _, err := assign(subnet, netip.MustParseAddr(asked), taken); fault.KindOf(err) != want {
			t.Errorf("assign(%s): %v, want %s", asked, err, want)
		}
	}
}

func TestMACIsStableLocalAndUnicast(t *testing.T) {
	a := macOf(us, "nic-1")
	if a != macOf(us, "nic-1") || a == macOf(us, "nic-2") || a == macOf(driver.Owner{Exchange: "x2", Region: us.Region}, "nic-1") {
		t.Error("not a function of owner and card")
	}
	if !strings.Contains("26ae", a[1:2]) {
		t.Errorf("%s is not local and unicast", a)
	}
}

func TestThingsInUseStay(t *testing.T) {
	h := hostIn(t, t.TempDir(), us, `{}`)
	c := h.cloud()
	cidr := []netip.Prefix{netip.MustParsePrefix("10.0.0.0/24")}
	settle(t, c.Networks, driver.Network{Meta: meta("net"), CIDRs: cidr})
	settle(t, c.Gateways, driver.Gateway{Meta: meta("gw")})
	settle(t, c.RouteTables, driver.RouteTable{Meta: meta("rt"), Network: "net", Routes: []driver.Route{
		{Destination: netip.MustParsePrefix("0.0.0.0/0"), Gateway: "gw"},
	}})
	settle(t, c.Subnets, driver.Subnet{Meta: meta("sub"), Network: "net", CIDRs: cidr, RouteTable: "rt"})
	for what, err := range map[string]error{
		"network": c.Networks.Delete(t.Context(), "net"), "gateway": c.Gateways.Delete(t.Context(), "gw"),
		"route table": c.RouteTables.Delete(t.Context(), "rt"),
	} {
		if !errors.Is(err, fault.Conflict) {
			t.Errorf("Delete of the %s: %v, want a conflict", what, err)
		}
	}
	_, err := c.Subnets.Ensure(t.Context(), driver.Subnet{Meta: meta("two"), Network: "net", CIDRs: cidr})
	if !errors.Is(err, fault.Conflict) {
		t.Errorf("Ensure of an overlapping subnet: %v, want a conflict", err)
	}
	compiled, err := h.compile("net")
	if err != nil {
		t.Fatal(err)
	}
	if r := compiled.Subnets[0].Routes; len(r) != 1 || !r[0].Internet || r[0].EgressOnly {
		t.Errorf("the subnet's routes are %+v", r)
	}
}

func TestConfig(t *testing.T) {
	dir := t.TempDir()
	for _, bad := range []string{
		`{"publicIP": []}`, `{"publicIPs": ["127.0.0.9-127.0.0.1"]}`, `{"publicIPs": ["x"]}`, `{"accel": "hvf"}`, `{"limits": {"cpu": 1}}`,
	} {
		if _, err := decode([]byte(bad), dir); !errors.Is(err, fault.Invalid) {
			t.Errorf("decode(%s): %v, want invalid", bad, err)
		}
	}
	c, err := decode([]byte(`{"limits": {"vcpu": 1, "ramGiB": 1}}`), dir)
	if err != nil {
		t.Fatal(err)
	}
	want := []driver.InstanceSKU{{SKU: driver.SKU{Name: "kontor.tiny"}, VCPU: 1, RAMGiB: 1}}
	if diff := cmp.Diff(want, c.InstanceSKUs, cmpopts.IgnoreFields(driver.SKU{}, "Labels")); diff != "" {
		t.Errorf("a host of 1 GiB offers: %s", diff)
	}
	if c.Images != filepath.Join(dir, "images") {
		t.Errorf("images are in %s", c.Images)
	}
}
