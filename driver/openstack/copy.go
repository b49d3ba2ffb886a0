package openstack

import (
	"context"
	"strings"

	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/snapshots"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumes"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// An image of a volume that a guest may be writing to is made in three steps,
// because Cinder reads none that is attached: a snapshot of it, which is what a
// power cut at this moment would leave; a volume from the snapshot; an image of
// that. The first two carry the image's id, and go when the image is there.

const copyLeft = "what it was copied through is not removed yet"

func (a *account) copyTable() table[volumes.Volume] { return a.volumesOf("image-copy") }

// snapshotTable's mark is the snapshot's name, by which Cinder can filter.
func (a *account) snapshotTable() table[snapshots.Snapshot] {
	return table[snapshots.Snapshot]{
		a: a, kind: "image-snapshot",
		list: func(ctx context.Context, mark string) ([]snapshots.Snapshot, error) {
			o := snapshots.ListOpts{Name: mark, Limit: pageSize}
			return pages(ctx, snapshots.ListDetail(a.volume, o), snapshots.ExtractSnapshots)
		},
		record: func(s *snapshots.Snapshot) record { return record{s.ID, s.Name, s.CreatedAt} },
		drop: func(ctx context.Context, native string) error {
			return snapshots.Delete(ctx, a.volume, native).ExtractErr()
		},
	}
}

// copies are the native ids of what images are copied through, by their ids.
func (a *account) copies(ctx context.Context) (map[string]string, error) {
	all, _, err := a.snapshotTable().all(ctx)
	if err != nil {
		return nil, err
	}
	more, _, err := a.copyTable().all(ctx)
	natives := map[string]string{}
	for id, s := range all {
		natives[id] = s.ID
	}
	for id, c := range more {
		natives[id] = c.ID
	}
	return natives, err
}

// copyOf takes a step towards a copy of an attached volume, and returns it once
// it can be read.
func (a *account) copyOf(ctx context.Context, v *volumes.Volume, want driver.Image) (*volumes.Volume, error) {
	c, err := a.copyTable().single(ctx, want.ID)
	if err != nil {
		return nil, err
	}
	if c == nil {
		return nil, a.beginCopy(ctx, v, want)
	}
	switch {
	case c.Status == "available":
		return c, nil
	case strings.HasPrefix(c.Status, "error"):
		return nil, a.cannotCopy(ctx, want.ID)
	}
	return nil, nil
}

// beginCopy makes the snapshot, or the copy of one that is there.
func (a *account) beginCopy(ctx context.Context, v *volumes.Volume, want driver.Image) error {
	s, err := a.snapshotTable().single(ctx, want.ID)
	switch {
	case err != nil:
		return err
	case s == nil:
		if err := a.markCopied(ctx, v); err != nil {
			return err
		}
		return snapshots.Create(ctx, a.volume, snapshots.CreateOpts{
			VolumeID: v.ID, Force: true, Name: a.mark("image-snapshot", want.ID), Description: want.URN,
		}).Err
	case s.Status == "available":
		return volumes.Create(ctx, a.volume, volumes.CreateOpts{
			Size: v.Size, Name: want.Name, Description: want.URN, SnapshotID: s.ID,
			Metadata: a.metadataOf("image-copy", want.ID, driver.Meta{ID: want.ID}),
		}, nil).Err
	case strings.HasPrefix(s.Status, "error"):
		return a.cannotCopy(ctx, want.ID)
	}
	return nil
}

// cannotCopy takes away what came to nothing, so that the next try begins anew.
func (a *account) cannotCopy(ctx context.Context, id string) error {
	if _, err := a.dropCopies(ctx, id); err != nil {
		return err
	}
	return fault.Conflict.Errorf("the volume is attached, and this backend could not copy it as it is; detach it, or it is tried again")
}

func (a *account) markCopied(ctx context.Context, v *volumes.Volume) error {
	v.Metadata[snapshotKey] = "yes"
	return volumes.Update(ctx, a.volume, v.ID, volumes.UpdateOpts{Metadata: v.Metadata}).Err
}

// dropCopies removes what an image was copied through, and reports whether
// something of it is left. A snapshot goes when its copy has gone: backends that
// copy lazily need it until then.
func (a *account) dropCopies(ctx context.Context, id string) (left bool, err error) {
	copies, err := a.copyTable().some(ctx, id)
	if err != nil {
		return false, err
	}
	for _, c := range copies {
		if err := dropIdle(ctx, a.copyTable(), c.ID, c.Status); err != nil {
			return true, err
		}
	}
	shots, err := a.snapshotTable().some(ctx, id)
	if err != nil || len(copies) > 0 {
		return len(copies) > 0, err
	}
	for _, s := range shots {
		if err := dropIdle(ctx, a.snapshotTable(), s.ID, s.Status); err != nil {
			return true, err
		}
	}
	return len(shots) > 0, nil
}

// dropIdle drops what Cinder does nothing with.
func dropIdle[N any](ctx context.Context, t table[N], native, status string) error {
	if status != "available" && !strings.HasPrefix(status, "error") {
		return nil
	}
	return unlessGone(t.drop(ctx, native))
}
