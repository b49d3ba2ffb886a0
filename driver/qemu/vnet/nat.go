package vnet

import (
	"context"
	"net"
	"net/netip"
	"slices"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/transport/tcp"
	"gvisor.dev/gvisor/pkg/tcpip/transport/udp"
	"gvisor.dev/gvisor/pkg/waiter"
)

const dialTimeout = 15 * time.Second

// special are the ranges that are nobody's public address, beyond those that
// netip knows. A provider's own networks are in such ranges: guests have no
// business there unless AllowHost says so.
var special = []netip.Prefix{
	netip.MustParsePrefix("0.0.0.0/8"),
	netip.MustParsePrefix("100.64.0.0/10"),
	netip.MustParsePrefix("192.0.0.0/24"),
	netip.MustParsePrefix("198.18.0.0/15"),
	netip.MustParsePrefix("240.0.0.0/4"),
}

// mayReach reports whether a guest may talk to an address outside: a route
// leads there, its groups allow it, and it is not the host or its surroundings.
func (n *network) mayReach(proto uint8, guest, dst netip.AddrPort) bool {
	t := n.table.Load()
	s := t.byAddr[guest.Addr()]
	if s == nil || t.inside(dst.Addr()) {
		return false
	}
	if r, ok := s.subnet.route(dst.Addr()); !ok || !r.Internet {
		return false
	}
	if !s.port.filter.allowed(flowKey{proto: proto, local: guest, remote: dst}, false, dst.Addr()) {
		return false
	}
	return t.outside(dst.Addr()) || n.forwards.has(proto, dst)
}

// outside reports whether an address is neither the host's nor private.
func (t *table) outside(a netip.Addr) bool {
	in := func(p netip.Prefix) bool { return p.Contains(a) }
	if slices.ContainsFunc(t.cfg.AllowHost, in) {
		return true
	}
	if !a.IsGlobalUnicast() || a.IsPrivate() || slices.ContainsFunc(special, in) {
		return false
	}
	return !hostAddresses()[a]
}

// tcpOut carries a connection that a guest opens to the internet.
func (n *network) tcpOut(r *tcp.ForwarderRequest) {
	id := r.ID()
	guest, dst := fromStack(id.RemoteAddress, id.RemotePort), fromStack(id.LocalAddress, id.LocalPort)
	allowed := func() bool { return n.mayReach(protoTCP, guest, dst) }
	if !allowed() || !n.proxies.start(guest.Addr(), allowed, func(p *proxy) { p.connectOut(r, dst) }) {
		r.Complete(true)
	}
}

func (p *proxy) connectOut(r *tcp.ForwarderRequest, dst netip.AddrPort) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	if !p.hold(closer(cancel)) {
		r.Complete(true)
		return
	}
	var d net.Dialer
	out, err := d.DialContext(ctx, "tcp", dst.String())
	if err != nil || !p.hold(out) {
		r.Complete(true)
		return
	}
	var wq waiter.Queue
	ep, terr := r.CreateEndpoint(&wq)
	r.Complete(terr != nil)
	if terr != nil {
		return
	}
	ep.SocketOptions().SetKeepAlive(true) // more often than the filter forgets
	in := gonet.NewTCPConn(&wq, ep)
	if p.hold(in) {
		splice(in, out.(*net.TCPConn))
	}
}

// udpOut carries datagrams that a guest sends to the internet.
func (n *network) udpOut(r *udp.ForwarderRequest) {
	id := r.ID()
	guest, dst := fromStack(id.RemoteAddress, id.RemotePort), fromStack(id.LocalAddress, id.LocalPort)
	allowed := func() bool { return n.mayReach(protoUDP, guest, dst) }
	if !allowed() {
		return
	}
	var wq waiter.Queue
	ep, terr := r.CreateEndpoint(&wq)
	if terr != nil {
		return
	}
	in := &datagrams{gonet.NewUDPConn(&wq, ep)}
	idle := idleUDP
	if dst.Port() == 53 {
		idle = idleLookup
	}
	started := n.proxies.start(guest.Addr(), allowed, func(p *proxy) {
		out, err := net.DialUDP("udp", nil, net.UDPAddrFromAddrPort(dst))
		if p.hold(in) && err == nil && p.hold(out) {
			exchangeDatagrams(in, out, idle)
		}
	})
	if !started {
		in.Close()
	}
}

// closer makes an io.Closer of a function.
type closer func()

// Close calls it.
func (c closer) Close() error { c(); return nil }

func protocol(proto uint8) driver.Protocol {
	if proto == protoTCP {
		return driver.TCP
	}
	return driver.UDP
}
