package openstack

import "github.com/kontor-cloud/kontor/driver"

// A profile is what is particular about a provider. There is no code for any
// of them.
type profile struct {
	ExternalNetwork  string // the name of the network with public addresses
	Compute          string // the highest microversion asked of Nova
	Volume           string // likewise of Cinder
	ResizeWhileInUse bool   // the volume backend grows what is attached
	Limits           driver.Limits
	Storage          map[string]Storage // of volume types, by pattern
}

// Versions beyond these change answers and bring nothing that is used here.
const (
	computeVersion = "2.61" // flavors with their extra specs
	volumeVersion  = "3.42" // growing what is attached
)

// profiles are the known providers, as docs/drivers/openstack.md says with sources.
// The limits are on the safe side of what is published, and a class of storage
// promises what its smallest volume does: where performance grows with size, more
// is not sure.
var profiles = map[string]profile{
	"generic": {
		Compute: computeVersion, Volume: volumeVersion,
		Limits: driver.Limits{PerSecond: 20, Burst: 40, Parallel: 8},
	},
	"ovh": {
		ExternalNetwork: "Ext-Net", Compute: computeVersion, Volume: volumeVersion, ResizeWhileInUse: true,
		Limits: driver.Limits{PerSecond: 5, Burst: 20, Parallel: 4},
		Storage: map[string]Storage{
			"classic*":     {IOPS: 500, MinGB: 10, Type: "remote-durable"},
			"high-speed":   {IOPS: 3000, MinGB: 10, Type: "remote-durable"},
			"high-speed-*": {IOPS: 3000, MinGB: 10, Type: "remote-durable"},
		},
	},
	"otc": {
		ExternalNetwork: "admin_external_net", Compute: computeVersion, Volume: volumeVersion, ResizeWhileInUse: true,
		Limits: driver.Limits{PerSecond: 5, Burst: 20, Parallel: 4},
		Storage: map[string]Storage{
			"SATA":  {IOPS: 110, MinGB: 10, Type: "remote-durable"},  // 100 and 1 for each GiB; no longer sold
			"SAS":   {IOPS: 120, MinGB: 10, Type: "remote-durable"},  // 100 and 2
			"GPSSD": {IOPS: 1920, MinGB: 10, Type: "remote-durable"}, // 1,800 and 12
			"SSD":   {IOPS: 600, MinGB: 10, Type: "remote-durable"},  // 100 and 50
			"ESSD":  {IOPS: 2300, MinGB: 10, Type: "remote-durable"}, // 1,800 and 50
		},
	},
	"infomaniak": {
		ExternalNetwork: "ext-floating1", Compute: computeVersion, Volume: volumeVersion, ResizeWhileInUse: true,
		Limits: driver.Limits{PerSecond: 5, Burst: 20, Parallel: 4},
	},
}
