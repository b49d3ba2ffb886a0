package qemu

import (
	"context"
	"encoding/binary"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// A volume is a sparse disk.qcow2 beside its record. One that started from an
// image is a layer over a file in bases/, which stays until no layer needs it.
type volume struct {
	driver.Volume
	Layer string `json:"layer,omitempty"` // the name of the file in bases/
}

// A volumes keeper looks after volumes. SizeGB is in GiB.
type volumes struct{ host *host }

// List yields the volumes of this owner.
func (k volumes) List(ctx context.Context) iter.Seq2[driver.Volume, error] {
	return func(yield func(driver.Volume, error) bool) {
		all, err := k.host.volumes.all()
		machines, err2 := k.host.instances.all()
		see := func(v volume) volume { return k.host.lookAtVolume(v, machines) }
		each(ctx, all, errors.Join(err, err2), see, func(v volume, err error) bool { return yield(v.Volume, err) })
	}
}

// lookAtVolume adds what the disk file and the machines say.
func (h *host) lookAtVolume(v volume, machines []instance) volume {
	size, err := virtualSize(h.disk(v.ID))
	if err != nil {
		v.State, v.Detail = driver.Failed, err.Error()
		return v
	}
	v.SizeGB = int(size >> 30)
	v.AttachedTo = ""
	for _, i := range machines {
		if i.BootVolume != v.ID && !slices.Contains(i.DataVolumes, v.ID) && !slices.Contains(i.Leaving, v.ID) {
			continue
		}
		if v.AttachedTo == "" || h.running(i.ID) {
			v.AttachedTo = i.ID
		}
	}
	return v
}

func (h *host) disk(volume string) string {
	return filepath.Join(h.volumes.dir(volume), "disk.qcow2")
}

// Ensure makes or grows a volume.
func (k volumes) Ensure(ctx context.Context, want driver.Volume) (driver.Volume, error) {
	unlock, err := k.host.lock(ctx)
	if err != nil {
		return want, err
	}
	defer unlock()
	have, err := k.host.volumes.get(want.ID)
	if errors.Is(err, fault.Missing) {
		return k.create(ctx, want)
	}
	if err != nil {
		return want, err
	}
	machines, err := k.host.instances.all()
	if err != nil {
		return want, err
	}
	have = k.host.lookAtVolume(have, machines)
	if have.State == driver.Failed && want.Attempt > have.Attempt && !want.Lived {
		if err := k.host.volumes.remove(want.ID); err != nil {
			return want, err
		}
		return k.create(ctx, want)
	}
	if have.State != driver.Failed && want.SizeGB > have.SizeGB {
		if err := k.grow(ctx, have, want.SizeGB, machines); err != nil {
			return have.Volume, err
		}
	}
	next := have
	next.Volume = want
	next.SizeGB, next.Image, next.SKU = max(want.SizeGB, have.SizeGB), have.Image, have.SKU
	next.AttachedTo = have.AttachedTo
	inherit(next.Base(), have.Base())
	return next.Volume, k.host.volumes.put(next)
}

// create makes the disk. The file below a layer may have to be copied first,
// which is slow: meanwhile the volume is Building.
func (k volumes) create(ctx context.Context, want driver.Volume) (driver.Volume, error) {
	if want.Lived {
		return want, fault.Missing.Errorf("volume %s was there, and is gone", want.ID)
	}
	if want.SizeGB < 1 {
		return want, fault.Invalid.Errorf("a volume of %d GB", want.SizeGB)
	}
	if err := k.host.admitDisk(want.SizeGB); err != nil {
		return want, err
	}
	v := volume{Volume: want}
	v.AttachedTo = ""
	if want.Image != "" {
		layer, ready, err := k.host.base(ctx, want.Image)
		if err != nil {
			return want, err
		}
		if !ready {
			want.State, want.Detail, want.Native = driver.Building, "copying the image", fileName(want.ID)
			return want, nil
		}
		v.Layer = layer
	}
	err := k.host.volumes.create(v, func(dir string) error {
		return k.host.createDisk(ctx, filepath.Join(dir, "disk.qcow2"), v.Layer, int64(want.SizeGB)<<30)
	})
	if err != nil {
		return want, kindOf(err, "create volume "+want.ID)
	}
	v, err = k.host.volumes.get(want.ID)
	return v.Volume, err
}

// createDisk makes a sparse disk of this many bytes over a layer, if one is named.
func (h *host) createDisk(ctx context.Context, path, layer string, size int64) error {
	args := []string{"create", "-q", "-f", "qcow2"}
	if layer != "" {
		below, err := virtualSize(filepath.Join(h.root, "bases", layer))
		if err != nil {
			return err
		}
		if below > size {
			return fault.Invalid.Errorf("the image needs %d GB", (below+1<<30-1)>>30)
		}
		// Relative to where the disk will be: volumes/ID/disk.qcow2. It is not looked
		// at now, so its format and the size must be given.
		args = append(args, "-u", "-b", "../../bases/"+layer, "-F", "qcow2")
	}
	return h.img(ctx, append(args, path, strconv.FormatInt(size, 10))...)
}

// grow enlarges the disk, with its guest running or not.
func (k volumes) grow(ctx context.Context, have volume, size int, machines []instance) error {
	if err := k.host.admitDisk(size - have.SizeGB); err != nil {
		return err
	}
	if making := k.host.tasks.busy(have.ID); making != "" {
		return fault.Unavailable.Errorf("volume %s is being copied for %s", have.ID, making)
	}
	bytes := int64(size) << 30
	for _, i := range machines {
		if !k.host.running(i.ID) || !i.uses(have.ID) {
			continue
		}
		err := do(ctx, k.host.instances.dir(i.ID), "block_resize", map[string]any{"node-name": nodeName(have.ID), "size": bytes}, nil)
		if !errors.Is(err, fault.Missing) {
			return err
		}
	}
	return kindOf(k.host.img(ctx, "resize", "-q", "-f", "qcow2", k.host.disk(have.ID), strconv.FormatInt(bytes, 10)), "grow volume "+have.ID)
}

// Delete removes a volume that no machine has.
func (k volumes) Delete(ctx context.Context, id string) error {
	unlock, err := k.host.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	users, err := which(k.host.instances, func(i instance) bool { return i.uses(id) })
	if err != nil {
		return err
	}
	if len(users) > 0 {
		return fault.Conflict.Errorf("volume %s is attached to instance %s", id, users[0])
	}
	if making := k.host.tasks.busy(id); making != "" {
		return fault.Conflict.Errorf("volume %s is being copied for %s", id, making)
	}
	if err := k.host.volumes.remove(id); err != nil {
		return err
	}
	return k.host.dropBases()
}

// img runs qemu-img. It dies with this process, so that it holds no lock on a
// disk for a caller who is gone.
func (h *host) img(ctx context.Context, args ...string) error {
	cmd := exec.CommandContext(ctx, h.config.QEMUImg, args...)
	cmd.SysProcAttr = &unix.SysProcAttr{Pdeathsig: unix.SIGKILL}
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return ctx.Err()
	}
	if errors.Is(err, exec.ErrNotFound) {
		return fault.Unavailable.Errorf("%w; install the package qemu-utils", err)
	}
	if err != nil && strings.Contains(string(out), "Failed to get") {
		return fault.Conflict.Errorf("qemu-img %s: the disk is in use", args[0])
	}
	if err != nil {
		return fmt.Errorf("qemu-img %s: %w: %s", args[0], err, strings.TrimSpace(string(out)))
	}
	return nil
}

// virtualSize reads the size in bytes that a guest sees, from the header of a
// qcow2 file. QEMU keeps it up to date while a guest runs.
func virtualSize(path string) (int64, error) {
	f, err := os.Open(path)
	if errors.Is(err, fs.ErrNotExist) {
		return 0, fault.Missing.Errorf("the disk file is gone")
	}
	if err != nil {
		return 0, err
	}
	defer f.Close()
	var header [32]byte
	if _, err := io.ReadFull(f, header[:]); err != nil || string(header[:4]) != "QFI\xfb" {
		return 0, fault.Invalid.Errorf("%s is not a qcow2 file", filepath.Base(path))
	}
	return int64(binary.BigEndian.Uint64(header[24:])), nil
}
