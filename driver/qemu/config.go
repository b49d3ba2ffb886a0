package qemu

import (
	"bytes"
	"encoding/json"
	"net/netip"
	"os"
	"path/filepath"
	"runtime"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// A Config says what this host offers. The zero value is usable: it offers half
// of the host under common sizes, and the images in the directory "images".
type Config struct {
	// Zones are the names of the region's zones. One host is one zone: "a".
	Zones []string `json:"zones,omitempty"`

	// InstanceSKUs, StorageSKUs and NetworkSKUs are the sizes on offer. Those of
	// machines that are larger than the limits are not offered.
	InstanceSKUs []driver.InstanceSKU `json:"instanceSkus,omitempty"`
	StorageSKUs  []driver.StorageSKU  `json:"storageSkus,omitempty"`
	NetworkSKUs  []driver.NetworkSKU  `json:"networkSkus,omitempty"`

	// Images is the directory with the images on offer: each file NAME.qcow2 is
	// the image NAME, for amd64, started by BIOS. "images" by default.
	Images string `json:"images,omitempty"`

	// PublicIPs are the addresses of this host that guests may get, as ranges
	// "first-last" and single addresses. None by default. The host must have
	// them already: every 127.x.y.z is there for trials.
	PublicIPs []string `json:"publicIPs,omitempty"`

	// Limits bound what all guests take together.
	Limits HostLimits `json:"limits,omitzero"`

	// QEMU and QEMUImg are the programs to use, found in PATH by default.
	QEMU    string `json:"qemu,omitempty"`
	QEMUImg string `json:"qemuImg,omitempty"`

	// Accel is "kvm", "tcg" (emulation), or "auto": kvm if a probe runs under it.
	Accel string `json:"accel,omitempty"`

	// Command starts this very program, which helps each guest and network by a
	// process of its own: "qemu-console DIR" and "qemu-network DIR" are appended.
	// By default it is the path of the running program.
	Command []string `json:"command,omitempty"`

	// PowerOffSeconds is how long a guest may take to power off when asked to,
	// before it is forced. 30 by default.
	PowerOffSeconds int `json:"powerOffSeconds,omitempty"`

	// Nice is the niceness of guests, 5 by default: the host's own work comes first.
	Nice int `json:"nice,omitempty"`
}

// HostLimits bound what all guests of this region take together.
type HostLimits struct {
	// VCPU counts virtual processors: twice the host's by default.
	VCPU int `json:"vcpu,omitempty"`
	// RAMGiB counts guests' memory: three quarters of the host's by default.
	RAMGiB int `json:"ramGiB,omitempty"`
	// DiskGB counts volumes' sizes, in GiB: 80 % of the file system by default.
	DiskGB int `json:"diskGB,omitempty"`
}

// decode reads the configuration strictly and fills in what it leaves open.
func decode(text json.RawMessage, dir string) (Config, error) {
	var c Config
	if len(bytes.TrimSpace(text)) > 0 {
		d := json.NewDecoder(bytes.NewReader(text))
		d.DisallowUnknownFields()
		if err := d.Decode(&c); err != nil {
			return c, fault.Invalid.Errorf("configuration of driver qemu: %w", err)
		}
	}
	if err := c.fill(dir); err != nil {
		return c, err
	}
	if _, err := c.pool(); err != nil {
		return c, err
	}
	if c.Accel != "auto" && c.Accel != "kvm" && c.Accel != "tcg" {
		return c, fault.Invalid.Errorf("configuration of driver qemu: accel is %q, not auto, kvm or tcg", c.Accel)
	}
	return c, nil
}

func (c *Config) fill(dir string) error {
	setDefault(&c.Images, "images")
	if !filepath.IsAbs(c.Images) {
		c.Images = filepath.Join(dir, c.Images)
	}
	setDefault(&c.QEMU, "qemu-system-x86_64")
	setDefault(&c.QEMUImg, "qemu-img")
	setDefault(&c.Accel, "auto")
	setDefault(&c.PowerOffSeconds, 30)
	setDefault(&c.Nice, 5)
	if len(c.Zones) == 0 {
		c.Zones = []string{"a"}
	}
	if len(c.Command) == 0 {
		self, err := os.Executable()
		if err != nil {
			return err
		}
		c.Command = []string{self}
	}
	if err := c.Limits.fill(dir); err != nil {
		return err
	}
	c.offer()
	return nil
}

func setDefault[T comparable](field *T, value T) {
	var zero T
	if *field == zero {
		*field = value
	}
}

func (l *HostLimits) fill(dir string) error {
	var memory unix.Sysinfo_t
	if err := unix.Sysinfo(&memory); err != nil {
		return err
	}
	var disk unix.Statfs_t
	if err := unix.Statfs(dir, &disk); err != nil {
		return err
	}
	setDefault(&l.VCPU, 2*runtime.NumCPU())
	setDefault(&l.RAMGiB, int(uint64(memory.Totalram)*uint64(memory.Unit)*3/4>>30))
	setDefault(&l.DiskGB, int(disk.Blocks*uint64(disk.Bsize)*4/5>>30))
	return nil
}

// offer fills in common sizes, and drops machines that the host cannot hold.
func (c *Config) offer() {
	sku := func(name, tier string) driver.SKU {
		return driver.SKU{Name: name, Labels: map[string]string{"Provider": "kontor", "Tier": tier, "Architecture": "amd64"}}
	}
	if c.InstanceSKUs == nil {
		c.InstanceSKUs = []driver.InstanceSKU{
			{SKU: sku("kontor.tiny", "TINY"), VCPU: 1, RAMGiB: 1},
			{SKU: sku("seca.d2xs", "D2XS"), VCPU: 1, RAMGiB: 2},
			{SKU: sku("seca.ds", "DS"), VCPU: 2, RAMGiB: 4},
			{SKU: sku("seca.dm", "DM"), VCPU: 4, RAMGiB: 8},
			{SKU: sku("seca.dl", "DL"), VCPU: 8, RAMGiB: 16},
		}
	}
	var fitting []driver.InstanceSKU
	for _, s := range c.InstanceSKUs {
		if s.VCPU <= min(c.Limits.VCPU, runtime.NumCPU()) && s.RAMGiB <= c.Limits.RAMGiB {
			fitting = append(fitting, s)
		}
	}
	c.InstanceSKUs = fitting
	if c.StorageSKUs == nil {
		c.StorageSKUs = []driver.StorageSKU{{SKU: sku("seca.le100", "LE100"), IOPS: 100, MinGB: 1, Type: "local-ephemeral"}}
	}
	if c.NetworkSKUs == nil {
		c.NetworkSKUs = []driver.NetworkSKU{{SKU: sku("seca.n1k", "N1K"), Mbps: 1000, Packets: 100_000}}
	}
}

// pool lists the public addresses in order.
func (c *Config) pool() ([]netip.Addr, error) {
	var pool []netip.Addr
	for _, text := range c.PublicIPs {
		first, last, ranged := strings.Cut(text, "-")
		if !ranged {
			last = first
		}
		from, err1 := netip.ParseAddr(strings.TrimSpace(first))
		to, err2 := netip.ParseAddr(strings.TrimSpace(last))
		if err1 != nil || err2 != nil || !from.Is4() || !to.Is4() || to.Less(from) {
			return nil, fault.Invalid.Errorf("configuration of driver qemu: publicIPs has %q, not a range of IPv4 addresses", text)
		}
		for a := from; !to.Less(a); a = a.Next() {
			if pool = append(pool, a); len(pool) > 1<<16 {
				return nil, fault.Invalid.Errorf("configuration of driver qemu: publicIPs has more than %d addresses", 1<<16)
			}
		}
	}
	return pool, nil
}

func (c *Config) powerOff() time.Duration { return time.Duration(c.PowerOffSeconds) * time.Second }
