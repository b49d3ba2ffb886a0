package qemu

import (
	"context"
	"errors"
	"iter"
	"os"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// An instance is a machine as its record has it: what is wanted, except that
// Restarts counts those that have happened.
type instance struct {
	driver.Instance
	StopBy  time.Time `json:"stopBy,omitzero"`   // asked to power off; forced after this time
	Leaving []string  `json:"leaving,omitempty"` // data volumes and cards that are being unplugged
}

// uses reports whether the machine has, or had until it lets go, the volume.
func (i instance) uses(volume string) bool {
	return i.BootVolume == volume || slices.Contains(i.DataVolumes, volume) || slices.Contains(i.Leaving, volume)
}

var notInHostname = regexp.MustCompile(`[^a-z0-9-]+`)

// hostname is the machine's name as DNS allows it.
func (i instance) hostname() string {
	name := strings.Trim(notInHostname.ReplaceAllString(strings.ToLower(i.Name), "-"), "-")
	if name == "" {
		name = "i-" + digest(i.ID, 4)
	}
	return name[:min(len(name), 63)]
}

// An instances keeper looks after machines.
type instances struct{ host *host }

// List yields the machines of this owner, with what their processes say.
func (k instances) List(ctx context.Context) iter.Seq2[driver.Instance, error] {
	return func(yield func(driver.Instance, error) bool) {
		all, err := k.host.instances.all()
		see := func(i instance) instance { return k.host.lookAtInstance(ctx, i) }
		each(ctx, all, err, see, func(i instance, err error) bool { return yield(i.Instance, err) })
	}
}

// lookAtInstance replaces what is wanted by what is so.
func (h *host) lookAtInstance(ctx context.Context, i instance) instance {
	dir := h.instances.dir(i.ID)
	i.On = h.running(i.ID)
	if !i.On {
		i.PowerSince = offSince(dir)
		return i
	}
	i.PowerSince = modified(filepath.Join(dir, "qemu.pid"))
	if !i.StopBy.IsZero() {
		i.State, i.Detail = driver.Building, "powering off"
	}
	plugged, status, err := h.inspect(ctx, dir)
	if err != nil {
		i.Detail = "its monitor does not answer"
		return i
	}
	if status != "running" {
		i.Detail = status
	}
	missing := func(id string) bool { return !plugged[deviceName(id)] }
	i.DataVolumes = append(slices.DeleteFunc(i.DataVolumes, missing), h.still(i.Leaving, plugged, h.volumes.has)...)
	i.NICs = append(slices.DeleteFunc(i.NICs, missing), h.still(i.Leaving, plugged, h.nics.has)...)
	return i
}

// still picks what is plugged although it should have left.
func (h *host) still(leaving []string, plugged map[string]bool, kind func(string) bool) []string {
	var ids []string
	for _, id := range leaving {
		if plugged[deviceName(id)] && kind(id) {
			ids = append(ids, id)
		}
	}
	return ids
}

// Ensure takes the next step: make the record, or start, unplug, plug, power
// off, or power on again.
func (k instances) Ensure(ctx context.Context, want driver.Instance) (driver.Instance, error) {
	unlock, err := k.host.lock(ctx)
	if err != nil {
		return want, err
	}
	defer unlock()
	if err := k.admit(want); err != nil {
		return want, err
	}
	i, err := k.record(want)
	if err != nil {
		return want, err
	}
	if err := k.host.step(ctx, i, want); err != nil {
		return want, kindOf(err, "instance "+want.ID)
	}
	i, err = k.host.instances.get(want.ID)
	if err != nil {
		return want, err
	}
	have := k.host.lookAtInstance(ctx, i).Instance
	if have.State == driver.Ready && !have.Satisfies(want) {
		have.State = driver.Building
	}
	return have, nil
}

// admit checks what is wanted against the other machines.
func (k instances) admit(want driver.Instance) error {
	if want.VCPU < 1 || want.RAMGiB < 1 {
		return fault.Invalid.Errorf("an instance with %d processors and %d GiB", want.VCPU, want.RAMGiB)
	}
	if want.BootVolume == "" || slices.Contains(want.DataVolumes, want.BootVolume) {
		return fault.Invalid.Errorf("the boot volume must be one that is no data volume")
	}
	others, err := where(k.host.instances, func(i instance) bool { return i.ID != want.ID })
	if err != nil {
		return err
	}
	for _, o := range others {
		if want.AntiAffinity != "" && want.AntiAffinity == o.AntiAffinity {
			return fault.Unsupported.Errorf("group %q already has instance %s, and this platform is a single host", o.AntiAffinity, o.ID)
		}
		for _, v := range want.DataVolumes {
			if o.uses(v) {
				return fault.Conflict.Errorf("volume %s is attached to instance %s", v, o.ID)
			}
		}
		for _, n := range want.NICs {
			if slices.Contains(o.NICs, n) {
				return fault.Conflict.Errorf("card %s is in instance %s", n, o.ID)
			}
		}
	}
	return k.references(want)
}

func (k instances) references(want driver.Instance) error {
	for _, v := range append([]string{want.BootVolume}, want.DataVolumes...) {
		if _, err := k.host.volumes.need(v); err != nil {
			return err
		}
	}
	for _, n := range want.NICs {
		if _, err := k.host.nics.need(n); err != nil {
			return err
		}
	}
	return nil
}

// record writes what is wanted, and notes what has to be unplugged.
func (k instances) record(want driver.Instance) (instance, error) {
	have, err := k.host.instances.get(want.ID)
	if errors.Is(err, fault.Missing) {
		if err := k.host.admitMachine(want.ID, want.VCPU, want.RAMGiB); err != nil {
			return have, err
		}
		i := instance{Instance: want}
		return i, k.host.instances.create(i, nil)
	}
	if err != nil {
		return have, err
	}
	if want.VCPU > have.VCPU || want.RAMGiB > have.RAMGiB {
		if err := k.host.admitMachine(want.ID, want.VCPU, want.RAMGiB); err != nil {
			return have, err
		}
	}
	next := instance{Instance: want, StopBy: have.StopBy}
	next.Restarts = have.Restarts
	inherit(next.Base(), have.Base())
	if k.host.running(want.ID) {
		next.BootVolume = have.BootVolume
		next.Leaving = without(slices.Concat(have.Leaving, have.DataVolumes, have.NICs), slices.Concat(want.DataVolumes, want.NICs))
	}
	return next, k.host.instances.put(next)
}

// without returns the elements of all that are not in some.
func without(all, some []string) []string {
	var left []string
	for _, s := range all {
		if !slices.Contains(some, s) && !slices.Contains(left, s) {
			left = append(left, s)
		}
	}
	return left
}

// step brings a machine nearer to what is wanted.
func (h *host) step(ctx context.Context, i instance, want driver.Instance) error {
	restart := want.Restarts > i.Restarts
	switch running := h.running(i.ID); {
	case running && (!want.On || restart || !i.StopBy.IsZero()):
		return h.powerOff(ctx, i)
	case running:
		return h.replug(ctx, i)
	}
	// It is off. Restarts is written before the start: a crash in between must not
	// cost the guest a second restart.
	i.Restarts, i.StopBy, i.Leaving = max(i.Restarts, want.Restarts), time.Time{}, nil
	if err := h.instances.put(i); err != nil || !want.On {
		return err
	}
	return h.start(ctx, i)
}

// powerOff presses the machine's power button, and pulls the plug when the
// guest has had its time.
func (h *host) powerOff(ctx context.Context, i instance) error {
	if i.StopBy.IsZero() {
		i.StopBy = time.Now().UTC().Add(h.config.powerOff())
		if err := h.instances.put(i); err != nil {
			return err
		}
	}
	if time.Now().After(i.StopBy) {
		return kill(ctx, h.instances.dir(i.ID))
	}
	// The button is pressed at each call, because a guest that is still booting
	// does not notice. A monitor that does not answer is left to the deadline.
	if err := do(ctx, h.instances.dir(i.ID), "system_powerdown", nil, nil); err != nil {
		h.log.WarnContext(ctx, "power button not pressed", "instance", i.ID, "error", err)
	}
	return nil
}

// Delete pulls the plug and removes the machine. Its volumes stay.
func (k instances) Delete(ctx context.Context, id string) error {
	unlock, err := k.host.lock(ctx)
	if err != nil {
		return err
	}
	defer unlock()
	have, err := k.host.instances.get(id)
	if errors.Is(err, fault.Missing) {
		return nil
	}
	if err != nil {
		return err
	}
	if err := kill(ctx, k.host.instances.dir(id)); err != nil {
		return kindOf(err, "stop instance "+id)
	}
	if err := k.host.instances.remove(id); err != nil {
		return err
	}
	return k.host.applyNetworks(ctx, k.host.networksOf(have))
}

// networksOf names the networks that a machine's cards are in.
func (h *host) networksOf(i instance) []string {
	var networks []string
	for _, id := range i.NICs {
		n, err := h.nics.get(id)
		if err != nil {
			continue
		}
		if s, err := h.subnets.get(n.Subnet); err == nil {
			networks = append(networks, s.Network)
		}
	}
	return networks
}

func modified(path string) time.Time {
	info, err := os.Stat(path)
	if err != nil {
		return time.Time{}
	}
	return info.ModTime().UTC()
}

// offSince is when a machine was first seen to be off: nobody tells the time at
// which a process was killed. One that never ran has no such time.
func offSince(dir string) time.Time {
	if _, err := os.Stat(filepath.Join(dir, "run.lock")); err != nil {
		return time.Time{}
	}
	mark := filepath.Join(dir, "off")
	if f, err := os.OpenFile(mark, os.O_CREATE|os.O_EXCL, 0o600); err == nil {
		f.Close()
	}
	return modified(mark)
}
