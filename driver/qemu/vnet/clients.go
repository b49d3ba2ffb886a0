package vnet

import (
	"net"
	"net/netip"
	"sync"
	"sync/atomic"
	"time"
)

// clients are those who send datagrams to one port of a public address.
type clients struct {
	mu   sync.Mutex
	open map[netip.AddrPort]net.Conn
}

func (c *clients) find(from netip.AddrPort) net.Conn {
	c.mu.Lock()
	defer c.mu.Unlock()
	return c.open[from]
}

func (c *clients) add(from netip.AddrPort, conn net.Conn) {
	c.mu.Lock()
	defer c.mu.Unlock()
	c.open[from] = conn
}

func (c *clients) forget(from netip.AddrPort) {
	c.mu.Lock()
	defer c.mu.Unlock()
	delete(c.open, from)
}

func (c *clients) close() {
	c.mu.Lock()
	defer c.mu.Unlock()
	for _, conn := range c.open {
		conn.Close()
	}
}

// A clientConn leads to the guest, and notes when its client was last heard.
type clientConn struct {
	net.Conn
	last atomic.Int64
}

// Write passes on what the client sent.
func (c *clientConn) Write(b []byte) (int, error) {
	c.heard()
	return c.Conn.Write(b)
}

func (c *clientConn) heard() { c.last.Store(time.Now().UnixNano()) }

// A writerTo sends to one client through a shared socket.
type writerTo struct {
	*net.UDPConn
	to netip.AddrPort
}

// Write sends b as one datagram.
func (w writerTo) Write(b []byte) (int, error) { return w.WriteToUDPAddrPort(b, w.to) }
