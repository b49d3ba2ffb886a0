// Package qemu is a Linux host as a platform: machines are QEMU processes,
// volumes are qcow2 files, and networks are processes of package vnet. It needs
// no root, no daemon of its own and no database.
//
// What there is, is on disk. Below the driver's directory, each region has one
// directory, which holds one for each kind, which holds one for each thing, with
// its record.json and its files:
//
//	REGION@EXCHANGE/
//	    networks/ID/         record.json, vnet/: the network's process
//	    subnets/ID/ …        record.json
//	    images/ID/           record.json, disk.qcow2
//	    volumes/ID/          record.json, disk.qcow2
//	    instances/ID/        record.json, seed.iso, console.log, qmp.sock, run.lock …
//	    bases/               files under the layers of volumes that began as images
//	    tmp/                 what is being made or removed
//	addresses/               which region has which public address
//
// Processes are detached: machines and networks run on when the agent ends, and
// are found again by their locks and sockets when it is back.
//
// What this platform lacks: IPv6, addresses of tenants' own, other hosts for
// anti-affinity, and UEFI (machines start by BIOS, whatever an image says).
package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/driver/qemu/vnet"
	"github.com/kontor-cloud/kontor/fault"
)

// Open makes this host a platform. It is a driver.Opener; the configuration is
// a Config. It fails with fault.Invalid for a bad configuration and with
// fault.Unsupported if there is no usable QEMU.
func Open(ctx context.Context, owner driver.Owner, dir string, config json.RawMessage, log *slog.Logger) (*driver.Cloud, error) {
	dir, err := filepath.Abs(dir)
	if err != nil {
		return nil, err
	}
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return nil, err
	}
	c, err := decode(config, dir)
	if err != nil {
		return nil, err
	}
	if owner.Region == "" || owner.Exchange == "" {
		return nil, fault.Invalid.Errorf("a region without an owner")
	}
	if os.Geteuid() == 0 {
		log.InfoContext(ctx, "guests' processes run as root; a user of its own is safer, and enough", "dir", dir)
	}
	h := newHost(owner, dir, c, log)
	if err := os.MkdirAll(filepath.Join(h.root, "tmp"), 0o700); err != nil {
		return nil, err
	}
	if h.qemu, err = versionOf(ctx, c.QEMU); err != nil {
		return nil, err
	}
	if err := h.accelerate(ctx); err != nil {
		return nil, err
	}
	if err := h.sweep(); err != nil {
		return nil, err
	}
	return h.cloud(), nil
}

// Halt pulls the plug of every machine below a driver's directory, of whatever
// region, and ends the networks' processes. Nothing is deleted: an agent that
// opens the directory later starts again what is wanted on. It is for trials
// that shall leave no process behind; agents that work there must have ended.
func Halt(ctx context.Context, dir string) error {
	machines, err1 := filepath.Glob(filepath.Join(dir, "*@*", "instances", "*"))
	networks, err2 := filepath.Glob(filepath.Join(dir, "*@*", "networks", "*", "vnet"))
	failed := []error{err1, err2}
	for _, m := range machines {
		failed = append(failed, kill(ctx, m))
	}
	for _, n := range networks {
		failed = append(failed, inside(n, func(short string) error { return vnet.Stop(ctx, short) }))
	}
	return errors.Join(failed...)
}

func (h *host) cloud() *driver.Cloud {
	return &driver.Cloud{
		Inventory:      h.inventory,
		Networks:       h.networkKeeper(),
		Subnets:        h.subnetKeeper(),
		RouteTables:    h.routeTableKeeper(),
		Gateways:       h.gatewayKeeper(),
		SecurityGroups: h.securityGroupKeeper(),
		PublicIPs:      h.publicIPKeeper(),
		NICs:           h.nicKeeper(),
		Images:         images{h},
		Volumes:        volumes{h},
		Instances:      instances{h},
		Console:        h.console,
		Limits:         driver.Limits{PerSecond: 200, Burst: 200, Parallel: 4},
		Close:          h.close,
	}
}

// close ends the copies that are under way. They start anew with the next Ensure.
func (h *host) close() error {
	h.tasks.stop("")
	h.tasks.wg.Wait()
	return nil
}
