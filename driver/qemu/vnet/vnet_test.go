package vnet

import (
	"context"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/insomniacslk/dhcp/dhcpv4"
	"github.com/miekg/dns"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

func TestGuestsTalkWithinAndAcrossSubnets(t *testing.T) {
	for name, how := range map[string]plug{"streams": streamPlug, "datagrams": datagramPlug} {
		t.Run(name, func(t *testing.T) {
			cfg := twoSubnets()
			w := newWorld(t, cfg)
			a, b, c := w.boot(cfg.NICs[0], how), w.boot(cfg.NICs[1], how), w.boot(cfg.NICs[2], how)
			for _, to := range []*guest{b, c} {
				to.serve(80)
				to.serveUDP(99)
				if !a.ping(to.addr()) {
					t.Errorf("%s does not answer a ping", to.nic.ID)
				}
				conn := a.mustDial(at(to.addr(), 80))
				if got := greet(t, conn); got != a.addr().String() {
					t.Errorf("%s sees %s, want the sender's own address", to.nic.ID, got)
				}
				says(t, conn, strings.Repeat("x", 200_000))
				says(t, a.dialUDP(at(to.addr(), 99)), "datagram")
			}
			if !a.ping(Gateway(cfg.Subnets[0].CIDRs[0])) || !a.ping(Gateway(cfg.Subnets[1].CIDRs[0])) {
				t.Error("a gateway does not answer a ping")
			}
		})
	}
}

func TestDHCPLeasesWhatTheConfigSays(t *testing.T) {
	cfg := twoSubnets()
	cfg.MTU = 1400
	w := newWorld(t, cfg)
	lease := w.boot(cfg.NICs[0], streamPlug).lease
	if got := lease.YourIPAddr.String(); got != "10.1.0.10" {
		t.Errorf("address %s", got)
	}
	if got := lease.DNS(); len(got) != 1 || got[0].String() != "10.1.0.1" {
		t.Errorf("DNS %v", got)
	}
	if got := lease.Router(); len(got) != 1 || got[0].String() != "10.1.0.1" {
		t.Errorf("router %v", got)
	}
	if got := lease.HostName(); got != "alpha" {
		t.Errorf("host name %q", got)
	}
	if got := lease.Options.Get(dhcpv4.OptionInterfaceMTU); !cmp.Equal(got, []byte{1400 >> 8, 1400 & 255}) {
		t.Errorf("MTU %v", got)
	}
	var routes []string
	for _, r := range lease.ClasslessStaticRoute() {
		routes = append(routes, r.Dest.String())
	}
	if diff := cmp.Diff([]string{"10.1.1.0/24", "0.0.0.0/0"}, routes); diff != "" {
		t.Errorf("routes (-want +got):\n%s", diff)
	}
	closed := w.boot(cfg.NICs[2], streamPlug).lease
	if got := closed.Router(); len(got) != 0 {
		t.Errorf("a subnet without a way out has router %v", got)
	}
}

func TestDHCPRefusesAnotherAddress(t *testing.T) {
	cfg := twoSubnets()
	w := newWorld(t, cfg)
	g := w.boot(cfg.NICs[0], streamPlug)
	request, err := dhcpv4.New(dhcpv4.WithHwAddr(g.mac[:]), dhcpv4.WithMessageType(dhcpv4.MessageTypeRequest),
		dhcpv4.WithOption(dhcpv4.OptRequestedIPAddress(net.IPv4(10, 1, 0, 99))))
	if err != nil {
		t.Fatal(err)
	}
	if got := g.dhcp(request).MessageType(); got != dhcpv4.MessageTypeNak {
		t.Fatalf("%s, want a refusal", got)
	}
}

func TestDNSKnowsGuestsAndAsksOutsideOnlyWithARoute(t *testing.T) {
	upstream, err := net.ListenPacket("udp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	server := &dns.Server{PacketConn: upstream, Handler: dns.HandlerFunc(func(w dns.ResponseWriter, q *dns.Msg) {
		m := new(dns.Msg).SetReply(q)
		m.Answer = []dns.RR{&dns.A{Hdr: dns.RR_Header{Name: q.Question[0].Name, Rrtype: dns.TypeA, Class: dns.ClassINET}, A: net.IPv4(9, 9, 9, 9)}}
		w.WriteMsg(m)
	})}
	go server.ActivateAndServe()
	t.Cleanup(func() { upstream.Close() })

	cfg := twoSubnets()
	cfg.DNS = []netip.AddrPort{netip.MustParseAddrPort(upstream.LocalAddr().String())}
	cfg.NICs[0].Groups = []string{"nothing"} // forbids all else, but not DNS
	w := newWorld(t, cfg)
	a, c := w.boot(cfg.NICs[0], streamPlug), w.boot(cfg.NICs[2], streamPlug)
	for _, row := range []struct {
		from  *guest
		qtype uint16
		name  string
		want  string
	}{
		{a, dns.TypeA, "gamma.internal.", "10.1.1.10"},
		{a, dns.TypeA, "GAMMA.", "10.1.1.10"},
		{c, dns.TypeA, "alpha.", "10.1.0.10"},
		{a, dns.TypeAAAA, "gamma.", "NOERROR"},
		{a, dns.TypeA, "nobody.internal.", "NXDOMAIN"},
		{a, dns.TypePTR, "10.0.1.10.in-addr.arpa.", "alpha.internal."},
		{a, dns.TypeA, "example.org.", "9.9.9.9"},
		{c, dns.TypeA, "example.org.", "REFUSED"},
	} {
		if got := row.from.lookup(row.name, row.qtype); got != row.want {
			t.Errorf("%s asks for %s: %s, want %s", row.from.nic.ID, row.name, got, row.want)
		}
	}
}

