package vnet

import (
	"encoding/binary"
	"net/netip"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/driver"
)

var (
	near = netip.MustParseAddrPort("10.1.0.10:80")
	far  = netip.MustParseAddrPort("192.0.2.7:5000")
)

// A probe asks a filter about packets of one flow.
type probe struct {
	t   *testing.T
	f   *filter
	now time.Duration
}

func newProbe(t *testing.T, rules ...driver.Rule) *probe {
	p := &probe{t: t, f: newFilter(0), now: time.Hour}
	p.enforce(rules...)
	return p
}

func (p *probe) enforce(rules ...driver.Rule) {
	cfg := &Config{Groups: map[string][]driver.Rule{"g": rules}}
	p.f.enforce(newPolicy(cfg, &NIC{Groups: []string{"g"}}, func(string) []netip.Addr { return nil }, p.f.policy.version+1))
}

func (p *probe) pass(f *frame, ingress bool) bool {
	p.t.Helper()
	pkt, ok := parse(f.bytes()[etherLen:])
	if !ok {
		p.t.Fatal("the test made a packet that does not parse")
	}
	return p.f.pass(&pkt, ingress, int64(p.now))
}

func (p *probe) in(flags uint8) bool  { return p.pass(tcpFrame(far, near, flags), true) }
func (p *probe) out(flags uint8) bool { return p.pass(tcpFrame(near, far, flags), false) }

func TestTCPBeginsWithSYN(t *testing.T) {
	p := newProbe(t, tcpFrom(80))
	if p.in(flagACK) {
		t.Error("a segment of no known connection passed")
	}
	if p.out(flagSYN | flagACK) {
		t.Error("an answer to nothing passed")
	}
	if !p.in(flagSYN) || !p.out(flagSYN|flagACK) || !p.in(flagACK) || !p.out(flagACK) {
		t.Error("a connection that a rule allows did not pass")
	}
	if p.out(flagSYN) {
		t.Error("a connection in the other direction passed, between the same ports")
	}
}

func TestConnectionsArePickedUpAfterARestart(t *testing.T) {
	p := newProbe(t, tcpFrom(80))
	p.f.strict = int64(2 * time.Hour)
	if p.out(flagACK) {
		t.Error("the guest's segment passed before the client's")
	}
	if !p.in(flagACK) || !p.out(flagACK) {
		t.Error("the connection was not picked up")
	}
}

func TestFlowsExpire(t *testing.T) {
	p := newProbe(t, tcpFrom(80))
	p.in(flagSYN)
	p.now += keepOpening + 1
	if p.out(flagSYN | flagACK) {
		t.Error("a connection was answered after it had expired")
	}
	p.in(flagSYN)
	p.out(flagSYN | flagACK)
	p.now += keepTCP - time.Second
	if !p.in(flagACK) {
		t.Error("an idle connection expired too early")
	}
	p.in(flagRST)
	p.now += keepReset + 1
	if p.out(flagACK) {
		t.Error("a connection outlives its reset")
	}
	p.f.sweep(int64(p.now))
	if n := p.f.count(); n != 0 {
		t.Errorf("%d flows left", n)
	}
}

func TestBlockedFlowsDoNotComeBackFromTheGuest(t *testing.T) {
	egress := driver.Rule{}
	p := newProbe(t, tcpFrom(80), egress)
	p.in(flagSYN)
	p.out(flagSYN | flagACK)
	p.enforce(egress)
	if p.out(flagACK) || p.in(flagACK) {
		t.Error("a connection that is no longer allowed goes on")
	}
	p.enforce(egress, tcpFrom(80))
	if !p.in(flagSYN) {
		t.Error("a new connection is blocked like the old one")
	}
}

func TestErrorsPassOnlyWithTheirFlow(t *testing.T) {
	p := newProbe(t, tcpFrom(80))
	about := tcpFrame(near, far, flagACK).bytes()[etherLen:]
	report := icmpError(netip.MustParseAddr("198.51.100.1"), near.Addr(), about)
	if p.pass(report, true) {
		t.Error("an error about nothing passed")
	}
	p.in(flagSYN)
	if !p.pass(report, true) {
		t.Error("an error about a flow did not pass")
	}
}

func TestFragmentsFollowTheirFirst(t *testing.T) {
	udp := tcpFrom(80)
	udp.Protocol = driver.UDP
	p := newProbe(t, udp)
	first, later := udpFrame(far, near, make([]byte, 64)), udpFrame(far, near, make([]byte, 64))
	binary.BigEndian.PutUint16(first.bytes()[etherLen+6:], 0x2000)
	binary.BigEndian.PutUint16(later.bytes()[etherLen+6:], 9)
	if p.pass(later, true) {
		t.Error("a fragment passed before its first")
	}
	if !p.pass(first, true) || !p.pass(later, true) {
		t.Error("fragments did not pass")
	}
	p.now += keepFragment + 1
	if p.pass(later, true) {
		t.Error("a fragment passed much later")
	}
}

