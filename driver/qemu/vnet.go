package qemu

import (
	"context"
	"errors"
	"fmt"
	"io/fs"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/driver/qemu/vnet"
	"github.com/kontor-cloud/kontor/fault"
)

// This file is where networks' records become packets: each network with a card
// has a process of package vnet, which does what compile makes of the records.

func (h *host) networkDir(id string) string { return filepath.Join(h.networks.dir(id), "vnet") }

// applyNetworks brings the processes of these networks in line with the records.
func (h *host) applyNetworks(ctx context.Context, networks []string) error {
	slices.Sort(networks)
	for _, id := range slices.Compact(networks) {
		if err := h.applyNetwork(ctx, id); err != nil {
			return kindOf(err, "network "+id)
		}
	}
	return nil
}

func (h *host) applyNetwork(ctx context.Context, id string) error {
	config, err := h.compile(id)
	if err != nil {
		return err
	}
	dir := h.networkDir(id)
	if !h.networks.has(id) || len(config.NICs) == 0 {
		return stopNetwork(ctx, dir)
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return err
	}
	apply := func(dir string) error {
		_, err := vnet.Apply(ctx, dir, config)
		return err
	}
	if err := inside(dir, apply); !errors.Is(err, fault.Unavailable) {
		return err
	}
	if err := h.startNetwork(ctx, dir); err != nil {
		return err
	}
	return poll(ctx, 10*time.Second, func() error { return inside(dir, apply) })
}

func stopNetwork(ctx context.Context, dir string) error {
	err := inside(dir, func(dir string) error { return vnet.Stop(ctx, dir) })
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	return errors.Join(err, os.RemoveAll(dir))
}

// inside calls do with a short name of the directory that is good meanwhile: the
// path of a socket may have 107 bytes, which a data directory easily exceeds.
func inside(dir string, do func(short string) error) error {
	d, err := os.OpenFile(dir, unix.O_PATH|unix.O_DIRECTORY, 0)
	if err != nil {
		return err
	}
	defer d.Close()
	return do(fmt.Sprintf("/proc/self/fd/%d", d.Fd()))
}

// inspectNetwork asks a network's process how it does.
func inspectNetwork(dir string) (status vnet.Status, err error) {
	ctx, stop := context.WithTimeout(context.Background(), time.Second)
	defer stop()
	err = inside(dir, func(dir string) (err error) {
		status, err = vnet.Inspect(ctx, dir)
		return err
	})
	return status, err
}

// startNetwork starts the process detached, so that it outlives this one. Its
// directory is its working directory.
func (h *host) startNetwork(ctx context.Context, dir string) error {
	log, err := os.OpenFile(filepath.Join(dir, "network.log"), os.O_CREATE|os.O_TRUNC|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer log.Close()
	return detach(ctx, dir, h.helper("qemu-network"), log)
}

// compile makes the configuration of one network out of all records.
func (h *host) compile(id string) (vnet.Config, error) {
	var c vnet.Config
	subnets, err := h.subnetsOf(id)
	if err != nil {
		return c, err
	}
	for _, s := range subnets {
		routes, err := h.routes(s)
		if err != nil {
			return c, err
		}
		c.Subnets = append(c.Subnets, vnet.Subnet{ID: s.ID, CIDRs: s.CIDRs, Routes: routes})
	}
	nics, err := where(h.nics, func(n driver.NIC) bool {
		return slices.ContainsFunc(subnets, func(s driver.Subnet) bool { return s.ID == n.Subnet })
	})
	if err != nil {
		return c, err
	}
	hostnames, err := h.hostnames()
	if err != nil {
		return c, err
	}
	for _, n := range nics {
		c.NICs = append(c.NICs, vnet.NIC{
			ID: fileName(n.ID), Subnet: n.Subnet, MAC: n.MAC, Addresses: n.Addresses,
			Hostname: hostnames[n.ID], Groups: n.SecurityGroups, Publics: h.publicsOf(n),
		})
	}
	groups, err := h.securityGroups.all()
	c.Groups = map[string][]driver.Rule{}
	for _, g := range groups {
		c.Groups[g.ID] = g.Rules
	}
	return c, err
}

// hostnames gives the names of machines by their cards.
func (h *host) hostnames() (map[string]string, error) {
	all, err := h.instances.all()
	byCard := map[string]string{}
	for _, i := range all {
		for _, nic := range i.NICs {
			byCard[nic] = i.hostname()
		}
	}
	return byCard, err
}

func (h *host) publicsOf(n driver.NIC) []netip.Addr {
	var publics []netip.Addr
	for _, id := range n.PublicIPs {
		if p, err := h.publicIPs.get(id); err == nil {
			publics = append(publics, p.Address)
		}
	}
	return publics
}

// routes turns a subnet's routes into ones that name addresses. A route whose
// target is not there leads nowhere.
func (h *host) routes(s driver.Subnet) ([]vnet.Route, error) {
	if s.RouteTable == "" {
		return nil, nil
	}
	table, err := h.routeTables.get(s.RouteTable)
	if errors.Is(err, fault.Missing) {
		return nil, nil
	}
	var routes []vnet.Route
	for _, r := range table.Routes {
		to := vnet.Route{Destination: r.Destination, Via: r.Address}
		switch {
		case r.Gateway != "":
			gateway, err := h.gateways.get(r.Gateway)
			to.Internet, to.EgressOnly = err == nil, gateway.EgressOnly
		case r.Instance != "":
			to.Via = h.addressOf(r.Instance)
		}
		routes = append(routes, to)
	}
	return routes, err
}

// addressOf is the first address of a machine's primary card, or the zero one.
func (h *host) addressOf(instance string) netip.Addr {
	i, err := h.instances.get(instance)
	if err != nil || len(i.NICs) == 0 {
		return netip.Addr{}
	}
	n, err := h.nics.get(i.NICs[0])
	if err != nil || len(n.Addresses) == 0 {
		return netip.Addr{}
	}
	return n.Addresses[0]
}

// lookAtNetwork tells whether the process is there that the network needs.
func (h *host) lookAtNetwork(n driver.Network) driver.Network {
	dir := h.networkDir(n.ID)
	if _, err := os.Stat(dir); err != nil {
		return n // no card, no process
	}
	if _, err := inspectNetwork(dir); err != nil {
		n.State, n.Detail = driver.Building, "its process does not answer"
	}
	return n
}

// forwards lists the ports by which the outside reaches a card at an address,
// and says why others do not.
func (h *host) forwards(n driver.NIC, public netip.Addr) (ports []driver.Forward, problems string) {
	subnet, err := h.subnets.get(n.Subnet)
	if err != nil {
		return nil, ""
	}
	status, err := inspectNetwork(h.networkDir(subnet.Network))
	if err != nil {
		return nil, ""
	}
	for _, p := range status.Publics {
		if p.Address == public {
			return p.Forwards, strings.Join(p.Problems, "; ")
		}
	}
	return nil, ""
}

// poll calls try until it succeeds, and returns its last error after the time.
func poll(ctx context.Context, limit time.Duration, try func() error) error {
	ctx, stop := context.WithTimeout(ctx, limit)
	defer stop()
	for {
		err := try()
		if err == nil {
			return nil
		}
		select {
		case <-ctx.Done():
			return err
		case <-time.After(20 * time.Millisecond):
		}
	}
}
