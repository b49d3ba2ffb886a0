package driver

import (
	"net/netip"
	"slices"
	"time"
)

// References between things are ids of resources at the exchange, never native
// ids: a driver finds each by its tag.

// A Network is an isolated network.
type Network struct {
	Meta
	CIDRs []netip.Prefix `json:"cidrs"`
	SKU   string         `json:"sku,omitempty"`
}

// Satisfies reports whether n, as listed, is what is wanted.
func (n Network) Satisfies(want Network) bool { return slices.Equal(n.CIDRs, want.CIDRs) }

// A Subnet is a range of a network.
type Subnet struct {
	Meta
	Network    string         `json:"network"`
	CIDRs      []netip.Prefix `json:"cidrs"`
	Zone       string         `json:"zone,omitempty"`
	RouteTable string         `json:"routeTable,omitempty"`
}

// Satisfies reports whether s, as listed, is what is wanted.
func (s Subnet) Satisfies(want Subnet) bool {
	return s.Network == want.Network && slices.Equal(s.CIDRs, want.CIDRs) && s.RouteTable == want.RouteTable
}

// A RouteTable says where packets go that leave a subnet. Ranges of the
// network itself are always reachable.
type RouteTable struct {
	Meta
	Network string  `json:"network"`
	Routes  []Route `json:"routes"`
}

// Satisfies reports whether r, as listed, is what is wanted.
func (r RouteTable) Satisfies(want RouteTable) bool {
	return r.Network == want.Network && slices.Equal(r.Routes, want.Routes)
}

// A Route has one target: a gateway, an instance, or an address.
type Route struct {
	Destination netip.Prefix `json:"destination"`
	Gateway     string       `json:"gateway,omitempty"`
	Instance    string       `json:"instance,omitempty"`
	Address     netip.Addr   `json:"address,omitzero"`
}

// A Gateway leads to the internet for the route tables that name it. One that
// is EgressOnly lets nothing in: public addresses do not work behind it.
type Gateway struct {
	Meta
	EgressOnly bool `json:"egressOnly,omitempty"`
}

// Satisfies reports whether g, as listed, is what is wanted.
func (g Gateway) Satisfies(want Gateway) bool { return g.EgressOnly == want.EgressOnly }

// A SecurityGroup allows traffic, statefully; what no group of a NIC allows is
// dropped. A NIC without a group is not filtered.
type SecurityGroup struct {
	Meta
	Rules []Rule `json:"rules"`
}

// Satisfies reports whether g, as listed, is what is wanted.
func (g SecurityGroup) Satisfies(want SecurityGroup) bool {
	return slices.EqualFunc(g.Rules, want.Rules, func(a, b Rule) bool {
		return a.Ingress == b.Ingress && a.Family == b.Family && a.Protocol == b.Protocol &&
			slices.Equal(a.Ports, b.Ports) && (a.ICMP == nil) == (b.ICMP == nil) && (a.ICMP == nil || *a.ICMP == *b.ICMP) &&
			slices.Equal(a.Peers, b.Peers) && slices.Equal(a.PeerGroups, b.PeerGroups)
	})
}

// A Rule allows one kind of traffic. Empty Ports and a nil ICMP mean any;
// empty Peers and PeerGroups together mean anybody.
type Rule struct {
	Ingress    bool           `json:"ingress"`
	Family     int            `json:"family,omitempty"`   // 4, 6, or 0 for both
	Protocol   Protocol       `json:"protocol,omitempty"` // "" is any
	Ports      []PortRange    `json:"ports,omitempty"`
	ICMP       *ICMP          `json:"icmp,omitempty"`
	Peers      []netip.Prefix `json:"peers,omitempty"`      // the other side, by address
	PeerGroups []string       `json:"peerGroups,omitempty"` // the other side, by security group
}

// A Protocol is what a rule is about. A rule for both TCP and UDP comes as two.
type Protocol string

// The protocols.
const (
	TCP      Protocol = "tcp"
	UDP      Protocol = "udp"
	ICMPAny  Protocol = "icmp" // ICMP and ICMPv6, by the rule's family
	AnyProto Protocol = ""
)

// A PortRange includes both ends.
type PortRange struct {
	From uint16 `json:"from"`
	To   uint16 `json:"to"`
}

// ICMP is a type and code of message.
type ICMP struct {
	Type uint8 `json:"type"`
	Code uint8 `json:"code"`
}

