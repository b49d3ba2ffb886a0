package main

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"net"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/telemetry"
)

// from dials as a machine of that address would.
func from(address string) *net.Dialer {
	return &net.Dialer{LocalAddr: &net.TCPAddr{IP: net.ParseIP(address)}, Timeout: 10 * time.Second}
}

// served asks whether somebody with that address is heard.
func served(t *testing.T, x *exchange, address string) error {
	t.Helper()
	tr := &http.Transport{DialContext: from(address).DialContext, TLSClientConfig: &tls.Config{InsecureSkipVerify: true}} //nolint:gosec // its own certificate
	defer tr.CloseIdleConnections()
	resp, err := (&http.Client{Transport: tr, Timeout: 20 * time.Second}).Get(x.publicURL() + "/healthz")
	if err != nil {
		return err
	}
	defer resp.Body.Close()
	_, err = io.Copy(io.Discard, resp.Body)
	return err
}

// TestSlowlorisIsAlone has somebody hold as many connections as he gets, and say little on each: others are
// served, and so is he when he has let go.
func TestSlowlorisIsAlone(t *testing.T) {
	const most, tries = 20, 100
	for name, says := range map[string]string{"http": "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ", "tls": "\x16\x03\x01"} {
		t.Run(name, func(t *testing.T) {
			c := defaultExchange()
			c.Data, c.Agents, c.Limits.Connections, c.Listen[0].Address = shortDir(t), "127.0.0.1:0", most, "127.0.0.1:0"
			if name == "tls" {
				own, err := newTestAuthority()
				must(t, err)
				file := filepath.Join(t.TempDir(), "server")
				must(t, own.write(file, time.Now().Add(time.Hour)))
				c.TLS = &tlsFiles{file + ".pem", file + ".key"}
			}
			x := serving(t, c)
			slow := hold(t, x, "127.0.0.1", says, tries)
			for range 100 { // the machine may be busy
				if x.door.Refused() >= tries-most {
					break
				}
				time.Sleep(50 * time.Millisecond)
			}
			held := stillOpen(slow)
			if held == 0 || held > most {
				t.Errorf("he holds %d of %d connections, and may hold %d", held, tries, most)
			}
			if err := served(t, x, "127.0.0.2"); err != nil {
				t.Errorf("another is not served: %v", err)
			}
			if err := served(t, x, "127.0.0.1"); err == nil {
				t.Error("he gets one connection more")
			}
			if open, refused := connections(t, x); open < float64(held) || open > most+1 || refused < tries-most {
				t.Errorf("the metrics have %g connections, and %g that were refused", open, refused)
			}
			for _, conn := range slow {
				_ = conn.Close()
			}
			soonServed(t, x, "127.0.0.1")
		})
	}
}

// hold opens connections and begins to say something on each; many are closed at once.
func hold(t *testing.T, x *exchange, address, says string, n int) (all []net.Conn) {
	t.Helper()
	for range n {
		conn, err := from(address).DialContext(t.Context(), "tcp", x.clients[0].Addr().String())
		must(t, err)
		t.Cleanup(func() { conn.Close() })
		_, _ = io.WriteString(conn, says)
		all = append(all, conn)
	}
	return all
}

// connections are as the metrics have them.
func connections(t *testing.T, x *exchange) (open, refused float64) {
	t.Helper()
	_, text := shown(t, privateDefault(x.config.Data), "/metrics")
	all, err := telemetry.ReadSamples(strings.NewReader(text))
	must(t, err)
	for _, s := range all {
		switch s.Name {
		case "kontor_connections":
			open = s.Value
		case "kontor_connections_refused_total":
			refused = s.Value
		}
	}
	return open, refused
}

// stillOpen counts the connections that the other end has not closed.
func stillOpen(all []net.Conn) (n int) {
	for _, c := range all {
		_ = c.SetReadDeadline(time.Now().Add(50 * time.Millisecond))
		_, err := c.Read(make([]byte, 1))
		if errors.Is(err, os.ErrDeadlineExceeded) {
			n++
		}
	}
	return n
}

func soonServed(t *testing.T, x *exchange, address string) {
	t.Helper()
	var err error
	for range 100 {
		if err = served(t, x, address); err == nil {
			return
		}
		time.Sleep(50 * time.Millisecond)
	}
	t.Errorf("%s is not served again: %v", address, err)
}

// serving runs an exchange without regions until the test ends.
func serving(t *testing.T, c exchangeConfig) *exchange {
	t.Helper()
	a := &app{stdout: io.Discard, stderr: io.Discard}
	ctx, stop := context.WithCancel(context.Background())
	x, err := a.openExchange(ctx, c, a.logger())
	if err != nil {
		stop()
		t.Fatal(err)
	}
	ended := make(chan error, 1)
	go func() { ended <- x.run(ctx) }()
	t.Cleanup(func() {
		stop()
		if err := <-ended; err != nil {
			t.Error(err)
		}
		x.close()
	})
	return x
}

// TestWhoIsBoundAtTheDoor says what the number of connections is where nobody says one.
func TestWhoIsBoundAtTheDoor(t *testing.T) {
	for _, c := range []struct {
		plain      bool
		says, want int
	}{{false, 0, 0}, {true, 0, -1}, {true, 7, 7}, {false, 7, 7}, {false, -1, -1}} {
		conf := defaultExchange()
		conf.PlainHTTP, conf.Limits.Connections = c.plain, c.says
		if got := conf.bounded().Limits.Connections; got != c.want {
			t.Errorf("%+v: %d", c, got)
		}
	}
}
