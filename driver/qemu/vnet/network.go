package vnet

import (
	"errors"
	"fmt"
	"log/slog"
	"net/netip"
	"os"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/time/rate"
)

// A network is the running process: ports, router, and the host's stack.
type network struct {
	dir     string
	log     *slog.Logger
	started time.Time
	table   atomic.Pointer[table]

	reloading sync.Mutex // from reading the configuration to having applied it
	mu        sync.Mutex // held while the configuration changes
	version   uint64
	ports     map[string]*port
	resolvers map[netip.Addr]*resolver // by gateway

	resolving  sync.WaitGroup
	host       *host
	forwards   *forwards
	proxies    *proxies
	complaints *rate.Limiter
}

func newNetwork(dir string, log *slog.Logger) (*network, error) {
	n := &network{
		dir: dir, log: log, started: time.Now(), proxies: newProxies(),
		ports: make(map[string]*port), resolvers: make(map[netip.Addr]*resolver),
		complaints: rate.NewLimiter(100, 100),
	}
	n.table.Store(newTable(Config{}, nil))
	n.forwards = newForwards(n)
	var err error
	n.host, err = newHost(n.fromHost, n.tcpOut, n.udpOut)
	return n, err
}

// apply makes the network what a valid configuration says. NICs that stay as
// they are notice nothing. On error the network is as before, or has all but
// the named parts.
func (n *network) apply(cfg Config) error {
	n.mu.Lock()
	defer n.mu.Unlock()
	ports, err := n.openPorts(cfg)
	if err != nil {
		return err
	}
	n.version++
	t := newTable(cfg, ports)
	for _, s := range t.byMAC {
		s.port.filter.enforce(newPolicy(&t.cfg, &s.NIC, t.members, n.version))
	}
	n.table.Store(t)
	for _, s := range t.byMAC {
		s.port.seat.Store(s)
	}
	n.closePorts(ports)
	err = errors.Join(n.host.own(t), n.resolve(t))
	n.forwards.follow(t)
	n.proxies.review()
	n.log.Info("network configured", "subnets", len(cfg.Subnets), "nics", len(cfg.NICs), "groups", len(cfg.Groups))
	return err
}

// openPorts returns the ports of a configuration, old and new.
func (n *network) openPorts(cfg Config) (map[string]*port, error) {
	ports := make(map[string]*port)
	for _, nic := range cfg.NICs {
		p := n.ports[nic.ID]
		if p == nil {
			var err error
			if p, err = openPort(n.dir, nic.ID, newFilter(pickUp), n.fromGuest, n.log); err != nil {
				n.abandon(ports)
				return nil, fmt.Errorf("open the sockets of NIC %s: %w", nic.ID, err)
			}
		}
		ports[nic.ID] = p
	}
	return ports, nil
}

// abandon closes the ports that are not in use yet.
func (n *network) abandon(ports map[string]*port) {
	for id, p := range ports {
		if n.ports[id] == nil {
			p.close()
		}
	}
}

// closePorts keeps only the given ports.
func (n *network) closePorts(keep map[string]*port) {
	for id, p := range n.ports {
		if keep[id] == nil {
			p.seat.Store(nil)
			p.close()
		}
	}
	n.ports = keep
}

// resolve answers DNS at each gateway.
func (n *network) resolve(t *table) error {
	wanted := make(map[netip.Addr]string)
	for _, s := range t.subnets {
		for _, p := range s.ranges {
			wanted[Gateway(p)] = s.ID
		}
	}
	for gw, r := range n.resolvers {
		if wanted[gw] != r.subnet {
			r.close()
			delete(n.resolvers, gw)
		}
	}
	var errs []error
	for gw, id := range wanted {
		if n.resolvers[gw] != nil {
			continue
		}
		udp, tcp, err := n.host.listenDNS(gw)
		if err != nil {
			errs = append(errs, err)
			continue
		}
		n.resolvers[gw] = serveDNS(id, udp, tcp, n.table.Load, &n.resolving)
	}
	return errors.Join(errs...)
}

// status reports how all of it does.
func (n *network) status() Status {
	n.mu.Lock()
	defer n.mu.Unlock()
	t := n.table.Load()
	st := Status{PID: os.Getpid(), Started: n.started.UTC(), Publics: n.forwards.status(t)}
	for _, nic := range t.cfg.NICs {
		p := n.ports[nic.ID]
		st.NICs = append(st.NICs, NICStatus{
			ID: nic.ID, Connected: p.connected(), Flows: p.filter.count(),
			Sent: p.sent.traffic(), Received: p.received.traffic(),
		})
	}
	return st
}

// sweep makes all filters forget what has expired.
func (n *network) sweep() {
	n.mu.Lock()
	defer n.mu.Unlock()
	for _, p := range n.ports {
		p.filter.sweep(n.now())
	}
}

// close ends everything and removes the sockets of the NICs.
func (n *network) close() {
	n.mu.Lock()
	defer n.mu.Unlock()
	n.forwards.close()
	n.proxies.close()
	for _, r := range n.resolvers {
		r.close()
	}
	n.resolving.Wait()
	n.closePorts(nil)
	n.host.close()
}

// pause waits a little after an error that is likely to come back at once.
func (n *network) pause(err error) {
	n.log.Warn("accepting a connection", "error", err)
	time.Sleep(100 * time.Millisecond)
}
