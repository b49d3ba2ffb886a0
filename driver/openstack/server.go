package openstack

import (
	"bytes"
	"context"
	"fmt"
	"mime/multipart"
	"net/textproto"
	"slices"
	"strconv"
	"strings"

	"sigs.k8s.io/yaml"

	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumes"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/attachinterfaces"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/volumeattach"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// createServer orders a machine. Nova starts each as soon as it is made; one
// that is wanted off is stopped by a later step.
func (a *account) createServer(ctx context.Context, want driver.Instance) (driver.Instance, error) {
	flavor, err := a.flavorNamed(ctx, want.SKU)
	if err != nil {
		return want, err
	}
	disks, err := a.disks(ctx, want)
	if err != nil {
		return want, err
	}
	cards, err := a.cards(ctx, want)
	if err != nil {
		return want, err
	}
	data, err := userData(want)
	if err != nil {
		return want, err
	}
	o := servers.CreateOpts{
		Name: hostname(want.Meta), FlavorRef: flavor, BlockDevice: disks, Networks: cards, UserData: data,
		AvailabilityZone: want.Zone, ConfigDrive: a.config.ConfigDrive, Metadata: a.metadataOf("instance", want.ID, notedInstance(want)),
	}
	o.Metadata[restartsKey] = strconv.FormatInt(want.Restarts, 10)
	if speaks(a.compute, "2.52") {
		o.Tags = []string{digest(a.ownerMark()), digest(a.mark("instance", want.ID))}
	}
	s, err := a.startApart(ctx, o, want.AntiAffinity)
	if err != nil {
		return want, err
	}
	want.Native, want.State, want.On = s.ID, driver.Building, false
	return want, nil
}

// startApart orders a machine, on a host that none of its group has.
func (a *account) startApart(ctx context.Context, o servers.CreateOpts, group string) (*servers.Server, error) {
	if group != "" {
		unlock, err := a.locks.take(ctx, groupsLock)
		if err != nil {
			return nil, err
		}
		defer unlock()
	}
	hints, err := a.joinGroup(ctx, group)
	if err != nil {
		return nil, err
	}
	return servers.Create(ctx, a.compute, o, hints).Extract()
}

// hostname is the machine's name as DNS allows it; Nova makes it the guest's own.
func hostname(m driver.Meta) string {
	name := skuName(m.Name)
	if name == "" {
		name = "i-" + m.ID
	}
	return name[:min(len(name), 63)]
}

// disks are the volumes that a machine starts with. They outlive it.
func (a *account) disks(ctx context.Context, want driver.Instance) ([]servers.BlockDevice, error) {
	var out []servers.BlockDevice
	for i, id := range append([]string{want.BootVolume}, want.DataVolumes...) {
		v, err := a.volumeTable().find(ctx, id)
		if err != nil {
			return nil, err
		}
		if v == nil || v.Status != "available" {
			return nil, fault.Conflict.Errorf("volume %s is not free", id)
		}
		d := servers.BlockDevice{SourceType: servers.SourceVolume, DestinationType: servers.DestinationVolume, UUID: v.ID, BootIndex: -1}
		if i == 0 {
			d.BootIndex = 0
		}
		out = append(out, d)
	}
	return out, nil
}

// cards gives the ports that a machine starts with, or "none": without a word
// Nova would pick a network.
func (a *account) cards(ctx context.Context, want driver.Instance) (any, error) {
	if len(want.NICs) == 0 {
		if !speaks(a.compute, "2.37") {
			return nil, fault.Unsupported.Errorf("a machine without a network card")
		}
		return "none", nil
	}
	var out []servers.Network
	for _, id := range want.NICs {
		p, err := a.portTable().find(ctx, id)
		if err != nil {
			return nil, err
		}
		if p == nil || p.DeviceID != "" {
			return nil, fault.Conflict.Errorf("network card %s is not free", id)
		}
		out = append(out, servers.Network{Port: p.ID})
	}
	return out, nil
}

// userData is what the customer gave, the SSH keys in the words of cloud-init, or
// both in one document of several parts.
func userData(want driver.Instance) ([]byte, error) {
	if len(want.SSHKeys) == 0 {
		return []byte(want.UserData), nil
	}
	keys, err := yaml.Marshal(map[string]any{"ssh_authorized_keys": want.SSHKeys})
	if err != nil {
		return nil, err
	}
	keys = append([]byte("#cloud-config\n"), keys...)
	if want.UserData == "" {
		return keys, nil
	}
	var b bytes.Buffer
	w := multipart.NewWriter(&b)
	fmt.Fprintf(&b, "Content-Type: multipart/mixed; boundary=%q\r\nMIME-Version: 1.0\r\n\r\n", w.Boundary())
	for _, part := range []struct{ kind, text string }{{"text/cloud-config", string(keys)}, {kindOfData(want.UserData), want.UserData}} {
		p, err := w.CreatePart(textproto.MIMEHeader{"Content-Type": {part.kind + `; charset="utf-8"`}})
		if err != nil {
			return nil, err
		}
		if _, err := p.Write([]byte(part.text)); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), w.Close()
}

// kindOfData tells cloud-init what a part is, by the first line of it.
func kindOfData(text string) string {
	for prefix, kind := range map[string]string{
		"#!": "text/x-shellscript", "#cloud-config": "text/cloud-config", "#include": "text/x-include-url",
		"#cloud-boothook": "text/cloud-boothook", "#part-handler": "text/part-handler", "## template: jinja": "text/jinja2",
	} {
		if strings.HasPrefix(text, prefix) {
			return kind
		}
	}
	return "text/plain"
}

// replugVolumes detaches one data volume that is too many, or attaches one that
// is missing. What is not ours stays.
func (a *account) replugVolumes(ctx context.Context, s *servers.Server, have, want driver.Instance, disks map[string]string) (bool, error) {
	for _, id := range have.DataVolumes {
		if slices.Contains(want.DataVolumes, id) {
			continue
		}
		native, err := a.volumeTable().need(ctx, id)
		if err != nil {
			return false, err
		}
		return true, unlessGone(volumeattach.Delete(ctx, a.compute, s.ID, native).ExtractErr())
	}
	for _, id := range want.DataVolumes {
		if slices.Contains(have.DataVolumes, id) {
			continue
		}
		return true, volumeattach.Create(ctx, a.compute, s.ID, volumeattach.CreateOpts{VolumeID: disks[id]}).Err
	}
	return a.plugging(ctx, s, want, disks)
}

// plugging reports whether a disk is still on its way into the machine: Nova names it as soon as
// it is asked for, Cinder once it is there.
func (a *account) plugging(ctx context.Context, s *servers.Server, want driver.Instance, disks map[string]string) (bool, error) {
	for _, id := range want.DataVolumes {
		v, err := volumes.Get(ctx, a.volume, disks[id]).Extract()
		if err != nil {
			return false, err
		}
		if !slices.ContainsFunc(v.Attachments, func(x volumes.Attachment) bool { return x.ServerID == s.ID }) {
			return true, nil
		}
	}
	return false, nil
}

// replugCards does the same with network cards.
func (a *account) replugCards(ctx context.Context, s *servers.Server, have, want driver.Instance) (bool, error) {
	for _, id := range have.NICs {
		if slices.Contains(want.NICs, id) {
			continue
		}
		native, err := a.portTable().need(ctx, id)
		if err != nil {
			return false, err
		}
		return true, unlessGone(attachinterfaces.Delete(ctx, a.compute, s.ID, native).ExtractErr())
	}
	for _, id := range want.NICs {
		if slices.Contains(have.NICs, id) {
			continue
		}
		native, err := a.portTable().need(ctx, id)
		if err != nil {
			return false, err
		}
		return true, attachinterfaces.Create(ctx, a.compute, s.ID, attachinterfaces.CreateOpts{PortID: native}).Err
	}
	return false, nil
}
