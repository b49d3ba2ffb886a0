package main

import (
	"context"
	"net/url"
	"runtime"
	"time"

	"github.com/kontor-cloud/kontor/agent"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/job"
	"github.com/kontor-cloud/kontor/telemetry"
)

// Pages are what a process tells of itself on its private listener, and what
// "kontor debug bundle" collects. None holds a secret.

const hidden = "[hidden]"

func aboutPage(context.Context) (any, error) {
	return map[string]any{
		"version": version(), "go": runtime.Version(), "os": runtime.GOOS, "arch": runtime.GOARCH,
		"cpus": runtime.NumCPU(), "maxProcs": runtime.GOMAXPROCS(0), "now": time.Now().UTC(),
	}, nil
}

// pages are those of an exchange.
func (x *exchange) pages() map[string]telemetry.Page {
	return map[string]telemetry.Page{
		"about":  aboutPage,
		"config": func(context.Context) (any, error) { return x.config.shown(), nil },
		"database": x.whenOpen(func(ctx context.Context) (any, error) {
			size, err := x.db.Size(ctx)
			return map[string]any{"postgres": x.db.Postgres(), "peers": x.db.Bus().Peers(), "stats": x.db.Stats(), "bytes": size}, err
		}),
		"regions": x.whenOpen(x.regionsPage),
		"jobs":    x.whenOpen(func(ctx context.Context) (any, error) { return job.Outcomes(ctx, x.db) }),
	}
}

// whenOpen serves a page from the moment on in which the exchange is open.
func (x *exchange) whenOpen(page telemetry.Page) telemetry.Page {
	return func(ctx context.Context) (any, error) {
		select {
		case <-x.opened:
			return page(ctx)
		default:
			return nil, fault.Unavailable.Errorf("the exchange is starting")
		}
	}
}

// shown is the configuration without what is secret in it. Secrets of issuers
// do not stand in it: there are none.
func (c exchangeConfig) shown() exchangeConfig {
	c.DB = withoutPassword(c.DB)
	c.URL, c.AgentURL = withoutPassword(c.URL), withoutPassword(c.AgentURL)
	return c
}

// withoutPassword hides passwords in a URL, wherever PostgreSQL takes them
// from. What is no URL is hidden whole.
func withoutPassword(text string) string {
	if text == "" {
		return ""
	}
	u, err := url.Parse(text)
	if err != nil {
		return hidden
	}
	q := u.Query()
	for _, name := range []string{"password", "sslpassword", "passfile", "sslkey"} {
		if q.Has(name) {
			q.Set(name, hidden)
		}
	}
	u.RawQuery = q.Encode()
	if _, has := u.User.Password(); has {
		u.User = url.UserPassword(u.User.Username(), hidden)
	}
	return u.String()
}

func (x *exchange) regionsPage(context.Context) (any, error) {
	type region struct {
		Name     string    `json:"name"`
		Liveness string    `json:"liveness"`
		Since    time.Time `json:"since"`
		Driver   string    `json:"driver"`
		Agent    string    `json:"agent"`
		Trouble  string    `json:"trouble,omitempty"`
		Lag      string    `json:"lag,omitempty"`
	}
	lags := x.Resources.Lag(time.Minute)
	var all []region
	for _, r := range x.Providers.Snapshot().All() {
		state, since := x.Providers.Liveness(r.Name)
		shown := region{Name: r.Name, Liveness: string(state), Since: since, Driver: r.Driver, Agent: r.AgentVersion, Trouble: r.Trouble}
		if lag, ok := lags[r.Name]; ok {
			shown.Lag = lag.String()
		}
		all = append(all, shown)
	}
	return all, nil
}

// agentPages are those of an agent. Its driver's configuration may hold
// passwords, and is not shown.
func agentPages(c agent.Config) map[string]telemetry.Page {
	c.Join, c.Config = "", nil
	return map[string]telemetry.Page{
		"about":  aboutPage,
		"config": func(context.Context) (any, error) { return c, nil },
	}
}
