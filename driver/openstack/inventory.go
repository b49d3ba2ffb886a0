package openstack

import (
	"context"
	"slices"
	"strconv"
	"strings"
	"sync"
	"time"

	blocklimits "github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/limits"
	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumetypes"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/availabilityzones"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/flavors"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/limits"
	"github.com/gophercloud/gophercloud/v2/openstack/image/v2/images"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/quotas"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// stale is for how long what the cloud has on offer is not asked for again.
const stale = time.Minute

// goods are what a cloud offers to all its projects, which seldom changes.
type goods struct {
	mu      sync.Mutex
	at      time.Time
	zones   []string
	flavors []flavors.Flavor
	types   []volumetypes.VolumeType
	images  []images.Image
}

// offers reads what is on offer, unless it was read a moment ago.
func (a *account) offers(ctx context.Context) (goods, error) {
	g := &a.goods
	g.mu.Lock()
	defer g.mu.Unlock()
	if time.Since(g.at) < stale {
		return goods{zones: g.zones, flavors: g.flavors, types: g.types, images: g.images}, nil
	}
	var err error
	if g.flavors, err = pages(ctx, flavors.ListDetail(a.compute, flavors.ListOpts{Limit: pageSize}), flavors.ExtractFlavors); err != nil {
		return goods{}, kindOf(err, "list flavors")
	}
	if g.zones, err = a.zones(ctx); err != nil {
		return goods{}, kindOf(err, "list availability zones")
	}
	if a.volume != nil {
		if g.types, err = pages(ctx, volumetypes.List(a.volume, volumetypes.ListOpts{Limit: pageSize}), volumetypes.ExtractVolumeTypes); err != nil {
			return goods{}, kindOf(err, "list volume types")
		}
	}
	if a.image != nil {
		o := images.ListOpts{Limit: pageSize, Status: images.ImageStatusActive, Sort: "created_at:desc"}
		if g.images, err = pages(ctx, images.List(a.image, o), images.ExtractImages); err != nil {
			return goods{}, kindOf(err, "list images")
		}
	}
	g.at = time.Now()
	return goods{zones: g.zones, flavors: g.flavors, types: g.types, images: g.images}, nil
}

func (a *account) zones(ctx context.Context) ([]string, error) {
	page, err := availabilityzones.List(a.compute).AllPages(ctx) // there is but one
	if err != nil {
		return nil, err
	}
	all, err := availabilityzones.ExtractAvailabilityZones(page)
	var zones []string
	for _, z := range all {
		if z.ZoneState.Available && z.ZoneName != "internal" && (a.config.Zones == nil || slices.Contains(a.config.Zones, z.ZoneName)) {
			zones = append(zones, z.ZoneName)
		}
	}
	slices.Sort(zones)
	return zones, err
}

// inventory tells what is on offer, and what the quotas leave.
func (a *account) inventory(ctx context.Context) (*driver.Inventory, error) {
	g, err := a.offers(ctx)
	if err != nil {
		return nil, err
	}
	free, err := a.free(ctx)
	if err != nil {
		return nil, err
	}
	inv := &driver.Inventory{
		Zones: g.zones, NetworkSKUs: []driver.NetworkSKU{a.config.Network}, Free: free,
		Features: a.features(), Platform: "openstack (" + a.config.Profile + ", nova " + a.compute.Microversion + ")",
	}
	for _, f := range g.flavors {
		if s, ok := a.instanceSKU(f); ok {
			inv.InstanceSKUs = append(inv.InstanceSKUs, s)
		}
	}
	for _, t := range g.types {
		if matches(a.config.VolumeTypes, t.Name) {
			inv.StorageSKUs = append(inv.StorageSKUs, a.storageSKU(t.Name))
		}
	}
	for _, i := range g.images {
		if o, ok := a.offered(i); ok && !slices.ContainsFunc(inv.Images, func(x driver.OfferImage) bool { return x.Name == o.Name }) {
			inv.Images = append(inv.Images, o)
		}
	}
	return inv, nil
}

func (a *account) features() []driver.Feature {
	out := []driver.Feature{driver.AntiAffinity, driver.MoreThanOneNIC}
	if a.extensions["extraroute"] {
		out = append(out, driver.RouteToInstance)
	}
	if a.volume != nil && a.image != nil {
		out = append(out, driver.ImageFromVolume)
	}
	if a.volume != nil && a.growsInUse() {
		out = append(out, driver.ResizeWhileInUse)
	}
	return out
}

// skuName spells a name of the platform as a name in SECA may be.
func skuName(name string) string {
	name = strings.Map(func(r rune) rune {
		if r >= 'a' && r <= 'z' || r >= '0' && r <= '9' || r == '.' {
			return r
		}
		return '-'
	}, strings.ToLower(name))
	var parts []string
	for part := range strings.SplitSeq(name, ".") {
		if part = strings.Trim(part, "-"); part != "" {
			parts = append(parts, part)
		}
	}
	return strings.Join(parts, ".")
}

// instanceSKU makes a flavor a size. Memory is in whole GiB, and less than one is
// said to be one; then a label has the figure.
func (a *account) instanceSKU(f flavors.Flavor) (driver.InstanceSKU, bool) {
	s := driver.InstanceSKU{
		SKU:  driver.SKU{Name: skuName(f.Name), Labels: map[string]string{"Provider": "openstack", "Tier": f.Name}},
		VCPU: f.VCPUs, RAMGiB: max(1, f.RAM/1024), GPU: gpuIn(f.ExtraSpecs),
	}
	if f.RAM%1024 != 0 {
		s.Labels["MemoryMiB"] = strconv.Itoa(f.RAM)
	}
	if g, ok := known(a.config.GPUs, f.Name); ok {
		s.GPU = &g
	}
	return s, s.Name != "" && f.VCPUs > 0 && matches(a.config.Flavors, f.Name)
}

// gpuIn reads accelerators from a flavor's extra specs: the alias of a passed
// through device, which providers name after the model, or a share of one.
func gpuIn(specs map[string]string) *driver.GPU {
	alias, count, ok := strings.Cut(specs["pci_passthrough:alias"], ":")
	n, err := strconv.Atoi(count)
	if ok && err == nil && n > 0 {
		return &driver.GPU{Count: n, Vendor: vendorOf(alias), Model: alias}
	}
	if n, err := strconv.Atoi(specs["resources:VGPU"]); err == nil && n > 0 {
		return &driver.GPU{Count: n, Vendor: "nvidia", Model: "vgpu"}
	}
	return nil
}

func vendorOf(model string) string {
	model = strings.ToLower(model)
	switch {
	case strings.Contains(model, "amd"), strings.HasPrefix(model, "mi"):
		return "amd"
	case strings.Contains(model, "intel"), strings.Contains(model, "gaudi"):
		return "intel"
	}
	return "nvidia"
}

func (a *account) storageSKU(name string) driver.StorageSKU {
	of, ok := known(a.config.Storage, name)
	if !ok {
		of, ok = known(a.profile.Storage, name)
	}
	if !ok {
		of = Storage{IOPS: 100, MinGB: 1, Type: "remote-durable"} // Cinder does not say
	}
	return driver.StorageSKU{
		SKU:  driver.SKU{Name: skuName(name), Labels: map[string]string{"Provider": "openstack", "Tier": name}},
		IOPS: of.IOPS, MinGB: of.MinGB, Type: of.Type,
	}
}

// offered makes an image of the cloud one that tenants may start from. What is
// made of their own volumes is theirs.
func (a *account) offered(i images.Image) (driver.OfferImage, bool) {
	text := properties(i)
	o := driver.OfferImage{
		Name: skuName(i.Name), Arch: "amd64", Boot: "BIOS", Initializer: "cloudinit-22",
		SizeMB: max(int((i.SizeBytes+999_999)/1_000_000), 1), Labels: map[string]string{"provider": "openstack"},
	}
	for ours, theirs := range architectures {
		if text["architecture"] == theirs {
			o.Arch = ours
		}
	}
	if text["hw_firmware_type"] == "uefi" {
		o.Boot = "UEFI"
	}
	ours := strings.HasPrefix(i.Name, "kontor/") || text[markKey] != ""
	return o, o.Name != "" && !ours && matches(a.config.Images, i.Name)
}

// free is what the quotas leave. One without end is said not to be known. Where no
// other machine or volume is allowed at all, there is nothing left for one.
func (a *account) free(ctx context.Context) (driver.Capacity, error) {
	var free driver.Capacity
	c, err := limits.Get(ctx, a.compute, limits.GetOpts{}).Extract()
	if err != nil {
		return free, kindOf(err, "read the limits of Nova")
	}
	free.VCPU = left(c.Absolute.MaxTotalCores, c.Absolute.TotalCoresUsed)
	if ram := left(c.Absolute.MaxTotalRAMSize, c.Absolute.TotalRAMUsed); ram != nil {
		gib := *ram / 1024
		free.RAMGiB = &gib
	}
	if none(c.Absolute.MaxTotalInstances, c.Absolute.TotalInstancesUsed) {
		free.VCPU, free.RAMGiB = new(int), new(int)
	}
	if a.volume != nil {
		v, err := blocklimits.Get(ctx, a.volume).Extract()
		if err != nil {
			return free, kindOf(err, "read the limits of Cinder")
		}
		free.DiskGB = left(v.Absolute.MaxTotalVolumeGigabytes, v.Absolute.TotalGigabytesUsed)
		if none(v.Absolute.MaxTotalVolumes, v.Absolute.TotalVolumesUsed) {
			free.DiskGB = new(int)
		}
	}
	if a.external == "" {
		return free, nil
	}
	n, err := quotas.GetDetail(ctx, a.network, a.project).Extract()
	if err != nil { // not all that run OpenStack tell their customers
		a.log.DebugContext(ctx, "neutron tells no quotas", "error", err)
		return free, nil
	}
	free.PublicIPs = left(n.FloatingIP.Limit, n.FloatingIP.Used+n.FloatingIP.Reserved)
	return free, nil
}

func left(limit, used int) *int {
	if limit < 0 {
		return nil
	}
	n := max(0, limit-used)
	return &n
}

// none reports whether a limit is reached. One that a cloud does not tell is 0.
func none(limit, used int) bool { return limit > 0 && used >= limit }

// flavorNamed finds the flavor behind a SKU.
func (a *account) flavorNamed(ctx context.Context, sku string) (string, error) {
	g, err := a.offers(ctx)
	for _, f := range g.flavors {
		if s, ok := a.instanceSKU(f); ok && s.Name == sku {
			return f.ID, nil
		}
	}
	if err != nil {
		return "", err
	}
	return "", fault.Invalid.Errorf("no flavor is behind the size %q", sku)
}

// typeNamed finds the volume type behind a SKU.
func (a *account) typeNamed(ctx context.Context, sku string) (string, error) {
	g, err := a.offers(ctx)
	for _, t := range g.types {
		if matches(a.config.VolumeTypes, t.Name) && skuName(t.Name) == sku {
			return t.Name, nil
		}
	}
	if err != nil {
		return "", err
	}
	return "", fault.Invalid.Errorf("no volume type is behind the class %q", sku)
}

// imageNamed finds what a volume starts from: an image of the cloud by name, or
// one of ours by id.
func (a *account) imageNamed(ctx context.Context, image string) (string, error) {
	name, offered := strings.CutPrefix(image, driver.OfferedImage(""))
	if !offered {
		i, err := a.imageTable().find(ctx, image)
		if err == nil && (i == nil || i.Status != images.ImageStatusActive) {
			err = fault.Conflict.Errorf("image %s is not there", image)
		}
		if err != nil {
			return "", err
		}
		return i.ID, nil
	}
	g, err := a.offers(ctx)
	for _, i := range g.images {
		if o, ok := a.offered(i); ok && o.Name == name {
			return i.ID, nil
		}
	}
	if err != nil {
		return "", err
	}
	return "", fault.Invalid.Errorf("no image %q is on offer", name)
}
