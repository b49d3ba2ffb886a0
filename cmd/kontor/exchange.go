package main

import (
	"cmp"
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"net/url"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kontor-cloud/kontor/api"
	"github.com/kontor-cloud/kontor/audit"
	"github.com/kontor-cloud/kontor/certificate"
	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/envelope"
	"github.com/kontor-cloud/kontor/failpoint"
	"github.com/kontor-cloud/kontor/issuer"
	"github.com/kontor-cloud/kontor/job"
	"github.com/kontor-cloud/kontor/market"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/participant"
	"github.com/kontor-cloud/kontor/policy"
	"github.com/kontor-cloud/kontor/provider"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/telemetry"
	"github.com/kontor-cloud/kontor/tenant"
)

// A listener is where clients are served, and how they are refused.
type listener struct {
	Address string      `json:"address"`
	Profile api.Profile `json:"profile"`
}

// exchangeConfig is the configuration file of "kontor serve".
type exchangeConfig struct {
	Data      string              `json:"data"`                // directory of the database file, the first token and, with "up", the agents
	DB        string              `json:"db,omitempty"`        // postgres://… instead of the file
	KeyFile   string              `json:"keyFile,omitempty"`   // of the key that opens the secrets in the database; empty for kontor.key in data
	Listen    []listener          `json:"listen"`              // for clients
	URL       string              `json:"url,omitempty"`       // where clients reach the first listener, if not at its address
	Agents    string              `json:"agents"`              // address for agents, mutual TLS
	AgentURL  string              `json:"agentURL,omitempty"`  // where agents reach it, if not at its address
	TLS       *tlsFiles           `json:"tls,omitempty"`       // what clients are served with
	ACME      *certificate.Config `json:"acme,omitempty"`      // or from whom that is got
	PlainHTTP bool                `json:"plainHTTP,omitempty"` // serve clients without TLS beyond loopback, behind a proxy that has it
	Linger    duration            `json:"linger,omitempty"`    // how long to serve on when told to stop, for a balancer to notice
	Private   string              `json:"private,omitempty"`   // where health, metrics and profiles are served; off, or empty for a socket in data

	Limits            api.Limits `json:"limits"`            // on how often callers may ask
	AuditRetention    duration   `json:"auditRetention"`    // how long entries of the audit log are kept; a year at least
	DecisionRetention duration   `json:"decisionRetention"` // how long decisions are kept by which nothing runs or was ordered; 90 days at least

	Recover string `json:"-"` // id of the exchange that lost its database; ownID if that is in this one

	OIDC []issuer.Config `json:"oidc,omitempty"` // issuers whose tokens are taken beside our own
}

// A duration is written as Go writes it: 1m30s.
type duration time.Duration

