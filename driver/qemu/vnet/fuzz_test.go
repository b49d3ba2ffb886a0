package vnet

import (
	"encoding/binary"
	"log/slog"
	"net/netip"
	"os"
	"testing"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"golang.org/x/time/rate"

	"github.com/kontor-cloud/kontor/driver"
)

// unplugged is a network without sockets: frames go in by fromGuest and end
// in the queues of the ports.
func unplugged(t testing.TB, cfg Config) *network {
	t.Helper()
	n, err := newNetwork("", slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	for _, nic := range cfg.NICs {
		n.ports[nic.ID] = &port{nic: nic.ID, handle: n.fromGuest, filter: newFilter(0), queue: make(chan *frame, queueLen)}
	}
	if err := n.apply(cfg); err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { n.ports = nil; n.close() })
	return n
}

func frameOf(b []byte) *frame {
	f := newFrame(len(b))
	copy(f.bytes(), b)
	return f
}

// tcpFrame makes a TCP segment without data.
func tcpFrame(src, dst netip.AddrPort, flags uint8) *frame {
	f := newFrame(etherLen + 40)
	b := f.bytes()[etherLen:]
	putIPv4(b, protoTCP, src.Addr(), dst.Addr(), 20)
	seg := b[20:]
	clear(seg)
	binary.BigEndian.PutUint16(seg, src.Port())
	binary.BigEndian.PutUint16(seg[2:], dst.Port())
	seg[12], seg[13] = 5<<4, flags
	return f
}

// FuzzFrame sends anything from a guest whose frames are filtered to one
// whose frames are filtered as well. What arrives must come from the sender's
// own address, and nothing may panic.
func FuzzFrame(f *testing.F) {
	cfg := twoSubnets()
	cfg.Groups["some"] = []driver.Rule{tcpFrom(80), {Protocol: driver.TCP}, {Ingress: true, Protocol: driver.ICMPAny}, {Protocol: driver.UDP}}
	cfg.NICs[0].Groups, cfg.NICs[1].Groups = []string{"some"}, []string{"some"}
	a, b := macAddr{0x52, 0x54, 0, 0, 0, 0x0a}, macAddr{0x52, 0x54, 0, 0, 0, 0x0b}
	seed := func(fr *frame, dst macAddr, etherType uint16) {
		fr.address(dst, a, etherType)
		f.Add(fr.bytes())
	}
	guest, peer := netip.MustParseAddrPort("10.1.0.10:4000"), netip.MustParseAddrPort("10.1.0.11:80")
	seed(tcpFrame(guest, peer, flagSYN), b, etherIPv4)
	seed(tcpFrame(guest, netip.MustParseAddrPort("10.1.1.10:80"), flagSYN), gatewayMAC, etherIPv4)
	seed(tcpFrame(guest, netip.MustParseAddrPort("9.9.9.9:80"), flagSYN), gatewayMAC, etherIPv4)
	seed(udpFrame(guest, netip.MustParseAddrPort("10.1.0.1:53"), []byte("\x00\x01\x01\x00\x00\x01\x00\x00\x00\x00\x00\x00\x01b\x00\x00\x01\x00\x01")), gatewayMAC, etherIPv4)
	if m, err := dhcpv4.NewDiscovery(a[:]); err == nil {
		seed(udpFrame(netip.MustParseAddrPort("0.0.0.0:68"), netip.MustParseAddrPort("255.255.255.255:67"), m.ToBytes()), macAddr{255, 255, 255, 255, 255, 255}, etherIPv4)
	}
	seed(frameOf(append(make([]byte, etherLen), "\x00\x01\x08\x00\x06\x04\x00\x01\x52\x54\x00\x00\x00\x0a\x0a\x01\x00\x0a\x00\x00\x00\x00\x00\x00\x0a\x01\x00\x0b"...)), macAddr{255, 255, 255, 255, 255, 255}, etherARP)
	seed(icmpError(guest.Addr(), peer.Addr(), tcpFrame(peer, guest, flagSYN).bytes()[etherLen:]), b, etherIPv4)
	frag := udpFrame(guest, peer, make([]byte, 64))
	frag.bytes()[etherLen+6] = 0x20
	seed(frag, b, etherIPv4)

	n := unplugged(f, cfg)
	n.host.wire.Attach(nil) // what guests send out must not leave the test
	n.complaints.SetLimit(rate.Inf)
	from, to := n.ports["a"], n.ports["b"]
	f.Fuzz(func(t *testing.T, b []byte) {
		if len(b) < etherLen || len(b) > MaxFrame {
			return
		}
		n.fromGuest(from, frameOf(b))
		for _, p := range []*port{from, to} {
			check(t, p, to)
			clear(p.filter.flows) // so that one input does not change what the next one does
			clear(p.filter.frags)
		}
	})
}

// check looks at what a port's guest gets.
func check(t *testing.T, p, foreign *port) {
	for {
		select {
		case f := <-p.queue:
			if pkt, ok := parse(f.bytes()[etherLen:]); p == foreign && (!ok || pkt.src != netip.MustParseAddr("10.1.0.10")) {
				t.Fatalf("guest b got % x", f.bytes())
			}
			f.release()
		default:
			return
		}
	}
}

func icmpError(src, dst netip.Addr, about []byte) *frame {
	f := newFrame(etherLen + 28 + len(about))
	b := f.bytes()[etherLen:]
	putIPv4(b, protoICMP, src, dst, 8+len(about))
	clear(b[20:28])
	b[20], b[21] = 3, 3
	copy(b[28:], about)
	return f
}

// FuzzConfig makes tables of any configuration that is found valid.
func FuzzConfig(f *testing.F) {
	f.Add([]byte(`{"subnets":[{"id":"s","cidrs":["10.0.0.0/24","fd00::/64"]}],"nics":[{"id":"n","subnet":"s","mac":"02:00:00:00:00:02","addresses":["10.0.0.2","fd00::2"]}]}`))
	f.Add([]byte(`{"subnets":[{"id":"s","cidrs":["0.0.0.0/0"]}],"nics":[{"id":"n","subnet":"s","mac":"02:00:00:00:00:02"}]}`))
	f.Fuzz(func(t *testing.T, b []byte) {
		dir := t.TempDir()
		if err := os.WriteFile(dir+"/config.json", b, 0o600); err != nil {
			t.Fatal(err)
		}
		cfg, err := load(dir)
		if err != nil {
			return
		}
		ports := make(map[string]*port)
		for _, n := range cfg.NICs {
			ports[n.ID] = &port{nic: n.ID, filter: newFilter(0)}
		}
		newTable(cfg, ports) // a valid configuration has a table
	})
}
