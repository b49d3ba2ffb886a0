package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"sigs.k8s.io/yaml"

	"github.com/kontor-cloud/kontor/agent"
	"github.com/kontor-cloud/kontor/driver/openstack"
	"github.com/kontor-cloud/kontor/fault"
)

// A joining is what the exchange answers to an operator who wants an agent.
type joining struct {
	Token     string    `json:"token"`
	Command   string    `json:"command"`
	ExpiresAt time.Time `json:"expiresAt"`
}

// An agentPlan is the agent that an operator wants made here. Without a driver
// there is none, and the agent is somebody else's to configure.
type agentPlan struct {
	driver, cloud, clouds, dir string
	run                        bool
}

func (a *app) regionJoin() *cobra.Command {
	var ttl time.Duration
	var out string
	var plan agentPlan
	c := &cobra.Command{
		Use:   "join NAME",
		Short: "Let an agent join: make its single-use token, or all that it needs",
		Long: `Make a token with which one agent can join the region, once, and show the
command to run at the provider. The token is a secret: it goes to a file (--out), or alone to standard
output, and never into an argument list.

With --driver the agent's configuration is made, too: --dir becomes its
directory, with agent.yaml and join.token in it, and the command that runs it
is shown; --run runs it right here. For an OpenStack project, --cloud names an
entry of a clouds.yaml: that of --clouds, or of the usual places (here,
~/.config/openstack, /etc/openstack). The agent reads the credentials where they
are; they are not copied. What else the driver can be told goes into agent.yaml.`,
		Example: `  kontor region join fr-lyon-acme --out join.token
  kontor region join de-berlin-acme --driver openstack --cloud acme --dir /var/lib/kontor-agent`,
		Args:              cobra.ExactArgs(1),
		ValidArgsFunction: a.completes(a.regionNames),
		RunE: func(c *cobra.Command, args []string) error {
			made, err := a.planAgent(plan, out)
			if err != nil {
				return err
			}
			x, err := a.connect()
			if err != nil {
				return err
			}
			var j joining
			if err := x.Post(c.Context(), x.Exchange("regions", args[0], "join"), map[string]string{"ttl": ttl.String()}, &j); err != nil {
				return err
			}
			if plan.driver == "" {
				return a.joined(j, out)
			}
			return a.prepared(c.Context(), j, made, plan.run)
		},
	}
	f := c.Flags()
	f.DurationVar(&ttl, "ttl", time.Hour, "how long the token is good")
	f.StringVar(&out, "out", "", "file for the token, made readable by you alone")
	f.StringVar(&plan.driver, "driver", "", "make the agent's configuration for this platform: "+driverNames())
	f.StringVar(&plan.cloud, "cloud", "", "entry of a clouds.yaml (openstack)")
	f.StringVar(&plan.clouds, "clouds", "", "the clouds.yaml (default: that of the usual places)")
	f.StringVar(&plan.dir, "dir", "", "directory of the agent, made if need be")
	f.BoolVar(&plan.run, "run", false, "run the agent here, now")
	return c
}

func (a *app) joined(j joining, out string) error {
	if a.structured() {
		return a.write(j)
	}
	if err := a.secret(j.Token, out); err != nil {
		return err
	}
	if out != "" {
		j.Command = strings.Replace(j.Command, "FILE", out, 1)
	}
	fmt.Fprintf(a.stderr, "At the provider, until %s:\n  %s\n", j.ExpiresAt.Format(time.RFC3339), clean(j.Command))
	return nil
}

// planAgent makes an agent's configuration, and checks it before a token is made.
func (a *app) planAgent(p agentPlan, out string) (c agent.Config, err error) {
	switch _, known := drivers[p.driver]; {
	case p == (agentPlan{}):
		return c, nil
	case p.driver == "":
		return c, usagef("--cloud, --clouds, --dir and --run are about an agent made here: say for which platform, with --driver")
	case !known:
		return c, usagef("no driver %q; this binary has %s", p.driver, driverNames())
	case p.dir == "":
		return c, usagef("say where the agent keeps its key: --dir DIR")
	case out != "":
		return c, usagef("--out is for the token alone; with --driver it is in the directory of --dir")
	case p.driver == "openstack" && p.cloud == "":
		return c, usagef("say which entry of the clouds.yaml it is: --cloud NAME")
	case p.driver != "openstack" && p.cloud+p.clouds != "":
		return c, usagef("--cloud and --clouds are for --driver openstack")
	}
	c.Driver = p.driver
	if c.Dir, err = filepath.Abs(p.dir); err != nil {
		return c, err
	}
	if _, err := os.Stat(filepath.Join(c.Dir, "identity.json")); !errors.Is(err, fs.ErrNotExist) {
		return c, fault.Conflict.Errorf("an agent has joined from %s already; run it with `kontor agent`, or take another --dir", c.Dir)
	}
	switch p.driver {
	case "fake": // whoever tries it starts his agent again, as an upgrade does
		c.Config = json.RawMessage(`{"persist":true}`)
		return c, nil
	case "openstack":
	default:
		return c, nil
	}
	if p.clouds, err = a.findClouds(p.clouds); err != nil {
		return c, err
	}
	if c.Config, err = json.Marshal(openstack.Config{Cloud: p.cloud, Clouds: p.clouds}); err != nil {
		return c, err
	}
	return c, openstack.Check(c.Dir, c.Config)
}

// findClouds gives the path of a clouds.yaml: the one named, or the first that
// is where the tools of OpenStack look for it.
func (a *app) findClouds(named string) (string, error) {
	if named != "" {
		return filepath.Abs(named)
	}
	places := []string{"clouds.yaml", filepath.Join(a.env["HOME"], ".config", "openstack", "clouds.yaml"), "/etc/openstack/clouds.yaml"}
	for _, p := range places {
		if _, err := os.Stat(p); err == nil {
			return filepath.Abs(p)
		}
	}
	return "", usagef("no clouds.yaml is at %s; name yours with --clouds FILE", strings.Join(places, ", "))
}

// prepared puts what the agent needs into its directory, and runs it or says how.
func (a *app) prepared(ctx context.Context, j joining, c agent.Config, run bool) error {
	if err := os.MkdirAll(c.Dir, 0o700); err != nil {
		return fmt.Errorf("make the agent's directory: %w", err)
	}
	text, err := yaml.Marshal(c)
	if err != nil {
		return err
	}
	file, token := filepath.Join(c.Dir, "agent.yaml"), filepath.Join(c.Dir, "join.token")
	if err := errors.Join(writePrivate(file, text), writePrivate(token, []byte(j.Token+"\n"))); err != nil {
		return fmt.Errorf("write the agent's configuration: %w", err)
	}
	if run {
		c.Join = j.Token
		return a.runAgent(ctx, c)
	}
	command := "kontor agent --config " + file
	if a.structured() {
		return a.write(map[string]any{"config": file, "joinFile": token, "command": command, "expiresAt": j.ExpiresAt})
	}
	fmt.Fprintf(a.stdout, "%s\n", command)
	fmt.Fprintf(a.stderr, "Run this until %s, where the platform and the exchange can be reached; later the token is not needed.\n", j.ExpiresAt.Format(time.RFC3339))
	return nil
}
