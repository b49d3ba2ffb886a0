package openstack

import (
	"context"
	"maps"
	"slices"
	"strconv"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/blockstorage/v3/volumes"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/ports"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// Keys of a server's metadata beside its note.
const (
	restartsKey   = "kontor_restarts"   // the last value that was acted on
	restartingKey = "kontor_restarting" // "N/REQUEST": N is being acted on, and REQUEST was the last action before that
	powerKey      = "kontor_power"      // "on TIME" or "off TIME"
)

// serverTable's mark is in the metadata, by which Nova cannot filter; tags, which
// it can filter by, say the same.
func (a *account) serverTable() table[servers.Server] {
	return table[servers.Server]{
		a: a, kind: "instance",
		list: func(ctx context.Context, mark string) ([]servers.Server, error) {
			o := servers.ListOpts{Limit: pageSize}
			if speaks(a.compute, "2.52") { // tags given when a server is made
				o.Tags = digest(a.ownerMark())
				if mark != "" {
					o.Tags = digest(mark)
				}
			}
			return pages(ctx, servers.List(a.compute, o), servers.ExtractServers)
		},
		record: func(s *servers.Server) record { return record{s.ID, s.Metadata[markKey], s.Created} },
		drop: func(ctx context.Context, native string) error {
			return servers.Delete(ctx, a.compute, native).ExtractErr()
		},
	}
}

// A rig is what servers have in them: by native id of the server, the ids of cards
// and volumes.
type rig struct {
	cards   map[string][]string
	volumes map[string]string // id by native id
}

func (a *account) instanceKeeper() driver.Keeper[driver.Instance] {
	t := a.serverTable()
	return keeper[driver.Instance, *driver.Instance]{
		a: a, kind: t.kind, ensure: a.ensureInstance, remove: a.removeInstance,
		list: func(ctx context.Context) ([]driver.Instance, error) {
			all, doubled, err := t.all(ctx)
			if err != nil || len(all) == 0 {
				return nil, err
			}
			g, err := a.rig(ctx)
			if err != nil {
				return nil, err
			}
			var out []driver.Instance
			for id, s := range all {
				have := viewServer(id, s, g)
				doubt(&have.Meta, doubled[id])
				out = append(out, have)
			}
			return out, nil
		},
	}
}

func (a *account) rig(ctx context.Context) (g rig, err error) {
	list, err := a.portTable().list(ctx, "")
	if err != nil {
		return g, err
	}
	g.cards = a.cardsBy(list)
	g.volumes, err = a.volumeTable().ids(ctx)
	return g, err
}

func (a *account) cardsBy(list []ports.Port) map[string][]string {
	cards := map[string][]string{}
	for _, p := range list {
		if id := a.idIn(p.Description, "nic"); id != "" && p.DeviceID != "" {
			cards[p.DeviceID] = append(cards[p.DeviceID], id)
		}
	}
	return cards
}

// viewServer tells what is so, in the order of the note.
func viewServer(id string, s servers.Server, g rig) (have driver.Instance) {
	readMetadata(s.Metadata, &have)
	have.ID, have.Native = id, s.ID
	var attached []string
	for _, v := range s.AttachedVolumes {
		if vol := g.volumes[v.ID]; vol != "" && vol != have.BootVolume {
			attached = append(attached, vol)
		}
	}
	have.DataVolumes = inOrder(attached, have.DataVolumes)
	have.NICs = inOrder(g.cards[s.ID], have.NICs)
	have.On = isOn(s)
	have.Restarts, _ = strconv.ParseInt(s.Metadata[restartsKey], 10, 64) // 0 if somebody took it away
	have.PowerSince = powerSince(s)
	have.State, have.Detail = stateOf(s)
	return have
}

// isOn reports whether a machine runs. One that is on its way there, or back, does
// not count as what it was.
func isOn(s servers.Server) bool {
	return s.Status == "ACTIVE" && s.TaskState != "powering-off" || s.Status == "REBOOT" || s.Status == "HARD_REBOOT"
}

// off are the states in which a machine does not run and can be made to.
var off = []string{"SHUTOFF", "PAUSED", "SUSPENDED", "SHELVED", "SHELVED_OFFLOADED"}

func stateOf(s servers.Server) (driver.State, string) {
	switch {
	case s.Status == "ERROR":
		return driver.Failed, "Nova says: " + s.Fault.Message
	case s.Status == "DELETED", s.Status == "SOFT_DELETED", s.TaskState == "deleting":
		return driver.Leaving, ""
	case s.TaskState != "":
		return driver.Building, s.TaskState
	case s.Status == "ACTIVE", slices.Contains(off, s.Status):
		if s.Status != "ACTIVE" && s.Status != "SHUTOFF" {
			return driver.Ready, strings.ToLower(s.Status)
		}
		return driver.Ready, ""
	}
	return driver.Building, strings.ToLower(s.Status)
}

// powerSince is when the machine was last switched. Nova tells no such time: it
// is kept in the metadata, and until it is there, the last change is the best guess.
func powerSince(s servers.Server) time.Time {
	state, text, _ := strings.Cut(s.Metadata[powerKey], " ")
	if at, err := time.Parse(time.RFC3339, text); err == nil && state == onOff(isOn(s)) {
		return at
	}
	return s.Updated.UTC().Truncate(time.Second)
}

func onOff(on bool) string {
	if on {
		return "on"
	}
	return "off"
}

func (a *account) ensureInstance(ctx context.Context, want driver.Instance) (driver.Instance, error) {
	if want.BootVolume == "" || slices.Contains(want.DataVolumes, want.BootVolume) {
		return want, fault.Invalid.Errorf("the boot volume must be one that is no data volume")
	}
	s, err := a.serverTable().single(ctx, want.ID)
	if err != nil {
		return want, err
	}
	if s == nil {
		return a.createServer(ctx, want)
	}
	if s.Status == "ERROR" && s.LaunchedAt.IsZero() {
		return want, a.giveUp(ctx, s, want)
	}
	g, disks, err := a.rigOf(ctx, s, want)
	if err != nil {
		return want, err
	}
	have := viewServer(want.ID, *s, g)
	if have.State != driver.Ready {
		return have, nil
	}
	if err := keeps(have, want); err != nil {
		return have, err
	}
	changed, err := a.step(ctx, s, have, want, disks)
	if changed {
		have.State, have.Detail = driver.Building, "changing"
	}
	return have, err
}

// keeps refuses what would need another machine.
func keeps(have, want driver.Instance) error {
	switch {
	case have.SKU != want.SKU:
		return fault.Unsupported.Errorf("a machine keeps its size, %s", have.SKU)
	case have.BootVolume != want.BootVolume:
		return fault.Unsupported.Errorf("a machine keeps its boot volume, %s", have.BootVolume)
	}
	return nil
}

// giveUp removes a server that never ran: what it was to be started from is as
// it was, and the next try makes another. Why it came to nothing is not in Nova's
// list when the server never came to a host.
func (a *account) giveUp(ctx context.Context, s *servers.Server, want driver.Instance) error {
	told, err := servers.Get(ctx, a.compute, s.ID).Extract()
	if err != nil {
		return err
	}
	if err := unlessGone(a.serverTable().drop(ctx, s.ID)); err != nil {
		return err
	}
	if strings.Contains(told.Fault.Message, "No valid host") {
		return fault.Exhausted.Errorf("no host has room for instance %s: %s", want.ID, told.Fault.Message)
	}
	hint := ""
	if told.ConfigDrive {
		hint = " (it asked for a config drive: if the cloud's hosts make none, the driver's configuration has to say configDrive: false)"
	}
	return fault.Unavailable.Errorf("Nova could not start instance %s: %s%s", want.ID, told.Fault.Message, hint)
}

// rigOf finds what one server has, and the native ids of the data volumes that
// it is to have.
func (a *account) rigOf(ctx context.Context, s *servers.Server, want driver.Instance) (g rig, disks map[string]string, err error) {
	list, err := pages(ctx, ports.List(a.network, ports.ListOpts{DeviceID: s.ID, Limit: pageSize}), ports.ExtractPorts)
	if err != nil {
		return g, nil, err
	}
	g = rig{cards: a.cardsBy(list), volumes: map[string]string{}}
	disks = map[string]string{}
	for _, id := range append([]string{want.BootVolume}, want.DataVolumes...) {
		native, err := a.volumeTable().need(ctx, id)
		if err != nil {
			return g, nil, err
		}
		g.volumes[native], disks[id] = id, native
	}
	for _, v := range s.AttachedVolumes {
		if g.volumes[v.ID] != "" {
			continue
		}
		other, err := volumes.Get(ctx, a.volume, v.ID).Extract()
		if unlessGone(err) != nil {
			return g, nil, err
		}
		if err == nil {
			g.volumes[v.ID] = a.idIn(other.Metadata[markKey], "volume")
		}
	}
	return g, disks, nil
}

// step brings a machine nearer to what is wanted, and reports whether it had to.
func (a *account) step(ctx context.Context, s *servers.Server, have, want driver.Instance, disks map[string]string) (bool, error) {
	if done, err := a.describeServer(ctx, s, want); done || err != nil {
		return true, err
	}
	if done, err := a.replugVolumes(ctx, s, have, want, disks); done || err != nil {
		return true, err
	}
	if done, err := a.replugCards(ctx, s, have, want); done || err != nil {
		return true, err
	}
	return a.power(ctx, s, have, want)
}

// notedInstance is a machine as its note has it. What may be secret is not in
// it, and power and restarts have keys of their own.
func notedInstance(i driver.Instance) driver.Instance {
	i.Meta, i.SSHKeys, i.UserData = plain(i.Meta), nil, ""
	i.On, i.Restarts, i.PowerSince = false, 0, time.Time{}
	return i
}

func (a *account) describeServer(ctx context.Context, s *servers.Server, want driver.Instance) (bool, error) {
	meta := a.metadataOf("instance", want.ID, notedInstance(want))
	if noted(s.Metadata, meta) {
		return false, nil
	}
	return true, a.setMetadata(ctx, s, meta)
}

func (a *account) setMetadata(ctx context.Context, s *servers.Server, meta map[string]string) error {
	maps.Copy(s.Metadata, meta)
	return servers.UpdateMetadata(ctx, a.compute, s.ID, servers.MetadataOpts(meta)).Err
}

func (a *account) removeInstance(ctx context.Context, id string) error {
	all, err := a.serverTable().some(ctx, id)
	if err != nil {
		return err
	}
	if err := a.leaveGroups(ctx, all); err != nil {
		return err
	}
	for _, s := range all {
		if s.TaskState == "deleting" {
			continue
		}
		if err := unlessGone(a.serverTable().drop(ctx, s.ID)); err != nil {
			return err
		}
	}
	return nil
}
