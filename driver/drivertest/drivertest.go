// Package drivertest holds the promises of a driver as tests. A driver's own
// test is one call:
//
//	func TestConformance(t *testing.T) {
//		drivertest.Run(t, drivertest.Platform{Open: open})
//	}
//
// The name of a subtest is the promise that it checks. What a platform does
// not have, because the keeper is nil, is skipped.
package drivertest

import (
	"context"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/driver"
)

// A Platform says how to reach the cloud under test and what to order there.
type Platform struct {
	// Open connects anew to the same platform, for the same owner. What earlier
	// connections made is still there. It closes the connection by t.Cleanup.
	Open func(t *testing.T) *driver.Cloud

	// Foreign connects to the same platform for another owner. Nil skips the
	// test of isolation.
	Foreign func(t *testing.T) *driver.Cloud

	Image       string // an offered image that boots on InstanceSKU; default: the first of the inventory
	InstanceSKU string // default: the first of the inventory, and so on
	StorageSKU  string
	NetworkSKU  string
	VolumeGB    int // of a boot volume; default 1
	UserData    string

	// Slow is for machines that are real: what the suite waits for may take
	// minutes and is asked for every second.
	Slow bool
}

// Run checks every promise.
func Run(t *testing.T, p Platform) {
	c := p.Open(t)
	t.Run("InventoryNamesZonesAndSKUs", func(t *testing.T) { inventory(t, p, c) })
	keepers(t, p)
	t.Run("NICGetsAnAddressInItsSubnet", func(t *testing.T) { nicAddress(newWorld(t, p)) })
	t.Run("PublicIPIsUnique", func(t *testing.T) { publicIPUnique(newWorld(t, p)) })
	t.Run("SecurityGroupTakesNewRules", func(t *testing.T) { groupRules(newWorld(t, p)) })
	t.Run("VolumeGrowsNeverShrinks", func(t *testing.T) { volumeGrows(newWorld(t, p)) })
	t.Run("LostVolumeIsNotMadeAgain", func(t *testing.T) { lostVolume(newWorld(t, p)) })
	t.Run("VolumeStartsFromImage", func(t *testing.T) { volumeFromImage(newWorld(t, p)) })
	t.Run("VolumeBecomesImageAndBack", func(t *testing.T) { volumeFromOwnImage(newWorld(t, p)) })
	t.Run("DeleteOfAttachedVolumeIsRefused", func(t *testing.T) { attachedVolume(newWorld(t, p)) })
	t.Run("DataVolumesAttachAndDetach", func(t *testing.T) { dataVolumes(newWorld(t, p)) })
	t.Run("PowerOnOffRestart", func(t *testing.T) { power(newWorld(t, p)) })
	t.Run("RestartHappensOnce", func(t *testing.T) { restartOnce(newWorld(t, p)) })
	t.Run("ReopenFindsWhatRuns", func(t *testing.T) { reopenRunning(newWorld(t, p)) })
	t.Run("ConsoleGivesATail", func(t *testing.T) { console(newWorld(t, p)) })
	t.Run("DeleteOfARunningInstanceWorks", func(t *testing.T) { deleteRunning(newWorld(t, p)) })
	t.Run("EverythingGoes", func(t *testing.T) { everythingGoes(t, p.Open(t)) })
}

// keepers checks what every kind promises.
func keepers(t *testing.T, p Platform) {
	keeper(t, p, "network", networks, (*world).wantNetwork)
	keeper(t, p, "subnet", subnets, func(w *world) driver.Subnet { return w.wantSubnet(w.network().ID) })
	keeper(t, p, "route-table", routeTables, (*world).wantRouteTable)
	keeper(t, p, "gateway", gateways, (*world).wantGateway)
	keeper(t, p, "security-group", securityGroups, (*world).wantSecurityGroup)
	keeper(t, p, "public-ip", publicIPs, (*world).wantPublicIP)
	keeper(t, p, "nic", nics, func(w *world) driver.NIC { return w.wantNIC(w.subnet().ID) })
	keeper(t, p, "volume", volumes, (*world).wantVolume)
	keeper(t, p, "image", images, func(w *world) driver.Image { return w.wantImage(w.volume().ID) })
	keeper(t, p, "instance", instances, (*world).wantInstance)
}

func inventory(t *testing.T, p Platform, c *driver.Cloud) {
	inv, err := c.Inventory(t.Context())
	if err != nil {
		t.Fatalf("Inventory: %v", err)
	}
	if len(inv.Zones) == 0 {
		t.Error("no zones")
	}
	if c.Instances != nil && len(inv.InstanceSKUs) == 0 {
		t.Error("instances are kept, and none is on offer")
	}
	if c.Volumes != nil && len(inv.StorageSKUs) == 0 {
		t.Error("volumes are kept, and none is on offer")
	}
	if c.Networks != nil && len(inv.NetworkSKUs) == 0 {
		t.Error("networks are kept, and none is on offer")
	}
	seen := map[string]bool{}
	for _, s := range inv.InstanceSKUs {
		if s.Name == "" || s.VCPU < 1 || s.RAMGiB < 1 || seen[s.Name] {
			t.Errorf("instance sku %+v is unnamed, doubled or without size", s)
		}
		seen[s.Name] = true
	}
	for _, i := range inv.Images {
		if i.Name == "" || i.Arch == "" {
			t.Errorf("image %+v lacks a name or an architecture", i)
		}
	}
}

// patience is how long the suite waits for one thing, and how long between looks.
func (p Platform) patience() (all, step time.Duration) {
	if p.Slow {
		return 5 * time.Minute, time.Second
	}
	return 10 * time.Second, time.Millisecond
}

// await calls ready until it says so, and fails the test when patience ends.
func (w *world) await(what string, ready func() (done bool, now string)) {
	w.Helper()
	all, step := w.p.patience()
	ctx, stop := context.WithTimeout(w.Context(), all)
	defer stop()
	for {
		done, now := ready()
		if done {
			return
		}
		select {
		case <-ctx.Done():
			w.Fatalf("%s: still %s after %v", what, now, all)
		case <-time.After(step):
		}
	}
}