// lookup asks the guest's gateway, over both transports.
func (g *guest) lookup(name string, qtype uint16) string {
	g.t.Helper()
	gw, _ := netip.AddrFromSlice(g.lease.DNS()[0].To4())
	q := new(dns.Msg).SetQuestion(name, qtype)
	var results []string
	for _, conn := range []net.Conn{g.dialUDP(at(gw, 53)), g.mustDial(at(gw, 53))} {
		if len(results) == 1 && strings.HasPrefix(name, "example") {
			break // our upstream speaks UDP only
		}
		dc := &dns.Conn{Conn: conn}
		if len(results) == 1 {
			dc.Conn = struct{ net.Conn }{conn} // package dns frames what is no PacketConn
		}
		dc.SetDeadline(time.Now().Add(5 * time.Second))
		if err := dc.WriteMsg(q); err != nil {
			g.t.Fatal(err)
		}
		m, err := dc.ReadMsg()
		if err != nil {
			g.t.Fatal(err)
		}
		results = append(results, summary(m))
	}
	if len(slices.Compact(results)) != 1 {
		g.t.Errorf("answers by UDP and TCP differ: %v", results)
	}
	return results[0]
}

func summary(m *dns.Msg) string {
	if len(m.Answer) == 0 {
		return dns.RcodeToString[m.Rcode]
	}
	switch rr := m.Answer[0].(type) {
	case *dns.A:
		return rr.A.String()
	case *dns.PTR:
		return rr.Ptr
	}
	return m.Answer[0].String()
}

func TestSecurityGroupsAllowStatefullyAndNothingElse(t *testing.T) {
	cfg := twoSubnets()
	cfg.Groups["web"] = []driver.Rule{tcpFrom(80, "10.1.0.0/24")}
	cfg.Groups["client"] = []driver.Rule{{Protocol: driver.TCP}, {Protocol: driver.UDP}}
	cfg.NICs[0].Groups = []string{"client"}
	cfg.NICs[1].Groups = []string{"web"}
	w := newWorld(t, cfg)
	a, b, c := w.boot(cfg.NICs[0], streamPlug), w.boot(cfg.NICs[1], streamPlug), w.boot(cfg.NICs[2], streamPlug)
	b.serve(80)
	b.serve(81)
	c.serve(80)
	c.serveUDP(99)
	a.serve(80)

	greet(t, a.mustDial(at(b.addr(), 80))) // the answer passes, though web allows no egress
	a.cannotDial(at(b.addr(), 81))         // port
	c.cannotDial(at(b.addr(), 80))         // peer
	b.cannotDial(at(c.addr(), 80))         // no egress
	c.cannotDial(at(a.addr(), 80))         // no ingress
	greet(t, a.mustDial(at(c.addr(), 80)))
	says(t, a.dialUDP(at(c.addr(), 99)), "datagram")
	if a.ping(c.addr()) {
		t.Error("a ping left, though only TCP and UDP may")
	}
	if c.ping(b.addr()) {
		t.Error("a ping came in, though only TCP may")
	}
}

