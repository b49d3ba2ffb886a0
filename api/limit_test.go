package api

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"net/http"
	"runtime"
	"strconv"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/fault"
)

func TestLimiterFillsUpAgain(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		l := newLimiter("account", Rate{PerSecond: 2, Burst: 3})
		for range 3 {
			check(t, l.take("a"))
		}
		err := l.take("a")
		if fault.KindOf(err) != fault.Exhausted || fault.After(err) != time.Second {
			t.Fatalf("the fourth at once: %v, after %v", err, fault.After(err))
		}
		check(t, l.take("b")) // is somebody else
		time.Sleep(time.Second)
		for range 2 { // what was refused has cost nothing
			check(t, l.take("a"))
		}
		if err := l.take("a"); err == nil {
			t.Error("three within a second, at two a second")
		}
	})
}

func TestLimiterForgets(t *testing.T) {
	synctest.Test(t, func(t *testing.T) { // no time passes, however slow the machine
		l := newLimiter("account", Rate{PerSecond: 1, Burst: 1})
		check(t, l.take("busy"))
		for i := range 5 * maxBuckets {
			check(t, l.take(strconv.Itoa(i)))
			if i%(maxBuckets/2) == 0 && l.take("busy") == nil && i > 0 {
				t.Fatal("who calls all the time was forgotten")
			}
		}
		if n := len(l.now) + len(l.before); n > 2*maxBuckets {
			t.Errorf("%d buckets are kept", n)
		}
		free := newLimiter("tenant", Rate{})
		for range 1000 {
			check(t, free.take("a"))
		}
	})
}

// TestRequestsAreLimited holds for an account, and for a tenant whoever of its
// members asks; others do not notice.
func TestRequestsAreLimited(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.fill()
		path := region + "seca.workspace" + acme + "/workspaces"
		w.limit(Limits{Account: Rate{PerSecond: 0.001, Burst: 5}})
		for range 5 {
			w.ok("acme-admin", "GET", path, "")
		}
		resp := w.raw("acme-admin", "GET", path)
		if resp.StatusCode != 429 || resp.Header.Get("Retry-After") == "" {
			t.Errorf("the sixth: %d, Retry-After %q", resp.StatusCode, resp.Header.Get("Retry-After"))
		}
		if status, _ := w.do("zeta-admin", "GET", path, ""); status != 403 {
			t.Errorf("a stranger: %d", status)
		}

		w.limit(Limits{Tenant: Rate{PerSecond: 0.001, Burst: 3}})
		for range 50 { // a stranger cannot use up what a tenant may ask
			if status, _ := w.do("zeta-admin", "GET", path, ""); status != 403 {
				t.Fatalf("a stranger: %d", status)
			}
		}
		for range 3 {
			w.ok("acme-admin", "GET", path, "")
		}
		if status, body := w.do("acme-admin", "GET", path, ""); status != 429 || !strings.Contains(body, "tenant acme") {
			t.Errorf("the fourth about a tenant: %d %s", status, body)
		}
		w.ok("zeta-admin", "GET", strings.ReplaceAll(path, "acme", "zeta"), "")
	})
}

// limit sets limits while nobody asks.
func (w *world) limit(l Limits) {
	w.accounts, w.tenants = newLimiter("account", l.Account), newLimiter("tenant", l.Tenant)
}

func (w *world) raw(as, method, path string) *http.Response {
	w.t.Helper()
	r, err := http.NewRequestWithContext(w.t.Context(), method, w.http.URL+path, nil)
	check(w.t, err)
	r.Header.Set("Authorization", "Bearer "+w.token[as])
	resp, err := w.http.Client().Do(r)
	check(w.t, err)
	resp.Body.Close()
	return resp
}

