package vnet

import (
	"cmp"
	"context"
	"errors"
	"fmt"
	"io"
	"net"
	"net/netip"
	"slices"
	"sync"
	"syscall"

	"github.com/kontor-cloud/kontor/driver"
)

// forwards listen on public addresses for the guests that have them.
type forwards struct {
	net *network

	mu       sync.Mutex
	open     map[outside]*listener
	problems map[netip.Addr][]string
	work     sync.WaitGroup
}

// An outside is a port of a public address, as the guest knows it.
type outside struct {
	proto  driver.Protocol
	public netip.Addr
	port   uint16
}

// A listener is where the outside comes in.
type listener struct {
	io.Closer
	at netip.AddrPort
}

func newForwards(n *network) *forwards {
	return &forwards{net: n, open: make(map[outside]*listener), problems: make(map[netip.Addr][]string)}
}

// follow opens and closes listeners as a table wants. What cannot be opened
// is noted, and tried again the next time.
func (fs *forwards) follow(t *table) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	clear(fs.problems)
	wanted := make(map[outside]bool)
	for _, s := range t.byMAC {
		for _, a := range s.Publics {
			for _, o := range fs.wanted(s, a) {
				wanted[o] = true
			}
		}
	}
	for o, l := range fs.open {
		if !wanted[o] {
			l.Close()
			delete(fs.open, o)
		}
	}
	for o := range wanted {
		if fs.open[o] == nil {
			fs.listen(o)
		}
	}
}

// wanted lists what a NIC wants forwarded from one of its public addresses.
func (fs *forwards) wanted(s *seat, public netip.Addr) (list []outside) {
	if !s.subnet.hasInternet(true) {
		fs.complain(public, "the subnet has no route to a gateway that lets traffic in")
		return nil
	}
	ports, partial := publicPorts(s.port.filter.rules())
	if partial != "" {
		fs.complain(public, partial)
	}
	for _, p := range ports {
		list = append(list, outside{proto: p.proto, public: public, port: p.port})
	}
	return list
}

type protoPort struct {
	proto driver.Protocol
	port  uint16
}

// publicPorts lists the ports that a policy lets somebody reach, and says what
// is missing from the list. Small ranges come first, so that a large one does
// not displace them.
func publicPorts(p *policy) (ports []protoPort, partial string) {
	rules := slices.Clone(p.ingress)
	if p.open {
		rules = []rule{{any: true}}
	}
	slices.SortStableFunc(rules, func(a, b rule) int { return cmp.Compare(a.width(), b.width()) })
	seen := make(map[protoPort]bool)
	for _, r := range rules {
		for _, pp := range r.publicPorts() {
			switch {
			case seen[pp]:
			case len(ports) == MaxForwards:
				return ports, fmt.Sprintf("only %d ports of one address are forwarded", MaxForwards)
			default:
				seen[pp] = true
				ports = append(ports, pp)
			}
		}
		if len(r.ports) == 0 && (r.any || r.proto == protoTCP || r.proto == protoUDP) {
			partial = "where rules allow every port, only common ones of TCP are forwarded"
		}
	}
	return ports, partial
}

func (r *rule) width() (n int) {
	for _, p := range r.ports {
		n += int(p.To) - int(p.From) + 1
	}
	return n
}

// publicPorts lists the ports of one rule, a little more than MaxForwards at most.
func (r *rule) publicPorts() (ports []protoPort) {
	ranges := r.ports
	if len(ranges) == 0 && (r.any || r.proto == protoTCP) {
		for _, p := range CommonPorts {
			ports = append(ports, protoPort{driver.TCP, p})
		}
	}
	for _, g := range ranges {
		for port := int(g.From); port <= int(g.To) && len(ports) <= 2*MaxForwards; port++ {
			if port > 0 && (r.any || r.proto == protoTCP) {
				ports = append(ports, protoPort{driver.TCP, uint16(port)})
			}
			if port > 0 && (r.any || r.proto == protoUDP) {
				ports = append(ports, protoPort{driver.UDP, uint16(port)})
			}
		}
	}
	return ports
}

func (fs *forwards) complain(public netip.Addr, text string) {
	fs.problems[public] = append(fs.problems[public], text)
}

func (fs *forwards) listen(o outside) {
	var l *listener
	err := bind(o, func(at netip.AddrPort) (err error) {
		l, err = fs.serve(o, at)
		return err
	})
	if err != nil {
		fs.complain(o.public, fmt.Sprintf("%s port %d: %v", o.proto, o.port, err))
		return
	}
	fs.open[o] = l
}

// bind tries the port itself and, where that takes privileges that we lack,
// the one 10000 above.
func bind(o outside, listen func(netip.AddrPort) error) error {
	err := listen(netip.AddrPortFrom(o.public, o.port))
	if o.port < 1024 && errors.Is(err, syscall.EACCES) {
		err = listen(netip.AddrPortFrom(o.public, o.port+10000))
	}
	return err
}

func (fs *forwards) serve(o outside, at netip.AddrPort) (*listener, error) {
	if o.proto == driver.TCP {
		l, err := net.ListenTCP("tcp", net.TCPAddrFromAddrPort(at))
		if err != nil {
			return nil, err
		}
		fs.work.Go(func() { fs.acceptTCP(o, l) })
		return &listener{l, at}, nil
	}
	c, err := net.ListenUDP("udp", net.UDPAddrFromAddrPort(at))
	if err != nil {
		return nil, err
	}
	fs.work.Go(func() { fs.acceptUDP(o, c) })
	return &listener{c, at}, nil
}

// close ends all listeners.
func (fs *forwards) close() {
	fs.mu.Lock()
	for o, l := range fs.open {
		l.Close()
		delete(fs.open, o)
	}
	fs.mu.Unlock()
	fs.work.Wait()
}