// A PublicIP is an address that the outside can reach. It does so when a NIC
// names it whose subnet has a route to a gateway that is not EgressOnly.
type PublicIP struct {
	Meta
	Family  int        `json:"family"`           // 4 or 6
	Address netip.Addr `json:"address,omitzero"` // wanted: one's own; observed: the address

	AttachedTo string    `json:"attachedTo,omitempty"` // observed: the NIC
	Forwards   []Forward `json:"forwards,omitempty"`   // observed, where not all ports are passed as they are
}

// A Forward says that the outside reaches a port of the guest elsewhere.
type Forward struct {
	Protocol Protocol       `json:"protocol"`
	Outside  netip.AddrPort `json:"outside"`
	Port     uint16         `json:"port"` // at the guest
}

// Satisfies reports whether p, as listed, is what is wanted.
func (p PublicIP) Satisfies(want PublicIP) bool {
	return p.Family == want.Family && (!want.Address.IsValid() || p.Address == want.Address)
}

// A NIC is a network card. An unspecified address (0.0.0.0, ::) asks for one
// to be assigned.
type NIC struct {
	Meta
	Subnet         string       `json:"subnet"`
	Addresses      []netip.Addr `json:"addresses"` // observed: as assigned, in the order wanted
	PublicIPs      []string     `json:"publicIPs,omitempty"`
	SecurityGroups []string     `json:"securityGroups,omitempty"`

	MAC string `json:"mac,omitempty"` // observed
}

// Satisfies reports whether n, as listed, is what is wanted.
func (n NIC) Satisfies(want NIC) bool {
	return n.Subnet == want.Subnet && slices.Equal(n.PublicIPs, want.PublicIPs) &&
		slices.Equal(n.SecurityGroups, want.SecurityGroups) &&
		slices.EqualFunc(n.Addresses, want.Addresses, func(have, want netip.Addr) bool {
			return have == want || want.IsUnspecified() && have.IsValid() && have.Is4() == want.Is4()
		})
}

// An Image is a copy of a volume from which others start. It does not change
// when the volume does.
type Image struct {
	Meta
	Volume      string `json:"volume"`
	Arch        string `json:"arch"`                  // amd64, arm64
	Boot        string `json:"boot,omitempty"`        // BIOS, UEFI, or "" for UEFI
	Initializer string `json:"initializer,omitempty"` // none, cloudinit-22, or "" for none

	SizeMB int `json:"sizeMB,omitempty"` // observed
}

// Satisfies reports whether i, as listed, is what is wanted.
func (i Image) Satisfies(want Image) bool {
	return i.Arch == want.Arch && i.Boot == want.Boot && i.Initializer == want.Initializer
}

// A Volume is a disk. It starts blank, or as a copy of an image, which is
// named by the id of an Image or as OfferedImage(name).
type Volume struct {
	Meta
	SizeGB int    `json:"sizeGB"` // grows, never shrinks
	SKU    string `json:"sku,omitempty"`
	Image  string `json:"image,omitempty"`

	AttachedTo string `json:"attachedTo,omitempty"` // observed: the instance
}

// Satisfies reports whether v, as listed, is what is wanted.
func (v Volume) Satisfies(want Volume) bool { return v.SizeGB >= want.SizeGB }

// OfferedImage names an image of the inventory in Volume.Image.
func OfferedImage(name string) string { return "offered/" + name }

// An Instance is a machine.
type Instance struct {
	Meta
	SKU          string   `json:"sku"`
	VCPU         int      `json:"vcpu"`
	RAMGiB       int      `json:"ramGiB"`
	Zone         string   `json:"zone,omitempty"`
	BootVolume   string   `json:"bootVolume"`
	DataVolumes  []string `json:"dataVolumes,omitempty"`  // attached and detached while it runs
	NICs         []string `json:"nics,omitempty"`         // the first is the primary
	AntiAffinity string   `json:"antiAffinity,omitempty"` // same text, other host
	SSHKeys      []string `json:"sshKeys,omitempty"`
	UserData     string   `json:"userData,omitempty"`
	On           bool     `json:"on"`
	Restarts     int64    `json:"restarts,omitempty"` // a higher number than the observed one asks for one restart

	PowerSince time.Time `json:"powerSince,omitzero"` // observed
}

// Satisfies reports whether i, as listed, is what is wanted.
func (i Instance) Satisfies(want Instance) bool {
	return i.On == want.On && i.Restarts >= want.Restarts && slices.Equal(i.DataVolumes, want.DataVolumes) &&
		slices.Equal(i.NICs, want.NICs)
}