// MarshalText writes the form of time.Duration.
func (d duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// UnmarshalText reads the form of time.ParseDuration.
func (d *duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = duration(v)
	return err
}

func defaultExchange() exchangeConfig {
	return exchangeConfig{
		Data:   "kontor-data",
		Listen: []listener{{Address: "127.0.0.1:8080", Profile: api.Strict}},
		Agents: "127.0.0.1:8443",

		Limits:            api.Limits{Account: api.Rate{PerSecond: 2000, Burst: 20_000}, Tenant: api.Rate{PerSecond: 5000, Burst: 50_000}, Nobody: api.Rate{PerSecond: 5, Burst: 50}},
		AuditRetention:    duration(400 * 24 * time.Hour),
		DecisionRetention: duration(400 * 24 * time.Hour),
	}
}

// bounded has no bound on the connections of an address where each is a proxy's.
func (c exchangeConfig) bounded() exchangeConfig {
	if c.PlainHTTP && c.Limits.Connections == 0 {
		c.Limits.Connections = -1
	}
	return c
}

// database names it, for package db.
func (c exchangeConfig) database() string { return cmp.Or(c.DB, filepath.Join(c.Data, "kontor.db")) }

// An exchange is "kontor serve" put together: the file is the wiring diagram.
type exchange struct {
	*api.Exchange
	config  exchangeConfig
	private *private
	survey  *telemetry.Survey[census]
	shown   clientCertificate // to clients; nil without TLS
	opened  chan struct{}     // closed when all the rest is there
	db      *db.DB
	log     *slog.Logger
	clients []net.Listener
	agents  net.Listener
	door    *api.Door // before all of them
}

// openExchange opens the database, makes what a new exchange needs, and
// listens; nothing is served before run, but privately.
func (a *app) openExchange(ctx context.Context, c exchangeConfig, log *slog.Logger) (_ *exchange, err error) {
	if keep := time.Duration(c.AuditRetention); keep < audit.MinRetention {
		return nil, usagef("auditRetention is %s; the law of many customers wants a year at least: %s", keep, audit.MinRetention)
	}
	if keep := time.Duration(c.DecisionRetention); keep < market.MinRetention {
		return nil, usagef("decisionRetention is %s; providers want to know what they lost in a quarter of a year: %s at least", keep, market.MinRetention)
	}
	if err := c.checkTLS(); err != nil {
		return nil, err
	}
	c = c.bounded()
	x := &exchange{config: c, log: log, opened: make(chan struct{}), door: api.NewDoor(c.Limits, log)}
	defer func() {
		if err != nil {
			x.close()
		}
	}()
	if err := os.MkdirAll(c.Data, 0o700); err != nil {
		return nil, fmt.Errorf("make the data directory: %w", err)
	}
	if x.private, err = a.openPrivate(ctx, c.Private, c.Data, x.pages(), log); err != nil {
		return nil, err
	}
	if c.TLS != nil {
		if x.shown, err = openCertificate(*c.TLS, log); err != nil {
			return nil, err
		}
	}
	if err := x.listen(ctx); err != nil {
		return nil, err
	}
	if x.db, err = db.Open(ctx, c.database(), log); err != nil {
		return nil, fmt.Errorf("open the database: %w", err)
	}
	box, err := c.openBox(ctx, x.db, log)
	if err != nil {
		return nil, err
	}
	if c.ACME != nil {
		if x.shown, err = openACME(ctx, x.db, box, *c.ACME, log); err != nil {
			return nil, err
		}
	}
	if err := x.assemble(ctx, box); err != nil {
		return nil, err
	}
	x.observe()
	if a, ok := x.shown.(acmeCertificate); ok {
		if err := a.first(ctx, x.clients[0]); err != nil {
			return nil, err
		}
	}
	if x.shown != nil {
		x.private.Health.Check("certificate", checkCertificate(x.shown))
	}
	close(x.opened)
	return x, nil
}

// assemble opens what the database holds and puts it behind the API.
func (x *exchange) assemble(ctx context.Context, box *envelope.Box) error {
	if x.config.Recover != "" && x.config.Recover != ownID {
		if err := provider.Recover(ctx, x.db, x.config.Recover); err != nil {
			return fmt.Errorf("recover: %w", err)
		}
	}
	providers, err := provider.Open(ctx, x.db, box)
	if err != nil {
		return fmt.Errorf("open the providers: %w", err)
	}
	tenants, err := tenant.Open(ctx, x.db, box, "kontor:"+providers.Exchange)
	if err != nil {
		return fmt.Errorf("open the tenants: %w", err)
	}
	if tenants.Others, err = issuer.Open(x.config.OIDC); err != nil {
		return fmt.Errorf("configuration: %w", err)
	}
	data, err := policy.Builtin()
	if err != nil {
		return fmt.Errorf("read the vocabulary: %w", err)
	}
	participants := &participant.Store{DB: x.db, Data: data, Owns: providers.Owns}
	offers := &offer.Store{DB: x.db, Sellers: participants, Stock: api.Stock(providers), Log: x.log}
	traded, err := market.Open(ctx, market.Config{
		DB: x.db, Box: box, Providers: providers, Data: data, Log: x.log,
		Sellers: market.Participants{Participants: participants, Offers: offers, Regions: providers},
	})
	if err != nil {
		return fmt.Errorf("open the market: %w", err)
	}
	participants.Changed = traded.Refresh
	x.Exchange = api.New(api.Config{
		Resources: resource.NewStore(x.db), Tenants: tenants, Providers: providers,
		Participants: participants, Offers: offers, Market: traded,
		URL: x.publicURL(), AgentURL: x.agentURL(), Lenient: x.config.Listen[0].Profile == api.Suite, Recover: x.config.Recover != "", Limits: x.config.Limits, Stop: ctx.Done(), Log: x.log,
		Requests: telemetry.NewRequests(x.private.Metrics, x.private.tracer), Tracer: x.private.tracer, Ready: x.private.Health.Ready,
	})
	traded.Placed = x.Placed
	return nil
}

// observe has it seen from outside what the exchange does.
func (x *exchange) observe() {
	if x.private.tracer != nil {
		x.db.Traced(traceDatabase)
		x.Resources.Trace = telemetry.ParentOf
	}
	x.survey = telemetry.NewSurvey(x.census, x.log)
	x.private.Metrics.Add(nil, x.metrics())
	x.private.Health.Check("database", x.db.Ping)
}

func (x *exchange) listen(ctx context.Context) error {
	var lc net.ListenConfig
	for _, l := range x.config.Listen {
		if l.Profile != api.Strict && l.Profile != api.Suite {
			return usagef("profile %q is neither strict nor suite", l.Profile)
		}
		ln, err := lc.Listen(ctx, "tcp", l.Address)
		if err != nil {
			return fmt.Errorf("listen for clients: %w", err)
		}
		x.clients = append(x.clients, ln)
		if a, ok := ln.Addr().(*net.TCPAddr); ok && !a.IP.IsLoopback() && !x.config.PlainHTTP && !x.config.hasTLS() {
			return usagef("%s is not a loopback address and this listener has no TLS; say --tls-cert and --tls-key or --acme-domain, or listen on 127.0.0.1, or put a TLS proxy in front and say --plain-http", l.Address)
		}
	}
	if len(x.clients) == 0 {
		return usagef("no address to listen on; say --listen HOST:PORT")
	}
	ln, err := lc.Listen(ctx, "tcp", x.config.Agents)
	if err != nil {
		return fmt.Errorf("listen for agents: %w", err)
	}
	x.agents = ln
	return nil
}

func (x *exchange) publicURL() string {
	if x.config.URL != "" {
		return x.config.URL
	}
	scheme := "http://"
	if x.config.hasTLS() {
		scheme = "https://"
	}
	if x.config.ACME != nil {
		return scheme + x.config.ACME.Domains[0] + portOf(x.clients[0].Addr())
	}
	return scheme + x.clients[0].Addr().String()
}

// portOf is what a URL has after its host.
func portOf(a net.Addr) string {
	if t, ok := a.(*net.TCPAddr); ok && t.Port != 443 {
		return ":" + strconv.Itoa(t.Port)
	}
	return ""
}

func (c exchangeConfig) hasTLS() bool { return c.TLS != nil || c.ACME != nil }

func (c exchangeConfig) checkTLS() error {
	if c.ACME == nil {
		return nil
	}
	if len(c.ACME.Domains) == 0 {
		return usagef("--acme-email, --acme-directory and --acme-ca are about a certificate for a name; say which: --acme-domain NAME (acme: {domains: [NAME]} in the configuration)")
	}
	if c.TLS != nil {
		return usagef("a certificate comes from --tls-cert or by --acme-domain, not from both")
	}
	if err := c.ACME.Validate(); err != nil {
		return usagef("%v", err)
	}
	return nil
}

func (x *exchange) agentURL() string {
	if x.config.AgentURL != "" {
		return x.config.AgentURL
	}
	return "https://" + x.agents.Addr().String()
}

// run serves until ctx ends, then lets requests finish.
func (x *exchange) run(ctx context.Context) error {
	tlsConfig, err := x.Providers.Authority.TLSConfig(x.agentHosts())
	if err != nil {
		return fmt.Errorf("make the certificate of the agents' listener: %w", err)
	}
	x.private.Health.Serving()
	defer x.private.Health.Draining()
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return x.db.Bus().Run(ctx) })
	if x.shown != nil {
		g.Go(func() error { return x.shown.watch(ctx) })
	}
	if x.Recover {
		g.Go(func() error { return x.RecoverRegions(ctx, x.noteRecovered) })
	}
	g.Go(func() error { return x.Audit.KeepRefused(ctx, x.HasTenant) })
	g.Go(func() error { return job.Run(ctx, x.db, x.log, x.jobs()...) })
	for i, ln := range x.clients {
		ln = x.door.Listen(ln)
		if x.shown != nil {
			ln = tls.NewListener(ln, x.shown.config())
		}
		serve(ctx, g, api.Server(x.Handler(x.config.Listen[i].Profile), x.log), ln)
	}
	agents := api.Server(x.AgentHandler(), x.log)
	serve(ctx, g, agents, tls.NewListener(x.door.Listen(x.agents), tlsConfig))
	return g.Wait()
}

