package main

import (
	"cmp"
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"strings"
	"time"

	"github.com/coreos/go-systemd/v22/daemon"
	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/kontor-cloud/kontor/api"
	"github.com/kontor-cloud/kontor/certificate"
)

// dbVariable is where a URL of PostgreSQL with a password can be, as every user
// of a machine reads arguments.
const dbVariable = "KONTOR_DB"

// exchangeFlags are the flags that "serve" and "up" share; they go over the file.
type exchangeFlags struct {
	config, data, db, envDB, url, agents, agentURL, profile string
	recover, private, keyFile                               string
	listen                                                  []string
	plainHTTP                                               bool
	linger                                                  time.Duration
	connections                                             int
	tls                                                     tlsFiles
	acme                                                    certificate.Config
}

func (e *exchangeFlags) add(a *app, c *cobra.Command) {
	e.envDB = a.env[dbVariable]
	d := defaultExchange()
	f := c.Flags()
	f.StringVar(&e.config, "config", "", "configuration file (see kontor config default)")
	f.StringVar(&e.data, "data", "", "directory for the database and the first token (default "+d.Data+")")
	f.StringVar(&e.db, "db", "", "postgres://… instead of a SQLite file in the data directory; with a password, rather in the configuration or in "+dbVariable)
	f.StringVar(&e.keyFile, "key-file", "", keyFileHelp)
	f.StringArrayVar(&e.listen, "listen", nil, "HOST:PORT for clients, or HOST:PORT,suite with another profile; repeatable (default "+d.Listen[0].Address+")")
	f.StringVar(&e.profile, "profile", string(api.Strict), "how requests are refused: strict (as SECA says) or suite (412, as its conformance suite wants)")
	f.StringVar(&e.url, "url", "", "where clients reach the exchange, if not at its first address")
	f.StringVar(&e.agents, "agents", "", "HOST:PORT for agents (mutual TLS)")
	f.StringVar(&e.agentURL, "agent-url", "", "where agents reach it, if not at that address")
	f.StringVar(&e.recover, "recover", "", "write the lost rows of this exchange from what its agents hold; its ID is needed unless a backup of the keys was restored")
	f.Lookup("recover").NoOptDefVal = ownID
	f.DurationVar(&e.linger, "linger", 0, "serve on for so long when told to stop, and send clients elsewhere; with a balancer, longer than it needs to notice")
	f.IntVar(&e.connections, "connections", 0, "how many connections one address may have at a time; -1 bounds nothing (default 1000, this machine's own not bounded; with --plain-http -1)")
	f.StringVar(&e.private, "private", "", privateHelp)
	f.StringVar(&e.tls.Certificate, "tls-cert", "", "file with the certificate for clients and those of its issuers (PEM), read anew when it changes")
	f.StringVar(&e.tls.Key, "tls-key", "", "file with its key (PEM)")
	f.StringSliceVar(&e.acme.Domains, "acme-domain", nil, "get a certificate for this name from an ACME authority, whose terms you accept; repeatable")
	f.StringVar(&e.acme.Email, "acme-email", "", "where the authority may write to")
	f.StringVar(&e.acme.Directory, "acme-directory", "", "URL of the authority's directory (default that of Let's Encrypt)")
	f.StringVar(&e.acme.CA, "acme-ca", "", "file with who certifies the authority's own server (PEM), if nobody whom the system trusts")
	f.BoolVar(&e.plainHTTP, "plain-http", false, "serve clients without TLS beyond loopback, behind a proxy that has it")
}

// read puts the file, and the flags, over a configuration.
func (e *exchangeFlags) read(c exchangeConfig) (exchangeConfig, error) {
	if e.config != "" {
		if err := readConfig(e.config, &c); err != nil {
			return c, err
		}
	}
	return e.over(c), nil
}

// over puts the flags over a configuration.
func (e *exchangeFlags) over(c exchangeConfig) exchangeConfig {
	for _, f := range []struct {
		to   *string
		from string
	}{{&c.Data, e.data}, {&c.DB, cmp.Or(e.db, e.envDB)}, {&c.URL, e.url}, {&c.Agents, e.agents}, {&c.AgentURL, e.agentURL}, {&c.Recover, e.recover}, {&c.Private, e.private}, {&c.KeyFile, e.keyFile}} {
		if f.from != "" {
			*f.to = f.from
		}
	}
	if len(e.listen) > 0 {
		c.Listen = nil
	}
	for _, l := range e.listen {
		address, profile, found := strings.Cut(l, ",")
		if !found {
			profile = e.profile
		}
		c.Listen = append(c.Listen, listener{Address: address, Profile: api.Profile(profile)})
	}
	if len(e.listen) == 0 && e.profile != string(api.Strict) {
		c.Listen[0].Profile = api.Profile(e.profile)
	}
	c.PlainHTTP = c.PlainHTTP || e.plainHTTP
	c.ACME = e.overACME(c.ACME)
	if e.tls != (tlsFiles{}) {
		c.TLS = &e.tls
	}
	if e.connections != 0 {
		c.Limits.Connections = e.connections
	}
	if e.linger != 0 {
		c.Linger = duration(e.linger)
	}
	return c
}

