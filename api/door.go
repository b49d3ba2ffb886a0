package api

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
)

// defaultConnections is how many an address has if nobody says. A client needs one or two, and a
// house full of them behind one address some hundreds.
const defaultConnections = 1000

// A Door lets each address have so many connections at a time, and closes at once what is more:
// timeouts bound how long a client may do nothing, and this how many of them somebody can be.
type Door struct {
	max      int  // none if zero
	loopback bool // counts too: a proxy on this machine is everybody
	log      *slog.Logger

	mu      sync.Mutex
	open    map[netip.Addr]int
	refused atomic.Int64
}

// NewDoor makes one for all listeners of a process that are open to strangers.
func NewDoor(l Limits, log *slog.Logger) *Door {
	d := &Door{max: max(l.Connections, 0), loopback: l.Connections > 0, log: log, open: map[netip.Addr]int{}}
	if l.Connections == 0 {
		d.max = defaultConnections
	}
	return d
}

// Refused is how many connections have been closed unheard.
func (d *Door) Refused() int64 { return d.refused.Load() }

// Open is how many connections there are of those that are counted.
func (d *Door) Open() (n int) {
	d.mu.Lock()
	defer d.mu.Unlock()
	for _, one := range d.open {
		n += one
	}
	return n
}

// Listen gives a listener whose connections have come through the door. TLS goes over it, so that
// who never ends a handshake is counted.
func (d *Door) Listen(ln net.Listener) net.Listener {
	if d.max == 0 {
		return ln
	}
	return &guarded{ln, d}
}

// enter takes a place, if there is one.
func (d *Door) enter(a netip.Addr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open[a] >= d.max {
		return false
	}
	d.open[a]++
	return true
}

func (d *Door) leave(a netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.open[a]--; d.open[a] == 0 {
		delete(d.open, a)
	}
}

// who is one who counts as one: an address, or what a subscriber has of IPv6. It is invalid for
// who is not counted.
func (d *Door) who(a net.Addr) netip.Addr {
	t, ok := a.(*net.TCPAddr)
	if !ok {
		return netip.Addr{}
	}
	ip := t.AddrPort().Addr().Unmap().WithZone("")
	if ip.IsLoopback() && !d.loopback {
		return netip.Addr{}
	}
	if ip.Is6() {
		p, _ := ip.Prefix(64) // 64 is fine
		ip = p.Addr()
	}
	return ip
}

type guarded struct {
	net.Listener
	door *Door
}

// Accept gives the next connection that may come in.
func (g *guarded) Accept() (net.Conn, error) {
	for {
		c, err := g.Listener.Accept()
		if err != nil {
			return nil, err
		}
		who := g.door.who(c.RemoteAddr())
		if !who.IsValid() {
			return c, nil
		}
		if g.door.enter(who) {
			return &entered{Conn: c, left: sync.OnceFunc(func() { g.door.leave(who) })}, nil
		}
		g.door.refused.Add(1)
		g.door.log.DebugContext(context.Background(), "connection refused", "address", who, "has", g.door.max)
		_ = c.Close() // he is not told why: that would cost what he wants
	}
}

type entered struct {
	net.Conn
	left func()
}

// Close gives the place to the next.
func (e *entered) Close() error {
	defer e.left()
	return e.Conn.Close()
}
