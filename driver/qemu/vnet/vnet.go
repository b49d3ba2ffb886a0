// Package vnet is the network of QEMU guests on a host without root. One
// process serves one network: it is the guests' switch, router, DHCP and DNS
// server, the filter that enforces their security groups, and their way to
// the outside and back.
//
// Everything that a guest sends is decided by tables made from the Config:
// addresses are never learned from the wire, ARP is answered from the tables,
// and a guest can send only as itself. There is no broadcast domain. A user
// space TCP/IP stack stands behind the router as one more host, which owns the
// gateway addresses; it answers DNS, opens the host's sockets for what leaves
// the network, and carries what comes in through public addresses.
//
// The process keeps its state in a directory: config.json, what is wanted;
// vnet.pid, locked while it runs; ctl.sock, for Apply, Inspect and Stop; and
// two sockets for each network card, to which QEMU connects as Netdev says.
//
// IPv4 only: addresses and ranges of IPv6 in a Config have no effect, except
// that a public address may be IPv6.
package vnet

import (
	"net/netip"
	"time"

	"github.com/kontor-cloud/kontor/driver"
)

// The limits of one network.
const (
	MaxNICs     = 1024
	MaxFrame    = 64 << 10 // bytes, with the Ethernet header
	MaxFlows    = 16384    // connections that the filter follows for each NIC
	MaxProxies  = 4096     // connections between guests and the host's network
	MaxForwards = 256      // ports of one public address
	DefaultMTU  = 1500
)

// CommonPorts are the TCP ports that a public address forwards where the
// security groups, or the lack of any, allow every port: without root there is
// no way to listen on all of them.
var CommonPorts = []uint16{22, 80, 443, 8080, 8443}

// A Config is everything that a network is to be.
type Config struct {
	Subnets []Subnet `json:"subnets"`
	NICs    []NIC    `json:"nics"`

	// Groups are the security groups, by id. A NIC that names one which is not
	// here gets nothing from it, and is filtered all the same.
	Groups map[string][]driver.Rule `json:"groups,omitempty"`

	// DNS answers what guests ask about the outside. Empty means the
	// resolvers of the host.
	DNS []netip.AddrPort `json:"dns,omitempty"`

	// Domain is the suffix of the guests' names, "internal" if empty.
	Domain string `json:"domain,omitempty"`

	// MTU is the largest packet in bytes, DefaultMTU if zero.
	MTU int `json:"mtu,omitempty"`

	// AllowHost lists what guests may reach although it is an address of the
	// host or of a private range. Everything else there is refused.
	AllowHost []netip.Prefix `json:"allowHost,omitempty"`
}

// A Subnet is a range of the network. Its gateway is the first address of
// each range, see Gateway.
type Subnet struct {
	ID     string         `json:"id"`
	CIDRs  []netip.Prefix `json:"cidrs"`
	Routes []Route        `json:"routes,omitempty"`
}

// A Route says where packets go that leave the network. It leads to the
// internet, to a NIC of the network, or nowhere. The longest prefix wins.
type Route struct {
	Destination netip.Prefix `json:"destination"`
	Internet    bool         `json:"internet,omitempty"`
	EgressOnly  bool         `json:"egressOnly,omitempty"` // with Internet: public addresses do not work
	Via         netip.Addr   `json:"via,omitzero"`         // an address of a NIC
}

// A NIC is the network card of a guest.
type NIC struct {
	ID        string       `json:"id"`
	Subnet    string       `json:"subnet"`
	MAC       string       `json:"mac"`
	Addresses []netip.Addr `json:"addresses"`
	Hostname  string       `json:"hostname,omitempty"`
	Groups    []string     `json:"groups,omitempty"`
	Publics   []netip.Addr `json:"publics,omitempty"` // addresses of the host
}

// Status is how a network does.
type Status struct {
	PID     int            `json:"pid"`
	Started time.Time      `json:"started"`
	NICs    []NICStatus    `json:"nics,omitempty"`
	Publics []PublicStatus `json:"publics,omitempty"`
}

// NICStatus counts what a guest sent and received.
type NICStatus struct {
	ID        string  `json:"id"`
	Connected bool    `json:"connected"`
	Sent      Traffic `json:"sent"`
	Received  Traffic `json:"received"`
	Flows     int     `json:"flows"`
}

// Traffic counts frames in one direction. Dropped ones are not in Frames.
type Traffic struct {
	Frames  uint64 `json:"frames"`
	Bytes   uint64 `json:"bytes"`
	Dropped uint64 `json:"dropped"`
}

// PublicStatus tells how a public address is reached.
type PublicStatus struct {
	Address  netip.Addr       `json:"address"`
	NIC      string           `json:"nic"`
	Forwards []driver.Forward `json:"forwards,omitempty"`
	Problems []string         `json:"problems,omitempty"` // why ports are not forwarded
}

// Gateway returns the address of a range that belongs to the network itself.
// No NIC may have it.
func Gateway(cidr netip.Prefix) netip.Addr { return cidr.Masked().Addr().Next() }