// TestHostileRequestsCostLittle sends what is made to hurt. Each is refused, and
// what it makes the exchange allocate is a small multiple of its own size.
func TestHostileRequestsCostLittle(t *testing.T) {
	w := newWorld(t, dbtest.SQLite(t), Strict)
	w.fill()
	volume := region + "seca.storage" + shop + "/block-storages"
	labels := func(n int) string {
		var b strings.Builder
		for i := range n {
			fmt.Fprintf(&b, `"k%d":"v",`, i)
		}
		return `{"labels":{` + strings.TrimSuffix(b.String(), ",") + `},"spec":{"sizeGB":10,"skuRef":{"resource":"skus/seca.rd100"}}}`
	}
	for _, c := range []struct {
		what, method, path, body string
		header                   []string
		want                     int
		most                     int // MiB allocated
	}{
		{"a body that is too large", "PUT", volume + "/x", `{"labels":{"a":"` + strings.Repeat("x", maxBody) + `"}}`, nil, 413, 16},
		{"deep JSON", "PUT", volume + "/x", `{"extensions":` + strings.Repeat("[", 400_000) + strings.Repeat("]", 400_000) + `}`, nil, 400, 16},
		{"a bomb of labels", "PUT", volume + "/x", labels(50_000), nil, 422, 24},
		{"compressed", "PUT", volume + "/x", "\x1f\x8b\x08\x00", []string{"Content-Encoding", "gzip"}, 400, 1},
		{"a long selector", "GET", volume + "?labels=" + strings.Repeat("a%3Db,", 5_000), "", nil, 400, 8},
		{"a long path", "GET", volume + "/" + strings.Repeat("x", 30_000), "", nil, 404, 4},
		{"a long token", "GET", volume, "", []string{"Authorization", "Bearer " + strings.Repeat("a.", 15_000)}, 401, 4},
		{"a number beyond all measure", "PUT", volume + "/x", `{"spec":{"sizeGB":1e400000,"skuRef":{"resource":"skus/seca.rd100"}}}`, nil, 422, 1},
	} {
		w.do("acme-admin", c.method, c.path, c.body, c.header...) // caches are warm
		var before, after runtime.MemStats
		runtime.ReadMemStats(&before)
		status, body := w.do("acme-admin", c.method, c.path, c.body, c.header...)
		runtime.ReadMemStats(&after)
		if status != c.want {
			t.Errorf("%s: %d, want %d: %.200s", c.what, status, c.want, body)
		}
		if n := int(after.TotalAlloc-before.TotalAlloc) >> 20; n > c.most {
			t.Errorf("%s: %d MiB were allocated, want at most %d", c.what, n, c.most)
		}
	}
}

// TestSlowClientsAreCutOff holds for those who never finish their headers, or
// the body that they have announced.
func TestSlowClientsAreCutOff(t *testing.T) {
	w := newWorld(t, dbtest.SQLite(t), Strict)
	s := Server(w.Handler(Strict), w.Log)
	if s.ReadHeaderTimeout == 0 || s.ReadTimeout == 0 || s.WriteTimeout == 0 || s.IdleTimeout == 0 {
		t.Fatalf("no limit on the time of %+v", s)
	}
	s.ReadHeaderTimeout, s.ReadTimeout = 50*time.Millisecond, 100*time.Millisecond // to see it happen
	ln, err := net.Listen("tcp", "127.0.0.1:0")
	check(t, err)
	go s.Serve(ln) //nolint:errcheck // it is closed
	defer s.Close()
	for what, sent := range map[string]string{
		"headers":             "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Slow: ",
		"headers without end": "GET /healthz HTTP/1.1\r\nHost: x\r\nX-Long: " + strings.Repeat("x", 2*maxHeaders),
		"body":                "PUT /providers/kontor.exchange/v1/tenants/x HTTP/1.1\r\nHost: x\r\nAuthorization: Bearer " + w.token["op"] + "\r\nContent-Length: 1000\r\n\r\n{",
	} {
		conn, err := net.Dial("tcp", ln.Addr().String())
		check(t, err)
		fmt.Fprint(conn, sent)
		conn.SetReadDeadline(time.Now().Add(20 * time.Second)) //nolint:errcheck // it is a connection
		for in := bufio.NewReader(conn); ; {
			if _, err = in.ReadByte(); err != nil {
				break
			}
		}
		if nerr, ok := errors.AsType[net.Error](err); ok && nerr.Timeout() {
			t.Errorf("slow %s: the connection stays open", what)
		}
		conn.Close()
	}
}