func TestGroupsAsPeers(t *testing.T) {
	cfg := twoSubnets()
	cfg.Groups["db"] = []driver.Rule{{Ingress: true, Protocol: driver.TCP, PeerGroups: []string{"app"}}}
	cfg.Groups["app"] = []driver.Rule{{}}
	cfg.NICs[2].Groups = []string{"db"}
	cfg.NICs[0].Groups = []string{"app"}
	w := newWorld(t, cfg)
	a, b, c := w.boot(cfg.NICs[0], streamPlug), w.boot(cfg.NICs[1], streamPlug), w.boot(cfg.NICs[2], streamPlug)
	c.serve(80)
	greet(t, a.mustDial(at(c.addr(), 80)))
	b.cannotDial(at(c.addr(), 80))
	cfg.NICs[1].Groups = []string{"app"}
	w.apply(cfg)
	greet(t, b.mustDial(at(c.addr(), 80)))
}

func TestChangedRulesCutFlowsUnderWayAndNoOthers(t *testing.T) {
	cfg := twoSubnets()
	cfg.Groups["web"] = []driver.Rule{tcpFrom(80), tcpFrom(81), {Protocol: driver.TCP}}
	cfg.NICs[1].Groups = []string{"web"}
	w := newWorld(t, cfg)
	a, b := w.boot(cfg.NICs[0], streamPlug), w.boot(cfg.NICs[1], streamPlug)
	b.serve(80)
	b.serve(81)
	cut, kept := a.mustDial(at(b.addr(), 80)), a.mustDial(at(b.addr(), 81))
	greet(t, cut)
	greet(t, kept)
	cfg.Groups["web"] = []driver.Rule{tcpFrom(81), {Protocol: driver.TCP}}
	w.apply(cfg)
	silent(t, cut)
	says(t, kept, "still here")
}

