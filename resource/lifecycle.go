package resource

import (
	"bytes"
	"time"

	"github.com/kontor-cloud/kontor/failpoint"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/wire"
)

const maxConditions = 32 // SECA's limit

// push records a transition. The log is part of the contract: every transition
// is exactly one entry, none is skipped, and times never run backwards.
func (r *Resource) push(s seca.State, reason, message string, now time.Time) {
	r.State = s
	r.Log.push(seca.Condition{State: s, LastTransitionAt: now.UTC().Truncate(time.Microsecond), Type: "Lifecycle", Reason: reason, Message: message})
	r.entries++
}

// accept starts the life of a new resource. What no agent has to make real
// is active at once.
func (r *Resource) accept(now time.Time) {
	r.push(seca.Pending, "Accepted", "", now)
	if !r.Kind.Kept {
		r.settle(now)
	}
}

// change starts an update. One that is still being created goes on as it is.
func (r *Resource) change(reason string, now time.Time) {
	switch r.State {
	case seca.Active:
		r.push(seca.Updating, reason, "", now)
	case seca.Error:
		r.push(r.retrying(), reason, "", now)
	default: // on its way already
	}
	if !r.Kind.Kept {
		r.settle(now)
	}
}

// settle brings r to active through every state on the way.
func (r *Resource) settle(now time.Time) {
	switch r.State {
	case seca.Active:
		return
	case seca.Pending:
		r.push(seca.Creating, "Provisioning", "", now)
	case seca.Error:
		r.push(r.retrying(), "Retried", "", now)
	default: // one step from it
	}
	reason := "Provisioned"
	if r.State == seca.Updating {
		reason = "Updated"
	}
	r.push(seca.Active, reason, "", now)
	r.Observed.Lived = true
}

func (r *Resource) retrying() seca.State {
	if r.Observed.Lived {
		return seca.Updating
	}
	return seca.Creating
}

// leave accepts a deletion.
func (r *Resource) leave(now time.Time) {
	r.push(seca.Deleting, "DeletionRequested", "", now)
	r.DeletedAt = now
}

// act applies a power action to what is wanted, judged by what is wanted: the
// machine itself may lag behind.
func (r *Resource) act(action string, now time.Time) error {
	if r.Leaving() {
		return fault.Conflict.Errorf("instance %s is being deleted", r.URN.Name)
	}
	if r.State == seca.Pending || r.State == seca.Creating {
		return fault.Conflict.Errorf("instance %s is %s; wait until it is active", r.URN.Name, r.State)
	}
	on := r.Power == seca.On
	switch {
	case action == "start" && on:
		return fault.Conflict.Errorf("instance %s is already on", r.URN.Name)
	case action != "start" && !on:
		return fault.Conflict.Errorf("instance %s is off; start it first", r.URN.Name)
	}
	switch action {
	case "start":
		r.Power = seca.On
	case "stop":
		r.Power = seca.Off
	case "restart":
		r.Restarts++
	default:
		return fault.Missing.Errorf("no action %q", action)
	}
	r.change(actionReasons[action], now)
	return nil
}

var actionReasons = map[string]string{"start": "Starting", "stop": "Stopping", "restart": "Restarting"}

// observe applies what an agent says, and reports whether anything changed.
func (r *Resource) observe(o wire.Observation, now time.Time) bool {
	if r.Observed.knows(o) && !failpoint.Off(failpoint.Order) {
		return false
	}
	before, entries := r.Observed, r.entries
	status := r.Status
	r.Observed.Presence, r.Observed.Reason, r.Observed.Message = o.Presence, o.Reason, o.Message
	if o.Presence != wire.Unknown {
		r.learn(o)
		r.transition(o, now)
	}
	changed := r.entries != entries || !r.GoneAt.IsZero() ||
		!r.Observed.equal(before) || !bytes.Equal(status, r.Status)
	if changed || o.Life == r.Observed.Life { // an agent that started anew says much that is no news
		r.Observed.heard(o)
	}
	return changed || o.Life != "" && o.Life == before.Life
}

// learn takes over what the platform says about the thing itself.
func (r *Resource) learn(o wire.Observation) {
	if o.Native != "" {
		r.Observed.Native = o.Native
	}
	if o.Presence == wire.Present {
		r.Observed.Forwards = o.Forwards
	}
	if len(o.Status) > 0 && !bytes.Equal(o.Status, []byte("null")) {
		r.Status = o.Status
	}
}

// transition moves r through its states. An observation of an older generation
// says nothing about what is wanted now.
func (r *Resource) transition(o wire.Observation, now time.Time) {
	current := o.Generation >= r.Generation
	switch {
	case r.Leaving():
		if current && o.Presence == wire.Absent {
			r.GoneAt = now
		}
	case o.State == seca.Creating && r.State == seca.Pending:
		r.push(seca.Creating, "Provisioning", "", now)
	case (o.State == seca.Creating || o.State == seca.Updating) && r.State == seca.Error && current:
		r.push(r.retrying(), "Retried", "", now)
	case (o.State == seca.Creating || o.State == seca.Updating) && r.State == seca.Active && current:
		r.push(seca.Updating, reasonOr(o.Reason, "Repairing"), o.Message, now)
	case o.State == seca.Active && current:
		r.settle(now)
	case o.State == seca.Error && current && r.State != seca.Error:
		r.push(seca.Error, reasonOr(o.Reason, "Failed"), o.Message, now)
	}
}

func reasonOr(reason, otherwise string) string {
	if reason == "" {
		return otherwise
	}
	return reason
}
