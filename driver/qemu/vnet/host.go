package vnet

import (
	"context"
	"errors"
	"fmt"
	"net"
	"net/netip"
	"strings"
	"sync/atomic"
	"time"

	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
)

// nicID is the only interface of the stack; behind it is our router.
const nicID tcpip.NICID = 1

// A host is the user space TCP/IP stack that owns the gateway addresses. It
// also accepts what guests send to the internet, whatever the address, and
// speaks to guests in the name of clients outside.
type host struct {
	stack    *stack.Stack
	wire     *wire
	gateways map[netip.Addr]bool
	port     atomic.Uint32 // the last one that dial used
}

// newHost makes a stack that gives its packets to send.
func newHost(send func(*frame), tcpOut func(*tcp.ForwarderRequest), udpOut func(*udp.ForwarderRequest)) (*host, error) {
	w := &wire{send: send}
	w.mtu.Store(DefaultMTU)
	s := stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
	})
	h := &host{stack: s, wire: w, gateways: make(map[netip.Addr]bool)}
	sack := tcpip.TCPSACKEnabled(true)
	for _, err := range []tcpip.Error{
		s.CreateNIC(nicID, w), s.SetPromiscuousMode(nicID, true), s.SetSpoofing(nicID, true),
		s.SetTransportProtocolOption(tcp.ProtocolNumber, &sack),
	} {
		if err != nil {
			return nil, fmt.Errorf("make the network's stack: %s", err)
		}
	}
	s.SetRouteTable([]tcpip.Route{{Destination: header.IPv4EmptySubnet, NIC: nicID}})
	s.SetTransportProtocolHandler(tcp.ProtocolNumber, tcp.NewForwarder(s, 0, MaxProxies, tcpOut).HandlePacket)
	s.SetTransportProtocolHandler(udp.ProtocolNumber, udp.NewForwarder(s, udpOut).HandlePacket)
	return h, nil
}

// deliver gives the stack a packet from a guest, and takes the frame for it.
func (h *host) deliver(p *packet, f *frame) bool {
	pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(p.ip)}) // copies
	f.release()
	h.wire.dispatch(pkt)
	pkt.DecRef()
	return true
}

// own makes the stack answer at the gateways of a table.
func (h *host) own(t *table) error {
	h.wire.mtu.Store(uint32(t.mtu))
	wanted := make(map[netip.Addr]bool)
	var errs []error
	for _, s := range t.subnets {
		for _, p := range s.ranges {
			gw := Gateway(p)
			wanted[gw] = true
			if h.gateways[gw] {
				continue
			}
			addr := tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: tcpip.AddressWithPrefix{Address: toStack(gw), PrefixLen: 32}}
			if err := h.stack.AddProtocolAddress(nicID, addr, stack.AddressProperties{}); err != nil {
				errs = append(errs, fmt.Errorf("add gateway %s: %s", gw, err))
				continue
			}
			h.gateways[gw] = true
		}
	}
	for gw := range h.gateways {
		if !wanted[gw] {
			h.stack.RemoveAddress(nicID, toStack(gw)) // it is there: we added it
			delete(h.gateways, gw)
		}
	}
	return errors.Join(errs...)
}

// listenDNS opens both sockets of DNS at a gateway.
func (h *host) listenDNS(gw netip.Addr) (*datagrams, *gonet.TCPListener, error) {
	at := full(netip.AddrPortFrom(gw, 53))
	u, err := gonet.DialUDP(h.stack, &at, nil, ipv4.ProtocolNumber)
	if err != nil {
		return nil, nil, fmt.Errorf("listen for DNS at %s: %w", gw, err)
	}
	l, err := gonet.ListenTCP(h.stack, at, ipv4.ProtocolNumber)
	if err != nil {
		return nil, nil, errors.Join(fmt.Errorf("listen for DNS at %s: %w", gw, err), u.Close())
	}
	return &datagrams{u}, l, nil
}

// datagrams is a socket that gives up one for which there is no room soon. The stack's own wait may
// miss that there is room, as it begins to listen for that after it has looked, and then has no end.
type datagrams struct{ *gonet.UDPConn }

const roomWithin = 100 * time.Millisecond

// Write sends b to the one that the socket is connected to.
func (d *datagrams) Write(b []byte) (int, error) {
	d.SetWriteDeadline(time.Now().Add(roomWithin))
	return d.UDPConn.Write(b)
}

// WriteTo sends b to an address.
func (d *datagrams) WriteTo(b []byte, to net.Addr) (int, error) {
	d.SetWriteDeadline(time.Now().Add(roomWithin))
	return d.UDPConn.WriteTo(b, to)
}

var errNotAllowed = errors.New("no security group allows it")