func TestAFullTableKeepsAnsweredFlows(t *testing.T) {
	p := newProbe(t, tcpFrom(80))
	p.in(flagSYN)
	p.out(flagSYN | flagACK)
	for i := range 2 * MaxFlows {
		other := netip.AddrPortFrom(netip.AddrFrom4([4]byte{198, 51, byte(i >> 16), byte(i >> 8)}), uint16(1024+i&255))
		if !p.pass(tcpFrame(other, near, flagSYN), true) {
			t.Fatalf("connection %d did not pass", i)
		}
	}
	if n := p.f.count(); n > MaxFlows {
		t.Errorf("%d flows, more than %d", n, MaxFlows)
	}
	if !p.in(flagACK) {
		t.Error("an answered connection was displaced by ones that were not")
	}
}

func TestRules(t *testing.T) {
	peer := netip.MustParseAddr("192.0.2.7")
	member := netip.MustParseAddr("10.1.0.11")
	members := func(string) []netip.Addr { return []netip.Addr{member} }
	ports := []driver.PortRange{{From: 80, To: 82}}
	for _, row := range []struct {
		name string
		rule driver.Rule
		try  attempt
		want bool
	}{
		{"anything", driver.Rule{Ingress: true}, attempt{ingress: true, proto: 47, peer: peer}, true},
		{"other direction", driver.Rule{}, attempt{ingress: true, proto: protoTCP, peer: peer}, false},
		{"protocol", driver.Rule{Ingress: true, Protocol: driver.UDP}, attempt{ingress: true, proto: protoTCP, peer: peer}, false},
		{"end of a range", driver.Rule{Ingress: true, Protocol: driver.TCP, Ports: ports}, attempt{ingress: true, proto: protoTCP, port: 82, peer: peer}, true},
		{"after a range", driver.Rule{Ingress: true, Protocol: driver.TCP, Ports: ports}, attempt{ingress: true, proto: protoTCP, port: 83, peer: peer}, false},
		{"ports of what has none", driver.Rule{Ingress: true, Ports: ports}, attempt{ingress: true, proto: protoICMP, peer: peer}, false},
		{"family", driver.Rule{Ingress: true, Family: 6}, attempt{ingress: true, proto: protoTCP, peer: peer}, false},
		{"ICMP type", driver.Rule{Ingress: true, Protocol: driver.ICMPAny, ICMP: &driver.ICMP{Type: 8}}, attempt{ingress: true, proto: protoICMP, icmpType: 8, peer: peer}, true},
		{"other ICMP type", driver.Rule{Ingress: true, Protocol: driver.ICMPAny, ICMP: &driver.ICMP{Type: 8}}, attempt{ingress: true, proto: protoICMP, icmpType: 13, peer: peer}, false},
		{"peer", driver.Rule{Ingress: true, Peers: []netip.Prefix{netip.MustParsePrefix("192.0.2.0/24")}}, attempt{ingress: true, peer: peer}, true},
		{"other peer", driver.Rule{Ingress: true, Peers: []netip.Prefix{netip.MustParsePrefix("192.0.3.0/24")}}, attempt{ingress: true, peer: peer}, false},
		{"member", driver.Rule{Ingress: true, PeerGroups: []string{"x"}}, attempt{ingress: true, peer: member}, true},
		{"no member", driver.Rule{Ingress: true, PeerGroups: []string{"x"}}, attempt{ingress: true, peer: peer}, false},
	} {
		cfg := &Config{Groups: map[string][]driver.Rule{"g": {row.rule}}}
		p := newPolicy(cfg, &NIC{Groups: []string{"g"}}, members, 1)
		if got := p.allows(row.try); got != row.want {
			t.Errorf("%s: %v, want %v", row.name, got, row.want)
		}
	}
}

func TestPublicPortsPutSmallRangesFirst(t *testing.T) {
	wide := driver.Rule{Ingress: true, Protocol: driver.TCP, Ports: []driver.PortRange{{From: 1, To: 65535}}}
	p := newProbe(t, wide, tcpFrom(50000), driver.Rule{Ingress: true, Protocol: driver.ICMPAny})
	ports, partial := publicPorts(p.f.rules())
	if len(ports) != MaxForwards || ports[0] != (protoPort{driver.TCP, 50000}) || partial == "" {
		t.Errorf("%d ports from %v, %q", len(ports), ports[0], partial)
	}
	ports, partial = publicPorts(&policy{open: true})
	if len(ports) != len(CommonPorts) || partial == "" {
		t.Errorf("without groups %d ports, %q", len(ports), partial)
	}
}
