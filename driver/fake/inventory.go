package fake

import (
	"context"
	"net/netip"

	"github.com/kontor-cloud/kontor/driver"
)

// withDefaults fills what is left out: the sizes that scripts against a fake
// region rely on.
func (c Config) withDefaults() Config {
	if len(c.Zones) == 0 {
		c.Zones = []string{"a"}
	}
	if c.InstanceSKUs == nil {
		c.InstanceSKUs = []driver.InstanceSKU{{
			SKU:  sku("seca.d2xs", map[string]string{"Architecture": "amd64", "Provider": "fake", "Tier": "D2XS"}),
			VCPU: 1, RAMGiB: 1,
		}}
	}
	if c.StorageSKUs == nil {
		c.StorageSKUs = []driver.StorageSKU{{
			SKU:  sku("seca.rd100", map[string]string{"Provider": "fake", "Tier": "RD100"}),
			IOPS: 100, MinGB: 1, Type: "remote-durable",
		}}
	}
	if c.NetworkSKUs == nil {
		c.NetworkSKUs = []driver.NetworkSKU{{
			SKU:  sku("seca.n1k", map[string]string{"Provider": "fake", "Tier": "N1K"}),
			Mbps: 1000, Packets: 100_000,
		}}
	}
	if c.Images == nil {
		c.Images = []driver.OfferImage{{Name: "tiny", Arch: "amd64", Boot: "BIOS", Initializer: "cloudinit-22", SizeMB: 64}}
	}
	if !c.Pool.IsValid() {
		c.Pool = netip.MustParsePrefix("198.18.0.0/15")
	}
	if c.PageSize == 0 {
		c.PageSize = 1000
	}
	if c.Limits == (driver.Limits{}) {
		c.Limits = driver.Limits{PerSecond: 1e9, Burst: 1e9, Parallel: 64}
	}
	return c
}

func sku(name string, labels map[string]string) driver.SKU {
	return driver.SKU{Name: name, Labels: labels}
}

func (p *Platform) inventory(ctx context.Context) (*driver.Inventory, error) {
	if _, err := p.gate(ctx, "inventory", ""); err != nil {
		return nil, err
	}
	return &driver.Inventory{
		Zones:        p.config.Zones,
		InstanceSKUs: p.config.InstanceSKUs,
		StorageSKUs:  p.config.StorageSKUs,
		NetworkSKUs:  p.config.NetworkSKUs,
		Images:       p.config.Images,
		Features: []driver.Feature{
			driver.AntiAffinity, driver.IPv6, driver.ImageFromVolume, driver.BringYourOwnIP,
			driver.RouteToInstance, driver.MoreThanOneNIC, driver.ResizeWhileInUse,
		},
		Platform: "fake",
	}, nil
}
