package agent

import (
	"encoding/json"
	"path"
	"slices"
	"strings"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/urn"
)

// publicTenant is whose images every tenant may start from: those on offer.
const publicTenant = "public"

func kindsOf(c *driver.Cloud) []*kind {
	all := []*kind{
		networkKind(c), gatewayKind(c), routeTableKind(c), subnetKind(c), ruleKind(c), securityGroupKind(c),
		publicIPKind(c), nicKind(c), imageKind(c), volumeKind(c), instanceKind(c),
	}
	for _, k := range all {
		k.adopt = adopter(c, k.name)
	}
	return all
}

func imageKind(c *driver.Cloud) *kind {
	k := define("image", row[seca.ImageSpec, driver.Image]{
		keeper: c.Images,
		want: func(r *resolver, s *seca.ImageSpec) (driver.Image, error) {
			i := driver.Image{Arch: s.CPUArchitecture, Boot: s.Boot, Initializer: s.Initializer}
			x := r.look(s.BlockStorageRef)
			r.e.virtual = r.m.lenient && x == nil && r.e.have == nil
			switch {
			case r.e.have != nil: // a copy does not need what it was made of
				i.Volume = r.e.have.(driver.Image).Volume
			case !r.e.virtual:
				i.Volume = r.need(s.BlockStorageRef)
			}
			return i, nil
		},
		uses: func(i *driver.Image) []string {
			if i.State == driver.Ready {
				return nil
			}
			return given(i.Volume)
		},
		status: func(_ *viewer, _ *seca.ImageSpec, have *driver.Image) any {
			return seca.ImageStatus{SizeMB: have.SizeMB}
		},
	})
	k.data = true
	return k
}

func volumeKind(c *driver.Cloud) *kind {
	k := define("block-storage", row[seca.BlockStorageSpec, driver.Volume]{
		keeper: c.Volumes,
		want: func(r *resolver, s *seca.BlockStorageSpec) (driver.Volume, error) {
			v := driver.Volume{SizeGB: s.SizeGB, SKU: path.Base(s.SKURef.Resource)}
			switch {
			case r.e.have != nil:
				v.Image = r.e.have.(driver.Volume).Image
			case s.SourceImageRef != nil:
				v.Image = r.image(*s.SourceImageRef)
			}
			return v, nil
		},
		uses: func(v *driver.Volume) []string {
			if v.State == driver.Ready {
				return nil
			}
			return given(v.Image)
		},
		status: func(v *viewer, _ *seca.BlockStorageSpec, have *driver.Volume) any {
			return seca.BlockStorageStatus{SizeGB: have.SizeGB, AttachedTo: v.holder("instance")}
		},
	})
	k.data = true
	return k
}

// image resolves what a volume starts as a copy of.
func (r *resolver) image(ref seca.Reference) string {
	if u, err := urn.Parse(ref.Resource); err == nil && u.Tenant == publicTenant {
		return driver.OfferedImage(u.Name)
	}
	id := r.need(ref)
	if x := r.m.byID[id]; x != nil && x.virtual {
		return ""
	}
	return id
}

func instanceKind(c *driver.Cloud) *kind {
	return define("instance", row[seca.InstanceSpec, driver.Instance]{
		keeper: c.Instances,
		want:   wantInstance,
		uses: func(i *driver.Instance) []string {
			return slices.Concat(given(i.BootVolume), i.DataVolumes, i.NICs)
		},
		status: func(_ *viewer, _ *seca.InstanceSpec, have *driver.Instance) any {
			s := seca.InstanceStatus{PowerState: seca.Off}
			if have.On {
				s.PowerState = seca.On
			}
			if !have.PowerSince.IsZero() {
				s.PowerStateSince = &have.PowerSince
			}
			return s
		},
	})
}

func wantInstance(r *resolver, s *seca.InstanceSpec) (driver.Instance, error) {
	i := driver.Instance{
		SKU: path.Base(s.SKURef.Resource), Zone: s.Zone, AntiAffinity: apart(r.e.want.URN, s.AntiAffinityGroup),
		SSHKeys: s.SSHKeys, UserData: s.UserData,
		On: r.e.want.Power == seca.On, Restarts: r.e.want.Restarts,
		BootVolume: r.need(s.BootVolume.DeviceRef),
	}
	if len(r.e.want.SKU) > 0 {
		var size driver.InstanceSKU
		if err := json.Unmarshal(r.e.want.SKU, &size); err != nil {
			return i, fault.Invalid.Errorf("read the size of the instance: %w", err)
		}
		i.VCPU, i.RAMGiB = size.VCPU, size.RAMGiB
	}
	for _, v := range s.DataVolumes {
		i.DataVolumes = append(i.DataVolumes, r.need(v.DeviceRef))
	}
	for _, ref := range nicRefs(s) {
		i.NICs = append(i.NICs, r.need(ref))
		r.guarded(ref, s.SecurityGroupRef)
	}
	return i, nil
}

// apart makes a group of machines on different hosts one of their workspace:
// what another tenant calls his own has nothing to do with it.
func apart(instance, group string) string {
	if group == "" {
		return ""
	}
	return path.Dir(path.Dir(instance)) + ":" + group
}

// groupIn is what the customer said.
func groupIn(apart string) string {
	if _, group, ok := strings.Cut(apart, ":"); ok {
		return group
	}
	return apart
}

// guarded waits until a card is in the machine's security group: before that
// it would be open.
func (r *resolver) guarded(card seca.Reference, group *seca.Reference) {
	if group == nil {
		return
	}
	g := r.look(*group)
	x := r.m.byURN[card.Resource]
	if g == nil || x == nil || x.have == nil || r.e.have != nil {
		return
	}
	if n, ok := x.have.(driver.NIC); ok && !slices.Contains(n.SecurityGroups, g.id()) {
		r.wait(card, "has not joined "+short(group.Resource))
	}
}

// nicRefs are the cards of a machine, the primary one first.
func nicRefs(s *seca.InstanceSpec) []seca.Reference {
	var refs []seca.Reference
	if s.PrimaryNICRef != nil && s.PrimaryNICRef.Resource != "" {
		refs = append(refs, *s.PrimaryNICRef)
	}
	return append(refs, s.AdditionalNICRefs...)
}