// jobs is the table of what the exchange does by itself.
func (x *exchange) jobs() []job.Job {
	all := []job.Job{
		{Name: "seal-audit", Keep: x.Audit.Keep},
		{Name: "prune-audit", Every: time.Hour, Do: func(ctx context.Context, now time.Time) error {
			return x.Audit.Prune(ctx, now.Add(-time.Duration(x.config.AuditRetention)))
		}},
		{Name: "prune-tokens", Every: time.Hour, Do: x.Tenants.Prune},
		{Name: "prune-enrolments", Every: time.Hour, Do: x.Providers.Prune},
		{Name: "prune-decisions", Every: 24 * time.Hour, Do: func(ctx context.Context, now time.Time) error {
			return x.Market.Prune(ctx, now, now.Add(-time.Duration(x.config.DecisionRetention)))
		}},
		{Name: "prune-reservations", Every: time.Hour, Do: x.Market.Lapse},
		{Name: "follow-orders", Every: 5 * time.Second, Wanted: x.Market.Ordered, Do: func(ctx context.Context, now time.Time) error {
			return x.FollowOrders(bySystem(ctx, x.Audit, "take-back", "orders"), now)
		}},
		{Name: "drift", Every: time.Minute, Do: func(ctx context.Context, now time.Time) error {
			return x.Market.Sweep(bySystem(ctx, x.Audit, "drift", "drift"), now)
		}},
		{Name: "prune-applications", Every: time.Hour, Do: x.Participants.Prune},
	}
	if a, ok := x.shown.(acmeCertificate); ok {
		all = append(all, job.Job{Name: "renew-certificate", Every: renewCertificate, Do: a.Renew})
	}
	return all
}

