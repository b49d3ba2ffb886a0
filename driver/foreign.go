package driver

import (
	"context"
	"iter"
)

// Foreign is about things that belong to nobody as far as Kontor can see: they
// carry no owner at all. What carries another owner is not shown.
type Foreign struct {
	// List yields each of them. On error, what it yielded is no list.
	List func(context.Context) iter.Seq2[Stray, error]

	// Adopt puts our tag on the thing of a kind with this native id, and touches
	// nothing else: of as, it takes ID, Attempt, Name and URN. What the thing
	// refers to has to be ours already, or it is a Conflict; so it is if the thing
	// carries any owner. To adopt as the same ID again is no error. A thing that
	// is not there is Missing.
	Adopt func(ctx context.Context, kind Kind, native string, as Meta) error
}

// A Kind says what a thing is.
type Kind string

// The kinds of things.
const (
	NetworkKind       Kind = "network"
	SubnetKind        Kind = "subnet"
	RouteTableKind    Kind = "route-table"
	GatewayKind       Kind = "gateway"
	SecurityGroupKind Kind = "security-group"
	PublicIPKind      Kind = "public-ip"
	NICKind           Kind = "nic"
	ImageKind         Kind = "image"
	VolumeKind        Kind = "volume"
	InstanceKind      Kind = "instance"
)

// A Stray is a thing without an owner. Thing is a Network, Subnet, … as far as
// the platform tells; in it, references are native ids, and ID is empty.
type Stray struct {
	Kind   Kind
	Native string
	Name   string // for people
	Thing  any
}
