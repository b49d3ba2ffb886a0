package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/netip"
	"os"
	"path/filepath"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/driver/fake"
)

// makeByHand makes things that belong to nobody at the platform of region
// fake-1: a running machine with two disks and a card, and a spare disk.
func makeByHand(data string) error {
	dir := filepath.Join(data, "agents", "fake-1")
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	ctx := context.Background()
	c, err := fake.Open(ctx, driver.Owner{}, dir, json.RawMessage(`{"persist":true}`), nil)
	if err != nil {
		return err
	}
	meta := func(native string) driver.Meta { return driver.Meta{ID: native, Name: "old-" + native} }
	made := []error{}
	note := func(_ any, err error) { made = append(made, err) }
	note(c.Networks.Ensure(ctx, driver.Network{Meta: meta("net-1"), CIDRs: []netip.Prefix{netip.MustParsePrefix("10.9.0.0/16")}, SKU: "seca.n1k"}))
	note(c.Gateways.Ensure(ctx, driver.Gateway{Meta: meta("gw-1")}))
	note(c.RouteTables.Ensure(ctx, driver.RouteTable{
		Meta: meta("rt-1"), Network: "net-1",
		Routes: []driver.Route{{Destination: netip.MustParsePrefix("0.0.0.0/0"), Gateway: "gw-1"}},
	}))
	note(c.Subnets.Ensure(ctx, driver.Subnet{
		Meta: meta("sub-1"), Network: "net-1", RouteTable: "rt-1", Zone: "a", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.9.1.0/24")},
	}))
	note(c.SecurityGroups.Ensure(ctx, driver.SecurityGroup{Meta: meta("sg-1"), Rules: []driver.Rule{
		{Ingress: true, Family: 4, Protocol: driver.TCP, Ports: []driver.PortRange{{From: 80, To: 80}}},
	}}))
	note(c.PublicIPs.Ensure(ctx, driver.PublicIP{Meta: meta("ip-1"), Family: 4}))
	note(c.NICs.Ensure(ctx, driver.NIC{
		Meta: meta("nic-1"), Subnet: "sub-1", Addresses: []netip.Addr{netip.MustParseAddr("10.9.1.7")},
		PublicIPs: []string{"ip-1"}, SecurityGroups: []string{"sg-1"},
	}))
	for _, disk := range []string{"disk-1", "disk-2", "disk-3"} {
		note(c.Volumes.Ensure(ctx, driver.Volume{Meta: meta(disk), SizeGB: 7, SKU: "seca.rd100"}))
	}
	note(c.Instances.Ensure(ctx, driver.Instance{
		Meta: meta("vm-1"), SKU: "m1.small", VCPU: 1, RAMGiB: 1, Zone: "a", BootVolume: "disk-1",
		DataVolumes: []string{"disk-2"}, NICs: []string{"nic-1"}, On: true,
	}))
	note(c.Instances.Ensure(ctx, driver.Instance{Meta: meta("vm-2"), SKU: "m1.huge", VCPU: 64, RAMGiB: 999, BootVolume: "disk-3"}))
	return errors.Join(append(made, c.Close())...)
}
