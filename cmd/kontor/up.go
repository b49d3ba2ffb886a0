package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/sync/errgroup"

	"github.com/kontor-cloud/kontor/agent"
	"github.com/kontor-cloud/kontor/driver/qemu"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/market"
	"github.com/kontor-cloud/kontor/provider"
	"github.com/kontor-cloud/kontor/tenant"
)

// What "up" makes besides regions. Scripts rely on these names.
const (
	demoTenant = "demo"
	alice      = "alice@demo.example"
	bob        = "bob@demo.example"
)

// physical are the regions of "up" without --fake: three providers in three
// countries, each a QEMU host of its own on this machine.
var physical = []provider.Region{
	{Name: "de-berlin-spree", Display: "Spree Rechenzentrum", Country: "DE", City: "Berlin", Driver: "qemu", Annotations: standing("52.52,13.40")},
	{Name: "fr-lyon-rhone", Display: "Rhône Nuage", Country: "FR", City: "Lyon", Driver: "qemu", Annotations: standing("45.76,4.84")},
	{Name: "nl-delft-schie", Display: "Schie Hosting", Country: "NL", City: "Delft", Driver: "qemu", Annotations: standing("52.01,4.36")},
}

// standing says where a region is.
func standing(at string) map[string]string { return map[string]string{market.Coordinates: at} }

func upCommand(a *app) *cobra.Command {
	var flags exchangeFlags
	var fakes int
	c := &cobra.Command{
		Use:   "up",
		Short: "Run an exchange with providers on this machine, to try it",
		Long: `Run an exchange with providers on this machine: three QEMU hosts in three
countries, or, with --fake N, N regions whose platform is made up. It makes the
tenant "demo" with the accounts alice@demo.example and bob@demo.example, writes a
token that may do everything in it to admin.token in the data directory, and
prints "ready URL" when all regions are there.

Virtual machines go on when it stops, and are found again at the next start.`,
		Example: "  kontor up --data ./try --fake 3",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			c := defaultExchange()
			c.Agents = "127.0.0.1:0"
			c, err := flags.read(c)
			if err != nil {
				return err
			}
			regions := physical
			if fakes > 0 {
				regions = fakeRegions(fakes)
			}
			return a.up(cmd.Context(), c, regions, func(x *exchange) {
				fmt.Fprintln(a.stdout, "ready", x.publicURL())
			})
		},
	}
	flags.add(a, c)
	c.Flags().IntVar(&fakes, "fake", 0, "start this many fake regions instead of QEMU hosts")
	return c
}

// up runs an exchange and its regions until ctx ends; ready is called when
// every region has reported.
func (a *app) up(ctx context.Context, c exchangeConfig, regions []provider.Region, ready func(*exchange)) error {
	serving, stop := context.WithCancel(context.WithoutCancel(ctx))
	defer stop()
	x, err := a.openExchange(serving, c, a.logger())
	if err != nil {
		return err
	}
	defer x.close()
	context.AfterFunc(ctx, x.private.Health.Draining)
	if _, err := x.firstToken(ctx); err != nil {
		return fmt.Errorf("make the first operator: %w", err)
	}
	if err := x.makeDemo(ctx); err != nil {
		return fmt.Errorf("make tenant %s: %w", demoTenant, err)
	}
	making := bySystem(ctx, x.Audit, "demo", "regions", "")
	for _, r := range regions { // they are listed in this order
		if err := x.Providers.CreateRegion(making, r); err != nil && fault.KindOf(err) != fault.Conflict {
			return fmt.Errorf("make region %s: %w", r.Name, err)
		}
	}
	g, ctx := errgroup.WithContext(ctx)
	ended := make(chan error, 1)
	go func() { ended <- x.run(serving) }()
	for i, r := range regions {
		g.Go(func() error { return a.runRegion(ctx, x, r, i) })
	}
	g.Go(func() error {
		if err := x.await(ctx, regions); err != nil {
			return err
		}
		ready(x)
		select {
		case err := <-ended:
			ended <- err
			return err
		case <-ctx.Done():
			return nil
		}
	})
	err = g.Wait() // agents end first, while there is an exchange to tell
	stop()
	if e := <-ended; err == nil || errors.Is(err, context.Canceled) {
		err = e
	}
	return err
}

func fakeRegions(n int) []provider.Region {
	rs := make([]provider.Region, n)
	for i := range rs {
		rs[i] = provider.Region{Name: fmt.Sprintf("fake-%d", i+1), Display: fmt.Sprintf("Fake %d", i+1), Driver: "fake"}
	}
	return rs
}

