package openstack

import (
	"context"
	"slices"

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
				return fault.Conflict.Errorf("what it was copied through is not removed yet")
			}
			return t.remove(ctx, id)
		},
	}
}

// listImages counts what an image is, or was, copied through as a part of it.
func (a *account) listImages(ctx context.Context) ([]driver.Image, error) {
	all, doubled, err := a.imageTable().all(ctx)
	if err != nil {
		return nil, err
	}
	copies, err := a.copies(ctx)
	if err != nil {
		return nil, err
	}
	var out []driver.Image
	for id, i := range all {
		have := viewImage(id, i)
		doubt(&have.Meta, doubled[id])
		if copies[id] != "" && have.State == driver.Ready {
			have.State, have.Detail = driver.Building, copyLeft
		}
		out = append(out, have)
	}
	for id, native := range copies {
		if _, done := all[id]; !done {
			out = append(out, driver.Image{Meta: driver.Meta{ID: id, Native: native, State: driver.Building, Detail: "copying the volume"}})
		}
	}
	return out, nil
}

// spoiler is what Cinder notes of a volume that began as an image, and passes on to
// an image that is made of it. From such an image some releases make no volume.
const spoiler = "signature_verified"

// viewImage reads the note in the image's properties.
func viewImage(id string, i images.Image) (have driver.Image) {
	text := properties(i)
	readMetadata(text, &have)
	have.State, have.Detail = driver.Building, "Glance says "+string(i.Status)
	_, spoilt := text[spoiler]
	switch {
	case have.ID == "", spoilt: // the note comes after the image
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
		have.State, have.Detail = driver.Building, copyLeft
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
	if _, spoilt := have[spoiler]; spoilt {
		change = append(change, images.UpdateImageProperty{Op: images.RemoveOp, Name: spoiler})
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
	want.State = driver.Building
	if v.Status == "in-use" {
		if v, err = a.copyOf(ctx, v, want); v == nil || err != nil {
			want.Detail = "copying the volume"
			return want, err
		}
	}
	r, err := volumes.UploadImage(ctx, a.volume, v.ID, volumes.UploadImageOpts{
		ImageName: a.mark("image", want.ID), DiskFormat: "raw", ContainerFormat: "bare",
	}).Extract()
	want.Native = r.ImageID
	return want, err
}
