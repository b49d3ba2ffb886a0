// Package api serves SECA and Kontor's own provider over HTTP, and the agents'
// protocol over mutual TLS.
//
// A route is a row (routes.go), a request becomes a call (call.go), and an
// error becomes a problem document in one place (problem.go). Kinds are not
// known here: package resource has their table.
package api

import (
	"context"
	"errors"
	"log/slog"
	"net/http"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/audit"
	"github.com/kontor-cloud/kontor/market"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/participant"
	"github.com/kontor-cloud/kontor/provider"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/telemetry"
	"github.com/kontor-cloud/kontor/tenant"
)

// A Config is what the API stands on.
type Config struct {
	Resources *resource.Store
	Tenants   *tenant.Store
	Providers *provider.Store
	Market    *market.Store // nil: nothing is bought by rule, and there are no virtual regions

	Participants *participant.Store
	Offers       *offer.Store

	URL      string          // where clients reach it: http://host:port, without a slash at the end
	AgentURL string          // where agents do
	Lenient  bool            // agents ignore references to what does not exist, as the public suite wants
	Recover  bool            // its rows are written from what agents hold; nothing is wanted meanwhile
	Limits   Limits          // none if zero
	Leaving  <-chan struct{} // closed when clients are to go to another process
	Stop     <-chan struct{} // closed when long polls are to end
	Log      *slog.Logger
	Requests *telemetry.Requests // nil: nobody measures
	Tracer   *telemetry.Tracer   // nil: nobody follows
	Ready    func() bool         // whether a balancer should send work here; nil: always
}

// An Exchange serves clients and agents. Its listeners share it.
type Exchange struct {
	Config
	Audit    *audit.Log // beside what is changed
	access   access
	accounts *limiter
	tenants  *limiter
	nobody   *limiter // those without a token, by their address
	queue    *queue
	recovery recovery
	desk     *desk
	streams  streams
}

// New makes an exchange.
func New(c Config) *Exchange {
	return &Exchange{
		Config: c, Audit: audit.Open(c.Providers.DB, c.Log), desk: newDesk(c.Providers), queue: newQueue(maxSeats),
		accounts: newLimiter("account", c.Limits.Account), tenants: newLimiter("tenant", c.Limits.Tenant),
		nobody: newLimiter("address", c.Limits.Nobody),
	}
}

// server is an exchange behind one listener.
type server struct {
	*Exchange
	profile Profile
	log     *slog.Logger

	description description
}

// The limits of a request.
const (
	maxBody    = 1 << 20
	maxTime    = 30 * time.Second
	maxHeaders = 64 << 10
)

// Handler serves clients with the given rejection profile.
func (x *Exchange) Handler(p Profile) http.Handler {
	s := &server{Exchange: x, profile: p, log: x.Log}
	mux := http.NewServeMux()
	methods := map[string][]string{}
	for _, r := range s.routes() {
		h := s.handle(r)
		if !r.lasting() {
			h = s.timed(h)
		}
		mux.Handle(r.method+" "+r.path, x.Requests.Route(r.method, r.path, h))
		methods[r.path] = append(methods[r.path], r.method)
	}
	for path, allowed := range methods {
		mux.Handle(path, s.notAllowed(strings.Join(allowed, ", ")))
	}
	mux.Handle("/", s.notFound())
	return x.Requests.Serve(s.leave(s.identify(s.survive(s.bound(mux)))))
}

// Server is an HTTP server with limits on the time that a client may take.
func Server(h http.Handler, log *slog.Logger) *http.Server {
	return &http.Server{
		Handler:           h,
		ReadHeaderTimeout: 10 * time.Second,
		ReadTimeout:       maxTime,
		WriteTimeout:      2 * maxTime,
		IdleTimeout:       2 * time.Minute,
		MaxHeaderBytes:    maxHeaders,
		ErrorLog:          slog.NewLogLogger(log.Handler(), slog.LevelDebug),
	}
}

// leave has clients and agents make a new connection for their next request,
// once this process is about to go: a balancer then sends them elsewhere.
func (x *Exchange) leave(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		select {
		case <-x.Leaving:
			w.Header().Set("Connection", "close")
		default:
		}
		next.ServeHTTP(w, r)
	})
}

// identify gives each request an id, taken from the client if it is sound.
func (s *server) identify(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		id := r.Header.Get("X-Request-Id")
		if !soundID(id) {
			id = resource.NewID()
		}
		w.Header().Set("X-Request-Id", id)
		next.ServeHTTP(w, r.WithContext(context.WithValue(r.Context(), requestKey{}, id)))
	})
}

type requestKey struct{}

func requestID(ctx context.Context) string {
	id, _ := ctx.Value(requestKey{}).(string)
	return id
}

func soundID(id string) bool {
	if len(id) == 0 || len(id) > 64 {
		return false
	}
	for _, c := range []byte(id) {
		if c != '-' && c != '_' && (c < '0' || c > '9') && (c < 'a' || c > 'z') && (c < 'A' || c > 'Z') {
			return false
		}
	}
	return true
}

// survive turns a panic into a 500 for one request.
func (s *server) survive(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		defer func() {
			p := recover()
			if err, ok := p.(error); ok && errors.Is(err, http.ErrAbortHandler) {
				panic(p) // net/http's own way to drop a connection
			}
			if p != nil {
				s.log.ErrorContext(r.Context(), "request panicked", "path", r.URL.Path, "panic", p, "stack", stack())
				s.writeProblem(w, r, errPanic)
			}
		}()
		next.ServeHTTP(w, r)
	})
}

// bound limits what one request may take.
func (s *server) bound(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(telemetry.Beneath(w), r.Body, maxBody)
		w.Header().Set("X-Content-Type-Options", "nosniff")
		w.Header().Set("Cache-Control", "no-store")
		next.ServeHTTP(w, r)
	})
}

// timed limits how long one request may take.
func (s *server) timed(next http.Handler) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		ctx, cancel := context.WithTimeout(r.Context(), maxTime)
		defer cancel()
		next.ServeHTTP(w, r.WithContext(ctx))
	})
}
