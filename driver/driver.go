// Package driver is what Kontor asks of a cloud. A driver teaches it one kind
// of platform; README.md beside this file says what a good one does, and
// drivertest holds the promises as tests.
package driver

import (
	"context"
	"encoding/json"
	"iter"
	"log/slog"
)

// An Owner is who makes things on a platform: one region of one exchange.
// Every thing that a driver makes carries it, and a driver sees nothing else.
type Owner struct {
	Exchange string
	Region   string
}

// An Opener connects to a platform. The configuration is a JSON object that the
// driver decodes strictly; relative paths in it are relative to dir, where the
// driver may also keep what its platform needs. It reads no environment.
type Opener func(ctx context.Context, owner Owner, dir string, config json.RawMessage, log *slog.Logger) (*Cloud, error)

// A Cloud is one account at one platform. A nil keeper means that the platform
// has no such thing, and orders for it are refused before they reach the agent.
type Cloud struct {
	// Inventory tells what the platform has to offer and how much is left.
	Inventory func(context.Context) (*Inventory, error)

	Networks       Keeper[Network]
	Subnets        Keeper[Subnet]
	RouteTables    Keeper[RouteTable]
	Gateways       Keeper[Gateway]
	SecurityGroups Keeper[SecurityGroup]
	PublicIPs      Keeper[PublicIP]
	NICs           Keeper[NIC]
	Images         Keeper[Image]
	Volumes        Keeper[Volume]
	Instances      Keeper[Instance]

	// Console returns the last bytes, at most tail, that the instance with this
	// id wrote to its serial console. Nil where the platform keeps none.
	Console func(ctx context.Context, id string, tail int) ([]byte, error)

	// Foreign finds and adopts what others made. Nil where the platform cannot
	// tell what belongs to nobody.
	Foreign *Foreign

	// Limits are what the platform tolerates.
	Limits Limits

	// Close ends the connection. What runs keeps running.
	Close func() error
}

// Limits keep an agent from hurting its platform. Zero means the agent's default.
type Limits struct {
	PerSecond float64 // calls to keepers, on average
	Burst     int     // calls at once after a pause
	Parallel  int     // calls under way at once
}

// A Keeper looks after one kind of thing at a cloud. Its methods may be called
// from many goroutines, and again after any failure.
//
// Errors carry a kind of package fault: Exhausted for a quota, Unavailable
// (with a delay, if the platform says one) for anything that may pass,
// Invalid and Unsupported for what will never work, Conflict while another
// thing is in the way. An error without a kind counts as Unavailable.
type Keeper[T any] interface {
	// List yields each thing that carries our owner, whole: have.Satisfies(want)
	// must hold for what Ensure has brought to Ready. It is the only truth: a
	// driver remembers nothing that its platform does not. On error, what it
	// yielded is no list.
	List(context.Context) iter.Seq2[T, error]

	// Ensure finds the thing by its id, takes one step towards want, and returns
	// what is there now. It does not wait for slow work: while the State is
	// Building the caller comes back. It never makes a second thing with the
	// same id, also when an earlier call died half way.
	Ensure(ctx context.Context, want T) (T, error)

	// Delete removes the thing with this id, forced if need be. One that is
	// already gone is no error. The thing is gone when List no longer has it,
	// which may take longer than the call.
	Delete(ctx context.Context, id string) error
}

// A State is how far a thing has come.
type State string

// The states. A platform's own finer ones map to these.
const (
	Building State = "building" // not usable yet; come back
	Ready    State = "ready"
	Failed   State = "failed"  // will not become ready by itself; Detail says why
	Leaving  State = "leaving" // being removed
)

// Meta is common to all things. ID, Attempt, Name and URN are wanted; the
// rest is observed.
type Meta struct {
	ID      string `json:"id"`                // of the resource at the exchange, unique for all time
	Attempt int    `json:"attempt,omitempty"` // how often it has been made anew
	Name    string `json:"name,omitempty"`    // for people who look at the platform's own console
	URN     string `json:"urn,omitempty"`     // likewise

	// Lived says of a wanted thing that holds data that it was there: if it is
	// missing, Ensure answers fault.Missing and makes nothing in its place.
	Lived bool `json:"lived,omitempty"`

	Native string `json:"native,omitempty"` // the platform's own id
	State  State  `json:"state,omitempty"`
	Detail string `json:"detail,omitempty"` // why it failed or what it waits for
}

// Base gives generic code access to what all things have.
func (m *Meta) Base() *Meta { return m }

// Inventory is what a platform has on offer. Prices are not its business.
type Inventory struct {
	Zones        []string      `json:"zones"`
	InstanceSKUs []InstanceSKU `json:"instanceSkus,omitempty"`
	StorageSKUs  []StorageSKU  `json:"storageSkus,omitempty"`
	NetworkSKUs  []NetworkSKU  `json:"networkSkus,omitempty"`
	Images       []OfferImage  `json:"images,omitempty"`
	Free         Capacity      `json:"free"`
	Features     []Feature     `json:"features,omitempty"` // beyond the keepers
	Platform     string        `json:"platform,omitempty"` // for people: "qemu 7.2 (tcg)"
}

// A SKU has a name that is unique among its kind in the region.
type SKU struct {
	Name   string            `json:"name"`
	Labels map[string]string `json:"labels,omitempty"`
}

// An InstanceSKU is a size of machine.
type InstanceSKU struct {
	SKU
	VCPU   int  `json:"vcpu"`
	RAMGiB int  `json:"ramGiB"`
	GPU    *GPU `json:"gpu,omitempty"`
}

// A GPU describes the accelerators of one machine.
type GPU struct {
	Count  int    `json:"count"`
	Vendor string `json:"vendor"` // nvidia, amd, intel
	Model  string `json:"model"`
	RAMGiB int    `json:"ramGiB"`
}

// A StorageSKU is a class of volume.
type StorageSKU struct {
	SKU
	IOPS  int    `json:"iops"`
	MinGB int    `json:"minGB"`
	Type  string `json:"type"` // local-ephemeral, local-durable, remote-durable
}

// A NetworkSKU is a class of network.
type NetworkSKU struct {
	SKU
	Mbps    int   `json:"mbps"`
	Packets int64 `json:"packets"` // per second
}

// An OfferImage is an image that every tenant of the region may start from.
type OfferImage struct {
	Name        string            `json:"name"`
	Arch        string            `json:"arch"` // amd64, arm64
	Boot        string            `json:"boot"` // BIOS, UEFI
	Initializer string            `json:"initializer"`
	SizeMB      int               `json:"sizeMB"`
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
}

// Capacity is what can still be ordered. Nil means that the platform does not say.
type Capacity struct {
	VCPU      *int `json:"vcpu,omitempty"`
	RAMGiB    *int `json:"ramGiB,omitempty"`
	DiskGB    *int `json:"diskGB,omitempty"`
	PublicIPs *int `json:"publicIPs,omitempty"`
}

// A Feature is something that not every platform with the keeper can do.
type Feature string

// The features. An order that needs one the region lacks is refused.
const (
	AntiAffinity     Feature = "anti-affinity"       // instances on different hosts
	IPv6             Feature = "ipv6"                // addresses and ranges of that family
	ImageFromVolume  Feature = "image-from-volume"   // Images may be made, not only offered
	BringYourOwnIP   Feature = "bring-your-own-ip"   // PublicIP.Address
	RouteToInstance  Feature = "route-to-instance"   // routes to instances or addresses
	MoreThanOneNIC   Feature = "more-than-one-nic"   // per instance
	ResizeWhileInUse Feature = "resize-while-in-use" // a volume grows while attached to a running instance
)
