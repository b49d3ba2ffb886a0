package vnet

import (
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"strings"

	"github.com/kontor-cloud/kontor/fault"
)

// maxSocketPath is what fits into a socket address of Linux.
const maxSocketPath = 107

// Validate returns an Invalid error that names everything wrong with c.
func (c *Config) Validate() error {
	var bad fault.List
	subnets := c.validateSubnets(&bad)
	c.validateNICs(&bad, subnets)
	if c.MTU != 0 && (c.MTU < 576 || c.MTU > MaxFrame-etherLen-prefixLen) {
		bad.Add("/mtu", "must be between 576 and %d", MaxFrame-etherLen-prefixLen)
	}
	return bad.Err()
}

func (c *Config) validateSubnets(bad *fault.List) map[string]Subnet {
	subnets := make(map[string]Subnet)
	var seen []netip.Prefix
	for i, s := range c.Subnets {
		at := fmt.Sprintf("/subnets/%d", i)
		if _, twice := subnets[s.ID]; twice || s.ID == "" {
			bad.Add(at+"/id", "must be unique and not empty")
		}
		subnets[s.ID] = s
		for _, p := range s.CIDRs {
			for _, other := range seen {
				if p.Overlaps(other) {
					bad.Add(at+"/cidrs", "%s overlaps %s", p, other)
				}
			}
			if !p.IsValid() || p.Addr().Is4() && p.Bits() > 30 {
				bad.Add(at+"/cidrs", "%s has no room for a gateway and a guest", p)
			}
			seen = append(seen, p)
		}
	}
	return subnets
}

func (c *Config) validateNICs(bad *fault.List, subnets map[string]Subnet) {
	if len(c.NICs) > MaxNICs {
		bad.Add("/nics", "must be at most %d", MaxNICs)
	}
	seen := make(map[string]bool)
	unique := func(at, what string) {
		if seen[what] {
			bad.Add(at, "%s is used twice", what)
		}
		seen[what] = true
	}
	for i, n := range c.NICs {
		at := fmt.Sprintf("/nics/%d", i)
		if n.ID == "" || strings.ContainsAny(n.ID, "/\x00,") {
			bad.Add(at+"/id", "must not be empty nor contain a slash or a comma")
		}
		unique(at+"/id", "NIC "+n.ID)
		mac, err := net.ParseMAC(n.MAC)
		if err != nil || len(mac) != 6 || mac[0]&1 == 1 || [6]byte(mac) == gatewayMAC {
			bad.Add(at+"/mac", "%q must be a unicast address of 6 bytes, and not the gateway's", n.MAC)
		}
		unique(at+"/mac", "MAC "+mac.String())
		subnet, ok := subnets[n.Subnet]
		if !ok {
			bad.Add(at+"/subnet", "%q is not a subnet", n.Subnet)
		}
		for _, a := range n.Addresses {
			if ok && !subnet.mayAssign(a) {
				bad.Add(at+"/addresses", "%s must be in the subnet, and neither its gateway nor its first or last address", a)
			}
			unique(at+"/addresses", "address "+a.String())
		}
		for _, a := range n.Publics {
			if !a.IsValid() || a.IsUnspecified() || a.IsMulticast() {
				bad.Add(at+"/publics", "%s is no address to listen on", a)
			}
			unique(at+"/publics", "public address "+a.String())
		}
	}
}

// mayAssign reports whether a NIC of the subnet may have the address.
func (s *Subnet) mayAssign(a netip.Addr) bool {
	for _, p := range s.CIDRs {
		if p.Contains(a) {
			return a != p.Masked().Addr() && a != Gateway(p) && (a.Is6() || p.Contains(a.Next()))
		}
	}
	return false
}

// load reads the wanted configuration. A network that has none yet is empty.
func load(dir string) (Config, error) {
	var c Config
	b, err := os.ReadFile(filepath.Join(dir, "config.json"))
	if errors.Is(err, fs.ErrNotExist) {
		return c, nil
	}
	if err != nil {
		return c, fmt.Errorf("read the configuration: %w", err)
	}
	if err := json.Unmarshal(b, &c); err != nil {
		return c, fault.Malformed.Errorf("read the configuration of %s: %w", dir, err)
	}
	return c, c.Validate()
}

// store replaces the wanted configuration, so that a reader sees the old or
// the new one, also after a crash.
func store(dir string, c Config) error {
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	f, err := os.CreateTemp(dir, "config-*.tmp")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // after the rename there is nothing to remove
	_, err = f.Write(b)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), filepath.Join(dir, "config.json"))
}

// StreamPath is where the process takes the frames of a NIC on a stream, each
// after its length in 4 bytes, big-endian (QEMU's -netdev stream).
func StreamPath(dir, nic string) string { return filepath.Join(dir, "nic-"+nic+".sock") }

// datagramPaths are where the process and the guest take frames as datagrams.
func datagramPaths(dir, nic string) (ours, guest string) {
	return filepath.Join(dir, "nic-"+nic+".in"), filepath.Join(dir, "nic-"+nic+".out")
}

// Netdev returns the value of QEMU's option -netdev that connects a guest to
// the NIC; id is what -device refers to. It uses datagrams, because then
// guest and network find each other again in whatever order they are
// restarted: QEMU's streams can reconnect only since version 8.0.
func Netdev(dir, nic, id string) (string, error) {
	ours, guest := datagramPaths(dir, nic)
	if err := checkPath(guest); err != nil {
		return "", err
	}
	esc := func(s string) string { return strings.ReplaceAll(s, ",", ",,") }
	return "dgram,id=" + esc(id) + ",local.type=unix,local.path=" + esc(guest) +
		",remote.type=unix,remote.path=" + esc(ours), nil
}

func checkPath(path string) error {
	if len(path) > maxSocketPath {
		return fault.Invalid.Errorf("socket path %s is longer than %d bytes; choose a shorter directory", path, maxSocketPath)
	}
	return nil
}