// has reports whether the address is one where we listen.
func (fs *forwards) has(proto uint8, at netip.AddrPort) bool {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for o, l := range fs.open {
		if o.proto == protocol(proto) && l.at == at {
			return true
		}
	}
	return false
}

// status tells how each public address of a table is reached.
func (fs *forwards) status(t *table) (list []PublicStatus) {
	fs.mu.Lock()
	defer fs.mu.Unlock()
	for _, n := range t.cfg.NICs {
		for _, a := range n.Publics {
			st := PublicStatus{Address: a, NIC: n.ID, Problems: slices.Clone(fs.problems[a])}
			for o, l := range fs.open {
				if o.public == a {
					st.Forwards = append(st.Forwards, driver.Forward{Protocol: o.proto, Outside: l.at, Port: o.port})
				}
			}
			slices.SortFunc(st.Forwards, func(a, b driver.Forward) int {
				return cmp.Or(cmp.Compare(a.Port, b.Port), cmp.Compare(a.Protocol, b.Protocol))
			})
			list = append(list, st)
		}
	}
	return list
}

// A way leads from a client outside to a port of the guest that has the
// public address now.
type way struct {
	seat   *seat
	guest  netip.AddrPort
	source netip.Addr // that the guest sees
	client netip.Addr
	proto  uint8
}

func (fs *forwards) way(o outside, client netip.Addr) (w way, ok bool) {
	client = client.Unmap()
	t := fs.net.table.Load()
	for _, s := range t.byMAC {
		if !slices.Contains(s.Publics, o.public) || !s.subnet.hasInternet(true) {
			continue
		}
		addr, ok := s.address()
		w = way{seat: s, guest: netip.AddrPortFrom(addr, o.port), client: client, proto: protoNumber(o.proto)}
		w.source = s.sourceFor(client, addr)
		return w, ok
	}
	return w, false
}

// sourceFor chooses what the guest sees as the source of a client: the client
// itself where answers to it come back to us, and the gateway otherwise.
func (s *seat) sourceFor(client, addr netip.Addr) netip.Addr {
	r, ok := s.subnet.route(client)
	if client.Is4() && client.IsGlobalUnicast() && ok && r.Internet && !s.table.inside(client) {
		return client
	}
	return Gateway(s.subnet.rangeOf(addr))
}

func (w *way) key(local netip.AddrPort) flowKey {
	return flowKey{proto: w.proto, local: w.guest, remote: local}
}

func (w *way) admit(now func() int64) func(netip.AddrPort) bool {
	return func(local netip.AddrPort) bool { return w.seat.port.filter.admit(w.key(local), w.client, now()) }
}

// still returns a function that tells whether the way is open.
func (fs *forwards) still(o outside, w way) func() bool {
	return func() bool {
		now, ok := fs.way(o, w.client)
		return ok && now.seat.port == w.seat.port && now.guest == w.guest &&
			now.seat.port.filter.allowed(now.key(netip.AddrPortFrom(w.source, 0)), true, w.client)
	}
}

func (fs *forwards) acceptTCP(o outside, l *net.TCPListener) {
	for {
		c, err := l.AcceptTCP()
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			fs.net.pause(err)
			continue
		}
		c.SetLinger(0) // until the guest has accepted, closing means refusing
		w, ok := fs.way(o, c.RemoteAddr().(*net.TCPAddr).AddrPort().Addr())
		still := fs.still(o, w)
		if !ok || !still() || !fs.net.proxies.start(w.guest.Addr(), still, func(p *proxy) { fs.carry(p, w, c) }) {
			c.Close()
		}
	}
}

// carry connects a client to the guest.
func (fs *forwards) carry(p *proxy, w way, c *net.TCPConn) {
	ctx, cancel := context.WithTimeout(context.Background(), dialTimeout)
	defer cancel()
	if !p.hold(c) || !p.hold(closer(cancel)) {
		return
	}
	in, err := fs.net.host.dialTCP(ctx, w.source, w.guest, w.admit(fs.net.now))
	if err != nil {
		return
	}
	c.SetLinger(-1)
	if p.hold(in) {
		splice(in, c)
	}
}

// acceptUDP hands out datagrams to one proxy for each client.
func (fs *forwards) acceptUDP(o outside, l *net.UDPConn) {
	clients := &clients{open: make(map[netip.AddrPort]net.Conn)}
	defer clients.close()
	buf := make([]byte, maxDatagram)
	for {
		n, from, err := l.ReadFromUDPAddrPort(buf)
		if errors.Is(err, net.ErrClosed) {
			return
		}
		if err != nil {
			continue // an ICMP error about an earlier answer
		}
		c := clients.find(from)
		if c == nil {
			c = fs.newClient(o, l, from, clients)
		}
		if c != nil {
			c.Write(buf[:n])
		}
	}
}

// newClient opens the way of a client to the guest, or returns nil.
func (fs *forwards) newClient(o outside, l *net.UDPConn, from netip.AddrPort, all *clients) net.Conn {
	w, ok := fs.way(o, from.Addr())
	if !ok {
		return nil
	}
	in, err := fs.net.host.dialUDP(w.source, w.guest, w.admit(fs.net.now))
	if err != nil {
		return nil
	}
	c := &clientConn{Conn: in}
	c.heard()
	all.add(from, c)
	started := fs.net.proxies.start(w.guest.Addr(), fs.still(o, w), func(p *proxy) {
		defer all.forget(from)
		if p.hold(in) {
			pumpDatagrams(writerTo{l, from}, in, &c.last, idleUDP)
		}
	})
	if !started {
		all.forget(from)
		in.Close()
		return nil
	}
	return c
}
