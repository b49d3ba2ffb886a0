package vnet

import (
	"net/netip"
	"sync"
	"time"
)

// How long the filter remembers what it has seen.
const (
	keepTCP      = 3 * time.Hour
	keepUDP      = 3 * time.Minute
	keepOpening  = 30 * time.Second // also ICMP
	keepClosing  = 2 * time.Minute
	keepReset    = 10 * time.Second
	keepBlocked  = time.Minute
	keepFragment = 5 * time.Second
	maxFragments = 256

	// pickUp is how long after its start the process follows TCP connections
	// whose beginning it has not seen, so that a restart cuts none of those
	// between guests.
	pickUp = 2 * time.Minute
)

// A filter enforces the security groups of one NIC, statefully.
type filter struct {
	mu     sync.Mutex
	policy *policy
	flows  map[flowKey]flow
	frags  map[fragKey]int64 // to when it expires
	strict int64             // from when on a TCP connection must begin with SYN
}

// A flowKey names a flow by its two ends, as seen from the NIC.
type flowKey struct {
	proto         uint8
	local, remote netip.AddrPort
}

// A flow is a connection, or what comes nearest to it without TCP.
type flow struct {
	peer     netip.Addr // who rules say it is: behind a forward not the remote address
	expires  int64      // nanoseconds since the process started
	version  uint64     // of the policy that allowed it
	icmpType uint8
	ingress  bool // the other side began
	answered bool
	closing  bool
	blocked  bool // allowed once, and no longer
}

type fragKey struct {
	src, dst netip.Addr
	id       uint16
	proto    uint8
}

func newFilter(strict time.Duration) *filter {
	return &filter{
		policy: &policy{}, strict: int64(strict),
		flows: make(map[flowKey]flow), frags: make(map[fragKey]int64),
	}
}

// enforce changes the rules, for flows under way as well.
func (f *filter) enforce(p *policy) {
	f.mu.Lock()
	defer f.mu.Unlock()
	f.policy = p
}

// pass reports whether a packet may go on; ingress is towards the guest.
func (f *filter) pass(p *packet, ingress bool, now int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	if p.offset > 0 {
		return f.policy.open || f.frags[fragOf(p)] > now
	}
	ok := f.related(p, ingress, now) || f.continues(p, ingress, now) || f.begins(p, ingress, now)
	if ok && p.fragment {
		f.expectFragments(p, now)
	}
	return ok
}

// related lets an ICMP error pass that is about a known flow.
func (f *filter) related(p *packet, ingress bool, now int64) bool {
	if !p.icmpError() {
		return false
	}
	c, ok := p.culprit()
	if !ok {
		return false
	}
	key := keyOf(&c, !ingress) // it went the other way
	fl, ok := f.lookup(key, now)
	return ok && !fl.blocked
}

// continues lets a packet of a known flow pass.
func (f *filter) continues(p *packet, ingress bool, now int64) bool {
	key := keyOf(p, ingress)
	fl, ok := f.lookup(key, now)
	if !ok || fl.blocked {
		return false
	}
	if p.opens() && (fl.answered || fl.ingress != ingress) {
		return false // a new connection between the same ports: ask the rules
	}
	before := fl
	fl.touch(p, ingress, now)
	if fl.answered != before.answered || fl.closing != before.closing || abs(fl.expires-before.expires) > int64(time.Second) {
		f.flows[key] = fl
	}
	return true
}

// begins asks the rules, and remembers what they allow.
func (f *filter) begins(p *packet, ingress bool, now int64) bool {
	key := keyOf(p, ingress)
	if old, ok := f.flows[key]; ok && old.blocked && !p.opens() {
		return false
	}
	if p.proto == protoTCP && !p.opens() && !f.policy.open && now > f.strict {
		return false
	}
	fl := flow{peer: key.remote.Addr(), ingress: ingress, icmpType: p.icmpType, version: f.policy.version}
	a := fl.attempt(key)
	a.icmpCode = p.icmpCode
	if !f.policy.allows(a) {
		return false
	}
	if p.proto == protoICMP && !p.icmpQuery() {
		return true // nothing answers it
	}
	if !f.room(now) {
		return f.policy.open
	}
	fl.touch(p, ingress, now)
	f.flows[key] = fl
	return true
}

