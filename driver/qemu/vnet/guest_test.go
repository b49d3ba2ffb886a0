package vnet

import (
	"bufio"
	"context"
	"encoding/binary"
	"errors"
	"net"
	"net/netip"
	"os"
	"sync"
	"testing"
	"time"

	"github.com/insomniacslk/dhcp/dhcpv4"
	"gvisor.dev/gvisor/pkg/buffer"
	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/header"
	"gvisor.dev/gvisor/pkg/tcpip/link/channel"
	"gvisor.dev/gvisor/pkg/tcpip/link/ethernet"
	"gvisor.dev/gvisor/pkg/tcpip/network/arp"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"
	"gvisor.dev/gvisor/pkg/tcpip/stack"
	"gvisor.dev/gvisor/pkg/tcpip/transport/icmp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

// A guest is a TCP/IP stack behind a NIC's socket, as QEMU with Linux would be.
type guest struct {
	t     testing.TB
	nic   NIC
	mac   macAddr
	stack *stack.Stack
	ep    *channel.Endpoint
	lease *dhcpv4.DHCPv4

	mu   sync.Mutex
	conn net.Conn
	tap  func([]byte) // takes frames before the stack does
}

// A plug connects a guest to a NIC.
type plug func(t testing.TB, dir, nic string) net.Conn

func streamPlug(t testing.TB, dir, nic string) net.Conn {
	c, err := net.Dial("unix", StreamPath(dir, nic))
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// datagramPlug does what QEMU does with the value of Netdev.
func datagramPlug(t testing.TB, dir, nic string) net.Conn {
	ours, at := datagramPaths(dir, nic)
	os.Remove(at)
	c, err := net.ListenUnixgram("unixgram", &net.UnixAddr{Name: at, Net: "unixgram"})
	if err != nil {
		t.Fatal(err)
	}
	return &datagramConn{c, &net.UnixAddr{Name: ours, Net: "unixgram"}}
}

type datagramConn struct {
	*net.UnixConn
	to *net.UnixAddr
}

func (c *datagramConn) Write(b []byte) (int, error) { return c.WriteToUnix(b, c.to) }

// boot starts a guest and configures it by DHCP.
func (w *world) boot(nic NIC, how plug) *guest {
	w.t.Helper()
	hw, err := net.ParseMAC(nic.MAC)
	if err != nil {
		w.t.Fatal(err)
	}
	g := &guest{t: w.t, nic: nic, mac: macAddr(hw), ep: channel.New(4096, 1500+etherLen, tcpip.LinkAddress(hw))}
	g.stack = stack.New(stack.Options{
		NetworkProtocols:   []stack.NetworkProtocolFactory{ipv4.NewProtocol, arp.NewProtocol},
		TransportProtocols: []stack.TransportProtocolFactory{tcp.NewProtocol, udp.NewProtocol, icmp.NewProtocol4},
	})
	sack := tcpip.TCPSACKEnabled(true)
	g.stack.SetTransportProtocolOption(tcp.ProtocolNumber, &sack)
	if err := g.stack.CreateNIC(nicID, ethernet.New(g.ep)); err != nil {
		w.t.Fatal(err)
	}
	ctx, cancel := context.WithCancel(context.Background())
	w.t.Cleanup(func() { cancel(); g.plug(nil); g.stack.Destroy() })
	g.plug(how(w.t, w.dir, nic.ID))
	go g.send(ctx)
	g.configure()
	return g
}

// plug replaces the connection, as QEMU does when it reconnects.
func (g *guest) plug(c net.Conn) {
	g.mu.Lock()
	defer g.mu.Unlock()
	if g.conn != nil {
		g.conn.Close()
	}
	g.conn = c
	if c != nil {
		go g.receive(c)
	}
}

func (g *guest) receive(c net.Conn) {
	_, datagrams := c.(*datagramConn)
	r := bufio.NewReaderSize(c, MaxFrame)
	buf := make([]byte, MaxFrame)
	for {
		var b []byte
		if datagrams {
			n, err := c.Read(buf)
			if err != nil {
				return
			}
			b = buf[:n]
		} else {
			f, err := readFrame(r)
			if err != nil {
				return
			}
			b = f.bytes()
		}
		g.mu.Lock()
		if g.tap != nil {
			g.tap(append([]byte(nil), b...))
		}
		g.mu.Unlock()
		pkt := stack.NewPacketBuffer(stack.PacketBufferOptions{Payload: buffer.MakeWithData(b)})
		g.ep.InjectInbound(0, pkt)
		pkt.DecRef()
	}
}

func (g *guest) send(ctx context.Context) {
	for {
		pkt := g.ep.ReadContext(ctx)
		if pkt == nil {
			return
		}
		g.write(pkt.ToView().AsSlice())
		pkt.DecRef()
	}
}

// write puts a frame onto the wire.
func (g *guest) write(frame []byte) {
	g.mu.Lock()
	c := g.conn
	g.mu.Unlock()
	if c == nil {
		return
	}
	if _, datagrams := c.(*datagramConn); !datagrams {
		frame = append(binary.BigEndian.AppendUint32(nil, uint32(len(frame))), frame...)
	}
	c.Write(frame) // an unplugged cable loses it
}

// configure asks for a lease and takes what it says.
func (g *guest) configure() {
	g.t.Helper()
	discover, err := dhcpv4.NewDiscovery(g.mac[:])
	if err != nil {
		g.t.Fatal(err)
	}
	offer := g.dhcp(discover)
	request, err := dhcpv4.NewRequestFromOffer(offer)
	if err != nil {
		g.t.Fatal(err)
	}
	g.lease = g.dhcp(request)
	if g.lease.MessageType() != dhcpv4.MessageTypeAck {
		g.t.Fatalf("no lease: %s", g.lease.Summary())
	}
	ones, _ := g.lease.SubnetMask().Size()
	addr := tcpip.AddrFromSlice(g.lease.YourIPAddr.To4())
	subnet := tcpip.AddressWithPrefix{Address: addr, PrefixLen: ones}
	g.stack.AddProtocolAddress(nicID, tcpip.ProtocolAddress{Protocol: ipv4.ProtocolNumber, AddressWithPrefix: subnet}, stack.AddressProperties{})
	routes := []tcpip.Route{{Destination: subnet.Subnet(), NIC: nicID}}
	for _, r := range g.lease.ClasslessStaticRoute() {
		dest, err := tcpip.NewSubnet(tcpip.AddrFromSlice(r.Dest.IP.To4()), tcpip.MaskFromBytes(r.Dest.Mask))
		if err != nil {
			g.t.Fatal(err)
		}
		routes = append(routes, tcpip.Route{Destination: dest, Gateway: tcpip.AddrFromSlice(r.Router.To4()), NIC: nicID})
	}
	g.stack.SetRouteTable(routes)
}

// dhcp sends a message and returns the answer.
func (g *guest) dhcp(m *dhcpv4.DHCPv4) *dhcpv4.DHCPv4 {
	g.t.Helper()
	answers := make(chan *dhcpv4.DHCPv4, 1)
	g.watch(func(b []byte) {
		p, ok := parse(b[etherLen:])
		if !ok || p.dstPort != 68 {
			return
		}
		if a, err := dhcpv4.FromBytes(p.payload[8:]); err == nil && a.TransactionID == m.TransactionID {
			select {
			case answers <- a:
			default:
			}
		}
	})
	defer g.watch(nil)
	f := udpFrame(netip.MustParseAddrPort("0.0.0.0:68"), netip.MustParseAddrPort("255.255.255.255:67"), m.ToBytes())
	f.address(macAddr{255, 255, 255, 255, 255, 255}, g.mac, etherIPv4)
	g.write(f.bytes())
	select {
	case a := <-answers:
		return a
	case <-time.After(5 * time.Second):
		g.t.Fatal("no answer to DHCP")
		return nil
	}
}

func (g *guest) watch(tap func([]byte)) {
	g.mu.Lock()
	defer g.mu.Unlock()
	g.tap = tap
}

func (g *guest) addr() netip.Addr { return g.nic.Addresses[0] }

func (g *guest) dial(to netip.AddrPort) (net.Conn, error) {
	ctx, cancel := context.WithTimeout(context.Background(), 5*time.Second)
	defer cancel()
	at := tcpip.FullAddress{Addr: toStack(to.Addr()), Port: to.Port()}
	return gonet.DialContextTCP(ctx, g.stack, at, ipv4.ProtocolNumber)
}

func (g *guest) mustDial(to netip.AddrPort) net.Conn {
	g.t.Helper()
	c, err := g.dial(to)
	if err != nil {
		g.t.Fatalf("%s dials %s: %v", g.nic.ID, to, err)
	}
	g.t.Cleanup(func() { c.Close() })
	return c
}

// cannotDial checks that a connection is refused, or not answered in the
// given time, which must be long compared with what a connection takes.
func (g *guest) cannotDial(to netip.AddrPort) {
	g.t.Helper()
	ctx, cancel := context.WithTimeout(context.Background(), 500*time.Millisecond)
	defer cancel()
	at := tcpip.FullAddress{Addr: toStack(to.Addr()), Port: to.Port()}
	if c, err := gonet.DialContextTCP(ctx, g.stack, at, ipv4.ProtocolNumber); err == nil {
		c.Close()
		g.t.Fatalf("%s reached %s", g.nic.ID, to)
	}
}

// serve echoes what TCP connections to the port say, after a line with the
// address that they come from.
func (g *guest) serve(port uint16) {
	g.t.Helper()
	l, err := gonet.ListenTCP(g.stack, tcpip.FullAddress{Port: port}, ipv4.ProtocolNumber)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { l.Close() })
	go echo(l)
}

func echo(l net.Listener) {
	for {
		c, err := l.Accept()
		if err != nil {
			return
		}
		go func() {
			defer c.Close()
			from := netip.MustParseAddrPort(c.RemoteAddr().String())
			if _, err := c.Write([]byte(from.Addr().String() + "\n")); err != nil {
				return
			}
			buf := make([]byte, 32<<10)
			for {
				n, err := c.Read(buf)
				if err != nil {
					return
				}
				if _, err := c.Write(buf[:n]); err != nil {
					return
				}
			}
		}()
	}
}

// serveUDP echoes datagrams.
func (g *guest) serveUDP(port uint16) {
	g.t.Helper()
	c, err := gonet.DialUDP(g.stack, &tcpip.FullAddress{Port: port}, nil, ipv4.ProtocolNumber)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { c.Close() })
	go echoUDP(c)
}

