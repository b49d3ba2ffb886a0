package vnet

import (
	"net/netip"
	"testing"
)

func TestRoutesLeadThroughAGuestAndBack(t *testing.T) {
	cfg := twoSubnets()
	beyond := netip.MustParsePrefix("172.31.0.0/16")
	cfg.Subnets[0].Routes = []Route{{Destination: beyond, Via: cfg.NICs[2].Addresses[0]}}
	w := newWorld(t, cfg)
	a, b, c := w.boot(cfg.NICs[0], streamPlug), w.boot(cfg.NICs[1], streamPlug), w.boot(cfg.NICs[2], streamPlug)
	there := netip.MustParseAddrPort("172.31.0.5:7")
	got := make(chan netip.AddrPort, 16)
	tap := func(f []byte) {
		if p, ok := parse(f[etherLen:]); ok && p.proto == protoUDP {
			got <- at(p.src, p.srcPort)
		}
	}
	a.watch(tap)
	c.watch(tap)
	if _, err := a.dialUDP(there).Write([]byte("hello")); err != nil {
		t.Fatal(err)
	}
	if from := <-got; from.Addr() != a.addr() {
		t.Fatalf("the guest on the way got a packet from %s", from)
	}
	for _, g := range []*guest{b, c} { // b is not on the way, so its packet must not arrive
		src := at(there.Addr(), uint16(g.mac[5]))
		f := udpFrame(src, at(a.addr(), 7), []byte("hello back"))
		f.address(gatewayMAC, g.mac, etherIPv4)
		g.write(f.bytes())
		if g == b {
			eventually(t, func() bool { st, err := Inspect(t.Context(), w.dir); return err == nil && st.NICs[1].Sent.Dropped > 0 })
		}
	}
	if from := <-got; from.Port() != uint16(c.mac[5]) {
		t.Fatalf("an answer from beyond came through the guest with MAC …%02x", from.Port())
	}
}

func TestTheGatewaySaysWhyAPacketWentNowhere(t *testing.T) {
	cfg := twoSubnets()
	cfg.Groups["nothing"] = nil
	cfg.NICs[1].Groups = []string{"nothing"}
	for name, row := range map[string]struct {
		nic    int
		to     string
		reason uint16
	}{
		"no route":             {2, "9.9.9.9:80", icmpNoHost},
		"no such guest":        {0, "10.1.1.77:80", icmpNoHost},
		"security group":       {1, "10.1.1.10:80", icmpProhibited},
		"multicast":            {0, "224.0.0.1:80", icmpProhibited},
		"too many hops behind": {0, "10.1.1.10:80", icmpExpired},
	} {
		t.Run(name, func(t *testing.T) {
			n := unplugged(t, cfg)
			s := n.ports[cfg.NICs[row.nic].ID].seat.Load()
			f := tcpFrame(at(s.Addresses[0], 4000), netip.MustParseAddrPort(row.to), flagSYN)
			if row.reason == icmpExpired {
				f.bytes()[etherLen+8] = 1
			}
			f.address(gatewayMAC, s.mac, etherIPv4)
			n.fromGuest(s.port, f)
			select {
			case f := <-s.port.queue:
				p, ok := parse(f.bytes()[etherLen:])
				about, whole := p.culprit()
				if !ok || !whole || checksum(p.payload, 0) != 0 || checksum(p.ip[:20], 0) != 0 {
					t.Fatalf("not a sound ICMP error: % x", f.bytes())
				}
				if got := uint16(p.icmpType)<<8 | uint16(p.icmpCode); got != row.reason || at(about.dst, about.dstPort).String() != row.to {
					t.Errorf("reason %#x about %s, want %#x", got, about.dst, row.reason)
				}
			default:
				t.Error("it says nothing")
			}
		})
	}
}

func TestRoutedPacketsKeepASoundChecksum(t *testing.T) {
	for ttl := 2; ttl < 256; ttl++ {
		f := tcpFrame(near, far, flagSYN)
		b := f.bytes()[etherLen:]
		b[8], b[10], b[11] = byte(ttl), 0, 0
		sum := checksum(b[:20], 0)
		b[10], b[11] = byte(sum>>8), byte(sum)
		p, ok := parse(b)
		if !ok || !p.hop() || p.ip[8] != byte(ttl-1) || checksum(b[:20], 0) != 0 {
			t.Fatalf("wrong after a hop from time to live %d", ttl)
		}
	}
}

func TestSpoofedSourcesAreDropped(t *testing.T) {
	cfg := twoSubnets()
	w := newWorld(t, cfg)
	a, b := w.boot(cfg.NICs[0], streamPlug), w.boot(cfg.NICs[1], streamPlug)
	got := make(chan uint16, 16)
	b.watch(func(f []byte) {
		if p, ok := parse(f[etherLen:]); ok && p.proto == protoUDP {
			got <- p.dstPort
		}
	})
	send := func(port uint16, src string, mac macAddr) {
		f := udpFrame(netip.MustParseAddrPort(src), at(b.addr(), port), []byte("hello"))
		f.address(b.mac, mac, etherIPv4)
		a.write(f.bytes())
	}
	send(1, "10.1.0.12:7", a.mac)                  // nobody's address
	send(2, "10.1.1.10:7", a.mac)                  // another guest's
	send(3, "10.1.0.1:7", a.mac)                   // the gateway's
	send(4, "10.1.0.10:7", macAddr{2, 0, 0, 0, 1}) // another card
	send(5, "10.1.0.10:7", a.mac)
	if port := <-got; port != 5 {
		t.Fatalf("packet %d got through", port)
	}
}
