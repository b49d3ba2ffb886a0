package vnet

import (
	"errors"
	"io"
	"net"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/kontor-cloud/kontor/driver"
)

var public = netip.MustParseAddr("127.18.0.10")

// published is a network whose guest a has a public address, and lets only
// 127.0.0.1 reach its TCP port 8080 and its UDP port 8099.
func published() Config {
	cfg := twoSubnets()
	udp := tcpFrom(8099, "127.0.0.1/32")
	udp.Protocol = driver.UDP
	cfg.Groups["web"] = []driver.Rule{tcpFrom(8080, "127.0.0.1/32"), udp}
	cfg.NICs[0].Groups = []string{"web"}
	cfg.NICs[0].Publics = []netip.Addr{public}
	return cfg
}

func dialFrom(t testing.TB, source string, to netip.AddrPort) (net.Conn, error) {
	t.Helper()
	d := net.Dialer{Timeout: 5 * time.Second, LocalAddr: &net.TCPAddr{IP: net.ParseIP(source)}}
	return d.Dial("tcp", to.String())
}

func TestPublicAddressesReachTheGuest(t *testing.T) {
	cfg := published()
	w := newWorld(t, cfg)
	a := w.boot(cfg.NICs[0], datagramPlug)
	a.serve(8080)
	a.serveUDP(8099)
	conn, err := dialFrom(t, "127.0.0.1", at(public, 8080))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := greet(t, conn); got != "10.1.0.1" {
		t.Errorf("the guest sees a loopback client as %s, want its gateway", got)
	}
	says(t, conn, strings.Repeat("z", 300_000))
	dg, err := net.Dial("udp", at(public, 8099).String())
	if err != nil {
		t.Fatal(err)
	}
	defer dg.Close()
	if _, err := dg.Write([]byte("from 127.18.0.10 or so")); err != nil {
		t.Fatal(err)
	}
	st := w.apply(cfg)
	want := []PublicStatus{{Address: public, NIC: "a", Forwards: []driver.Forward{
		{Protocol: driver.TCP, Outside: at(public, 8080), Port: 8080},
		{Protocol: driver.UDP, Outside: at(public, 8099), Port: 8099},
	}}}
	if diff := cmp.Diff(want, st.Publics, cmpopts.EquateComparable(netip.Addr{}, netip.AddrPort{})); diff != "" {
		t.Errorf("status (-want +got):\n%s", diff)
	}
	says(t, conn, "after a reload")
}

func TestPublicUDP(t *testing.T) {
	cfg := published()
	w := newWorld(t, cfg)
	w.boot(cfg.NICs[0], streamPlug).serveUDP(8099)
	dial := func(source string) net.Conn {
		c, err := net.DialUDP("udp", &net.UDPAddr{IP: net.ParseIP(source)}, net.UDPAddrFromAddrPort(at(public, 8099)))
		if err != nil {
			t.Fatal(err)
		}
		t.Cleanup(func() { c.Close() })
		return c
	}
	for range 3 {
		says(t, dial("127.0.0.1"), "datagram")
	}
	silent(t, dial("127.0.0.2"))
}

func TestPublicAddressesRefuseOtherSourcesAndPorts(t *testing.T) {
	cfg := published()
	w := newWorld(t, cfg)
	a := w.boot(cfg.NICs[0], streamPlug)
	a.serve(8080)
	a.serve(8081)
	if c, err := dialFrom(t, "127.0.0.1", at(public, 8081)); err == nil {
		c.Close()
		t.Error("a port that no rule names is open")
	}
	c, err := dialFrom(t, "127.0.0.2", at(public, 8080))
	if err == nil { // accepting comes before knowing who it is
		defer c.Close()
		c.SetReadDeadline(time.Now().Add(5 * time.Second))
		if n, err := c.Read(make([]byte, 1)); n > 0 || isTimeout(err) {
			t.Errorf("another source is not refused: %d bytes, %v", n, err)
		}
	}
}

func TestRuleChangesCutPublicConnections(t *testing.T) {
	cfg := published()
	w := newWorld(t, cfg)
	w.boot(cfg.NICs[0], streamPlug).serve(8080)
	conn, err := dialFrom(t, "127.0.0.1", at(public, 8080))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	greet(t, conn)
	cfg.Groups["web"] = []driver.Rule{tcpFrom(8080, "127.0.0.2/32")}
	w.apply(cfg)
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("the connection was not ended: %v", err)
	}
}

func TestPublicAddressesNeedARouteThatLetsIn(t *testing.T) {
	for name, routes := range map[string][]Route{
		"none":        nil,
		"egress only": {{Destination: netip.MustParsePrefix("0.0.0.0/0"), Internet: true, EgressOnly: true}},
	} {
		t.Run(name, func(t *testing.T) {
			cfg := published()
			cfg.Subnets[0].Routes = routes
			w := newWorld(t, cfg)
			st := w.apply(cfg)
			if len(st.Publics) != 1 || len(st.Publics[0].Forwards) != 0 || len(st.Publics[0].Problems) == 0 {
				t.Errorf("status %+v, want no forward and a reason", st.Publics)
			}
			if c, err := dialFrom(t, "127.0.0.1", at(public, 8080)); err == nil {
				c.Close()
				t.Error("it listens all the same")
			}
		})
	}
}