func echoUDP(c net.PacketConn) {
	buf := make([]byte, 2048)
	for {
		n, from, err := c.ReadFrom(buf)
		if err != nil {
			return
		}
		c.WriteTo(buf[:n], from)
	}
}

func (g *guest) dialUDP(to netip.AddrPort) net.Conn {
	g.t.Helper()
	at := tcpip.FullAddress{Addr: toStack(to.Addr()), Port: to.Port()}
	c, err := gonet.DialUDP(g.stack, nil, &at, ipv4.ProtocolNumber)
	if err != nil {
		g.t.Fatal(err)
	}
	g.t.Cleanup(func() { c.Close() })
	return &datagrams{c}
}

// ping sends an echo request and reports whether it is answered.
func (g *guest) ping(to netip.Addr) bool {
	g.t.Helper()
	var wq waiter.Queue
	ep, terr := g.stack.NewEndpoint(icmp.ProtocolNumber4, ipv4.ProtocolNumber, &wq)
	if terr != nil {
		g.t.Fatal(terr)
	}
	c := gonet.NewUDPConn(&wq, ep)
	defer c.Close()
	if err := ep.Connect(tcpip.FullAddress{Addr: toStack(to)}); err != nil {
		g.t.Fatal(err)
	}
	msg := make(header.ICMPv4, 16)
	msg.SetType(header.ICMPv4Echo)
	if _, err := c.Write(msg); err != nil {
		g.t.Fatal(err)
	}
	return readable(c)
}

