package main

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/netip"
	"os/exec"
	"strconv"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/urn"
)

func sshCommand(a *app) *cobra.Command {
	var user, identity string
	var show bool
	c := &cobra.Command{
		Use:   "ssh INSTANCE [-- COMMAND…]",
		Short: "Log in to an instance",
		Long: `Log in to an instance by ssh, at its public address or at the forwarded port
that leads to its port 22. The exit code is that of ssh.`,
		Args:              cobra.MinimumNArgs(1),
		ValidArgsFunction: a.completes(a.namesOf("instance")),
		RunE: func(c *cobra.Command, args []string) error {
			at, err := a.outside(c.Context(), args[0], 22)
			if err != nil {
				return err
			}
			words := sshWords(at, user, identity, args[1:])
			if show {
				fmt.Fprintln(a.stdout, "ssh "+strings.Join(words, " "))
				return nil
			}
			return a.execute(c.Context(), "ssh", words)
		},
	}
	c.Flags().StringVarP(&user, "login", "l", "", "name of the user at the instance")
	c.Flags().StringVarP(&identity, "identity", "i", "", "file of the private key")
	c.Flags().BoolVar(&show, "print", false, "show the command instead of running it")
	return c
}

func sshWords(at netip.AddrPort, user, identity string, command []string) []string {
	words := []string{"-p", strconv.Itoa(int(at.Port()))}
	if user != "" {
		words = append(words, "-l", user)
	}
	if identity != "" {
		words = append(words, "-i", identity)
	}
	words = append(words, "--", at.Addr().String())
	return append(words, command...)
}

// execute runs another program in the place of this one.
func (a *app) execute(ctx context.Context, program string, words []string) error {
	path, err := exec.LookPath(program)
	if err != nil {
		return fault.Unsupported.Errorf("%s is not installed here: %w", program, err)
	}
	command := exec.CommandContext(ctx, path, words...)
	command.Stdin, command.Stdout, command.Stderr = a.stdin, a.stdout, a.stderr
	err = command.Run()
	var exit *exec.ExitError
	if errors.As(err, &exit) && exit.ExitCode() > 0 {
		return exitError(exit.ExitCode())
	}
	return err
}

// outside finds where the world reaches a port of an instance: through its NIC
// and that one's public addresses.
func (a *app) outside(ctx context.Context, name string, port uint16) (netip.AddrPort, error) {
	all, err := a.publicIPs(ctx, name)
	if err != nil {
		return netip.AddrPort{}, err
	}
	for _, ip := range all {
		if at, ok := reach(ip, port); ok {
			return at, nil
		}
	}
	return netip.AddrPort{}, hinted{
		fault.Missing.Errorf("instance %s has no public address through which port %d is reached", name, port),
		"`kontor create instance " + name + " --public --port " + strconv.Itoa(int(port)) + "`, or a NIC with publicIpRefs; `kontor console " + name + "` needs none",
	}
}

// reach looks at one public address. One with forwards passes nothing else.
func reach(ip client.Item, port uint16) (netip.AddrPort, bool) {
	var status seca.PublicIPStatus
	var view struct {
		Forwards []driver.Forward `json:"forwards"`
	}
	_ = json.Unmarshal(ip.Status, &status) // nothing known is no way in
	_ = json.Unmarshal(ip.Kontor, &view)
	for _, f := range view.Forwards {
		if f.Port == port && f.Protocol == driver.TCP {
			return f.Outside, true
		}
	}
	address, err := netip.ParseAddr(status.IPAddress)
	return netip.AddrPortFrom(address, port), err == nil && len(view.Forwards) == 0
}

// publicIPs gives the public addresses of an instance's NICs.
func (a *app) publicIPs(ctx context.Context, name string) ([]client.Item, error) {
	ts, err := a.targets(ctx, []string{"instance", name}, "")
	if err != nil {
		return nil, err
	}
	i, err := a.read(ctx, ts[0])
	if err != nil {
		return nil, err
	}
	var spec seca.InstanceSpec
	if err := json.Unmarshal(i.Spec, &spec); err != nil {
		return nil, fault.Malformed.Errorf("read instance %s: %w", name, err)
	}
	nics := spec.AdditionalNICRefs
	if spec.PrimaryNICRef != nil {
		nics = append([]seca.Reference{*spec.PrimaryNICRef}, nics...)
	}
	var all []client.Item
	for _, ref := range nics {
		ips, err := a.addressesOf(ctx, ref, ts[0].place)
		if err != nil {
			return nil, err
		}
		all = append(all, ips...)
	}
	return all, nil
}

func (a *app) addressesOf(ctx context.Context, nic seca.Reference, at client.Place) ([]client.Item, error) {
	n, err := a.follow(ctx, nic, at)
	if err != nil {
		return nil, err
	}
	var spec seca.NICSpec
	if err := json.Unmarshal(n.Spec, &spec); err != nil {
		return nil, fault.Malformed.Errorf("read nic %s: %w", n.Metadata.Name, err)
	}
	all := make([]client.Item, len(spec.PublicIPRefs))
	for i, ref := range spec.PublicIPRefs {
		if all[i], err = a.follow(ctx, ref, at); err != nil {
			return nil, err
		}
	}
	return all, nil
}

// follow reads what a reference names, in the context of a place.
func (a *app) follow(ctx context.Context, r seca.Reference, at client.Place) (client.Item, error) {
	u, err := urn.Parse(strings.TrimPrefix(r.Resource, "/"))
	if err != nil {
		return client.Item{}, err
	}
	u.Tenant, u.Workspace = cmp.Or(r.Tenant, u.Tenant), cmp.Or(r.Workspace, u.Workspace)
	u = u.Under(urn.URN{Tenant: at.Tenant, Workspace: at.Workspace, Network: at.Network})
	k, err := kindNamed(u.Collection)
	if err != nil {
		return client.Item{}, err
	}
	return a.read(ctx, target{k, client.Place{Tenant: u.Tenant, Region: at.Region, Workspace: u.Workspace, Network: u.Network}, u.Name})
}
