package qemu

import (
	"context"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"iter"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// An images keeper looks after copies of volumes. An image is a disk.qcow2 of
// its own beside its record, and is never written again.
type images struct{ host *host }

// List yields the images of this owner.
func (k images) List(ctx context.Context) iter.Seq2[driver.Image, error] {
	return func(yield func(driver.Image, error) bool) {
		all, err := k.host.images.all()
		each(ctx, all, err, func(i driver.Image) driver.Image { return i }, yield)
	}
}

// Ensure starts the copy, and says Building until it is whole.
func (k images) Ensure(ctx context.Context, want driver.Image) (driver.Image, error) {
	unlock, err := k.host.lock(ctx)
	if err != nil {
		return want, err
	}
	defer unlock()
	have, err := k.host.images.get(want.ID)
	if err == nil {
		next := want
		next.Volume, next.SizeMB = have.Volume, have.SizeMB
		inherit(next.Base(), have.Base())
		return next, k.host.images.put(next)
	}
	if !errors.Is(err, fault.Missing) {
		return want, err
	}
	if want.Lived {
		return want, fault.Missing.Errorf("image %s was there, and is gone", want.ID)
	}
	if _, err := k.host.volumes.need(want.Volume); err != nil {
		return want, err
	}
	source, err := k.source(want.Volume)
	if err != nil {
		return want, err
	}
	order := want // the answer is written into want meanwhile
	ended, err := k.host.tasks.run(want.ID, want.Volume, func(ctx context.Context) error { return k.make(ctx, order, source) })
	if err != nil {
		return want, kindOf(err, "make image "+want.ID)
	}
	if have, err := k.host.images.get(want.ID); ended && err == nil {
		return have, nil
	}
	want.State, want.Detail, want.Native = driver.Building, "copying the volume", fileName(want.ID)
	return want, nil
}

// source is the running machine that uses the volume, or "".
func (k images) source(volume string) (string, error) {
	users, err := which(k.host.instances, func(i instance) bool { return i.uses(volume) && k.host.running(i.ID) })
	if err != nil || len(users) == 0 {
		return "", err
	}
	return users[0], nil
}

// make copies the volume into a new image.
func (k images) make(ctx context.Context, want driver.Image, machine string) error {
	stage, err := k.host.stage()
	if err != nil {
		return err
	}
	defer os.RemoveAll(stage)
	to := filepath.Join(stage, "disk.qcow2")
	if machine == "" {
		err = k.host.img(ctx, "convert", "-f", "qcow2", "-O", "qcow2", k.host.disk(want.Volume), to)
	} else {
		err = k.host.copyRunning(ctx, machine, want, to)
	}
	if err != nil {
		return err
	}
	info, err := os.Stat(to)
	if err != nil {
		return err
	}
	want.SizeMB = max(1, int(info.Size()>>20))
	if err := k.host.images.write(stage, want); err != nil {
		return err
	}
	err = k.host.images.publish(stage, want.ID)
	if k.host.images.has(want.ID) {
		return nil // another agent of the same owner may have been faster
	}
	return err
}

// copyRunning has the machine's QEMU copy the disk as it is at this moment,
// while the guest goes on writing. The guest sees no pause, and the copy is what
// a power cut would have left.
func (h *host) copyRunning(ctx context.Context, machine string, want driver.Image, to string) error {
	size, err := virtualSize(h.disk(want.Volume))
	if err != nil {
		return err
	}
	if err := h.createDisk(ctx, to, "", size); err != nil {
		return err
	}
	dir, node := h.instances.dir(machine), "i"+digest(want.ID, 8)
	h.abandonCopy(dir, node)
	target := map[string]any{"driver": "qcow2", "node-name": node, "file": map[string]any{"driver": "file", "filename": to}}
	if err := do(ctx, dir, "blockdev-add", target, nil); err != nil {
		return err
	}
	defer h.abandonCopy(dir, node)
	job := map[string]any{"job-id": node, "device": nodeName(want.Volume), "target": node, "sync": "full", "auto-dismiss": false}
	if err := do(ctx, dir, "blockdev-backup", job, nil); err != nil {
		return err
	}
	for {
		done, err := copied(ctx, dir, node)
		if done || err != nil {
			return err
		}
		select {
		case <-ctx.Done():
			return ctx.Err()
		case <-time.After(100 * time.Millisecond):
		}
	}
}

// copied reports whether the job has come to its end.
func copied(ctx context.Context, dir, id string) (bool, error) {
	var jobs []struct{ ID, Status, Error string }
	if err := do(ctx, dir, "query-jobs", nil, &jobs); err != nil {
		return false, err
	}
	for _, j := range jobs {
		if j.ID == id && j.Status == "concluded" && j.Error != "" {
			return false, fmt.Errorf("copy the disk: %s", j.Error)
		}
		if j.ID == id && j.Status != "concluded" {
			return false, nil
		}
		if j.ID == id {
			return true, nil
		}
	}
	return false, errors.New("copy the disk: the job is gone")
}

// abandonCopy clears away what an ended, failed or forgotten copy has left in a
// machine's QEMU. It may find nothing.
func (h *host) abandonCopy(dir, id string) {
	ctx, stop := context.WithTimeout(context.Background(), monitorTime)
	defer stop()
	_ = do(ctx, dir, "job-cancel", map[string]any{"id": id}, nil)
	_ = poll(ctx, 2*time.Second, func() error {
		err := do(ctx, dir, "job-dismiss", map[string]any{"id": id}, nil)
		if errors.Is(err, fault.Missing) {
			return nil
		}
		return err
	})
	_ = do(ctx, dir, "blockdev-del", map[string]any{"node-name": id}, nil)
}

// Delete removes the image. Volumes that started from it keep their base.
func (k images) Delete(ctx context.Context, id string) error {
	unlock, err := k.host.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	k.host.tasks.stop(id)
	if err := k.host.images.remove(id); err != nil {
		return err
	}
	return k.host.dropBases()
}

// offered lists the images of the directory.
func (h *host) offered() ([]driver.OfferImage, error) {
	files, err := filepath.Glob(filepath.Join(h.config.Images, "*.qcow2"))
	var images []driver.OfferImage
	for _, f := range files {
		info, err := os.Stat(f)
		if err != nil || !plainName.MatchString(filepath.Base(f)) {
			continue // removed just now, or not fit for a name
		}
		images = append(images, driver.OfferImage{
			Name: strings.TrimSuffix(filepath.Base(f), ".qcow2"), Arch: "amd64", Boot: "BIOS",
			Initializer: "cloudinit-22", SizeMB: int(info.Size()>>20) + 1,
		})
	}
	return images, err
}

// base finds or makes the file under the layers of volumes that start from an
// image, and names it. For an image of ours it is a second name of its file; an
// offered one is copied, because its owner may replace it, and a long copy is
// not waited for.
func (h *host) base(ctx context.Context, image string) (name string, ready bool, err error) {
	if err := os.MkdirAll(filepath.Join(h.root, "bases"), 0o700); err != nil {
		return "", false, err
	}
	offered, ok := strings.CutPrefix(image, driver.OfferedImage(""))
	if !ok {
		name = "image-" + digest(image, 8) + ".qcow2"
		err := os.Link(filepath.Join(h.images.dir(image), "disk.qcow2"), filepath.Join(h.root, "bases", name))
		if errors.Is(err, fs.ErrNotExist) {
			return "", false, fault.Conflict.Errorf("there is no image %s yet", image)
		}
		return name, true, ignore(err, fs.ErrExist)
	}
	from := filepath.Join(h.config.Images, offered+".qcow2")
	info, err := os.Stat(from)
	if err != nil || !plainName.MatchString(offered) {
		return "", false, fault.Missing.Errorf("no image %s is on offer", offered)
	}
	name = fmt.Sprintf("offered-%s.qcow2", digest(offered+" "+strconv.FormatInt(info.Size(), 10)+" "+info.ModTime().String(), 8))
	path := filepath.Join(h.root, "bases", name)
	if _, err := os.Stat(path); err == nil {
		return name, true, nil
	}
	copying := func(ctx context.Context) error { return h.copyBase(ctx, from, path) }
	if info.Size() <= 256<<20 {
		return name, true, copying(ctx)
	}
	// Once it has ended, the next call finds the file, unless that was dropped
	// in between for want of a layer: then it is copied again.
	_, err = h.tasks.run(name, "", copying)
	return name, false, err
}

func (h *host) copyBase(ctx context.Context, from, to string) error {
	if _, err := virtualSize(from); err != nil {
		return err
	}
	stage, err := h.stage()
	if err != nil {
		return err
	}
	defer os.RemoveAll(stage)
	whole := filepath.Join(stage, "base.qcow2")
	if err := copyFile(ctx, from, whole); err != nil {
		return err
	}
	if err := os.Rename(whole, to); err != nil {
		return err
	}
	return syncDir(filepath.Dir(to))
}

// copyFile copies in large pieces, so that the file system can share them
// between both files where it knows how, and ctx can end it in between.
func copyFile(ctx context.Context, from, to string) error {
	in, err := os.Open(from)
	if err != nil {
		return err
	}
	defer in.Close()
	out, err := os.OpenFile(to, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o400)
	if err != nil {
		return err
	}
	for err == nil && ctx.Err() == nil {
		_, err = io.CopyN(out, in, 1<<30)
	}
	return errors.Join(ctx.Err(), ignore(err, io.EOF), out.Sync(), out.Close())
}

// dropBases removes the base files on which no volume builds any more. The
// caller holds the lock, so nobody is about to build on one.
func (h *host) dropBases() error {
	all, err := h.volumes.all()
	if err != nil {
		return err
	}
	used := map[string]bool{}
	for _, v := range all {
		used[v.Layer] = true
	}
	files, err := os.ReadDir(filepath.Join(h.root, "bases"))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	for _, f := range files {
		if !used[f.Name()] {
			err = errors.Join(err, os.Remove(filepath.Join(h.root, "bases", f.Name())))
		}
	}
	return err
}

func ignore(err, harmless error) error {
	if errors.Is(err, harmless) {
		return nil
	}
	return err
}