// readable reports whether something arrives within half a second.
func readable(c net.Conn) bool {
	c.SetReadDeadline(time.Now().Add(500 * time.Millisecond))
	defer c.SetReadDeadline(time.Time{})
	_, err := c.Read(make([]byte, 2048))
	return err == nil
}

// greet reads the first line that serve writes.
func greet(t testing.TB, c net.Conn) string {
	t.Helper()
	c.SetReadDeadline(time.Now().Add(5 * time.Second))
	defer c.SetReadDeadline(time.Time{})
	var line []byte
	for b := make([]byte, 1); ; line = append(line, b[0]) {
		if _, err := c.Read(b); err != nil {
			t.Fatalf("no greeting: %v", err)
		}
		if b[0] == '\n' {
			return string(line)
		}
	}
}

// says checks that the other side echoes what it is told.
func says(t testing.TB, c net.Conn, text string) {
	t.Helper()
	if err := tryEcho(c, text); err != nil {
		t.Fatal(err)
	}
}

func tryEcho(c net.Conn, text string) error {
	c.SetDeadline(time.Now().Add(5 * time.Second))
	defer c.SetDeadline(time.Time{})
	if _, err := c.Write([]byte(text)); err != nil {
		return err
	}
	got := make([]byte, 0, len(text))
	for len(got) < len(text) {
		buf := make([]byte, len(text)-len(got))
		n, err := c.Read(buf)
		if err != nil {
			return err
		}
		got = append(got, buf[:n]...)
	}
	if string(got) != text {
		return errors.New("echo differs: " + string(got))
	}
	return nil
}

// silent checks that a connection no longer carries anything.
func silent(t testing.TB, c net.Conn) {
	t.Helper()
	c.SetWriteDeadline(time.Now().Add(time.Second))
	c.Write([]byte("anybody there?"))
	if readable(c) {
		t.Fatal("the connection still works")
	}
}