const drain = 10 * time.Second

// serve answers on ln until ctx ends, then for at most drain until idle.
func serve(ctx context.Context, g *errgroup.Group, s *http.Server, ln net.Listener) {
	s.BaseContext = func(net.Listener) context.Context { return context.WithoutCancel(ctx) }
	g.Go(func() error {
		if err := s.Serve(ln); !errors.Is(err, http.ErrServerClosed) {
			return fmt.Errorf("serve on %s: %w", ln.Addr(), err)
		}
		return nil
	})
	g.Go(func() error {
		<-ctx.Done()
		limit, cancel := context.WithTimeout(context.WithoutCancel(ctx), drain)
		defer cancel()
		if err := s.Shutdown(limit); err != nil {
			return s.Close()
		}
		return nil
	})
}

// agentHosts are the names and addresses that the certificate of the agents'
// listener is for.
func (x *exchange) agentHosts() []string {
	hosts := []string{"localhost"}
	if u, err := url.Parse(x.agentURL()); err == nil {
		hosts = append(hosts, u.Hostname())
	}
	if host, _, err := net.SplitHostPort(x.agents.Addr().String()); err == nil {
		hosts = append(hosts, host)
	}
	return hosts
}

func (x *exchange) close() {
	for _, ln := range append(x.clients, x.agents) {
		if ln != nil {
			_ = ln.Close() // also closed by its server
		}
	}
	if x.survey != nil {
		x.survey.Close()
	}
	if x.db != nil {
		if err := x.db.Close(); err != nil {
			x.log.Error("database not closed", "error", err)
		}
	}
	x.private.close()
}

const (
	adminAccount  = "admin"
	adminTokenTTL = 90 * 24 * time.Hour
)

// firstToken makes the first operator of a new exchange and writes his token
// to a file that only its owner can read. Later it does nothing.
func (x *exchange) firstToken(ctx context.Context) (file string, err error) {
	ctx = bySystem(ctx, x.Audit, "first-token", "accounts/"+adminAccount, "")
	file = filepath.Join(x.config.Data, "admin.token")
	due := file + ".due" // there while the token is not in its file
	if _, err := os.Stat(due); err != nil {
		if accounts, err := x.Tenants.Accounts(ctx); err != nil || len(accounts) > 1 {
			return "", err
		}
		if tokens, err := x.Tenants.Tokens(ctx, adminAccount); err != nil || len(tokens) > 0 {
			return "", err
		}
	}
	if err := writeSecret(due, ""); err != nil {
		return "", err
	}
	t, err := operatorToken(ctx, x.Tenants, "first")
	if err != nil {
		return "", err
	}
	failpoint.Here(failpoint.TokenMade)
	if err := writeSecret(file, t.Token); err != nil {
		return "", err
	}
	return file, os.Remove(due)
}

// operatorToken makes a token for the operator "admin", and him if need be.
func operatorToken(ctx context.Context, s *tenant.Store, name string) (issued, error) {
	if err := s.PutAccount(ctx, tenant.Account{ID: adminAccount, Display: "First operator", Operator: true}); err != nil {
		return issued{}, err
	}
	t, secret, err := s.NewToken(ctx, adminAccount, name, adminTokenTTL, seca.Scope{})
	return issued{ID: t.ID, Token: secret, ExpiresAt: t.ExpiresAt}, err
}

// bySystem has what is done with the context told of as done by who runs the
// program, on the machine: he owns the exchange.
func bySystem(ctx context.Context, l *audit.Log, action, resource string, chains ...string) context.Context {
	return l.With(ctx, &audit.Act{Chains: chains, Entry: audit.Entry{
		Actor: audit.Actor{Kind: audit.System, Subject: "kontor"}, Action: action, Resource: "kontor.exchange/v1/" + resource,
	}})
}

// writeSecret puts a file in place whole, readable by its owner alone.
func writeSecret(file, secret string) error {
	f, err := os.CreateTemp(filepath.Dir(file), ".token-*") // 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	if _, err = f.WriteString(secret + "\n"); err == nil {
		err = f.Sync()
	}
	if err := errors.Join(err, f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), file)
}
