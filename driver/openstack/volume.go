package openstack

import (
	"context"
	"maps"
	"slices"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumes"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// snapshotKey marks a volume that was copied while it was attached. Cinder's
// drivers for files then look for the wrong file when they grow it, and break it.
const snapshotKey = "kontor_copied_in_use"

func (a *account) volumeTable() table[volumes.Volume] { return a.volumesOf("volume") }

func (a *account) volumesOf(kind string) table[volumes.Volume] {
	return table[volumes.Volume]{
		a: a, kind: kind,
		list: func(ctx context.Context, mark string) ([]volumes.Volume, error) {
			o := volumes.ListOpts{Limit: pageSize, Metadata: map[string]string{ownerKey: a.ownerMark()}}
			if mark != "" {
				o.Metadata = map[string]string{markKey: mark}
			}
			return pages(ctx, volumes.List(a.volume, o), volumes.ExtractVolumes)
		},
		record: func(v *volumes.Volume) record { return record{v.ID, v.Metadata[markKey], v.CreatedAt} },
		drop: func(ctx context.Context, native string) error {
			return volumes.Delete(ctx, a.volume, native, volumes.DeleteOpts{}).ExtractErr()
		},
	}
}

func (a *account) volumeKeeper() driver.Keeper[driver.Volume] {
	t := a.volumeTable()
	return keeper[driver.Volume, *driver.Volume]{
		a: a, kind: t.kind, ensure: a.ensureVolume, remove: a.removeVolume,
		list: func(ctx context.Context) ([]driver.Volume, error) {
			all, doubled, err := t.all(ctx)
			if err != nil || len(all) == 0 {
				return nil, err
			}
			machines, err := a.serverTable().ids(ctx)
			if err != nil {
				return nil, err
			}
			var out []driver.Volume
			for id, v := range all {
				have := viewVolume(id, v, machines)
				doubt(&have.Meta, doubled[id])
				out = append(out, have)
			}
			return out, nil
		},
	}
}

// volumeStates are Cinder's, as far as they are not on the way to another one.
var volumeStates = map[string]driver.State{
	"available": driver.Ready, "in-use": driver.Ready, "uploading": driver.Ready, "backing-up": driver.Ready,
	"deleting": driver.Leaving,
}

func viewVolume(id string, v volumes.Volume, machines map[string]string) (have driver.Volume) {
	readMetadata(v.Metadata, &have)
	have.ID, have.Native, have.SizeGB, have.AttachedTo = id, v.ID, v.Size, ""
	have.State = driver.Building
	if s, ok := volumeStates[v.Status]; ok {
		have.State = s
	} else if strings.HasPrefix(v.Status, "error") {
		have.State = driver.Failed
	}
	if have.State != driver.Ready {
		have.Detail = "Cinder says " + v.Status
	}
	for _, x := range v.Attachments {
		if m := machines[x.ServerID]; m != "" {
			have.AttachedTo = m
		}
	}
	return have
}

func (a *account) ensureVolume(ctx context.Context, want driver.Volume) (driver.Volume, error) {
	v, err := a.volumeTable().single(ctx, want.ID)
	if err != nil {
		return want, err
	}
	switch {
	case v == nil && want.Lived:
		return want, fault.Missing.Errorf("volume %s was there, and is gone", want.ID)
	case v == nil:
		v, err = a.createVolume(ctx, want)
	case v.Status == "error" && !want.Lived:
		// It came to nothing, so there is nothing in it.
		if err := unlessGone(a.volumeTable().drop(ctx, v.ID)); err != nil {
			return want, err
		}
		return want, fault.Exhausted.Errorf("Cinder could not make the volume; it will be tried again")
	case volumeStates[v.Status] == driver.Ready:
		err = a.changeVolume(ctx, v, want)
	}
	if err != nil {
		return want, err
	}
	machines, err := a.machinesOf(ctx, v)
	return viewVolume(want.ID, *v, machines), err
}

// machinesOf maps the machines that a volume is attached to, by native id.
func (a *account) machinesOf(ctx context.Context, v *volumes.Volume) (map[string]string, error) {
	if len(v.Attachments) == 0 {
		return nil, nil
	}
	return a.serverTable().ids(ctx)
}

func (a *account) createVolume(ctx context.Context, want driver.Volume) (*volumes.Volume, error) {
	o := volumes.CreateOpts{
		Size: want.SizeGB, Name: want.Name, Description: want.URN,
		Metadata: a.metadataOf("volume", want.ID, notedVolume(want)),
	}
	var err error
	if want.SKU != "" {
		if o.VolumeType, err = a.typeNamed(ctx, want.SKU); err != nil {
			return nil, err
		}
	}
	if want.Image != "" {
		if o.ImageID, err = a.imageNamed(ctx, want.Image); err != nil {
			return nil, err
		}
	}
	return volumes.Create(ctx, a.volume, o, nil).Extract()
}

func notedVolume(v driver.Volume) driver.Volume {
	v.Meta, v.AttachedTo = plain(v.Meta), ""
	return v
}

// changeVolume grows a volume and renews its note.
func (a *account) changeVolume(ctx context.Context, v *volumes.Volume, want driver.Volume) error {
	var old driver.Volume
	readMetadata(v.Metadata, &old)
	want.SizeGB, want.Image, want.SKU = max(want.SizeGB, v.Size), old.Image, old.SKU
	if meta := a.metadataOf("volume", want.ID, notedVolume(want)); !noted(v.Metadata, meta) {
		all := maps.Clone(v.Metadata)
		maps.Copy(all, meta)
		next, err := volumes.Update(ctx, a.volume, v.ID, volumes.UpdateOpts{Metadata: all}).Extract()
		if err != nil {
			return err
		}
		v.Metadata = next.Metadata
	}
	if want.SizeGB == v.Size {
		return nil
	}
	if err := a.mayGrow(v); err != nil {
		return err
	}
	if err := volumes.ExtendSize(ctx, a.volume, v.ID, volumes.ExtendSizeOpts{NewSize: want.SizeGB}).ExtractErr(); err != nil {
		return err
	}
	v.Status = "extending"
	return nil
}

// mayGrow refuses what the backend would break.
func (a *account) mayGrow(v *volumes.Volume) error {
	switch {
	case v.Metadata[snapshotKey] != "" && !a.growsInUse():
		return fault.Unsupported.Errorf("the volume was copied while it was attached, and this backend cannot grow it since")
	case v.Status == "available":
		return nil
	case v.Status == "in-use" && a.growsInUse():
		return nil
	case v.Status == "in-use":
		return fault.Conflict.Errorf("the volume is attached, and this backend grows it only when it is not")
	}
	return fault.Conflict.Errorf("the volume is %s", v.Status)
}

// growsInUse reports whether volumes grow while they are attached.
func (a *account) growsInUse() bool {
	yes := a.profile.ResizeWhileInUse
	if a.config.ResizeWhileInUse != nil {
		yes = *a.config.ResizeWhileInUse
	}
	return yes && speaks(a.volume, "3.42")
}

func (a *account) removeVolume(ctx context.Context, id string) error {
	all, err := a.volumeTable().some(ctx, id)
	if err != nil {
		return err
	}
	free := []string{"available", "error", "error_extending", "error_deleting", "error_restoring", "deleting"}
	for _, v := range all {
		if !slices.Contains(free, v.Status) {
			return fault.Conflict.Errorf("it is %s", v.Status)
		}
		if v.Status == "deleting" {
			continue
		}
		if err := unlessGone(a.volumeTable().drop(ctx, v.ID)); err != nil {
			return err
		}
	}
	return nil
}