func TestAReloadKeepsConnections(t *testing.T) {
	cfg := twoSubnets()
	w := newWorld(t, cfg)
	a, b := w.boot(cfg.NICs[0], streamPlug), w.boot(cfg.NICs[1], streamPlug)
	b.serve(80)
	conn := a.mustDial(at(b.addr(), 80))
	greet(t, conn)
	more := cfg
	more.Subnets = append(slices.Clone(cfg.Subnets), Subnet{ID: "new", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.1.2.0/24")}})
	more.NICs = append(slices.Clone(cfg.NICs), NIC{ID: "d", Subnet: "new", MAC: "52:54:00:00:00:0d", Addresses: addrs("10.1.2.10")})
	w.apply(more)
	d := w.boot(more.NICs[3], streamPlug)
	d.serve(80)
	greet(t, a.mustDial(at(b.addr(), 80)))
	says(t, conn, "after adding")
	less := cfg
	less.Subnets, less.NICs = cfg.Subnets[:1], cfg.NICs[:2]
	w.apply(less)
	says(t, conn, "after removing")
	if _, err := os.Stat(StreamPath(w.dir, "d")); !errors.Is(err, fs.ErrNotExist) {
		t.Errorf("the socket of a removed NIC is still there: %v", err)
	}
}

func TestGuestsReconnectAfterARestart(t *testing.T) {
	for name, how := range map[string]plug{"streams": streamPlug, "datagrams": datagramPlug} {
		t.Run(name, func(t *testing.T) {
			cfg := twoSubnets()
			cfg.Groups["web"] = []driver.Rule{tcpFrom(80)}
			cfg.NICs[1].Groups = []string{"web"}
			w := newWorld(t, cfg)
			a, b := w.boot(cfg.NICs[0], how), w.boot(cfg.NICs[1], how)
			b.serve(80)
			old := a.mustDial(at(b.addr(), 80))
			greet(t, old)
			w.stop()
			w.run()
			if name == "streams" { // datagrams need no connection
				a.plug(how(t, w.dir, "a"))
				b.plug(how(t, w.dir, "b"))
			}
			greet(t, a.mustDial(at(b.addr(), 80)))
			says(t, old, "connections between guests survive")
		})
	}
}

func TestOnlyOneProcessServesADirectory(t *testing.T) {
	w := newWorld(t, twoSubnets())
	if err := Run(t.Context(), w.dir, nil); fault.KindOf(err) != fault.Conflict {
		t.Fatalf("a second Run: %v, want Conflict", err)
	}
}

func TestStopRemovesTheSockets(t *testing.T) {
	w := newWorld(t, twoSubnets())
	w.stop()
	left, err := filepath.Glob(filepath.Join(w.dir, "*"))
	if err != nil {
		t.Fatal(err)
	}
	for i := range left {
		left[i] = filepath.Base(left[i])
	}
	if diff := cmp.Diff([]string{"config.json", "vnet.pid"}, left); diff != "" {
		t.Errorf("left behind (-want +got):\n%s", diff)
	}
	if err := Stop(t.Context(), w.dir); err != nil {
		t.Errorf("stopping nothing: %v", err)
	}
}

func TestInspectCountsTraffic(t *testing.T) {
	cfg := twoSubnets()
	w := newWorld(t, cfg)
	a := w.boot(cfg.NICs[0], datagramPlug)
	a.ping(Gateway(cfg.Subnets[0].CIDRs[0]))
	st, err := Inspect(t.Context(), w.dir)
	if err != nil {
		t.Fatal(err)
	}
	if n := st.NICs[0]; !n.Connected || n.Sent.Frames < 3 || n.Received.Bytes == 0 || n.Flows != 1 {
		t.Errorf("guest a: %+v", n)
	}
	if n := st.NICs[1]; n.Connected || n.Sent.Frames != 0 {
		t.Errorf("guest b, which is off: %+v", n)
	}
	if st.PID != os.Getpid() {
		t.Errorf("pid %d", st.PID)
	}
}

func TestASilentGuestDisturbsNobody(t *testing.T) {
	cfg := twoSubnets()
	w := newWorld(t, cfg)
	a, b := w.boot(cfg.NICs[0], streamPlug), w.boot(cfg.NICs[1], streamPlug)
	stuck, err := net.Dial("unix", StreamPath(w.dir, "c"))
	if err != nil {
		t.Fatal(err)
	}
	defer stuck.Close()
	flood := a.dialUDP(at(cfg.NICs[2].Addresses[0], 9))
	for range 3000 {
		flood.Write(make([]byte, 1400))
	}
	b.serve(80)
	says(t, skipGreeting(t, a.mustDial(at(b.addr(), 80))), strings.Repeat("y", 100_000))
	eventually(t, func() bool {
		st, err := Inspect(t.Context(), w.dir)
		return err == nil && st.NICs[2].Received.Dropped > 0
	})
}

func skipGreeting(t testing.TB, c net.Conn) net.Conn { greet(t, c); return c }

func TestInvalidConfigsChangeNothing(t *testing.T) {
	w := newWorld(t, twoSubnets())
	for name, spoil := range map[string]func(*Config){
		"the gateway's address": func(c *Config) { c.NICs[0].Addresses = addrs("10.1.0.1") },
		"the broadcast address": func(c *Config) { c.NICs[0].Addresses = addrs("10.1.0.255") },
		"an address elsewhere":  func(c *Config) { c.NICs[0].Addresses = addrs("10.9.0.1") },
		"the same MAC":          func(c *Config) { c.NICs[0].MAC = c.NICs[1].MAC },
		"no MAC":                func(c *Config) { c.NICs[0].MAC = "" },
		"a path as id":          func(c *Config) { c.NICs[0].ID = "../x" },
		"listening everywhere":  func(c *Config) { c.NICs[0].Publics = addrs("0.0.0.0") },
		"an unknown subnet":     func(c *Config) { c.NICs[0].Subnet = "x" },
		"overlapping ranges":    func(c *Config) { c.Subnets[1].CIDRs = c.Subnets[0].CIDRs },
	} {
		cfg := twoSubnets()
		spoil(&cfg)
		if _, err := Apply(t.Context(), w.dir, cfg); fault.KindOf(err) != fault.Invalid {
			t.Errorf("%s: %v, want Invalid", name, err)
		}
	}
	got, err := load(w.dir)
	if err != nil {
		t.Fatal(err)
	}
	if len(got.NICs) != 3 || got.NICs[0].ID != "a" {
		t.Errorf("the configuration was overwritten: %+v", got)
	}
}

func TestPrivilegedPortsMoveUp(t *testing.T) {
	var tried []uint16
	err := bind(outside{port: 80}, func(at netip.AddrPort) error {
		tried = append(tried, at.Port())
		if at.Port() < 1024 {
			return &net.OpError{Op: "listen", Err: os.NewSyscallError("bind", syscall.EACCES)}
		}
		return nil
	})
	if err != nil || !slices.Equal(tried, []uint16{80, 10080}) {
		t.Fatalf("tried %v: %v", tried, err)
	}
}

func TestApplyGivesUpWithItsContext(t *testing.T) {
	dir, err := os.MkdirTemp("", "vnet")
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	l, err := net.Listen("unix", ctlPath(dir)) // takes orders and never answers
	if err != nil {
		t.Fatal(err)
	}
	defer l.Close()
	ctx, cancel := context.WithTimeout(t.Context(), 50*time.Millisecond)
	defer cancel()
	if _, err := Inspect(ctx, dir); !errors.Is(err, context.DeadlineExceeded) {
		t.Fatalf("%v, want the context's error", err)
	}
}
