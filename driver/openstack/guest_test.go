package openstack_test

import (
	"context"
	"errors"
	"fmt"
	"io"
	"net/http"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

type thing[T any] interface {
	*T
	Base() *driver.Meta
	Satisfies(T) bool
}

// patience is how long one thing may take; a cloud in emulation is slow.
const patience = 5 * time.Minute

// poll calls try until it says that it is done, soon at first, then each second.
func poll(t *testing.T, what string, try func() (bool, error)) {
	t.Helper()
	ctx, stop := context.WithTimeout(t.Context(), patience)
	defer stop()
	for pause := 10 * time.Millisecond; ; pause = min(2*pause, time.Second) {
		done, err := try()
		if done {
			return
		}
		select {
		case <-ctx.Done():
			t.Fatalf("%s: not after %v: %v", what, patience, err)
		case <-time.After(pause):
		}
	}
}

// settle brings a thing to Ready.
func settle[T any, P thing[T]](t *testing.T, k driver.Keeper[T], want T) (have T) {
	t.Helper()
	poll(t, fmt.Sprintf("%T", want), func() (bool, error) {
		var err error
		have, err = k.Ensure(t.Context(), want)
		return err == nil && P(&have).Base().State == driver.Ready && P(&have).Satisfies(want), err
	})
	return have
}

// clear removes all of a kind that carries the owner's mark.
func clear[T any, P thing[T]](t *testing.T, k driver.Keeper[T]) {
	t.Helper()
	poll(t, fmt.Sprintf("remove all %T", *new(T)), func() (bool, error) {
		left := 0
		var failed error
		for have, err := range k.List(t.Context()) {
			if err != nil {
				return false, err
			}
			left++
			failed = errors.Join(failed, k.Delete(t.Context(), P(&have).Base().ID))
		}
		return left == 0, failed
	})
}

// sweep removes whatever the owner has, in the order of dependence.
func sweep(t *testing.T, c *driver.Cloud) {
	t.Helper()
	clear(t, c.Instances)
	clear(t, c.NICs)
	clear(t, c.PublicIPs)
	clear(t, c.Images)
	clear(t, c.Volumes)
	clear(t, c.SecurityGroups)
	clear(t, c.Subnets)
	clear(t, c.RouteTables)
	clear(t, c.Gateways)
	clear(t, c.Networks)
}

func meta(id string) driver.Meta { return driver.Meta{ID: id, Attempt: 1, Name: id, URN: "lab/" + id} }

// guestServes boots a machine with a public address and fetches a page from it;
// then it checks that a card's groups keep other ports shut.
func guestServes(t *testing.T, l lab) {
	c := l.open(t, us)
	order(t, c, l)
	var page string
	ip := settle(t, c.PublicIPs, driver.PublicIP{Meta: meta("ip"), Family: 4})
	poll(t, "page of the guest", func() (ok bool, err error) {
		page, err = fetch(t.Context(), "http://"+ip.Address.String()+"/")
		return err == nil, err
	})
	if !strings.Contains(page, "written by user data") {
		t.Errorf("the guest serves %q", page)
	}
	if ip.AttachedTo != "card" {
		t.Errorf("the public address says that it is attached to %q", ip.AttachedTo)
	}
	if _, err := fetch(t.Context(), "http://"+ip.Address.String()+":22/"); err == nil || !strings.Contains(err.Error(), "deadline") && !strings.Contains(err.Error(), "Timeout") {
		t.Errorf("port 22, which no rule allows, answers: %v", err)
	}
	text, err := c.Console(t.Context(), "vm", 1<<16)
	if err != nil || len(text) == 0 {
		t.Errorf("console: %d bytes, %v", len(text), err)
	}
	if err := c.PublicIPs.Delete(t.Context(), "ip"); !errors.Is(err, fault.Conflict) {
		t.Errorf("Delete of a public address in use: %v", err)
	}
	attachedVolume(t, c)
	hostsAreNotShared(t, c, l)
	sweep(t, c)
}

// attachedVolume makes an image of a volume in use, and another volume of that.
// The first is as sound as before; here it does not grow.
func attachedVolume(t *testing.T, c *driver.Cloud) {
	settle(t, c.Images, driver.Image{Meta: meta("picture"), Volume: "disk", Arch: "amd64"})
	inv, err := c.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	settle(t, c.Volumes, driver.Volume{Meta: meta("disk2"), SizeGB: 1, SKU: inv.StorageSKUs[0].Name, Image: "picture"})
	_, err = c.Volumes.Ensure(t.Context(), driver.Volume{Meta: meta("disk"), SizeGB: 2})
	if !errors.Is(err, fault.Conflict) && !errors.Is(err, fault.Unsupported) {
		t.Errorf("growing an attached volume on a backend that cannot: %v", err)
	}
	for v, err := range c.Volumes.List(t.Context()) {
		if err != nil || v.State != driver.Ready {
			t.Errorf("volume %s is %s (%s), %v", v.ID, v.State, v.Detail, err)
		}
	}
}

// hostsAreNotShared orders a second machine of a group where there is one host.
func hostsAreNotShared(t *testing.T, c *driver.Cloud, l lab) {
	want := driver.Instance{Meta: meta("vm2"), SKU: l.sku, VCPU: 1, RAMGiB: 1, BootVolume: "disk2", AntiAffinity: "apart"}
	poll(t, "refusal for want of a second host", func() (bool, error) {
		have, err := c.Instances.Ensure(t.Context(), want)
		if have.State == driver.Ready {
			t.Skip("this cloud has more than one host")
		}
		return errors.Is(err, fault.Exhausted), err
	})
}

// order makes all that the machine needs, and the machine.
func order(t *testing.T, c *driver.Cloud, l lab) {
	t.Helper()
	settle(t, c.Networks, driver.Network{Meta: meta("net"), CIDRs: []netip.Prefix{netip.MustParsePrefix("10.30.0.0/16")}})
	settle(t, c.Gateways, driver.Gateway{Meta: meta("out")})
	settle(t, c.RouteTables, driver.RouteTable{Meta: meta("routes"), Network: "net", Routes: []driver.Route{{Destination: netip.MustParsePrefix("0.0.0.0/0"), Gateway: "out"}}})
	settle(t, c.Subnets, driver.Subnet{Meta: meta("sub"), Network: "net", RouteTable: "routes", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.30.1.0/24")}})
	settle(t, c.SecurityGroups, driver.SecurityGroup{Meta: meta("web"), Rules: []driver.Rule{
		{Ingress: true, Family: 4, Protocol: driver.TCP, Ports: []driver.PortRange{{From: 80, To: 80}}}, {},
	}})
	settle(t, c.PublicIPs, driver.PublicIP{Meta: meta("ip"), Family: 4})
	settle(t, c.NICs, driver.NIC{
		Meta: meta("card"), Subnet: "sub", Addresses: []netip.Addr{netip.IPv4Unspecified()},
		PublicIPs: []string{"ip"}, SecurityGroups: []string{"web"},
	})
	inv, err := c.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	settle(t, c.Volumes, driver.Volume{Meta: meta("disk"), SizeGB: 1, SKU: inv.StorageSKUs[0].Name, Image: driver.OfferedImage(l.image)})
	settle(t, c.Instances, driver.Instance{
		Meta: meta("vm"), SKU: l.sku, VCPU: 1, RAMGiB: 1, BootVolume: "disk", NICs: []string{"card"}, On: true, AntiAffinity: "apart",
		UserData: "#!/bin/sh\necho 'written by user data' > /www/index.html\n",
	})
}

func fetch(ctx context.Context, url string) (string, error) {
	ctx, stop := context.WithTimeout(ctx, 5*time.Second)
	defer stop()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, url, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	return string(b), err
}
