package vnet

import (
	"context"
	"log/slog"
	"net/netip"
	"os"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// A world is a network's process, run in a goroutine, with its guests.
type world struct {
	t    testing.TB
	dir  string
	done chan error
}

// newWorld runs a network that looks like cfg.
func newWorld(t testing.TB, cfg Config) *world {
	t.Helper()
	dir, err := os.MkdirTemp("", "vnet") // short, because of the sockets in it
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { os.RemoveAll(dir) })
	w := &world{t: t, dir: dir}
	if _, err := Apply(t.Context(), dir, cfg); fault.KindOf(err) != fault.Unavailable {
		t.Fatalf("Apply without a process: %v, want Unavailable", err)
	}
	w.run()
	t.Cleanup(w.stop)
	return w
}

func (w *world) run() {
	w.t.Helper()
	w.done = make(chan error, 1)
	go func() { w.done <- Run(context.Background(), w.dir, slog.New(slog.DiscardHandler)) }()
	eventually(w.t, func() bool {
		select {
		case err := <-w.done:
			w.t.Fatalf("Run: %v", err)
		default:
		}
		_, err := Inspect(w.t.Context(), w.dir)
		return err == nil
	})
}

func (w *world) stop() {
	w.t.Helper()
	if w.done == nil {
		return
	}
	ctx, cancel := context.WithTimeout(context.Background(), 10*time.Second)
	defer cancel()
	if err := Stop(ctx, w.dir); err != nil {
		w.t.Fatal(err)
	}
	if err := <-w.done; err != nil {
		w.t.Fatal(err)
	}
	w.done = nil
}

func (w *world) apply(cfg Config) Status {
	w.t.Helper()
	st, err := Apply(w.t.Context(), w.dir, cfg)
	if err != nil {
		w.t.Fatal(err)
	}
	return st
}

func eventually(t testing.TB, ok func() bool) {
	t.Helper()
	for deadline := time.Now().Add(10 * time.Second); !ok(); {
		if time.Now().After(deadline) {
			t.Fatal("it never happened")
		}
		time.Sleep(5 * time.Millisecond)
	}
}

// The network that most tests start from.

func addrs(list ...string) (out []netip.Addr) {
	for _, a := range list {
		out = append(out, netip.MustParseAddr(a))
	}
	return out
}

func at(a netip.Addr, port uint16) netip.AddrPort { return netip.AddrPortFrom(a, port) }

func twoSubnets() Config {
	out := []Route{{Destination: netip.MustParsePrefix("0.0.0.0/0"), Internet: true}}
	return Config{
		Subnets: []Subnet{
			{ID: "front", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.1.0.0/24")}, Routes: out},
			{ID: "back", CIDRs: []netip.Prefix{netip.MustParsePrefix("10.1.1.0/24")}},
		},
		NICs: []NIC{
			{ID: "a", Subnet: "front", MAC: "52:54:00:00:00:0a", Addresses: addrs("10.1.0.10"), Hostname: "alpha"},
			{ID: "b", Subnet: "front", MAC: "52:54:00:00:00:0b", Addresses: addrs("10.1.0.11"), Hostname: "beta"},
			{ID: "c", Subnet: "back", MAC: "52:54:00:00:00:0c", Addresses: addrs("10.1.1.10"), Hostname: "gamma"},
		},
		Groups: map[string][]driver.Rule{},
	}
}

func tcpFrom(port uint16, peers ...string) driver.Rule {
	r := driver.Rule{Ingress: true, Protocol: driver.TCP, Ports: []driver.PortRange{{From: port, To: port}}}
	for _, p := range peers {
		r.Peers = append(r.Peers, netip.MustParsePrefix(p))
	}
	return r
}
