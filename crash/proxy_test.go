package crash

import (
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"sync"
	"sync/atomic"
	"testing"
)

// A proxy stands between two processes and passes bytes, whatever they are. On
// demand it loses answers whose questions have passed, or passes nothing.
type proxy struct {
	listener net.Listener
	to       []string     // in turn
	turn     atomic.Int64 // counts connections

	mu    sync.Mutex
	open  map[net.Conn]struct{}
	cut   bool
	away  map[string]bool // places to which nobody is sent
	loses float64         // of a hundred pieces of answers
	lost  int
}

func newProxy(t *testing.T, to ...string) *proxy {
	t.Helper()
	l, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	p := &proxy{listener: l, to: to, open: map[net.Conn]struct{}{}, away: map[string]bool{}}
	go p.run()
	t.Cleanup(func() { l.Close(); p.partition(true) })
	return p
}

func (p *proxy) address() string { return p.listener.Addr().String() }

func (p *proxy) run() {
	for {
		from, err := p.listener.Accept()
		if err != nil {
			return
		}
		go p.pass(from)
	}
}

// dial takes the places in turn, and passes over those where nobody listens.
func (p *proxy) dial() (to net.Conn, err error) {
	turn, err := int(p.turn.Add(1)), errors.New("no place left")
	for i := range p.to {
		at := p.to[(turn+i)%len(p.to)]
		if p.avoids(at) {
			continue
		}
		if to, err = net.Dial("tcp", at); err == nil {
			break
		}
	}
	return to, err
}

// avoid has nobody sent to a place any more, or again; who is there stays.
func (p *proxy) avoid(at string, on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.away[at] = on
}

func (p *proxy) avoids(at string) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	return p.away[at]
}

// pass connects both sides until one of them has had enough.
func (p *proxy) pass(from net.Conn) {
	to, err := p.dial()
	if err != nil {
		from.Close()
		return
	}
	if !p.keep(from, to) {
		return
	}
	go func() {
		io.Copy(to, from) //nolint:errcheck // it ends in some way
		p.drop(from, to)
	}()
	answers := make([]byte, 32<<10)
	for {
		n, err := to.Read(answers)
		if err != nil || p.chance() {
			break
		}
		if _, err := from.Write(answers[:n]); err != nil {
			break
		}
	}
	p.drop(from, to)
}

func (p *proxy) keep(conns ...net.Conn) bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		if p.cut {
			c.Close()
			continue
		}
		p.open[c] = struct{}{}
	}
	return !p.cut
}

func (p *proxy) drop(conns ...net.Conn) {
	p.mu.Lock()
	defer p.mu.Unlock()
	for _, c := range conns {
		c.Close()
		delete(p.open, c)
	}
}

// chance tells whether this answer is lost.
func (p *proxy) chance() bool {
	p.mu.Lock()
	defer p.mu.Unlock()
	if rand.Float64()*100 >= p.loses {
		return false
	}
	p.lost++
	return true
}

// lose has so many of a hundred pieces of answers lost, with their connections.
func (p *proxy) lose(percent float64) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.loses = percent
}

// partition keeps the sides apart, or lets them together again.
func (p *proxy) partition(on bool) {
	p.mu.Lock()
	defer p.mu.Unlock()
	p.cut = on
	for c := range p.open {
		c.Close()
		delete(p.open, c)
	}
}
