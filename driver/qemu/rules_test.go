package qemu

import (
	"errors"
	"os"
	"os/exec"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// stub is a machine without cards that is off.
func stub(id string) driver.Instance {
	return driver.Instance{Meta: meta(id), VCPU: 1, RAMGiB: 1, BootVolume: "boot"}
}

func TestProbeRunsUnderEmulation(t *testing.T) {
	needQEMU(t)
	if !probe(t.Context(), "qemu-system-x86_64", "tcg", 20*time.Second) {
		t.Error("the probe guest does not run where every guest does")
	}
}

func TestProbeOfAGuestThatHangsEnds(t *testing.T) {
	needQEMU(t)
	began := time.Now()
	if probe(t.Context(), "qemu-system-x86_64", "tcg", time.Millisecond) {
		t.Error("a guest without time came to its end")
	}
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("it took %v", took)
	}
}

func TestRulesBetweenMachines(t *testing.T) {
	needQEMU(t)
	h := hostIn(t, t.TempDir(), us, `{"limits": {"vcpu": 3, "ramGiB": 3, "diskGB": 4}}`)
	c := h.cloud()
	settle(t, c.Volumes, driver.Volume{Meta: meta("boot"), SizeGB: 1})
	settle(t, c.Volumes, driver.Volume{Meta: meta("data"), SizeGB: 1})
	one := stub("one")
	one.AntiAffinity, one.DataVolumes = "apart", []string{"data"}
	settle(t, c.Instances, one)

	apart, shared, large, twice := stub("apart"), stub("shared"), stub("large"), stub("twice")
	apart.AntiAffinity = "apart"
	shared.DataVolumes = []string{"data"}
	large.RAMGiB = 3
	twice.DataVolumes = []string{"boot"}
	missing := stub("missing")
	missing.NICs = []string{"no-such"}
	for _, row := range []struct {
		want driver.Instance
		kind fault.Kind
	}{
		{apart, fault.Unsupported}, {shared, fault.Conflict}, {large, fault.Exhausted}, {twice, fault.Invalid}, {missing, fault.Conflict},
	} {
		if _, err := c.Instances.Ensure(t.Context(), row.want); !errors.Is(err, row.kind) {
			t.Errorf("Ensure of %s: %v, want %s", row.want.ID, err, row.kind)
		}
	}
	if _, err := c.Volumes.Ensure(t.Context(), driver.Volume{Meta: meta("v"), SizeGB: 3}); !errors.Is(err, fault.Exhausted) {
		t.Errorf("Ensure of a volume over the limit: %v, want exhausted", err)
	}
	inv, err := c.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if *inv.Free.VCPU != 2 || *inv.Free.RAMGiB != 2 || *inv.Free.DiskGB != 2 {
		t.Errorf("left are %d processors, %d GiB and %d GB, want 2 of each", *inv.Free.VCPU, *inv.Free.RAMGiB, *inv.Free.DiskGB)
	}
}

// TestOneBootVolumeStartsOneMachine needs no image: a blank disk boots into nothing.
func TestOneBootVolumeStartsOneMachine(t *testing.T) {
	needQEMU(t)
	dir := t.TempDir()
	endProcesses(t, dir)
	c := open(t, dir, us, `{"accel": "tcg"}`)
	settle(t, c.Volumes, driver.Volume{Meta: meta("boot"), SizeGB: 1})
	one, two := stub("one"), stub("two")
	one.On = true
	settle(t, c.Instances, one)
	settle(t, c.Instances, two)
	two.On = true
	if _, err := c.Instances.Ensure(t.Context(), two); !errors.Is(err, fault.Conflict) {
		t.Errorf("start of the second: %v, want a conflict", err)
	}
	// An image of a disk in use is made by the machine that uses it.
	settle(t, c.Images, driver.Image{Meta: meta("img"), Volume: "boot", Arch: "amd64"})
	settle(t, c.Volumes, driver.Volume{Meta: meta("copy"), SizeGB: 2, Image: "img"})
	if err := c.Images.Delete(t.Context(), "img"); err != nil {
		t.Fatal(err)
	}
	settle(t, c.Volumes, driver.Volume{Meta: meta("boot"), SizeGB: 2})
	h := hostIn(t, dir, us, `{}`)
	if out, err := exec.Command("qemu-img", "check", "-U", h.disk("copy")).CombinedOutput(); err != nil {
		t.Errorf("the volume from the deleted image: %v: %s", err, out)
	}
	if err := c.Instances.Delete(t.Context(), "one"); err != nil {
		t.Fatal(err)
	}
	settle(t, c.Instances, two)
	for _, id := range []string{"one", "two"} {
		if err := c.Instances.Delete(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	for _, id := range []string{"boot", "copy"} {
		if err := c.Volumes.Delete(t.Context(), id); err != nil {
			t.Fatal(err)
		}
	}
	nothingLeft(t, dir)
}

func TestHaltStopsMachinesAndDeletesNothing(t *testing.T) {
	needQEMU(t)
	dir := t.TempDir()
	endProcesses(t, dir)
	c := open(t, dir, us, `{"accel": "tcg"}`)
	settle(t, c.Volumes, driver.Volume{Meta: meta("boot"), SizeGB: 1})
	one := stub("one")
	one.On = true
	settle(t, c.Instances, one)
	if err := Halt(t.Context(), dir); err != nil {
		t.Fatal(err)
	}
	if n := processes(t, dir); n != 0 || find(t, c, "one").On {
		t.Errorf("%d processes run, and the machine is listed as on: %v", n, find(t, c, "one").On)
	}
	settle(t, open(t, dir, us, `{"accel": "tcg"}`).Instances, one)
	if err := c.Instances.Delete(t.Context(), "one"); err != nil {
		t.Error(err)
	}
}

func TestAVolumeWhoseFileIsGoneHasFailed(t *testing.T) {
	needQEMU(t)
	h := hostIn(t, t.TempDir(), us, `{}`)
	k := h.cloud().Volumes
	want := driver.Volume{Meta: meta("v"), SizeGB: 1}
	settle(t, k, want)
	if err := os.Remove(h.disk("v")); err != nil {
		t.Fatal(err)
	}
	have, err := k.Ensure(t.Context(), want)
	if err != nil || have.State != driver.Failed || have.Detail == "" {
		t.Errorf("Ensure = %s (%s), %v, want failed", have.State, have.Detail, err)
	}
	want.Attempt++
	settle(t, k, want)
}
