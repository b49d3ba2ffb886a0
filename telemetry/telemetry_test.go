package telemetry

import (
	"context"
	"errors"
	"io"
	"log/slog"
	"net"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/google/go-cmp/cmp"
	"github.com/prometheus/client_golang/prometheus/testutil"
)

func handler(do func(http.ResponseWriter)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, _ *http.Request) { do(w) })
}

func TestRequestsAreCountedByRouteAndStatus(t *testing.T) {
	m := New("test")
	r := NewRequests(m, nil)
	mux := http.NewServeMux()
	mux.Handle("GET /things/{name}", r.Route("GET", "/things/{name}", handler(func(w http.ResponseWriter) { io.WriteString(w, "here") })))
	mux.Handle("PUT /things/{name}", r.Route("PUT", "/things/{name}", handler(func(w http.ResponseWriter) {
		w.WriteHeader(http.StatusEarlyHints)
		w.WriteHeader(http.StatusCreated)
	})))
	mux.Handle("GET /panic", r.Route("GET", "/panic", handler(func(http.ResponseWriter) { panic(http.ErrAbortHandler) })))
	s := httptest.NewServer(r.Serve(mux))
	defer s.Close()
	for _, at := range []string{"GET /things/a", "GET /things/b", "PUT /things/a", "GET /wp-login.php", "GET /panic"} {
		method, path, _ := strings.Cut(at, " ")
		req, _ := http.NewRequestWithContext(t.Context(), method, s.URL+path, nil)
		if resp, err := http.DefaultClient.Do(req); err == nil {
			resp.Body.Close()
		}
	}
	want := `
# HELP kontor_http_requests_in_flight Requests that are being answered, polls of agents among them.
# TYPE kontor_http_requests_in_flight gauge
kontor_http_requests_in_flight 0
# HELP kontor_http_requests_total Requests answered, by route, method and status; those that were refused for their rate have 429.
# TYPE kontor_http_requests_total counter
kontor_http_requests_total{code="0",method="GET",route="/panic"} 1
kontor_http_requests_total{code="200",method="GET",route="/things/{name}"} 2
kontor_http_requests_total{code="201",method="PUT",route="/things/{name}"} 1
kontor_http_requests_total{code="404",method="any",route="none"} 1
`
	if err := testutil.GatherAndCompare(m.Gatherer(), strings.NewReader(want), "kontor_http_requests_total", "kontor_http_requests_in_flight"); err != nil {
		t.Error(err)
	}
}

func TestNobodyMeasures(t *testing.T) {
	var m *Metrics
	r := NewRequests(m, nil)
	s := httptest.NewServer(r.Serve(r.Route("GET", "/", handler(func(w http.ResponseWriter) { w.WriteHeader(http.StatusTeapot) }))))
	defer s.Close()
	resp, err := http.Get(s.URL)
	if err != nil || resp.StatusCode != http.StatusTeapot {
		t.Error(resp, err)
	}
	c, forget := NewCalls(m, "r")
	c.Called("list", "nic", "ok", 0)
	c.Waited(0)
	forget()
	m.Add(nil, nil)()
}

func TestRowsOfSeveralAgents(t *testing.T) {
	m := New("test")
	rows := func(n float64) []Row {
		return []Row{{Name: "kontor_x", Help: "X.", Type: Gauge, Labels: []string{"kind"}, Read: func(put Put) { put(n, "nic") }}}
	}
	m.Add(map[string]string{"region": "a"}, rows(1))
	remove := m.Add(map[string]string{"region": "b"}, rows(2))
	const head = "# HELP kontor_x X.\n# TYPE kontor_x gauge\nkontor_x{kind=\"nic\",region=\"a\"} 1\n"
	if err := testutil.GatherAndCompare(m.Gatherer(), strings.NewReader(head+"kontor_x{kind=\"nic\",region=\"b\"} 2\n"), "kontor_x"); err != nil {
		t.Error(err)
	}
	remove()
	if err := testutil.GatherAndCompare(m.Gatherer(), strings.NewReader(head), "kontor_x"); err != nil {
		t.Error(err)
	}
}

func TestReadiness(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		h := &Health{}
		var broken error
		asked := 0
		h.Check("database", func(context.Context) error { asked++; return broken })
		want := func(when string, reasons ...Reason) {
			t.Helper()
			if d := cmp.Diff(reasons, h.Unready()); d != "" {
				t.Errorf("%s: %s", when, d)
			}
		}
		want("at first", Reason{"start", "the process is starting"})
		h.Serving()
		want("then")
		broken = errors.New("away")
		for range 100 {
			h.Ready()
		}
		if asked != 1 {
			t.Errorf("asked %d times at once", asked)
		}
		time.Sleep(checkEvery + 1)
		want("without a database", Reason{"database", "away"})
		h.Draining()
		h.Serving() // too late
		want("at the end", Reason{"drain", "the process was told to stop, and finishes what it has begun"})
	})
}