// overACME puts the flags over that part; nil if it is in neither.
func (e *exchangeFlags) overACME(c *certificate.Config) *certificate.Config {
	over := certificate.Config{}
	if c != nil {
		over = *c
	}
	if len(e.acme.Domains) > 0 {
		over.Domains = e.acme.Domains
	}
	over.Email = cmp.Or(e.acme.Email, over.Email)
	over.Directory = cmp.Or(e.acme.Directory, over.Directory)
	over.CA = cmp.Or(e.acme.CA, over.CA)
	if c == nil && over.Email+over.Directory+over.CA == "" && len(over.Domains) == 0 {
		return nil
	}
	return &over
}

func serveCommand(a *app) *cobra.Command {
	var flags exchangeFlags
	c := &cobra.Command{
		Use:   "serve",
		Short: "Run an exchange",
		Long: `Run an exchange. At its first start it makes an operator account and writes that
account's token to admin.token in the data directory, readable by you alone (if
it is lost: kontor token rescue).`,
		Example: "  kontor serve --data /var/lib/kontor --listen 127.0.0.1:8080 --agents 0.0.0.0:8443 --agent-url https://exchange.example.eu:8443",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			conf, err := flags.read(defaultExchange())
			if err != nil {
				return err
			}
			return a.serve(cmd.Context(), conf)
		},
	}
	flags.add(a, c)
	return c
}

// serve runs an exchange until c.Linger after the end of ctx.
func (a *app) serve(ctx context.Context, c exchangeConfig) error {
	told := ctx
	ctx, cancel := later(ctx, time.Duration(c.Linger))
	defer cancel()
	x, err := a.openExchange(ctx, c, a.logger())
	if err != nil {
		return err
	}
	defer x.close()
	context.AfterFunc(told, func() {
		x.private.Health.Draining()
		x.supervised(daemon.SdNotifyStopping)
	})
	file, err := x.firstToken(ctx)
	if err != nil {
		return fmt.Errorf("make the first operator: %w", err)
	}
	if file != "" {
		fmt.Fprintf(a.stderr, "the token of operator %q is in %s\n", adminAccount, file)
	}
	fmt.Fprintln(a.stdout, "ready", x.publicURL())
	x.Leaving = told.Done()
	x.supervised(daemon.SdNotifyReady)
	return x.run(ctx)
}

// supervised tells systemd, if that is who started this process, how far it is.
func (x *exchange) supervised(state string) {
	if _, err := daemon.SdNotify(false, state); err != nil {
		x.log.Warn("systemd is not told", "state", state, "error", err)
	}
}

// later gives a context that ends so long after ctx.
func later(ctx context.Context, d time.Duration) (context.Context, context.CancelFunc) {
	late, cancel := context.WithCancel(context.WithoutCancel(ctx))
	context.AfterFunc(ctx, func() { time.AfterFunc(d, cancel) })
	return late, cancel
}

// readConfig reads YAML or JSON strictly: an unknown key is an error.
func readConfig(file string, to any) error {
	b, err := os.ReadFile(file)
	if err != nil {
		return fmt.Errorf("read the configuration: %w", err)
	}
	if err := yaml.UnmarshalStrict(b, to); err != nil {
		return usagef("%s: %v", file, err)
	}
	return nil
}

func configCommand(a *app) *cobra.Command {
	return family("config", "Configuration of the exchange", &cobra.Command{
		Use: "default", Short: "Print the configuration that \"serve\" has without a file", Args: cobra.NoArgs,
		RunE: func(*cobra.Command, []string) error {
			b, err := yaml.Marshal(defaultExchange())
			if err == nil {
				_, err = a.stdout.Write(b)
			}
			return err
		},
	})
}

// logger writes to standard error: text for people, JSON if KONTOR_LOG=json,
// from KONTOR_LOG_LEVEL on (debug, info, warn, error).
func (a *app) logger() *slog.Logger {
	var level slog.Level
	if err := level.UnmarshalText([]byte(cmp.Or(a.env["KONTOR_LOG_LEVEL"], "info"))); err != nil {
		level = slog.LevelInfo
	}
	options := &slog.HandlerOptions{Level: level}
	out := io.MultiWriter(a.stderr, &a.recent)
	if a.env["KONTOR_LOG"] == "json" {
		return slog.New(slog.NewJSONHandler(out, options))
	}
	return slog.New(slog.NewTextHandler(out, options))
}
