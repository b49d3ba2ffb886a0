package main

import (
	"context"
	"io"
	"strings"

	"github.com/spf13/cobra"
	"github.com/spf13/pflag"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/telemetry"
)

// An app is one run of the command line: its surroundings, and what the flags
// that all commands share have said.
type app struct {
	env            map[string]string
	stdin          io.Reader
	stdout, stderr io.Writer

	flags   settings // as given by flags alone
	context string   // name of the context to use
	output  string   // json, yaml, wide, name or "" for a table
	began   bool     // arguments were fine, a command runs

	recent telemetry.Recent // lines of the log

	settings *settings // resolved, see settings.go
	client   *client.Client
}

// A group is a part of the help page.
type group struct {
	id, title string
	asks      bool // speaks to an exchange, so has the flags that say which and as whom
	commands  []func(*app) *cobra.Command
}

func groups() []group {
	return []group{
		{"resources", "Resources:", true, []func(*app) *cobra.Command{
			getCommand, describeCommand, eventsCommand, kindsCommand, applyCommand, createCommand, editCommand, deleteCommand, waitCommand,
		}},
		{"machines", "Machines:", true, []func(*app) *cobra.Command{
			startCommand, stopCommand, restartCommand, consoleCommand, sshCommand,
		}},
		{"exchange", "The exchange:", true, []func(*app) *cobra.Command{
			loginCommand, logoutCommand, whoamiCommand, tokenCommand, accountCommand, serviceCommand, keysCommand, tenantCommand, regionCommand, auditCommand,
		}},
		{"rule", "Buying by rule:", true, []func(*app) *cobra.Command{
			blueprintsCommand, quoteCommand, quotesCommand, orderCommand, ordersCommand, driftCommand, whyCommand, replayCommand, decisionCommand, policyCommand,
		}},
		{"selling", "Selling:", true, []func(*app) *cobra.Command{providerCommand, offersCommand}},
		{"running", "Running Kontor:", false, []func(*app) *cobra.Command{
			serveCommand, agentCommand, doctorCommand, upCommand, demoCommand, topCommand, debugCommand, backupCommand, restoreCommand, upgradeCommand, configCommand, networkCommand, consoleKeeperCommand,
		}},
		{"settings", "Settings and manual:", false, []func(*app) *cobra.Command{
			contextCommand, manCommand, versionCommand,
		}},
	}
}

func rootCommand(a *app) *cobra.Command {
	root := &cobra.Command{
		Use:   "kontor",
		Short: "A sovereign cloud exchange: one API over many independent providers",
		Long: `Kontor is a sovereign cloud exchange: one API over many independent providers.

Which exchange, and as whom, is said by flags, by KONTOR_URL, KONTOR_TOKEN_FILE,
KONTOR_TENANT, KONTOR_REGION and KONTOR_WORKSPACE, or by a context
("kontor context set"), in this order.`,
		Example: `  kontor get regions
  kontor create instance web --image tiny --public --port 80 -w shop
  kontor apply -f shop.yaml --wait
  kontor get instances -l env=prod --json`,
		SilenceErrors: true, // exit() words them
		SilenceUsage:  true,
		PersistentPreRun: func(*cobra.Command, []string) {
			a.began = true
		},
	}
	for _, g := range groups() {
		if len(g.commands) == 0 {
			continue
		}
		root.AddGroup(&cobra.Group{ID: g.id, Title: g.title})
		for _, command := range g.commands {
			c := command(a)
			c.GroupID = g.id
			if g.asks {
				a.shared(c)
			}
			root.AddCommand(c)
		}
	}
	root.SetHelpCommandGroupID("settings")
	root.SetCompletionCommandGroupID("settings")
	return root
}

// shared gives a command the flags that say which exchange, as whom and where.
func (a *app) shared(c *cobra.Command) {
	f := c.PersistentFlags()
	f.StringVar(&a.flags.URL, "url", "", "address of the exchange")
	f.StringVar(&a.flags.TokenFile, "token-file", "", "file that holds the token")
	f.StringVar(&a.flags.CA, "ca", "", "file of further certificate authorities to trust (PEM)")
	f.StringVar(&a.context, "context", "", "context to take settings from")
	f.StringVarP(&a.flags.Tenant, "tenant", "t", "", "tenant")
	f.StringVarP(&a.flags.Region, "region", "r", "", "region")
	f.StringVarP(&a.flags.Workspace, "workspace", "w", "", "workspace")
	f.StringVarP(&a.output, "output", "o", "", "json, yaml, wide or name instead of a table")
	a.outputFlag(f, "json")
	a.outputFlag(f, "yaml")
	complete := func(flag string, names func(context.Context) []string) {
		_ = c.RegisterFlagCompletionFunc(flag, a.completes(names)) // fails only for a flag that is not there
	}
	complete("region", a.regionNames)
	complete("workspace", a.workspaceNames)
	complete("tenant", a.tenantNames)
	complete("context", a.contextNames)
	complete("output", func(context.Context) []string { return formats })
}

// outputFlag makes --json short for --output json.
func (a *app) outputFlag(f *pflag.FlagSet, format string) {
	f.BoolFunc(format, "same as --output "+format, func(string) error {
		a.output = format
		return nil
	})
}

// family makes a command that only holds others.
func family(use, short string, members ...*cobra.Command) *cobra.Command {
	c := &cobra.Command{Use: use, Short: short}
	c.AddCommand(members...)
	c.RunE = func(c *cobra.Command, args []string) error {
		if len(args) == 0 {
			return usagef("%s needs one of %s", c.CommandPath(), strings.Join(memberNames(members), ", "))
		}
		c.SuggestionsMinimumDistance = 2
		return usagef("unknown command %q for %q%s", args[0], c.CommandPath(), fault.DidYouMean(args[0], memberNames(members)))
	}
	return c
}

func memberNames(members []*cobra.Command) []string {
	names := make([]string, len(members))
	for i, m := range members {
		names[i] = m.Name()
	}
	return names
}