// dialTCP connects to a guest, if admit agrees to the address that the stack
// uses for that.
func (h *host) dialTCP(ctx context.Context, from netip.Addr, to netip.AddrPort, admit func(local netip.AddrPort) bool) (c *gonet.TCPConn, err error) {
	for range 8 {
		local := netip.AddrPortFrom(from, h.nextPort())
		if !admit(local) {
			return nil, errNotAllowed
		}
		c, err = gonet.DialTCPWithBind(ctx, h.stack, full(local), full(to), ipv4.ProtocolNumber)
		if err == nil || !strings.HasPrefix(err.Error(), "ep.Bind") {
			return c, err
		}
	}
	return nil, err
}

// dialUDP is dialTCP for datagrams.
func (h *host) dialUDP(from netip.Addr, to netip.AddrPort, admit func(local netip.AddrPort) bool) (*datagrams, error) {
	var err error
	remote := full(to)
	for range 8 {
		local := netip.AddrPortFrom(from, h.nextPort())
		if !admit(local) {
			return nil, errNotAllowed
		}
		at := full(local)
		var c *gonet.UDPConn
		if c, err = gonet.DialUDP(h.stack, &at, &remote, ipv4.ProtocolNumber); err == nil {
			return &datagrams{c}, nil
		}
	}
	return nil, err
}

// nextPort goes round through 20000 to 59999. The stack does not choose,
// because the filter must know the port before the first packet.
func (h *host) nextPort() uint16 { return uint16(20000 + h.port.Add(1)%40000) }

func (h *host) close() { h.stack.Destroy() }

// A wire is the stack's interface: packets without link layer, to and from
// the router.
type wire struct {
	send       func(*frame)
	mtu        atomic.Uint32
	dispatcher atomic.Pointer[stack.NetworkDispatcher]
}

func (w *wire) dispatch(pkt *stack.PacketBuffer) {
	if d := w.dispatcher.Load(); d != nil {
		(*d).DeliverNetworkPacket(ipv4.ProtocolNumber, pkt)
	}
}

// WritePackets takes packets from the stack to the router.
func (w *wire) WritePackets(pkts stack.PacketBufferList) (int, tcpip.Error) {
	for _, pkt := range pkts.AsSlice() {
		if pkt.Size() > MaxFrame-etherLen {
			continue
		}
		f := newFrame(etherLen + pkt.Size())
		b := f.bytes()[etherLen:]
		for _, part := range pkt.AsSlices() {
			b = b[copy(b, part):]
		}
		w.send(f)
	}
	return pkts.Len(), nil
}

// Attach is called with the stack's entrance, or nil at the end.
func (w *wire) Attach(d stack.NetworkDispatcher) {
	if d == nil {
		w.dispatcher.Store(nil)
		return
	}
	w.dispatcher.Store(&d)
}

// IsAttached reports whether there is a stack.
func (w *wire) IsAttached() bool { return w.dispatcher.Load() != nil }

// MTU is the largest packet that the stack sends.
func (w *wire) MTU() uint32 { return w.mtu.Load() }

// SetMTU changes it.
func (w *wire) SetMTU(n uint32) { w.mtu.Store(n) }

// Capabilities spares the stack from verifying checksums: what crosses a
// local socket does not change on the way.
func (w *wire) Capabilities() stack.LinkEndpointCapabilities {
	return stack.CapabilityRXChecksumOffload
}

// MaxHeaderLength is that of the link layer, which a wire has not.
func (w *wire) MaxHeaderLength() uint16 { return 0 }

// LinkAddress is empty for the same reason.
func (w *wire) LinkAddress() tcpip.LinkAddress { return "" }

// SetLinkAddress does nothing.
func (w *wire) SetLinkAddress(tcpip.LinkAddress) {}

// Wait does nothing: the wire has no goroutines.
func (w *wire) Wait() {}

// ARPHardwareType says that nobody resolves addresses here.
func (w *wire) ARPHardwareType() header.ARPHardwareType { return header.ARPHardwareNone }

// AddHeader does nothing.
func (w *wire) AddHeader(*stack.PacketBuffer) {}

// ParseHeader finds nothing to parse.
func (w *wire) ParseHeader(*stack.PacketBuffer) bool { return true }

// Close does nothing.
func (w *wire) Close() {}

// SetOnCloseAction does nothing.
func (w *wire) SetOnCloseAction(func()) {}

func toStack(a netip.Addr) tcpip.Address { return tcpip.AddrFrom4(a.As4()) }

func fromStack(a tcpip.Address, port uint16) netip.AddrPort {
	return netip.AddrPortFrom(netip.AddrFrom4(a.As4()), port)
}

func full(a netip.AddrPort) tcpip.FullAddress {
	return tcpip.FullAddress{NIC: nicID, Addr: toStack(a.Addr()), Port: a.Port()}
}

// hostAddresses lists the addresses of this machine.
func hostAddresses() map[netip.Addr]bool {
	own := make(map[netip.Addr]bool)
	addrs, _ := net.InterfaceAddrs() // none known: the caller refuses what is not public anyway
	for _, a := range addrs {
		if n, ok := a.(*net.IPNet); ok {
			if ip, ok := netip.AddrFromSlice(n.IP); ok {
				own[ip.Unmap()] = true
			}
		}
	}
	return own
}