// admit asks the rules about a connection that a public address carries to the
// guest on behalf of peer, and remembers it if they allow it.
func (f *filter) admit(key flowKey, peer netip.Addr, now int64) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl := flow{peer: peer, ingress: true, version: f.policy.version, expires: now + int64(keepOpening)}
	if !f.policy.allows(fl.attempt(key)) || !f.room(now) {
		return false
	}
	f.flows[key] = fl
	return true
}

// allowed reports whether the rules allow a flow that is under way.
func (f *filter) allowed(key flowKey, ingress bool, peer netip.Addr) bool {
	f.mu.Lock()
	defer f.mu.Unlock()
	fl := flow{peer: peer, ingress: ingress}
	return f.policy.allows(fl.attempt(key))
}

// lookup finds a live flow. Where the rules have changed since it was allowed
// it asks them again.
func (f *filter) lookup(key flowKey, now int64) (flow, bool) {
	fl, ok := f.flows[key]
	if !ok {
		return fl, false
	}
	if fl.expires <= now {
		delete(f.flows, key)
		return fl, false
	}
	if fl.version != f.policy.version && !fl.blocked {
		fl.version = f.policy.version
		if !f.policy.allows(fl.attempt(key)) {
			fl.blocked, fl.expires = true, now+int64(keepBlocked)
		}
		f.flows[key] = fl
	}
	return fl, true
}

// room makes sure that one more flow fits, at the cost of one that is over or
// was never answered.
func (f *filter) room(now int64) bool {
	if len(f.flows) < MaxFlows {
		return true
	}
	looked := 0
	for key, fl := range f.flows {
		if fl.expires <= now || !fl.answered {
			delete(f.flows, key)
			return true
		}
		if looked++; looked == 64 {
			break
		}
	}
	return false
}

// sweep forgets what has expired.
func (f *filter) sweep(now int64) {
	f.mu.Lock()
	defer f.mu.Unlock()
	for key, fl := range f.flows {
		if fl.expires <= now {
			delete(f.flows, key)
		}
	}
	f.sweepFragments(now)
}

func (f *filter) sweepFragments(now int64) {
	for key, expires := range f.frags {
		if expires <= now {
			delete(f.frags, key)
		}
	}
}

func (f *filter) expectFragments(p *packet, now int64) {
	if len(f.frags) >= maxFragments {
		f.sweepFragments(now)
	}
	if len(f.frags) < maxFragments {
		f.frags[fragOf(p)] = now + int64(keepFragment)
	}
}

// rules are those in force.
func (f *filter) rules() *policy {
	f.mu.Lock()
	defer f.mu.Unlock()
	return f.policy
}

func (f *filter) count() int {
	f.mu.Lock()
	defer f.mu.Unlock()
	return len(f.flows)
}

// touch notes that a packet of the flow has passed.
func (fl *flow) touch(p *packet, ingress bool, now int64) {
	fl.answered = fl.answered || ingress != fl.ingress
	fl.closing = fl.closing || p.tcpFlags&flagFIN != 0
	keep := keepOpening
	switch {
	case p.tcpFlags&flagRST != 0:
		fl.closing, keep = true, keepReset
	case fl.closing:
		keep = keepClosing
	case p.proto == protoTCP && fl.answered:
		keep = keepTCP
	case p.proto == protoUDP && fl.answered:
		keep = keepUDP
	}
	fl.expires = now + int64(keep)
}

// attempt is how the flow began.
func (fl *flow) attempt(key flowKey) attempt {
	port := key.remote.Port()
	if fl.ingress {
		port = key.local.Port()
	}
	return attempt{ingress: fl.ingress, proto: key.proto, port: port, icmpType: fl.icmpType, peer: fl.peer}
}

func keyOf(p *packet, ingress bool) flowKey {
	src, dst := netip.AddrPortFrom(p.src, p.srcPort), netip.AddrPortFrom(p.dst, p.dstPort)
	if ingress {
		return flowKey{proto: p.proto, local: dst, remote: src}
	}
	return flowKey{proto: p.proto, local: src, remote: dst}
}

func fragOf(p *packet) fragKey { return fragKey{src: p.src, dst: p.dst, id: p.id, proto: p.proto} }

func abs(n int64) int64 { return max(n, -n) }
