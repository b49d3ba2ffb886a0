package main

import (
	"context"
	"fmt"
	"io"
	"log/slog"
	"os"
	"path/filepath"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/agent"
	"github.com/kontor-cloud/kontor/driver/qemu"
	"github.com/kontor-cloud/kontor/driver/qemu/vnet"
)

func agentCommand(a *app) *cobra.Command {
	var file, joinFile, driverFile string
	var c agent.Config
	cmd := &cobra.Command{
		Use:   "agent",
		Short: "Run the agent beside a platform",
		Long: `Run the agent beside a platform. It dials out to the exchange and needs no
inbound port. The first start needs the join token that "kontor region join"
printed, in a file: join.token in its directory, or another one; "-" is standard
input. A token that has been used does no harm.`,
		Example: `  kontor region join de-berlin-spree > join.token
  kontor agent --driver qemu --dir /var/lib/kontor-agent --join-file join.token`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			given := c
			if file != "" {
				if err := readConfig(file, &c); err != nil {
					return err
				}
			}
			if given.Dir != "" {
				c.Dir = given.Dir
			}
			if given.Driver != "" {
				c.Driver = given.Driver
			}
			if given.Private != "" {
				c.Private = given.Private
			}
			if err := a.readAgentFiles(&c, joinFile, driverFile); err != nil {
				return err
			}
			return a.runAgent(cmd.Context(), c)
		},
	}
	f := cmd.Flags()
	f.StringVar(&file, "config", "", "configuration file (dir, driver, config, relist …)")
	f.StringVar(&c.Dir, "dir", "", "directory for the agent's key, certificate and journal, and for the driver")
	f.StringVar(&c.Driver, "driver", "", "platform to drive: "+driverNames())
	f.StringVar(&driverFile, "driver-config", "", "configuration file of the driver")
	f.StringVar(&c.Private, "private", "", privateHelp)
	f.StringVar(&joinFile, "join-file", "", "file with the join token; - is standard input (default: join.token in the directory, if it is there)")
	return cmd
}

// readAgentFiles takes what must not stand in a command line from files.
func (a *app) readAgentFiles(c *agent.Config, joinFile, driverFile string) error {
	if own := filepath.Join(c.Dir, "join.token"); joinFile == "" && readable(own) {
		joinFile = own
	}
	if joinFile != "" {
		b, err := a.readFile(joinFile)
		if err != nil {
			return fmt.Errorf("read the join token: %w", err)
		}
		c.Join = strings.TrimSpace(string(b))
	}
	if driverFile != "" {
		if err := readConfig(driverFile, &c.Config); err != nil {
			return err
		}
	}
	return nil
}

// runAgent runs an agent that is a process of its own, and shows it to who
// watches.
func (a *app) runAgent(ctx context.Context, c agent.Config) error {
	if c.Dir == "" {
		return usagef("say where the agent keeps its key: --dir DIR")
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("make the agent's directory: %w", err)
	}
	log := a.logger()
	p, err := a.openPrivate(ctx, c.Private, c.Dir, agentPages(c), log)
	if err != nil {
		return err
	}
	defer p.close()
	context.AfterFunc(ctx, p.Health.Draining)
	c.Metrics, c.Health, c.Tracer = p.Metrics, p.Health, p.tracer
	return runAgent(ctx, c, log)
}

func readable(file string) bool {
	f, err := os.Open(file)
	if err == nil {
		f.Close()
	}
	return err == nil
}

func runAgent(ctx context.Context, c agent.Config, log *slog.Logger) error {
	open, ok := drivers[c.Driver]
	if !ok {
		return usagef("no driver %q; this binary has %s", c.Driver, driverNames())
	}
	c.Version = version()
	return agent.Run(ctx, c, open, log)
}

// networkCommand is what the qemu driver starts for each network.
func networkCommand(a *app) *cobra.Command {
	return a.qemuPart("qemu-network", func(ctx context.Context, dir string) error { return vnet.Run(ctx, dir, a.logger()) })
}

// consoleKeeperCommand is what the qemu driver starts for each machine.
func consoleKeeperCommand(a *app) *cobra.Command {
	return a.qemuPart("qemu-console", func(_ context.Context, dir string) error { return qemu.RunConsole(dir) })
}

// qemuPart is a process that outlives the agent which started it.
func (a *app) qemuPart(name string, run func(ctx context.Context, dir string) error) *cobra.Command {
	return &cobra.Command{
		Use: name + " DIR", Hidden: true, Args: cobra.ExactArgs(1),
		RunE: func(cmd *cobra.Command, args []string) error { return run(cmd.Context(), args[0]) },
	}
}

// readFile reads a file, or standard input for "-".
func (a *app) readFile(name string) ([]byte, error) {
	if name == "-" {
		return io.ReadAll(io.LimitReader(a.stdin, 1<<20))
	}
	return os.ReadFile(name)
}
