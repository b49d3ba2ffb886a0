package qemu

import (
	"context"
	"errors"
	"fmt"
	"path"
	"slices"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/fault"
)

// inspect asks a machine's QEMU what is plugged in, by device names, and how it is.
func (h *host) inspect(ctx context.Context, dir string) (plugged map[string]bool, status string, err error) {
	ctx, stop := context.WithTimeout(ctx, 2*time.Second)
	defer stop()
	m, err := dialMonitor(ctx, dir)
	if err != nil {
		return nil, "", err
	}
	defer m.close()
	var run struct{ Status string }
	if err := m.do("query-status", nil, &run); err != nil {
		return nil, "", err
	}
	plugged, err = m.devices()
	return plugged, run.Status, err
}

// devices names those that have a name.
func (m *monitor) devices() (map[string]bool, error) {
	var entries []struct{ Name, Type string }
	if err := m.do("qom-list", object{"path": "/machine/peripheral"}, &entries); err != nil {
		return nil, err
	}
	names := map[string]bool{}
	for _, e := range entries {
		names[e.Name] = strings.HasPrefix(e.Type, "child<")
	}
	return names, nil
}

// replug brings what is plugged into a running machine in line with its record.
// A guest takes its time to let go; what is still there stays in Leaving.
func (h *host) replug(ctx context.Context, i instance) error {
	dir := h.instances.dir(i.ID)
	m, err := dialMonitor(ctx, dir)
	if err != nil {
		return err
	}
	defer m.close()
	plugged, err := m.devices()
	if err != nil {
		return err
	}
	if err := h.awaken(m); err != nil {
		return err
	}
	for _, id := range slices.Concat(i.NICs, i.DataVolumes) {
		if plugged[deviceName(id)] {
			continue
		}
		if err := h.plug(m, dir, id, plugged); err != nil {
			return err
		}
	}
	return h.unplug(ctx, m, i)
}

// awaken lets a guest go on that was halted because the host's disk was full.
func (h *host) awaken(m *monitor) error {
	var run struct{ Status string }
	if err := m.do("query-status", nil, &run); err != nil || run.Status != "io-error" {
		return err
	}
	return m.do("cont", nil, nil)
}

// plug adds a volume or a card.
func (h *host) plug(m *monitor, dir, id string, plugged map[string]bool) error {
	port, err := m.freePort(plugged)
	if err != nil {
		return err
	}
	var device object
	if h.nics.has(id) {
		device, err = h.addCard(m, dir, id)
	} else {
		device, err = h.addDisk(m, id)
	}
	if err != nil {
		return err
	}
	device["bus"] = port
	plugged[deviceName(id)] = true
	return m.do("device_add", device, nil)
}

func (h *host) addDisk(m *monitor, volume string) (object, error) {
	if making := h.tasks.busy(volume); making != "" {
		return nil, fault.Unavailable.Errorf("volume %s is being copied for %s", volume, making)
	}
	d := h.diskOf(volume)
	if err := m.forget(volume); err != nil { // an earlier attempt may have come this far
		return nil, err
	}
	return d.device(), m.do("blockdev-add", d.blockdev(), nil)
}

func (h *host) addCard(m *monitor, dir, id string) (object, error) {
	c, err := h.cardOf(id)
	if err != nil {
		return nil, err
	}
	if err := h.linkNetwork(dir, c.network); err != nil {
		return nil, err
	}
	netdev, err := c.netdev()
	if err != nil {
		return nil, err
	}
	if err := m.forget(id); err != nil {
		return nil, err
	}
	return c.device(), m.do("netdev_add", netdev, nil)
}

// freePort names a port with nothing in it.
func (m *monitor) freePort(plugged map[string]bool) (string, error) {
	taken := map[string]bool{}
	for name := range plugged {
		if !strings.HasPrefix(name, "d") {
			continue
		}
		var bus string
		if err := m.do("qom-get", object{"path": "/machine/peripheral/" + name, "property": "parent_bus"}, &bus); err != nil {
			return "", err
		}
		taken[path.Base(bus)] = true
	}
	for n := 0; plugged[portName(n)]; n++ {
		if !taken[portName(n)] {
			return portName(n), nil
		}
	}
	return "", fault.Exhausted.Errorf("every port of the machine is in use; it gets new ones when it is restarted")
}

// unplug asks the guest to let go of what leaves, waits for a moment, and
// forgets what is out.
func (h *host) unplug(ctx context.Context, m *monitor, i instance) error {
	if len(i.Leaving) == 0 {
		return nil
	}
	for _, id := range i.Leaving {
		// While the guest has yet to answer, QEMU refuses a second request.
		if err := m.do("device_del", object{"id": deviceName(id)}, nil); err != nil && !gone(err) && !strings.Contains(err.Error(), "unplug") {
			return err
		}
	}
	waited := poll(ctx, 2*time.Second, func() error {
		plugged, err := m.devices()
		if err != nil {
			return err
		}
		if n := slices.IndexFunc(i.Leaving, func(id string) bool { return plugged[deviceName(id)] }); n >= 0 {
			return fmt.Errorf("the guest has not let go of %s", i.Leaving[n])
		}
		return nil
	})
	if waited != nil {
		return nil // come back
	}
	for _, id := range i.Leaving {
		if err := m.forget(id); err != nil {
			return err
		}
	}
	i.Leaving = nil
	return h.instances.put(i)
}

// forget removes what is behind a device that is not plugged in: a disk's or a
// card's. QEMU may hold on to it for a moment after the device has gone.
func (m *monitor) forget(id string) error {
	if err := m.do("blockdev-del", object{"node-name": nodeName(id)}, nil); err != nil && !gone(err) {
		return err
	}
	if err := m.do("netdev_del", object{"id": netdevName(id)}, nil); err != nil && !gone(err) {
		return err
	}
	return nil
}

// gone reports whether QEMU answered that there is no such thing.
func gone(err error) bool {
	var refused *qmpError
	return errors.Is(err, fault.Missing) || errors.As(err, &refused) && strings.Contains(refused.Desc, "Failed to find")
}