// makeDemo makes the tenant, its accounts, and the token file's account an
// admin of it.
func (x *exchange) makeDemo(ctx context.Context) error {
	ctx = bySystem(ctx, x.Audit, "demo", "tenants/"+demoTenant, "", demoTenant)
	for _, id := range []string{alice, bob} {
		if err := x.Tenants.PutAccount(ctx, tenant.Account{ID: id}); err != nil {
			return err
		}
	}
	if _, err := x.Bootstrap(ctx, tenant.Tenant{Name: demoTenant, Display: "Demo"}, []string{adminAccount}); err != nil {
		return err
	}
	for _, id := range []string{alice, bob} {
		if err := x.Tenants.AddMember(ctx, demoTenant, id); err != nil {
			return err
		}
	}
	return nil
}

// runRegion runs the agent of a region: a fake one inside this
// process, a real one as a process of its own, so that either may die alone.
func (a *app) runRegion(ctx context.Context, x *exchange, r provider.Region, i int) error {
	dir := filepath.Join(x.config.Data, "agents", r.Name)
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	c := agent.Config{Dir: dir, Driver: r.Driver}
	join, err := x.JoinToken(bySystem(ctx, x.Audit, "post.join", "regions/"+r.Name, ""), r.Name, time.Hour)
	if err != nil {
		return err
	}
	if r.Driver == "fake" {
		c.Join, c.Config, c.Metrics = join, json.RawMessage(`{"persist":true}`), x.private.Metrics
		c.Tracer = x.private.tracer
		return runAgent(ctx, c, x.log.With("region", r.Name))
	}
	if c.Config, err = a.qemuConfig(i); err != nil {
		return err
	}
	return a.superviseAgent(ctx, c, join)
}

// qemuConfig gives each region on this machine public addresses of its own,
// and the images of the directory that KONTOR_IMAGES names.
func (a *app) qemuConfig(i int) (json.RawMessage, error) {
	return json.Marshal(qemu.Config{
		PublicIPs: []string{fmt.Sprintf("127.18.%d.10-127.18.%d.40", i, i)},
		Images:    a.env["KONTOR_IMAGES"],
	})
}

// superviseAgent runs "kontor agent" and starts it again when it dies.
func (a *app) superviseAgent(ctx context.Context, c agent.Config, join string) error {
	dir := c.Dir
	self, err := os.Executable()
	if err != nil {
		return err
	}
	file := filepath.Join(dir, "agent.json")
	b, err := json.Marshal(c)
	if err != nil {
		return err
	}
	if err := writeSecret(file, string(b)); err != nil {
		return err
	}
	joinFile := filepath.Join(dir, "join")
	if err := writeSecret(joinFile, join); err != nil {
		return err
	}
	for pause := time.Second; ctx.Err() == nil; pause = min(2*pause, time.Minute) {
		cmd := exec.CommandContext(ctx, self, "agent", "--config", file, "--join-file", joinFile)
		cmd.Stdout, cmd.Stderr = a.stderr, a.stderr
		cmd.Env = append(os.Environ(), "KONTOR_LOG_LEVEL="+a.env["KONTOR_LOG_LEVEL"])
		cmd.SysProcAttr = &syscall.SysProcAttr{Setpgid: true} // Ctrl-C is for us to pass on
		cmd.Cancel = func() error { return cmd.Process.Signal(syscall.SIGTERM) }
		cmd.WaitDelay = 2 * drain
		began := time.Now()
		err := cmd.Run()
		if ctx.Err() != nil {
			return nil
		}
		if time.Since(began) > time.Minute {
			pause = time.Second
		}
		a.logger().WarnContext(ctx, "agent ended; starting it again", "dir", dir, "error", err, "pause", pause)
		select {
		case <-time.After(pause):
		case <-ctx.Done():
		}
	}
	return nil
}

// await waits until every region has said what it offers.
func (x *exchange) await(ctx context.Context, regions []provider.Region) error {
	for {
		n := 0
		for _, r := range regions {
			if known, err := x.Providers.Snapshot().Region(r.Name); err == nil && len(known.Inventory.Zones) > 0 {
				if state, _ := x.Providers.Liveness(r.Name); state == provider.Alive {
					n++
				}
			}
		}
		if n == len(regions) {
			return nil
		}
		select {
		case <-time.After(10 * time.Millisecond):
		case <-ctx.Done():
			return ctx.Err()
		}
	}
}
