package api

import (
	"log/slog"
	"net"
	"testing"
)

func TestWhoIsCountedAtTheDoor(t *testing.T) {
	strict, usual := NewDoor(Limits{Connections: 1}, slog.New(slog.DiscardHandler)), NewDoor(Limits{}, slog.New(slog.DiscardHandler))
	for _, c := range []struct {
		a, b string
		same bool
	}{
		{"192.0.2.1", "192.0.2.1", true},
		{"192.0.2.1", "192.0.2.2", false},
		{"192.0.2.1", "::ffff:192.0.2.1", true},
		{"2001:db8:0:1::1", "2001:db8:0:1:ffff::2", true}, // one subscriber has all of these
		{"2001:db8:0:1::1", "2001:db8:0:2::1", false},
		{"127.0.0.1", "127.0.0.2", false},
	} {
		a, b := strict.who(&net.TCPAddr{IP: net.ParseIP(c.a), Port: 1}), strict.who(&net.TCPAddr{IP: net.ParseIP(c.b), Port: 2})
		if !a.IsValid() || (a == b) != c.same {
			t.Errorf("%s and %s are %v and %v", c.a, c.b, a, b)
		}
	}
	for _, own := range []string{"127.0.0.1", "::1"} {
		if who := usual.who(&net.TCPAddr{IP: net.ParseIP(own)}); who.IsValid() {
			t.Errorf("%s is counted as %v", own, who)
		}
	}
	if none := NewDoor(Limits{Connections: -1}, nil); none.who(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)}).IsValid() {
		t.Error("an address is bounded where there is no bound")
	}
	if usual.all < 100 || usual.all >= files() {
		t.Errorf("all together may have %d of %d files", usual.all, files())
	}
	if usual.max != defaultConnections || NewDoor(Limits{Connections: -1}, nil).max != 0 {
		t.Error("the default is not the default")
	}
}

func TestDoorGivesPlacesBack(t *testing.T) {
	d := NewDoor(Limits{Connections: 2}, slog.New(slog.DiscardHandler))
	tcp, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		t.Fatal(err)
	}
	ln := d.Listen(tcp)
	defer ln.Close()
	accepted := make(chan net.Conn)
	go func() {
		for {
			c, err := ln.Accept()
			if err != nil {
				return
			}
			accepted <- c
		}
	}()
	for range 3 * 2 {
		for range 2 {
			c, err := net.Dial("tcp", ln.Addr().String())
			if err != nil {
				t.Fatal(err)
			}
			defer c.Close()
		}
		a, b := <-accepted, <-accepted
		if d.Open() != 2 {
			t.Fatalf("%d are open", d.Open())
		}
		for _, c := range []net.Conn{a, a, b} { // HTTP closes some twice
			_ = c.Close()
		}
		if d.Open() != 0 || len(d.open) != 0 {
			t.Fatalf("%d are open, of %v", d.Open(), d.open)
		}
	}
	if d.Refused() != 0 {
		t.Errorf("%d were refused", d.Refused())
	}
}

func TestDoorLeavesFilesToTheDatabase(t *testing.T) {
	d := NewDoor(Limits{Connections: -1}, slog.New(slog.DiscardHandler))
	d.all = 3
	who := d.who(&net.TCPAddr{IP: net.IPv4(192, 0, 2, 1)})
	for i := range 5 {
		if d.enter(who) != (i < 3) {
			t.Errorf("%d: %d are open", i, d.Open())
		}
	}
	d.leave(who)
	if !d.enter(who) || d.enter(who) {
		t.Error("one place is free after one has gone")
	}
}
