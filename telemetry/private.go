package telemetry

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/http/pprof"
	"net/netip"
	"os"
	"strings"
	"time"

	"github.com/prometheus/client_golang/prometheus/promhttp"
)

// Private is what one process shows to its operator:
//
//	/healthz        the process lives
//	/readyz         it should be sent work; else 503, and why
//	/metrics        for Prometheus
//	/debug/pprof/   profiles, to callers on this machine only
//	/debug/log      the last lines of the log
//	/debug/NAME     a page
type Private struct {
	Metrics *Metrics
	Health  *Health
	Recent  *Recent
	Pages   map[string]Page
	Log     *slog.Logger
}

// A Page is something that a process tells of itself, as JSON. It holds no secrets.
type Page func(context.Context) (any, error)

// Off is the address of a private listener that is not wanted.
const Off = "off"

// socket begins the address of a unix socket.
const socket = "unix:"

// Listen opens a private listener at HOST:PORT or unix:PATH. A socket is for
// this user alone; one that a process left behind when it was killed is replaced.
func Listen(ctx context.Context, address string) (net.Listener, error) {
	var lc net.ListenConfig
	path, unix := strings.CutPrefix(address, socket)
	if !unix {
		return lc.Listen(ctx, "tcp", address)
	}
	if conn, err := net.DialTimeout("unix", path, time.Second); err == nil {
		conn.Close()
		return nil, fmt.Errorf("another process serves at %s", address)
	}
	if err := os.Remove(path); err != nil && !errors.Is(err, os.ErrNotExist) {
		return nil, err
	}
	ln, err := lc.Listen(ctx, "unix", path)
	if err != nil {
		return nil, err
	}
	if err := os.Chmod(path, 0o600); err != nil {
		ln.Close()
		return nil, err
	}
	return ln, nil
}

// Client makes an HTTP client for a private listener, and the URL to begin with.
func Client(address string) (*http.Client, string) {
	path, unix := strings.CutPrefix(address, socket)
	if !unix {
		return &http.Client{Timeout: time.Minute}, "http://" + address
	}
	return &http.Client{Timeout: time.Minute, Transport: &http.Transport{
		DialContext: func(ctx context.Context, _, _ string) (net.Conn, error) {
			var d net.Dialer
			return d.DialContext(ctx, "unix", path)
		},
	}}, "http://kontor"
}

// Handler serves all of it.
func (p *Private) Handler() http.Handler {
	mux := http.NewServeMux()
	mux.HandleFunc("GET /healthz", func(w http.ResponseWriter, _ *http.Request) {
		p.answer(w, http.StatusOK, map[string]any{"alive": true})
	})
	mux.HandleFunc("GET /readyz", p.ready)
	mux.Handle("GET /metrics", promhttp.HandlerFor(p.Metrics.Gatherer(), promhttp.HandlerOpts{
		ErrorLog: slog.NewLogLogger(p.Log.Handler(), slog.LevelWarn), ErrorHandling: promhttp.ContinueOnError, MaxRequestsInFlight: 4,
	}))
	mux.HandleFunc("GET /debug/log", func(w http.ResponseWriter, _ *http.Request) {
		w.Header().Set("Content-Type", "text/plain; charset=utf-8")
		_, _ = w.Write(p.Recent.Text()) // nobody is left to tell
	})
	for path, h := range map[string]http.HandlerFunc{"": pprof.Index, "cmdline": pprof.Cmdline, "profile": pprof.Profile, "symbol": pprof.Symbol, "trace": pprof.Trace} {
		mux.Handle("GET /debug/pprof/"+path, near(h))
	}
	for name, page := range p.Pages {
		mux.HandleFunc("GET /debug/"+name, func(w http.ResponseWriter, r *http.Request) { p.page(w, r, page) })
	}
	return mux
}

func (p *Private) ready(w http.ResponseWriter, _ *http.Request) {
	reasons := p.Health.Unready()
	if len(reasons) == 0 {
		p.answer(w, http.StatusOK, map[string]any{"ready": true})
		return
	}
	p.answer(w, http.StatusServiceUnavailable, map[string]any{"ready": false, "reasons": reasons})
}

func (p *Private) page(w http.ResponseWriter, r *http.Request, page Page) {
	v, err := page(r.Context())
	if err != nil {
		p.answer(w, http.StatusInternalServerError, map[string]string{"error": err.Error()})
		return
	}
	p.answer(w, http.StatusOK, v)
}

func (p *Private) answer(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Cache-Control", "no-store")
	w.WriteHeader(status)
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	if err := e.Encode(v); err != nil {
		p.Log.Debug("private reply not written", "error", err)
	}
}

// near lets in callers on this machine alone: profiles cost time, and tell more
// than metrics do.
func near(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		a, err := netip.ParseAddrPort(r.RemoteAddr)
		if err == nil && !a.Addr().Unmap().IsLoopback() { // a socket's peer has no such address
			http.Error(w, "profiles are for callers on this machine", http.StatusForbidden)
			return
		}
		next.ServeHTTP(w, r)
	})
}
