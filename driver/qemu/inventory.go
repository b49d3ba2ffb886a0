package qemu

import (
	"context"

	"golang.org/x/sys/unix"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// inventory tells what is on offer, and what the limits leave of the host.
func (h *host) inventory(ctx context.Context) (*driver.Inventory, error) {
	images, err := h.offered()
	if err != nil {
		return nil, err
	}
	free, err := h.left()
	if err != nil {
		return nil, err
	}
	return &driver.Inventory{
		Zones:        h.config.Zones,
		InstanceSKUs: h.config.InstanceSKUs,
		StorageSKUs:  h.config.StorageSKUs,
		NetworkSKUs:  h.config.NetworkSKUs,
		Images:       images,
		Free:         free,
		Features:     []driver.Feature{driver.ImageFromVolume, driver.RouteToInstance, driver.MoreThanOneNIC, driver.ResizeWhileInUse},
		Platform:     "qemu " + h.qemu.String() + " (" + h.accel + ")",
	}, ctx.Err()
}

// left is the limits less what the records take, running or not: what has been
// ordered can always be started.
func (h *host) left() (driver.Capacity, error) {
	machines, err := h.instances.all()
	if err != nil {
		return driver.Capacity{}, err
	}
	vcpu, ram := h.config.Limits.VCPU, h.config.Limits.RAMGiB
	for _, i := range machines {
		vcpu, ram = vcpu-i.VCPU, ram-i.RAMGiB
	}
	disk, err := h.diskLeft()
	if err != nil {
		return driver.Capacity{}, err
	}
	addresses, err := h.addressesLeft()
	vcpu, ram, disk = max(vcpu, 0), max(ram, 0), max(disk, 0)
	return driver.Capacity{VCPU: &vcpu, RAMGiB: &ram, DiskGB: &disk, PublicIPs: &addresses}, err
}

// diskLeft is in GiB. Disks are sparse and may be promised more than is written;
// but nothing is promised that the file system could not hold at this moment.
func (h *host) diskLeft() (int, error) {
	all, err := h.volumes.all()
	if err != nil {
		return 0, err
	}
	left := h.config.Limits.DiskGB
	for _, v := range all {
		left -= v.SizeGB
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(h.root, &disk); err != nil {
		return 0, err
	}
	return min(left, int(disk.Bavail*uint64(disk.Bsize)>>30)), nil
}

func (h *host) addressesLeft() (int, error) {
	pool, err := h.config.pool()
	if err != nil {
		return 0, err
	}
	left := 0
	for _, a := range pool {
		if free, err := h.unclaimed(a); err != nil {
			return 0, err
		} else if free {
			left++
		}
	}
	return left, nil
}

// admitDisk refuses volumes that would exceed the limits.
func (h *host) admitDisk(more int) error {
	left, err := h.diskLeft()
	if err != nil {
		return err
	}
	if more > left {
		return fault.Exhausted.Errorf("%d GB of disk are wanted, %d GB are left", more, max(left, 0))
	}
	return nil
}

// admitMachine refuses a machine that would exceed the limits.
func (h *host) admitMachine(id string, vcpu, ram int) error {
	machines, err := where(h.instances, func(i instance) bool { return i.ID != id })
	if err != nil {
		return err
	}
	leftVCPU, leftRAM := h.config.Limits.VCPU, h.config.Limits.RAMGiB
	for _, i := range machines {
		leftVCPU, leftRAM = leftVCPU-i.VCPU, leftRAM-i.RAMGiB
	}
	if vcpu > leftVCPU || ram > leftRAM {
		return fault.Exhausted.Errorf("%d processors and %d GiB are wanted, %d and %d are left", vcpu, ram, max(leftVCPU, 0), max(leftRAM, 0))
	}
	return nil
}