func TestBusyPortsAreReportedAndTriedAgain(t *testing.T) {
	busy, err := net.Listen("tcp", at(public, 8080).String())
	if err != nil {
		t.Fatal(err)
	}
	defer busy.Close()
	cfg := published()
	w := newWorld(t, cfg)
	w.boot(cfg.NICs[0], streamPlug).serve(8080)
	st := w.apply(cfg)
	if p := st.Publics[0]; len(p.Problems) != 1 || !strings.Contains(p.Problems[0], "8080") || len(p.Forwards) != 1 {
		t.Fatalf("status %+v, want one problem and one forward", p)
	}
	busy.Close()
	if p := w.apply(cfg).Publics[0]; len(p.Problems) != 0 || len(p.Forwards) != 2 {
		t.Fatalf("status %+v, want two forwards", p)
	}
}

// ownAddress is one of the machine's that is not loopback.
func ownAddress(t testing.TB) netip.Addr {
	for a := range hostAddresses() {
		if a.Is4() && a.IsGlobalUnicast() {
			return a
		}
	}
	t.Skip("this machine has no IPv4 address but loopback")
	return netip.Addr{}
}

func TestGuestsReachTheOutsideOnlyByARouteAndNeverTheHost(t *testing.T) {
	own := ownAddress(t)
	l, err := net.Listen("tcp", at(own, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	go echo(l)
	pc, err := net.ListenPacket("udp", at(own, 0).String())
	if err != nil {
		t.Fatal(err)
	}
	defer pc.Close()
	go echoUDP(pc)
	tcpAt, udpAt := netip.MustParseAddrPort(l.Addr().String()), netip.MustParseAddrPort(pc.LocalAddr().String())

	cfg := twoSubnets()
	w := newWorld(t, cfg)
	a, c := w.boot(cfg.NICs[0], streamPlug), w.boot(cfg.NICs[2], streamPlug)
	a.cannotDial(tcpAt)
	silent(t, a.dialUDP(udpAt))

	cfg.AllowHost = []netip.Prefix{netip.PrefixFrom(own, 32)}
	w.apply(cfg)
	conn := a.mustDial(tcpAt)
	if got := greet(t, conn); got != own.String() {
		t.Errorf("the outside sees %s, want the host's address", got)
	}
	says(t, conn, strings.Repeat("o", 300_000))
	says(t, a.dialUDP(udpAt), "datagram")
	if c2, err := c.dial(tcpAt); err == nil {
		c2.Close()
		t.Error("a guest whose subnet has no route reached the outside")
	}

	cfg.Subnets[0].Routes = nil
	w.apply(cfg)
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); err == nil || isTimeout(err) {
		t.Errorf("the connection outlives its route: %v", err)
	}
}

func TestForwardsShowClientsAsTheyAre(t *testing.T) {
	own := ownAddress(t)
	cfg := twoSubnets()
	cfg.Groups["web"] = []driver.Rule{tcpFrom(18080, own.String()+"/32")}
	cfg.NICs[0].Groups = []string{"web"}
	cfg.NICs[0].Publics = []netip.Addr{own}
	w := newWorld(t, cfg)
	w.boot(cfg.NICs[0], streamPlug).serve(18080)
	conn, err := dialFrom(t, own.String(), at(own, 18080))
	if err != nil {
		t.Fatal(err)
	}
	defer conn.Close()
	if got := greet(t, conn); got != own.String() {
		t.Errorf("the guest sees %s, want %s", got, own)
	}
	inner := w.boot(cfg.NICs[1], streamPlug)
	greet(t, inner.mustDial(at(own, 18080))) // by the public address, from inside
	inner.cannotDial(at(own, 18081))
	if err := conn.(*net.TCPConn).CloseWrite(); err != nil {
		t.Fatal(err)
	}
	conn.SetReadDeadline(time.Now().Add(5 * time.Second))
	if _, err := conn.Read(make([]byte, 1)); !errors.Is(err, io.EOF) {
		t.Errorf("after closing our half: %v, want the guest's EOF", err)
	}
}

func TestWhatIsOutside(t *testing.T) {
	tbl := newTable(Config{AllowHost: []netip.Prefix{netip.MustParsePrefix("10.7.0.0/16")}}, nil)
	for a, want := range map[string]bool{
		"9.9.9.9": true, "10.7.1.1": true,
		"127.0.0.1": false, "127.18.0.10": false, "169.254.169.254": false, "10.8.0.1": false, "172.16.0.1": false,
		"192.168.1.1": false, "100.64.0.1": false, "0.0.0.0": false, "0.1.2.3": false, "224.0.0.1": false,
		"255.255.255.255": false, "240.0.0.1": false, "198.18.0.1": false,
	} {
		if got := tbl.outside(netip.MustParseAddr(a)); got != want {
			t.Errorf("%s: %v, want %v", a, got, want)
		}
	}
}
