package agent

import (
	"context"
	"slices"
	"strings"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/wire"
)

// holdings tells an exchange that has lost its database what the platform has
// of it: the things of one kind, in SECA's words.
func (a *agent) holdings(ctx context.Context, name string) ([]wire.Holding, error) {
	k := a.kinds[name]
	if k == nil || k.list == nil {
		return []wire.Holding{}, nil
	}
	all, err := a.listAll(ctx, k)
	if err != nil {
		return nil, fault.Unavailable.Errorf("list %ss: %w", name, err)
	}
	v, err := a.throttle.look(ctx, operation{"inventory", ""}, func(ctx context.Context) (any, error) { return boxed(a.cloud.Inventory(ctx)) })
	if err != nil {
		return nil, fault.Unavailable.Errorf("read the inventory: %w", err)
	}
	found := make([]wire.Holding, 0, len(all))
	for _, have := range all {
		m := k.meta(have)
		h := wire.Holding{ID: m.ID, URN: m.URN, Leaving: m.State == driver.Leaving}
		h.Stray = describeOwn(driver.Stray{Kind: driverKind(name), Native: m.Native, Name: m.Name, Thing: have}, v.(*driver.Inventory))
		if i, ok := have.(driver.Instance); ok {
			h.Restarts = i.Restarts
		}
		found = append(found, h)
	}
	slices.SortFunc(found, func(x, y wire.Holding) int { return strings.Compare(x.URN+x.ID, y.URN+y.ID) })
	return found, nil
}

func driverKind(name string) driver.Kind {
	for kind, n := range secaNames {
		if n == name {
			return kind
		}
	}
	return ""
}

// The rest is what the things of an exchange have and strays do not. Things
// of ours refer to one another by the ids of their resources.

func (d *description) image(i driver.Image) seca.ImageSpec {
	return seca.ImageSpec{BlockStorageRef: foreign(i.Volume), CPUArchitecture: i.Arch, Boot: i.Boot, Initializer: i.Initializer}
}

// source names the image that a volume began as.
func (d *description) source(image string) *seca.Reference {
	if !d.own || image == "" {
		return nil
	}
	ref := foreign(image)
	if name, offered := strings.CutPrefix(image, driver.OfferedImage("")); offered {
		ref = seca.Ref("tenants/" + publicTenant + "/images/" + name)
	}
	return &ref
}

// secrets are what a machine was given at its start.
func (d *description) secrets(s *seca.InstanceSpec, i driver.Instance) {
	if d.own {
		s.SSHKeys, s.UserData, s.AntiAffinityGroup = i.SSHKeys, i.UserData, groupIn(i.AntiAffinity)
	}
}