func TestSurveyTakesAHundredth(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		n, takes := 0, 200*time.Millisecond
		s := NewSurvey(func(ctx context.Context) (int, error) {
			select {
			case <-time.After(takes):
			case <-ctx.Done():
			}
			if n++; n == 2 {
				return 0, errors.New("away")
			}
			return n, ctx.Err()
		}, slog.New(slog.DiscardHandler))
		began := time.Now()
		for time.Since(began) < 55*time.Second {
			s.Read()
			time.Sleep(time.Second)
		}
		if v, at := s.Read(); n != 3 || v != 3 || time.Since(at) > 40*time.Second {
			t.Errorf("taken %d times in a minute, %d is of %v", n, v, at)
		}
		takes = time.Hour
		time.Sleep(time.Minute)
		asked := time.Now()
		if v, _ := s.Read(); v != 3 || time.Since(asked) != patience {
			t.Errorf("%d after %v", v, time.Since(asked))
		}
		s.Close()
		if v, _ := s.Read(); v != 3 || n != 4 {
			t.Errorf("read %d after the end, taken %d times", v, n)
		}
	})
}

func TestRecentKeepsWholeLines(t *testing.T) {
	var r Recent
	line := strings.Repeat("x", 99) + "\n"
	for range 10 * maxRecent / len(line) {
		r.Write([]byte(line))
	}
	text := string(r.Text())
	if len(text) > maxRecent || len(text) < maxRecent-len(line) || strings.Trim(text, "x\n") != "" || len(text)%len(line) != 0 {
		t.Errorf("%d bytes, beginning with %q", len(text), text[:120])
	}
}

func openPrivate(t *testing.T, address string) (*Private, net.Listener) {
	t.Helper()
	p := &Private{
		Metrics: New("test"), Health: &Health{}, Recent: &Recent{}, Log: slog.New(slog.DiscardHandler),
		Pages: map[string]Page{"about": func(context.Context) (any, error) { return "me", nil }},
	}
	ln, err := Listen(t.Context(), address)
	if err != nil {
		t.Fatal(err)
	}
	s := &http.Server{Handler: p.Handler()}
	go s.Serve(ln)
	t.Cleanup(func() { s.Close() })
	return p, ln
}

func fetch(t *testing.T, address, path string) (int, string) {
	t.Helper()
	c, base := Client(address)
	resp, err := c.Get(base + path)
	if err != nil {
		t.Fatal(err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(resp.Body)
	if err != nil {
		t.Fatal(err)
	}
	return resp.StatusCode, string(b)
}

func TestPrivateListener(t *testing.T) {
	dir, err := os.MkdirTemp("", "k") // a socket's path must be short
	if err != nil {
		t.Fatal(err)
	}
	defer os.RemoveAll(dir)
	path := filepath.Join(dir, "private.sock")
	// What was killed leaves its socket.
	left, err := net.Listen("unix", path)
	if err != nil {
		t.Fatal(err)
	}
	left.(*net.UnixListener).SetUnlinkOnClose(false)
	left.Close()

	address := socket + path
	p, _ := openPrivate(t, address)
	if i, err := os.Stat(path); err != nil || i.Mode().Perm() != 0o600 {
		t.Error(i, err)
	}
	if _, err := Listen(t.Context(), address); err == nil {
		t.Error("two processes at one socket")
	}
	p.Recent.Write([]byte("a line\n"))
	for _, c := range []struct {
		path   string
		status int
		holds  string
	}{
		{"/healthz", 200, `"alive": true`},
		{"/readyz", 503, `"reason": "the process is starting"`},
		{"/metrics", 200, `kontor_build_info{`},
		{"/debug/log", 200, "a line"},
		{"/debug/about", 200, `"me"`},
		{"/debug/pprof/goroutine?debug=1", 200, "goroutine profile:"},
		{"/debug/pprof/", 200, "heap"},
		{"/else", 404, ""},
	} {
		if status, body := fetch(t, address, c.path); status != c.status || !strings.Contains(body, c.holds) {
			t.Errorf("%s: %d %s", c.path, status, body)
		}
	}
	p.Health.Serving()
	if status, _ := fetch(t, address, "/readyz"); status != 200 {
		t.Errorf("ready: %d", status)
	}
}

func TestProfilesAreForThisMachine(t *testing.T) {
	p := &Private{Metrics: New("test"), Health: &Health{}, Recent: &Recent{}, Log: slog.New(slog.DiscardHandler)}
	for from, want := range map[string]int{"127.0.0.1:1": 200, "[::1]:1": 200, "@": 200, "10.0.0.7:1": 403, "[2001:db8::1]:1": 403} {
		r := httptest.NewRequest("GET", "/debug/pprof/cmdline", nil)
		r.RemoteAddr = from
		w := httptest.NewRecorder()
		p.Handler().ServeHTTP(w, r)
		if w.Code != want {
			t.Errorf("from %s: %d, want %d", from, w.Code, want)
		}
	}
}

func BenchmarkMeasured(b *testing.B) {
	r := NewRequests(New("test"), nil)
	inner := handler(func(w http.ResponseWriter) { w.WriteHeader(http.StatusOK) })
	for name, h := range map[string]http.Handler{"plain": inner, "measured": r.Serve(r.Route("GET", "/things/{name}", inner))} {
		b.Run(name, func(b *testing.B) {
			w, req := httptest.NewRecorder(), httptest.NewRequest("GET", "/things/a", nil)
			b.ReportAllocs()
			for b.Loop() {
				h.ServeHTTP(w, req)
			}
		})
	}
}
