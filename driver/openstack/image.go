package openstack

import (
	"context"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumes"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// imageTable's mark is the image's name: the order to Cinder that makes an image
// of a volume has room for nothing else.
func (a *account) imageTable() table[images.Image] {
	return table[images.Image]{
		a: a, kind: "image",
		list: func(ctx context.Context, mark string) ([]images.Image, error) {
			o := images.ListOpts{Owner: a.project, Name: mark, Limit: pageSize}
			all, err := pages(ctx, images.List(a.image, o), images.ExtractImages)
			return slices.DeleteFunc(all, func(i images.Image) bool { return i.Status == images.ImageStatusDeleted }), err
		},
		record: func(i *images.Image) record { return record{i.ID, i.Name, i.CreatedAt} },
		drop: func(ctx context.Context, native string) error {
			return images.Delete(ctx, a.image, native).ExtractErr()
		},
	}
}

func (a *account) imageKeeper() driver.Keeper[driver.Image] {
	t := a.imageTable()
	return keeper[driver.Image, *driver.Image]{
		a: a, kind: t.kind, ensure: a.ensureImage,
		list: a.listImages,
		remove: func(ctx context.Context, id string) error {
			if busy, err := a.dropCopies(ctx, id); err != nil {
				return err
			} else if busy {
				return fault.Conflict.Errorf("the volume is being copied")
			}
			return t.remove(ctx, id)
		},
	}
}

// listImages counts a copy that an image is, or was, made of as a part of it.
func (a *account) listImages(ctx context.Context) ([]driver.Image, error) {
	all, doubled, err := a.imageTable().all(ctx)
	if err != nil {
		return nil, err
	}
	copies, _, err := a.copyTable().all(ctx)
	if err != nil {
		return nil, err
	}
	var out []driver.Image
	for id, i := range all {
		have := viewImage(id, i)
		doubt(&have.Meta, doubled[id])
		if c, more := copies[id]; more && c.Status != "deleting" && have.State == driver.Ready {
			have.State, have.Detail = driver.Building, "its copy is not removed yet"
		}
		out = append(out, have)
	}
	for id, c := range copies {
		if _, done := all[id]; !done {
			out = append(out, driver.Image{Meta: driver.Meta{ID: id, Native: c.ID, State: driver.Building, Detail: "copying the volume"}})
		}
	}
	return out, nil
}

// viewImage reads the note in the image's properties.
func viewImage(id string, i images.Image) (have driver.Image) {
	readMetadata(properties(i), &have)
	have.State, have.Detail = driver.Building, "Glance says "+string(i.Status)
	switch {
	case have.ID == "": // the note comes after the image
	case i.Status == images.ImageStatusActive:
		have.State, have.Detail = driver.Ready, ""
	case i.Status == images.ImageStatusKilled, i.Status == images.ImageStatusDeactivated:
		have.State = driver.Failed
	case i.Status == images.ImageStatusPendingDelete:
		have.State = driver.Leaving
	}
	have.ID, have.Native = id, i.ID
	have.SizeMB = int((max(i.VirtualSize, i.SizeBytes) + 999_999) / 1_000_000)
	return have
}

// properties are those of an image that are text.
func properties(i images.Image) map[string]string {
	out := map[string]string{}
	for k, v := range i.Properties {
		if text, ok := v.(string); ok {
			out[k] = text
		}
	}
	return out
}

func (a *account) ensureImage(ctx context.Context, want driver.Image) (driver.Image, error) {
	i, err := a.imageTable().single(ctx, want.ID)
	if err != nil {
		return want, err
	}
	switch {
	case i == nil && want.Lived:
		return want, fault.Missing.Errorf("image %s was there, and is gone", want.ID)
	case i == nil:
		return a.upload(ctx, want)
	case i.Status == images.ImageStatusKilled && !want.Lived:
		if err := unlessGone(a.imageTable().drop(ctx, i.ID)); err != nil {
			return want, err
		}
		return want, fault.Unavailable.Errorf("the copy of the volume failed; it will be tried again")
	}
	if i, err = a.describe(ctx, i, want); err != nil {
		return want, err
	}
	have := viewImage(want.ID, *i)
	if have.State != driver.Ready {
		return have, nil
	}
	busy, err := a.dropCopies(ctx, want.ID)
	if busy {
		have.State, have.Detail = driver.Building, "its copy is not removed yet"
	}
	return have, err
}

// describe writes the note, and what Nova has to know of the image.
func (a *account) describe(ctx context.Context, i *images.Image, want driver.Image) (*images.Image, error) {
	n := want
	n.Meta, n.SizeMB = plain(want.Meta), 0
	props := a.metadataOf("image", want.ID, n)
	props["architecture"] = architectures[want.Arch]
	if want.Boot == "UEFI" {
		props["hw_firmware_type"] = "uefi"
	}
	have := properties(*i)
	var change images.UpdateOpts
	for k, v := range props {
		if old, there := have[k]; !there && v != "" || there && old != v {
			change = append(change, images.UpdateImageProperty{Op: images.AddOp, Name: k, Value: v})
		}
	}
	if len(change) == 0 {
		return i, nil
	}
	return images.Update(ctx, a.image, i.ID, change).Extract()
}

// architectures are Glance's names for ours.
var architectures = map[string]string{"amd64": "x86_64", "arm64": "aarch64"}

// upload has Cinder make an image of a volume. One that is attached is copied
// first, because Cinder refuses to read what a guest may be writing.
func (a *account) upload(ctx context.Context, want driver.Image) (driver.Image, error) {
	v, err := a.volumeTable().find(ctx, want.Volume)
	if err != nil {
		return want, err
	}
	if v == nil {
		return want, fault.Conflict.Errorf("volume %s does not exist", want.Volume)
	}
	if v.Status == "in-use" {
		if v, err = a.copyOf(ctx, v, want); err != nil {
			return want, err
		}
	}
	want.State = driver.Building
	switch v.Status {
	case "creating", "downloading":
		want.Detail = "copying the volume"
		return want, nil
	case "error":
		if _, err := a.dropCopies(ctx, want.ID); err != nil {
			return want, err
		}
		return want, fault.Conflict.Errorf("the volume is attached, and this backend could not copy it as it is; detach it, or it is tried again")
	}
	r, err := volumes.UploadImage(ctx, a.volume, v.ID, volumes.UploadImageOpts{
		ImageName: a.mark("image", want.ID), DiskFormat: "raw", ContainerFormat: "bare",
	}).Extract()
	want.Native = r.ImageID
	return want, err
}

func (a *account) copyTable() table[volumes.Volume] { return a.volumesOf("image-copy") }

// copyOf finds or makes a copy of an attached volume, which is what a power cut
// at this moment would leave.
func (a *account) copyOf(ctx context.Context, v *volumes.Volume, want driver.Image) (*volumes.Volume, error) {
	c, err := a.copyTable().single(ctx, want.ID)
	if c != nil || err != nil {
		return c, err
	}
	if err := a.markCopied(ctx, v); err != nil {
		return nil, err
	}
	return volumes.Create(ctx, a.volume, volumes.CreateOpts{
		Size: v.Size, Name: want.Name, Description: want.URN, SourceVolID: v.ID,
		Metadata: a.metadataOf("image-copy", want.ID, driver.Meta{ID: want.ID}),
	}, nil).Extract()
}

func (a *account) markCopied(ctx context.Context, v *volumes.Volume) error {
	v.Metadata[snapshotKey] = "yes"
	return volumes.Update(ctx, a.volume, v.ID, volumes.UpdateOpts{Metadata: v.Metadata}).Err
}

// dropCopies removes what was only copied for an image, and reports whether
// something of it is still busy.
func (a *account) dropCopies(ctx context.Context, id string) (busy bool, err error) {
	all, err := a.copyTable().some(ctx, id)
	if err != nil {
		return false, err
	}
	for _, c := range all {
		switch {
		case c.Status == "deleting": // it needs nobody any more
		case c.Status == "available", strings.HasPrefix(c.Status, "error"):
			if err := unlessGone(a.copyTable().drop(ctx, c.ID)); err != nil {
				return false, err
			}
		default:
			busy = true
		}
	}
	return busy, nil
}
