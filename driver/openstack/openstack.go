// Package openstack drives a project of an OpenStack cloud: Keystone v3, Nova,
// Neutron, Cinder and Glance, as far as a plain member of the project may.
//
// Every thing carries a mark, "kontor/EXCHANGE/REGION/KIND/ID", written by the
// very call that makes it, so that a create whose answer was lost is found
// again: in the description of Neutron's things, in the metadata of servers and
// volumes, and as the name of images, snapshots and server groups. Beside it
// lies a note, the driver's own type in JSON, that says what was wanted: in
// Neutron's tags, in metadata, and in image properties. What a thing is like is
// read from the platform itself wherever it tells; the note gives it its order
// and its ids.
//
//	Network        network
//	Subnet         subnet
//	RouteTable     router, with an interface in each subnet that names the table
//	Gateway        security group without members: Neutron has no gateway apart
//	               from a router's, and an empty group costs nothing and does nothing
//	SecurityGroup  security group without the default rules
//	PublicIP       floating IP
//	NIC            port
//	Volume, Image  volume; image made by Cinder of a volume
//	Instance       server that boots from a volume
package openstack

import (
	"context"
	"encoding/json"
	"log/slog"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// Open connects to a project. It is a driver.Opener; the configuration is a
// Config. It fails with fault.Invalid for a bad configuration, with
// fault.Denied where the credentials do not suffice, and with
// fault.Unsupported where the cloud lacks what nothing can be done without.
func Open(ctx context.Context, owner driver.Owner, dir string, config json.RawMessage, log *slog.Logger) (*driver.Cloud, error) {
	if owner.Region == "" || owner.Exchange == "" {
		return nil, fault.Invalid.Errorf("a region without an owner")
	}
	c, err := decode(config, dir)
	if err != nil {
		return nil, err
	}
	a, err := connect(ctx, owner, c, log)
	if err != nil {
		return nil, err
	}
	return a.cloud(), nil
}

// Check reads a configuration as Open does, with the credentials that it names,
// and calls nobody. It fails with fault.Invalid.
func Check(dir string, config json.RawMessage) error {
	c, err := decode(config, dir)
	if err != nil {
		return err
	}
	auth, _, trust, err := c.credentials()
	if err == nil && auth.IdentityEndpoint == "" {
		err = fault.Invalid.Errorf("%s: cloud %q has no auth_url", c.Clouds, c.Cloud)
	}
	if err == nil {
		_, err = c.client(trust)
	}
	return err
}

// cloud has a keeper for each thing that the services found can keep.
func (a *account) cloud() *driver.Cloud {
	c := &driver.Cloud{
		Inventory:      a.inventory,
		Networks:       a.networkKeeper(),
		Subnets:        a.subnetKeeper(),
		SecurityGroups: a.securityGroupKeeper(),
		NICs:           a.nicKeeper(),
		Foreign:        &driver.Foreign{List: a.strays, Adopt: a.adopt},
		Limits:         a.profile.Limits,
		Close:          func() error { a.http.CloseIdleConnections(); return nil },
	}
	if a.extensions["router"] {
		c.RouteTables, c.Gateways = a.routeTableKeeper(), a.gatewayKeeper()
	}
	if a.extensions["router"] && a.external != "" {
		c.PublicIPs = a.publicIPKeeper()
	}
	if a.volume == nil { // machines start from volumes
		return c
	}
	c.Volumes, c.Instances, c.Console = a.volumeKeeper(), a.instanceKeeper(), a.console
	if a.image != nil {
		c.Images = a.imageKeeper()
	}
	return c
}
