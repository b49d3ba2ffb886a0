package openstack

import (
	"context"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/instanceactions"
	"github.com/gophercloud/gophercloud/v2/openstack/compute/v2/servers"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// power switches a machine, restarts it, and keeps the time of that.
func (a *account) power(ctx context.Context, s *servers.Server, have, want driver.Instance) (bool, error) {
	switch {
	case want.On && !have.On:
		return true, a.switchOn(ctx, s)
	case !want.On && have.On:
		return true, servers.Stop(ctx, a.compute, s.ID).ExtractErr()
	case want.Restarts > have.Restarts && have.On:
		return true, a.restart(ctx, s, want.Restarts)
	case want.Restarts > have.Restarts:
		return true, a.setMetadata(ctx, s, map[string]string{restartsKey: strconv.FormatInt(want.Restarts, 10)})
	case !strings.HasPrefix(s.Metadata[powerKey], onOff(have.On)+" "):
		return true, a.setMetadata(ctx, s, map[string]string{powerKey: onOff(have.On) + " " + have.PowerSince.Format(time.RFC3339)})
	}
	return false, nil
}

// switchOn ends whatever keeps a machine from running.
func (a *account) switchOn(ctx context.Context, s *servers.Server) error {
	switch s.Status {
	case "PAUSED":
		return servers.Unpause(ctx, a.compute, s.ID).ExtractErr()
	case "SUSPENDED":
		return servers.Resume(ctx, a.compute, s.ID).ExtractErr()
	case "SHELVED", "SHELVED_OFFLOADED":
		return servers.Unshelve(ctx, a.compute, s.ID, servers.UnshelveOpts{}).ExtractErr()
	}
	return servers.Start(ctx, a.compute, s.ID).ExtractErr()
}

// restart reboots a machine once for each value of the counter. Before the order
// it writes down what Nova's log of actions ended with: whoever comes after a crash
// sees by that log whether the order was given.
func (a *account) restart(ctx context.Context, s *servers.Server, n int64) error {
	all, err := pages(ctx, instanceactions.List(a.compute, s.ID, nil), instanceactions.ExtractInstanceActions)
	if err != nil {
		return err
	}
	value := strconv.FormatInt(n, 10)
	doing, before, _ := strings.Cut(s.Metadata[restartingKey], "/")
	if doing != value {
		last := ""
		if len(all) > 0 {
			last = all[0].RequestID
		}
		if err := a.setMetadata(ctx, s, map[string]string{restartingKey: value + "/" + last}); err != nil {
			return err
		}
		return a.reboot(ctx, s)
	}
	for _, action := range all { // the newest comes first
		if action.RequestID == before {
			break
		}
		if action.Action == "reboot" {
			at := action.StartTime.UTC().Truncate(time.Second).Format(time.RFC3339)
			return a.setMetadata(ctx, s, map[string]string{restartsKey: value, powerKey: "on " + at})
		}
	}
	return a.reboot(ctx, s)
}

// reboot asks the guest first; Nova forces it when it takes too long.
func (a *account) reboot(ctx context.Context, s *servers.Server) error {
	return servers.Reboot(ctx, a.compute, s.ID, servers.RebootOpts{Type: servers.SoftReboot}).ExtractErr()
}

// console returns the end of what a machine wrote to its serial console. Nova
// counts in lines, none of which is shorter than a byte.
func (a *account) console(ctx context.Context, id string, tail int) ([]byte, error) {
	s, err := a.serverTable().find(ctx, id)
	if err != nil {
		return nil, kindOf(err, "find instance "+id)
	}
	if s == nil {
		return nil, fault.Missing.Errorf("instance %s does not exist", id)
	}
	text, err := servers.ShowConsoleOutput(ctx, a.compute, s.ID, servers.ShowConsoleOutputOpts{Length: max(tail, 1)}).Extract()
	if isCode(err, http.StatusNotFound) {
		return nil, fault.Conflict.Errorf("instance %s has no console while it is %s", id, strings.ToLower(s.Status))
	}
	if err != nil {
		return nil, kindOf(err, "read the console of instance "+id)
	}
	return []byte(text[max(0, len(text)-max(0, tail)):]), nil
}
