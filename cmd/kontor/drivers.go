package main

import (
	"maps"
	"slices"
	"strings"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/driver/fake"
	"github.com/kontor-cloud/kontor/driver/openstack"
	"github.com/kontor-cloud/kontor/driver/qemu"
)

// drivers are the platforms that this binary can drive. A driver of your own
// needs a main of your own with a longer table.
var drivers = map[string]driver.Opener{
	"fake":      fake.Open,
	"openstack": openstack.Open,
	"qemu":      qemu.Open,
}

func driverNames() string { return strings.Join(slices.Sorted(maps.Keys(drivers)), ", ") }
