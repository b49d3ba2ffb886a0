package vnet

import (
	"encoding/binary"
	"net/netip"
	"sync"
)

const (
	prefixLen  = 4  // of a frame's length on a stream
	etherLen   = 14 // of an Ethernet header
	smallFrame = 2048
)

const (
	etherIPv4 = 0x0800
	etherARP  = 0x0806
)

const (
	protoICMP = 1
	protoTCP  = 6
	protoUDP  = 17
)

const (
	flagFIN = 0x01
	flagSYN = 0x02
	flagRST = 0x04
	flagACK = 0x10
)

// A macAddr is an Ethernet address.
type macAddr = [6]byte

// gatewayMAC is the router's address in every subnet.
var gatewayMAC = macAddr{0x02, 'K', 'o', 'n', 't', 0x01}

// A frame is a buffer with one Ethernet frame, behind room for its length. It
// has one owner, who releases it or hands it on.
type frame struct {
	buf []byte
	n   int
}

var (
	smallFrames = sync.Pool{New: func() any { return &frame{buf: make([]byte, smallFrame)} }}
	largeFrames = sync.Pool{New: func() any { return &frame{buf: make([]byte, prefixLen+MaxFrame)} }}
)

// newFrame returns a frame of n bytes, at most MaxFrame.
func newFrame(n int) *frame {
	pool := &smallFrames
	if prefixLen+n > smallFrame {
		pool = &largeFrames
	}
	f := pool.Get().(*frame)
	f.n = n
	return f
}

func (f *frame) release() {
	if len(f.buf) == smallFrame {
		smallFrames.Put(f)
		return
	}
	largeFrames.Put(f)
}

// bytes is the frame from its Ethernet header on.
func (f *frame) bytes() []byte { return f.buf[prefixLen : prefixLen+f.n] }

// prefixed is the frame as it goes onto a stream.
func (f *frame) prefixed() []byte {
	binary.BigEndian.PutUint32(f.buf, uint32(f.n))
	return f.buf[:prefixLen+f.n]
}

func (f *frame) dstMAC() macAddr   { return macAddr(f.buf[prefixLen:]) }
func (f *frame) srcMAC() macAddr   { return macAddr(f.buf[prefixLen+6:]) }
func (f *frame) etherType() uint16 { return binary.BigEndian.Uint16(f.buf[prefixLen+12:]) }

// address writes the Ethernet header.
func (f *frame) address(dst, src macAddr, etherType uint16) {
	b := f.bytes()
	copy(b, dst[:])
	copy(b[6:], src[:])
	binary.BigEndian.PutUint16(b[12:], etherType)
}

// A packet is what the filter and the router need to know of an IPv4 packet.
// The slices point into its frame.
type packet struct {
	ip       []byte // header and payload, without Ethernet padding
	payload  []byte
	src, dst netip.Addr
	proto    uint8

	// The ports of TCP and UDP. An ICMP query has its identifier in both.
	srcPort, dstPort uint16
	tcpFlags         uint8
	icmpType         uint8
	icmpCode         uint8

	id       uint16
	offset   uint16 // of a fragment, in units of 8 bytes
	fragment bool   // one of several
}

// parse reads an IPv4 packet. It refuses what is cut short or contradicts
// itself, and fragments made to slip through filters.
func parse(b []byte) (p packet, ok bool) {
	if len(b) < 20 || b[0]>>4 != 4 {
		return p, false
	}
	head, total := int(b[0]&15)*4, int(binary.BigEndian.Uint16(b[2:]))
	if head < 20 || total < head || total > len(b) {
		return p, false
	}
	frag := binary.BigEndian.Uint16(b[6:])
	p = packet{
		ip: b[:total], payload: b[head:total], proto: b[9],
		src: netip.AddrFrom4([4]byte(b[12:])), dst: netip.AddrFrom4([4]byte(b[16:])),
		id: binary.BigEndian.Uint16(b[4:]), offset: frag & 0x1fff, fragment: frag&0x3fff != 0,
	}
	if p.offset > 0 {
		return p, p.offset > 1 // one of 8 bytes would overwrite TCP's flags
	}
	return p, p.parsePayload()
}

