package vnet

import (
	"encoding/binary"
	"net/netip"
	"time"
)

// fromGuest decides about a frame that a guest sent. It owns the frame.
func (n *network) fromGuest(p *port, f *frame) {
	s := p.seat.Load()
	if s == nil || !n.switchFrame(s, f) {
		p.sent.dropped.Add(1)
		f.release()
	}
}

// switchFrame reports whether it has taken the frame.
func (n *network) switchFrame(s *seat, f *frame) bool {
	if f.srcMAC() != s.mac {
		return false
	}
	switch f.etherType() {
	case etherARP:
		return s.answerARP(f)
	case etherIPv4:
		return n.switchIPv4(s, f)
	}
	return false
}

func (n *network) switchIPv4(s *seat, f *frame) bool {
	p, ok := parse(f.bytes()[etherLen:])
	if !ok {
		return false
	}
	if p.proto == protoUDP && p.offset == 0 && p.srcPort == 68 && p.dstPort == 67 {
		return s.answerDHCP(&p, f)
	}
	if !s.maySend(p.src) {
		return false
	}
	if !s.asksGateway(&p, p.dst, p.dstPort) && !s.port.filter.pass(&p, false, n.now()) {
		n.refuse(s, &p, icmpProhibited)
		return false
	}
	if f.dstMAC() != gatewayMAC {
		peer := s.table.byMAC[f.dstMAC()]
		return peer != nil && peer.subnet == s.subnet && n.toGuest(peer, &p, f, s.mac)
	}
	return n.forward(s, &p, f)
}

// forward routes a packet that the guest sent to its gateway.
func (n *network) forward(s *seat, p *packet, f *frame) bool {
	t := s.table
	if t.gatewayOf(p.dst) != nil {
		return n.host.deliver(p, f)
	}
	next := t.byAddr[p.dst]
	if next == nil && !t.inside(p.dst) {
		r, ok := s.subnet.route(p.dst)
		if ok && r.Internet {
			return n.toInternet(s, p, f)
		}
		next = t.byAddr[r.Via]
	}
	if next == nil {
		n.refuse(s, p, icmpNoHost)
		return false
	}
	if !p.hop() {
		n.refuse(s, p, icmpExpired)
		return false
	}
	return n.toGuest(next, p, f, gatewayMAC)
}

// toInternet hands TCP and UDP to the host's stack, which translates them.
func (n *network) toInternet(s *seat, p *packet, f *frame) bool {
	if p.proto != protoTCP && p.proto != protoUDP || !unicast(p.dst) {
		n.refuse(s, p, icmpProhibited)
		return false
	}
	return n.host.deliver(p, f)
}

// toGuest gives a packet to the guest if its groups allow that.
func (n *network) toGuest(s *seat, p *packet, f *frame, from macAddr) bool {
	if !s.asksGateway(p, p.src, p.srcPort) && !s.port.filter.pass(p, true, n.now()) {
		s.port.received.dropped.Add(1)
		return false
	}
	f.address(s.mac, from, etherIPv4)
	s.port.enqueue(f)
	return true
}

// fromHost gives a packet of the host's stack to the guest it is for.
func (n *network) fromHost(f *frame) {
	p, ok := parse(f.bytes()[etherLen:])
	if t := n.table.Load(); ok && t != nil {
		if s := t.byAddr[p.dst]; s != nil && n.toGuest(s, &p, f, gatewayMAC) {
			return
		}
	}
	f.release()
}

// asksGateway reports whether the packet belongs to DNS at the gateway, which
// no security group forbids.
func (s *seat) asksGateway(p *packet, addr netip.Addr, port uint16) bool {
	return port == 53 && p.offset == 0 && (p.proto == protoUDP || p.proto == protoTCP) && s.subnet.isGateway(addr)
}

// answerARP tells the guest who has an address, and takes the frame for it.
func (s *seat) answerARP(f *frame) bool {
	b := f.bytes()[etherLen:]
	if len(b) < 28 || binary.BigEndian.Uint16(b[6:]) != 1 {
		return false // not a question
	}
	sender, target := netip.AddrFrom4([4]byte(b[14:])), netip.AddrFrom4([4]byte(b[24:]))
	owner := gatewayMAC
	if !s.subnet.isGateway(target) {
		other := s.table.byAddr[target]
		if other == nil || other == s || other.subnet != s.subnet {
			return false
		}
		owner = other.mac
	}
	if !sender.IsUnspecified() && !s.maySend(sender) {
		return false
	}
	reply := newFrame(etherLen + 28)
	r := reply.bytes()[etherLen:]
	copy(r, b[:6])
	binary.BigEndian.PutUint16(r[6:], 2)
	copy(r[8:], owner[:])
	copy(r[14:], b[24:28])
	copy(r[18:], b[8:14])
	copy(r[24:], b[14:18])
	f.release()
	reply.address(s.mac, owner, etherARP)
	s.port.enqueue(reply)
	return true
}

// The reasons that the gateway gives, as ICMP type and code.
const (
	icmpNoHost     = 3<<8 | 1
	icmpProhibited = 3<<8 | 13
	icmpExpired    = 11 << 8
)

// refuse tells the guest that a packet went nowhere, so that programs fail at
// once instead of waiting. It answers a few packets a second.
func (n *network) refuse(s *seat, p *packet, reason uint16) {
	if p.offset > 0 || p.icmpError() || p.proto == protoICMP && p.icmpType != 8 || !unicast(p.src) || !n.complaints.Allow() {
		return
	}
	quoted := min(len(p.ip), len(p.ip)-len(p.payload)+8)
	f := newFrame(etherLen + 28 + quoted)
	b := f.bytes()[etherLen:]
	gw := Gateway(s.subnet.rangeOf(p.src))
	if !gw.IsValid() || !gw.Is4() {
		f.release()
		return
	}
	putIPv4(b, protoICMP, gw, p.src, 8+quoted)
	icmp := b[20:]
	clear(icmp[:8])
	binary.BigEndian.PutUint16(icmp, reason)
	copy(icmp[8:], p.ip[:quoted])
	binary.BigEndian.PutUint16(icmp[2:], checksum(icmp, 0))
	f.address(s.mac, gatewayMAC, etherIPv4)
	s.port.enqueue(f)
}

func unicast(a netip.Addr) bool {
	return !a.IsMulticast() && !a.IsUnspecified() && !a.IsLoopback() && a != netip.AddrFrom4([4]byte{255, 255, 255, 255})
}

// now is the age of the process in nanoseconds.
func (n *network) now() int64 { return int64(time.Since(n.started)) }
