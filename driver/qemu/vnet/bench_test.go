package vnet

import (
	"io"
	"net"
	"net/netip"
	"testing"

	"gvisor.dev/gvisor/pkg/tcpip"
	"gvisor.dev/gvisor/pkg/tcpip/adapters/gonet"
	"gvisor.dev/gvisor/pkg/tcpip/network/ipv4"

	"github.com/kontor-cloud/kontor/driver"
)

// BenchmarkForward sends through a public address to a guest. The guest's own
// stack runs in this process too, and counts.
func BenchmarkForward(b *testing.B) {
	for name, how := range map[string]plug{"stream": streamPlug, "datagram": datagramPlug} {
		b.Run(name, func(b *testing.B) { benchmarkForward(b, how) })
	}
}

func benchmarkForward(b *testing.B, how plug) {
	cfg := published()
	w := newWorld(b, cfg)
	g := w.boot(cfg.NICs[0], how)
	l, err := gonet.ListenTCP(g.stack, tcpip.FullAddress{Port: 8080}, ipv4.ProtocolNumber)
	if err != nil {
		b.Fatal(err)
	}
	defer l.Close()
	got := make(chan int64)
	go func() {
		c, err := l.Accept()
		if err != nil {
			got <- 0
			return
		}
		n, _ := io.Copy(io.Discard, c)
		got <- n
	}()
	conn, err := dialFrom(b, "127.0.0.1", at(public, 8080))
	if err != nil {
		b.Fatal(err)
	}
	defer conn.Close()
	chunk := make([]byte, 64<<10)
	b.SetBytes(int64(len(chunk)))
	for b.Loop() {
		if _, err := conn.Write(chunk); err != nil {
			b.Fatal(err)
		}
	}
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		b.Fatal(err)
	}
	if n := <-got; n != int64(b.N)*int64(len(chunk)) {
		b.Fatalf("%d bytes arrived of %d", n, b.N*len(chunk))
	}
}

// BenchmarkFilter takes a frame of an established connection from one
// filtered guest to another: parsing, both filters, routing, queue.
func BenchmarkFilter(b *testing.B) {
	cfg := twoSubnets()
	cfg.Groups["web"] = []driver.Rule{tcpFrom(80), {Protocol: driver.TCP}}
	cfg.NICs[0].Groups, cfg.NICs[1].Groups = []string{"web"}, []string{"web"}
	n := unplugged(b, cfg)
	from, to := n.ports["a"], n.ports["b"]
	src, dst := netip.MustParseAddrPort("10.1.0.10:4000"), netip.MustParseAddrPort("10.1.0.11:80")
	syn := func(flags uint8) *frame {
		f := tcpFrame(src, dst, flags)
		f.address(to.seat.Load().mac, from.seat.Load().mac, etherIPv4)
		return f
	}
	n.fromGuest(from, syn(flagSYN))
	answer := tcpFrame(dst, src, flagSYN|flagACK)
	answer.address(from.seat.Load().mac, to.seat.Load().mac, etherIPv4)
	n.fromGuest(to, answer)
	b.ReportAllocs()
	for b.Loop() {
		n.fromGuest(from, syn(flagACK))
		if len(to.queue) > queueLen/2 {
			for len(to.queue) > 0 {
				(<-to.queue).release()
			}
		}
	}
	if to.filter.count() != 1 || to.received.dropped.Load() > 0 {
		b.Fatal("the frames did not pass")
	}
}