func (p *packet) parsePayload() bool {
	switch p.proto {
	case protoTCP:
		if len(p.payload) < 20 {
			return false
		}
		p.tcpFlags = p.payload[13]
	case protoUDP:
		if len(p.payload) < 8 {
			return false
		}
	case protoICMP:
		return p.parseICMP()
	default:
		return true
	}
	p.srcPort = binary.BigEndian.Uint16(p.payload)
	p.dstPort = binary.BigEndian.Uint16(p.payload[2:])
	return true
}

func (p *packet) parseICMP() bool {
	if len(p.payload) < 8 {
		return false
	}
	p.icmpType, p.icmpCode = p.payload[0], p.payload[1]
	if p.icmpQuery() {
		p.srcPort = binary.BigEndian.Uint16(p.payload[4:])
		p.dstPort = p.srcPort
	}
	return true
}

// icmpQuery reports whether an ICMP packet is a question or its answer.
func (p *packet) icmpQuery() bool {
	switch p.icmpType {
	case 0, 8, 13, 14:
		return true
	}
	return false
}

// icmpError reports whether the packet tells of another that did not arrive.
func (p *packet) icmpError() bool {
	return p.proto == protoICMP && (p.icmpType == 3 || p.icmpType == 11 || p.icmpType == 12)
}

// opens reports whether the packet is the first of a TCP connection.
func (p *packet) opens() bool { return p.tcpFlags&(flagSYN|flagACK|flagRST|flagFIN) == flagSYN }

// culprit returns the head of the packet that an ICMP error tells of.
func (p *packet) culprit() (c packet, ok bool) {
	b := p.payload[8:]
	if len(b) < 28 || b[0]>>4 != 4 || int(b[0]&15)*4 < 20 || len(b) < int(b[0]&15)*4+8 {
		return c, false
	}
	rest := b[int(b[0]&15)*4:]
	c = packet{
		proto: b[9], src: netip.AddrFrom4([4]byte(b[12:])), dst: netip.AddrFrom4([4]byte(b[16:])),
		srcPort: binary.BigEndian.Uint16(rest), dstPort: binary.BigEndian.Uint16(rest[2:]),
	}
	if c.proto == protoICMP {
		c.srcPort = binary.BigEndian.Uint16(rest[4:])
		c.dstPort = c.srcPort
	}
	return c, true
}

// hop counts down the time to live, and reports whether any is left.
func (p *packet) hop() bool {
	if p.ip[8] <= 1 {
		return false
	}
	p.ip[8]--
	// RFC 1141: taking one from the high byte adds 0x100 to the checksum.
	sum := uint32(binary.BigEndian.Uint16(p.ip[10:])) + 0x100
	binary.BigEndian.PutUint16(p.ip[10:], uint16(sum+sum>>16))
	return true
}

// checksum is the Internet checksum of b, on top of an earlier sum.
func checksum(b []byte, sum uint32) uint16 {
	for ; len(b) >= 2; b = b[2:] {
		sum += uint32(binary.BigEndian.Uint16(b))
	}
	if len(b) == 1 {
		sum += uint32(b[0]) << 8
	}
	for sum > 0xffff {
		sum = sum>>16 + sum&0xffff
	}
	return ^uint16(sum)
}

// putIPv4 writes an IPv4 header of 20 bytes before a payload of n bytes.
func putIPv4(b []byte, proto uint8, src, dst netip.Addr, n int) {
	clear(b[:20])
	b[0], b[8], b[9] = 0x45, 64, proto
	binary.BigEndian.PutUint16(b[2:], uint16(20+n))
	s, d := src.As4(), dst.As4()
	copy(b[12:], s[:])
	copy(b[16:], d[:])
	binary.BigEndian.PutUint16(b[10:], checksum(b[:20], 0))
}

// udpFrame wraps data in UDP, IPv4 and an unaddressed Ethernet header. The
// UDP checksum is left out, which IPv4 permits.
func udpFrame(src, dst netip.AddrPort, data []byte) *frame {
	f := newFrame(etherLen + 28 + len(data))
	b := f.bytes()[etherLen:]
	putIPv4(b, protoUDP, src.Addr(), dst.Addr(), 8+len(data))
	u := b[20:]
	binary.BigEndian.PutUint16(u, src.Port())
	binary.BigEndian.PutUint16(u[2:], dst.Port())
	binary.BigEndian.PutUint16(u[4:], uint16(8+len(data)))
	binary.BigEndian.PutUint16(u[6:], 0)
	copy(u[8:], data)
	return f
}
