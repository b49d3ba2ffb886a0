package main

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"path/filepath"
	"time"

	"github.com/kontor-cloud/kontor/telemetry"
)

// privateHelp words the flag --private. Without it, a process is shown to who
// may read its directory, and to nobody else: no port is opened that nobody
// asked for, and many processes on one machine are not in each other's way.
const privateHelp = "HOST:PORT or unix:FILE where health, metrics and profiles are served without a token, or off (default unix:DIR/private.sock)"

// A private listener is what one process shows to its operator.
type private struct {
	*telemetry.Private
	tracer   *telemetry.Tracer // nil if nobody follows
	server   *http.Server
	listener net.Listener // nil if it is off
	ended    chan struct{}
}

// openPrivate serves at an address, or at the default one of a directory. That
// the default cannot be had, for its path is too long or another process has
// it, is no reason not to start.
func (a *app) openPrivate(ctx context.Context, address, dir string, pages map[string]telemetry.Page, log *slog.Logger) (*private, error) {
	p := &private{
		Private: &telemetry.Private{Metrics: telemetry.New(version()), Health: &telemetry.Health{}, Recent: &a.recent, Pages: pages, Log: log},
		ended:   make(chan struct{}),
	}
	var err error
	if p.tracer, err = a.openTracer(ctx, log); err != nil {
		return nil, err
	}
	chosen := address
	if chosen == "" {
		chosen = privateDefault(dir)
	}
	if chosen == telemetry.Off {
		return p, nil
	}
	ln, err := telemetry.Listen(ctx, chosen)
	if err != nil {
		if address == "" {
			log.WarnContext(ctx, "no private listener", "address", chosen, "error", err)
			return p, nil
		}
		return nil, fmt.Errorf("listen privately: %w", err)
	}
	p.listener = ln
	p.server = &http.Server{
		Handler: p.Handler(), ReadHeaderTimeout: 10 * time.Second, ReadTimeout: 10 * time.Second, IdleTimeout: 2 * time.Minute,
		MaxHeaderBytes: 16 << 10, ErrorLog: slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
	go func() {
		defer close(p.ended)
		if err := p.server.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			log.Error("private listener ended", "error", err)
		}
	}()
	return p, nil
}

func privateDefault(dir string) string {
	if path, err := filepath.Abs(filepath.Join(dir, "private.sock")); err == nil {
		dir = path
	}
	return "unix:" + dir
}

// close ends the listener, at the end of the process: until then it tells that
// the process is about to go.
func (p *private) close() {
	if p == nil {
		return
	}
	if err := p.tracer.Close(); err != nil {
		p.Log.Warn("the last traces were not sent", "error", err)
	}
	if p.listener == nil {
		return
	}
	_ = p.server.Close() // what is asked now is not worth a wait
	<-p.ended
}
