package vnet

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

const (
	maxProxiesOfGuest = MaxProxies / 8
	idleUDP           = time.Minute
	idleLookup        = 5 * time.Second // of DNS, where each question has a port of its own
	maxDatagram       = 16 << 10        // longer ones are cut, to bound memory
)

// proxies are the connections between guests and the host's network.
type proxies struct {
	mu     sync.Mutex
	open   map[*proxy]struct{}
	guests map[netip.Addr]int
	closed bool
	work   sync.WaitGroup
}

// A proxy is one of them, also while it is being made.
type proxy struct {
	guest   netip.Addr
	allowed func() bool // asked again when the configuration changes

	mu     sync.Mutex
	ends   []io.Closer
	closed bool
}

func newProxies() *proxies {
	return &proxies{open: make(map[*proxy]struct{}), guests: make(map[netip.Addr]int)}
}

// start runs do with a new proxy in a goroutine of its own, unless the guest
// or the network has too many.
func (ps *proxies) start(guest netip.Addr, allowed func() bool, do func(*proxy)) bool {
	p := &proxy{guest: guest, allowed: allowed}
	ps.mu.Lock()
	defer ps.mu.Unlock()
	if ps.closed || len(ps.open) >= MaxProxies || ps.guests[guest] >= maxProxiesOfGuest {
		return false
	}
	ps.open[p] = struct{}{}
	ps.guests[guest]++
	ps.work.Go(func() {
		defer ps.end(p)
		do(p)
	})
	return true
}

func (ps *proxies) end(p *proxy) {
	p.close()
	ps.mu.Lock()
	defer ps.mu.Unlock()
	delete(ps.open, p)
	if ps.guests[p.guest]--; ps.guests[p.guest] == 0 {
		delete(ps.guests, p.guest)
	}
}

// review ends the connections that are no longer allowed.
func (ps *proxies) review() {
	for _, p := range ps.list() {
		if !p.allowed() {
			p.close()
		}
	}
}

// close ends all of them.
func (ps *proxies) close() {
	ps.mu.Lock()
	ps.closed = true
	ps.mu.Unlock()
	for _, p := range ps.list() {
		p.close()
	}
	ps.work.Wait()
}

func (ps *proxies) list() []*proxy {
	ps.mu.Lock()
	defer ps.mu.Unlock()
	list := make([]*proxy, 0, len(ps.open))
	for p := range ps.open {
		list = append(list, p)
	}
	return list
}

// hold makes close end c as well. It reports whether there still is a use for c.
func (p *proxy) hold(c io.Closer) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.closed {
		c.Close()
		return false
	}
	p.ends = append(p.ends, c)
	return true
}

func (p *proxy) close() {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.closed = true
	for _, c := range p.ends {
		c.Close()
	}
	p.ends = nil
}

// A halfCloser can say that it has nothing more to send.
type halfCloser interface {
	net.Conn
	CloseWrite() error
}

// splice copies both ways until both sides have said all.
func splice(a, b halfCloser) {
	var both sync.WaitGroup
	both.Go(func() { pump(a, b) })
	both.Go(func() { pump(b, a) })
	both.Wait()
}

func pump(to, from halfCloser) {
	if _, err := io.Copy(to, from); err != nil {
		to.Close() // the other direction has no use either
		from.Close()
		return
	}
	to.CloseWrite()
}

// exchangeDatagrams copies both ways until neither has sent for so long.
func exchangeDatagrams(a, b net.Conn, idle time.Duration) {
	var last atomic.Int64
	last.Store(time.Now().UnixNano())
	var both sync.WaitGroup
	both.Go(func() { pumpDatagrams(a, b, &last, idle); a.Close(); b.Close() })
	both.Go(func() { pumpDatagrams(b, a, &last, idle); a.Close(); b.Close() })
	both.Wait()
}

// pumpDatagrams copies from one to the other. Last is when either side was
// heard, in nanoseconds.
func pumpDatagrams(to io.Writer, from net.Conn, last *atomic.Int64, idle time.Duration) {
	buf := make([]byte, maxDatagram)
	for {
		from.SetReadDeadline(time.Unix(0, last.Load()).Add(idle))
		n, err := from.Read(buf)
		switch {
		case isTimeout(err):
			if time.Since(time.Unix(0, last.Load())) < idle {
				continue
			}
			return
		case err != nil:
			return
		}
		last.Store(time.Now().UnixNano())
		if _, err := to.Write(buf[:n]); errors.Is(err, net.ErrClosed) {
			return
		}
	}
}

func isTimeout(err error) bool {
	var t net.Error
	return errors.As(err, &t) && t.Timeout()
}
