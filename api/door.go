package api

import (
	"context"
	"log/slog"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"syscall"
)

// defaultConnections is how many an address has if nobody says. A client needs one or two, and a
// house full of them behind one address some hundreds.
const defaultConnections = 1000

// A Door lets each address have so many connections at a time, and closes at once what is more:
// timeouts bound how long a client may do nothing, and this how many of them somebody can be.
// All together leave some files of the process to its database.
type Door struct {
	max      int  // of one address; no bound if zero
	all      int  // of all of them
	loopback bool // has a bound, too: a proxy on this machine is everybody
	log      *slog.Logger

	mu      sync.Mutex
	open    map[netip.Addr]int
	sum     int
	refused atomic.Int64
}

// NewDoor makes one for all listeners of a process that are open to strangers.
func NewDoor(l Limits, log *slog.Logger) *Door {
	d := &Door{max: max(l.Connections, 0), all: files() / 4 * 3, loopback: l.Connections > 0, log: log, open: map[netip.Addr]int{}}
	if l.Connections == 0 {
		d.max = defaultConnections
	}
	return d
}

// files is how many this process may have open.
func files() int {
	var l syscall.Rlimit
	if err := syscall.Getrlimit(syscall.RLIMIT_NOFILE, &l); err != nil || l.Cur > 1<<20 {
		return 1 << 20
	}
	return int(l.Cur) //nolint:gosec // it is small
}

// Refused is how many connections have been closed unheard.
func (d *Door) Refused() int64 { return d.refused.Load() }

// Open is how many connections there are.
func (d *Door) Open() int {
	d.mu.Lock()
	defer d.mu.Unlock()
	return d.sum
}

// Listen gives a listener whose connections have come through the door. TLS goes over it, so that
// who never ends a handshake is counted.
func (d *Door) Listen(ln net.Listener) net.Listener { return &guarded{ln, d} }

// enter takes a place, if there is one.
func (d *Door) enter(a netip.Addr) bool {
	d.mu.Lock()
	defer d.mu.Unlock()
	if d.sum >= d.all || a.IsValid() && d.open[a] >= d.max {
		return false
	}
	d.sum++
	if a.IsValid() {
		d.open[a]++
	}
	return true
}

func (d *Door) leave(a netip.Addr) {
	d.mu.Lock()
	defer d.mu.Unlock()
	d.sum--
	if !a.IsValid() {
		return
	}
	if d.open[a]--; d.open[a] == 0 {
		delete(d.open, a)
	}
}

// who is one who counts as one: an address, or what a subscriber has of IPv6. It is invalid for
// who has no bound of his own.
func (d *Door) who(a net.Addr) netip.Addr {
	t, ok := a.(*net.TCPAddr)
	if !ok || d.max == 0 {
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
		if g.door.enter(who) {
			return &entered{Conn: c, left: sync.OnceFunc(func() { g.door.leave(who) })}, nil
		}
		g.door.refused.Add(1)
		g.door.log.DebugContext(context.Background(), "connection refused", "from", c.RemoteAddr(), "open", g.door.Open())
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
