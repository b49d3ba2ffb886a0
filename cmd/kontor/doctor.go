package main

import (
	"errors"
	"fmt"
	"os"
	"strconv"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/doctor"
)

func doctorCommand(a *app) *cobra.Command {
	var c doctor.Config
	var file string
	cmd := &cobra.Command{
		Use:   "doctor",
		Short: "Check a provider's access to its platform, up to a machine that answers",
		Long: `Check from end to end whether Kontor can work with a platform: that it answers,
what it offers and has room for, which rights the account lacks; then make a
network, volumes and a machine, reach it, measure processor, disk and network,
turn it off and on, and remove everything. It needs no exchange and disturbs no
agent. What a killed run leaves is removed by the next one in the same --dir.

The report says what to do about each failure. With --json, its "measured" are
figures with their units and times, which an operator of an exchange makes evidence
("kontor provider measure"). The exit code is 1 if anything failed.`,
		Example: `  kontor doctor --driver qemu --dir /var/lib/kontor-agent
  kontor doctor --driver qemu --dir . --driver-config qemu.json --no-vm --json`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if file != "" {
				if err := readConfig(file, &c.Settings); err != nil {
					return err
				}
			}
			return a.examine(cmd, c)
		},
	}
	f := cmd.Flags()
	f.StringVar(&c.Driver, "driver", "", "platform to examine: "+driverNames())
	f.StringVar(&file, "driver-config", "", "configuration file of the driver")
	f.StringVar(&c.Dir, "dir", "", "directory of the driver: the agent's, or one of its own")
	f.BoolVar(&c.NoVM, "no-vm", false, "a quick look: make nothing")
	f.StringVar(&c.Image, "image", "", "image to boot (default: the smallest that takes user data)")
	f.StringVar(&c.SKU, "sku", "", "size of the machine (default: the smallest)")
	f.StringVar(&c.StorageSKU, "storage-sku", "", "class of its volumes (default: the one with the smallest minimum)")
	f.DurationVar(&c.Patience, "patience", 0, "with one thing (default 10m)")
	f.StringVarP(&a.output, "output", "o", "", "json or yaml instead of a table")
	a.outputFlag(f, "json")
	a.outputFlag(f, "yaml")
	return cmd
}

func (a *app) examine(cmd *cobra.Command, c doctor.Config) error {
	open, ok := drivers[c.Driver]
	switch {
	case !ok:
		return usagef("no driver %q; this binary has %s", c.Driver, driverNames())
	case c.Dir == "":
		return usagef("say where the driver may keep what it needs: --dir DIR")
	case a.output != "" && !a.structured():
		return usagef("unknown output %q: choose json or yaml", a.output)
	}
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("make the directory: %w", err)
	}
	p := a.progress()
	c.Open, c.Hollow, c.Log = open, c.Driver == "fake", a.logger()
	c.Progress = func(what string) { p.say(what+" …", "") }
	report, err := doctor.Run(cmd.Context(), c)
	p.clear()
	if report == nil {
		return err
	}
	if e := a.showReport(report); e != nil {
		return errors.Join(err, e)
	}
	if err != nil || report.Failed() {
		return exitError(1)
	}
	return nil
}

func (a *app) showReport(r *doctor.Report) error {
	if a.structured() {
		return a.write(r)
	}
	t := a.table("CHECK", "RESULT", "WHAT")
	for _, c := range r.Checks {
		t.row(c.Name, string(c.Status), c.Detail)
		if c.Try != "" {
			t.row(" ", " ", "try: "+c.Try)
		}
	}
	if err := t.flush(); err != nil || len(r.Measured) == 0 {
		return err
	}
	fmt.Fprintln(a.stdout)
	t = a.table("MEASURED", "VALUE", "UNIT")
	for _, m := range r.Measured {
		t.row(m.Name, strconv.FormatFloat(m.Value, 'f', -1, 64), m.Unit)
	}
	return t.flush()
}
