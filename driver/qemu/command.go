package qemu

import (
	"encoding/json"
	"fmt"
	"path/filepath"
	"strconv"
	"strings"

	"github.com/kontor-cloud/kontor/driver/qemu/vnet"
)

// A machine is what QEMU is started with. Paths are relative to the machine's
// directory, in which it runs.
type machine struct {
	name   string
	vcpu   int
	ramMiB int
	boot   disk
	data   []disk
	cards  []card
	ports  int // into which data disks and cards are plugged
}

// A disk is a volume in a machine.
type disk struct{ id, file string }

// A card is a NIC in a machine.
type card struct{ id, mac, network string }

// Names in QEMU have at most 31 characters, and ids may have more.
func nodeName(id string) string   { return "v" + digest(id, 8) }
func deviceName(id string) string { return "d" + digest(id, 8) }
func netdevName(id string) string { return "n" + digest(id, 8) }
func portName(n int) string       { return "p" + strconv.Itoa(n) }

// spare is how many things can be plugged in after the start.
const spare = 8

// machine looks up what a record refers to.
func (h *host) machine(i instance) (machine, error) {
	m := machine{name: i.hostname(), vcpu: i.VCPU, ramMiB: i.RAMGiB << 10, boot: h.diskOf(i.BootVolume)}
	for _, v := range i.DataVolumes {
		m.data = append(m.data, h.diskOf(v))
	}
	for _, id := range i.NICs {
		c, err := h.cardOf(id)
		if err != nil {
			return m, err
		}
		m.cards = append(m.cards, c)
	}
	m.ports = len(m.data) + len(m.cards) + spare
	return m, nil
}

func (h *host) diskOf(volume string) disk {
	return disk{id: volume, file: filepath.Join("../../volumes", fileName(volume), "disk.qcow2")}
}

func (h *host) cardOf(id string) (card, error) {
	n, err := h.nics.get(id)
	if err != nil {
		return card{}, err
	}
	s, err := h.subnets.get(n.Subnet)
	return card{id: id, mac: n.MAC, network: s.Network}, err
}

type object map[string]any

// blockdev opens the disk. QEMU locks it, so that two machines never write one.
func (d disk) blockdev() object {
	return object{
		"driver": "qcow2", "node-name": nodeName(d.id), "discard": "unmap", "detect-zeroes": "unmap",
		"file": object{"driver": "file", "filename": d.file, "discard": "unmap"},
	}
}

func (d disk) device() object {
	return object{
		"driver": "virtio-blk-pci", "id": deviceName(d.id), "drive": nodeName(d.id),
		"serial": d.id[:min(len(d.id), 20)],
	}
}

// netdev connects the card to its network's process.
func (c card) netdev() (object, error) {
	option, err := vnet.Netdev(networkLink(c.network), fileName(c.id), netdevName(c.id))
	if err != nil {
		return nil, err
	}
	return parseOption(option), nil
}

func (c card) device() object {
	return object{
		"driver": "virtio-net-pci", "id": deviceName(c.id), "netdev": netdevName(c.id),
		"mac": c.mac, "romfile": "",
	}
}

// parseOption turns "stream,id=a,addr.type=unix" into the object that QEMU's
// monitor takes for the same.
func parseOption(option string) object {
	kind, rest, _ := strings.Cut(option, ",")
	o := object{"type": kind}
	for pair := range strings.SplitSeq(rest, ",") {
		key, value, _ := strings.Cut(pair, "=")
		in := o
		for outer, inner, nested := strings.Cut(key, "."); nested; outer, inner, nested = strings.Cut(key, ".") {
			if in[outer] == nil {
				in[outer] = object{}
			}
			in, key = in[outer].(object), inner
		}
		in[key] = value
	}
	return o
}

// commandLine gives QEMU's arguments. Nothing secret is among them.
func (m machine) commandLine(h *host) []string {
	a := arguments{}
	a.add("-name", "guest="+m.name+",debug-threads=on")
	a.add("-nodefaults")
	a.add("-no-user-config")
	a.add("-sandbox", "on,obsolete=deny,elevateprivileges=deny,spawn=deny,resourcecontrol=deny")
	a.add("-machine", "q35,usb=off,vmport=off,smm=off,dump-guest-core=off")
	a.add(processor(h.accel)...)
	a.add("-smp", strconv.Itoa(m.vcpu))
	a.add("-m", strconv.Itoa(m.ramMiB))
	a.add("-display", "none")
	a.add("-pidfile", "qemu.pid")
	a.add("-qmp", "unix:qmp.sock,server=on,wait=off")
	a.add("-add-fd", "fd=4,set=1,opaque=console")
	a.add("-chardev", "file,id=console,path=/dev/fdset/1,append=on")
	a.json("-device", object{"driver": "isa-serial", "chardev": "console"})
	a.json("-device", object{"driver": "virtio-rng-pci"})
	m.drives(&a)
	for n := range m.ports {
		a.json("-device", port(n))
	}
	m.plugged(&a)
	return a
}

// drives adds what cannot be unplugged: the boot disk and the seed.
func (m machine) drives(a *arguments) {
	a.json("-blockdev", m.boot.blockdev())
	boot := m.boot.device()
	boot["bootindex"] = 0
	a.json("-device", boot)
	a.json("-blockdev", object{
		"driver": "raw", "node-name": "seed", "read-only": true,
		"file": object{"driver": "file", "filename": "seed.iso"},
	})
	a.json("-device", object{"driver": "virtio-blk-pci", "id": "seed", "drive": "seed", "serial": "cidata"})
}

// plugged adds what is in the ports from the start. Cards come first, so that a
// guest numbers them from the primary one on.
func (m machine) plugged(a *arguments) {
	next := 0
	plug := func(device object) {
		device["bus"] = portName(next)
		next++
		a.json("-device", device)
	}
	for _, c := range m.cards {
		netdev, err := c.netdev()
		if err != nil {
			continue // no name that this package makes is too long
		}
		a.json("-netdev", netdev)
		plug(c.device())
	}
	for _, d := range m.data {
		a.json("-blockdev", d.blockdev())
		plug(d.device())
	}
}

// port is a socket of the PCI bus; eight share one of its slots. A port takes no
// I/O space, which is scarce and which virtio devices do not need.
func port(n int) object {
	return object{
		"driver": "pcie-root-port", "id": portName(n), "chassis": n + 1, "slot": n + 1, "bus": "pcie.0",
		"addr": fmt.Sprintf("0x%x.%d", 0x10+n/8, n%8), "multifunction": true, "io-reserve": 0,
	}
}

type arguments []string

func (a *arguments) add(args ...string) { *a = append(*a, args...) }

func (a *arguments) json(option string, o object) {
	text, err := json.Marshal(o)
	if err != nil {
		panic(err) // maps of strings and numbers
	}
	a.add(option, string(text))
}
