package vnet

import (
	"context"
	"net"
	"net/netip"
	"strings"
	"sync"
	"time"

	"github.com/miekg/dns"
)

const (
	dnsTTL     = 5 // seconds, because guests come and go
	dnsTimeout = 4 * time.Second
	maxLookups = 256 // under way at once, in one subnet
)

// A resolver answers the guests of one subnet at its gateway.
type resolver struct {
	subnet  string
	table   func() *table
	slots   chan struct{}
	servers []*dns.Server
}

// serveDNS answers on both transports until close.
func serveDNS(subnet string, udp net.PacketConn, tcp net.Listener, table func() *table, work *sync.WaitGroup) *resolver {
	r := &resolver{subnet: subnet, table: table, slots: make(chan struct{}, maxLookups)}
	r.servers = []*dns.Server{{PacketConn: udp, Handler: r}, {Listener: tcp, Handler: r, MaxTCPQueries: 64}}
	for _, s := range r.servers {
		work.Go(func() { s.ActivateAndServe() }) // ends when its socket does
	}
	return r
}

// close ends the service, without waiting for lookups that are under way.
func (r *resolver) close() {
	ctx, cancel := context.WithCancel(context.Background())
	cancel()
	for _, s := range r.servers {
		s.ShutdownContext(ctx) // an error says that we do not wait, or that it has not begun
		if s.PacketConn != nil {
			s.PacketConn.Close()
		}
		if s.Listener != nil {
			s.Listener.Close()
		}
	}
}

// ServeDNS answers one question.
func (r *resolver) ServeDNS(w dns.ResponseWriter, q *dns.Msg) {
	select {
	case r.slots <- struct{}{}:
		defer func() { <-r.slots }()
	default:
		return // the guest will ask again
	}
	reply := r.resolve(q, w.RemoteAddr().Network())
	if w.RemoteAddr().Network() == "udp" {
		reply.Truncate(udpSize(q))
	}
	w.WriteMsg(reply)
}

func udpSize(q *dns.Msg) int {
	if opt := q.IsEdns0(); opt != nil {
		return int(min(max(opt.UDPSize(), dns.MinMsgSize), 1232))
	}
	return dns.MinMsgSize
}

func (r *resolver) resolve(q *dns.Msg, network string) *dns.Msg {
	reply := new(dns.Msg)
	reply.RecursionAvailable = true
	if len(q.Question) != 1 || q.Opcode != dns.OpcodeQuery {
		return reply.SetRcode(q, dns.RcodeNotImplemented)
	}
	t := r.table()
	if answers, ours := t.answer(q.Question[0]); ours {
		reply.SetReply(q)
		reply.Answer = answers
		if answers == nil && !t.hasName(q.Question[0].Name) {
			reply.Rcode = dns.RcodeNameError
		}
		return reply
	}
	if !t.mayAskOutside(r.subnet) {
		return reply.SetRcode(q, dns.RcodeRefused)
	}
	return exchange(q, t.upstreams(), network)
}

// exchange asks the upstream servers in turn.
func exchange(q *dns.Msg, servers []string, network string) *dns.Msg {
	ctx, cancel := context.WithTimeout(context.Background(), dnsTimeout)
	defer cancel()
	for _, server := range servers {
		client := dns.Client{Net: network, Timeout: dnsTimeout / 2, UDPSize: dns.MaxMsgSize}
		if reply, _, err := client.ExchangeContext(ctx, q.Copy(), server); err == nil {
			reply.Id = q.Id
			return reply
		}
	}
	return new(dns.Msg).SetRcode(q, dns.RcodeServerFailure)
}

// answer resolves what the network itself knows; ours says whether the name
// is in its domain. A name without dots is.
func (t *table) answer(q dns.Question) (answers []dns.RR, ours bool) {
	name := lower(q.Name)
	header := dns.RR_Header{Name: q.Name, Rrtype: q.Qtype, Class: dns.ClassINET, Ttl: dnsTTL}
	if addr, ok := reverse(name); ok {
		if !t.inside(addr) {
			return nil, false
		}
		if host, ok := t.hosts[addr]; ok && q.Qtype == dns.TypePTR {
			answers = append(answers, &dns.PTR{Hdr: header, Ptr: host + "." + t.domain + "."})
		}
		return answers, true
	}
	host, ours := t.local(name)
	if !ours || q.Qtype != dns.TypeA {
		return nil, ours
	}
	for _, a := range t.names[host] {
		answers = append(answers, &dns.A{Hdr: header, A: a.AsSlice()})
	}
	return answers, true
}

// local strips the network's domain from a name.
func (t *table) local(name string) (host string, ours bool) {
	name = strings.TrimSuffix(name, ".")
	if host, ok := strings.CutSuffix(name, "."+t.domain); ok {
		return host, true
	}
	return name, !strings.Contains(name, ".") && name != ""
}

func (t *table) hasName(name string) bool {
	host, _ := t.local(lower(name))
	_, ok := t.names[host]
	return ok
}

// mayAskOutside reports whether a subnet has a way to the internet.
func (t *table) mayAskOutside(id string) bool {
	for _, s := range t.subnets {
		if s.ID == id {
			return s.hasInternet(false)
		}
	}
	return false
}

func (t *table) upstreams() (servers []string) {
	for _, s := range t.cfg.DNS {
		servers = append(servers, s.String())
	}
	if len(servers) > 0 {
		return servers
	}
	c, err := dns.ClientConfigFromFile("/etc/resolv.conf")
	if err != nil {
		return nil
	}
	for _, s := range c.Servers {
		servers = append(servers, net.JoinHostPort(s, c.Port))
	}
	return servers
}

// reverse reads the address out of a name for PTR questions.
func reverse(name string) (netip.Addr, bool) {
	digits, ok := strings.CutSuffix(name, ".in-addr.arpa.")
	if !ok {
		return netip.Addr{}, false
	}
	a, err := netip.ParseAddr(digits)
	if err != nil || !a.Is4() {
		return netip.Addr{}, false
	}
	b := a.As4()
	return netip.AddrFrom4([4]byte{b[3], b[2], b[1], b[0]}), true
}

func lower(s string) string { return strings.ToLower(s) }
