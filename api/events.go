package api

import (
	"context"
	"encoding/json"
	"fmt"
	"net/http"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/tenant"
)

// Events are what happens to a tenant's resources in a region, as server-sent
// events. Each tells how a resource is now, and its id is a place in the
// region's feed from which a reader can go on, also at another process. What changes
// twice between two looks is told once: nothing is kept for who reads slowly.

const (
	heartbeat    = 15 * time.Second // between signs of life
	slowest      = 10 * time.Second // for a reader to take what he is sent
	lookAnyway   = 5 * time.Second  // where a hint may have been lost
	gatherEvents = 50 * time.Millisecond
	restShare    = 20  // of the time that a look takes, before the next
	maxStreams   = 16  // of one account, at one process
	maxEvents    = 500 // sent at once
)

// An event is the data of one server-sent event.
type event struct {
	Region   string     `json:"region"`
	Kind     string     `json:"kind"`
	Resource string     `json:"resource"` // URN
	Name     string     `json:"name"`
	State    seca.State `json:"state"` // as in the resource's status, or gone
	Reason   string     `json:"reason,omitempty"`
	Message  string     `json:"message,omitempty"`
	Power    seca.Power `json:"power,omitempty"`
	Version  int64      `json:"resourceVersion"`
	At       time.Time  `json:"at"`
}

const gone seca.State = "gone"

func eventOf(r *resource.Resource) event {
	e := event{
		Region: r.Region, Kind: r.Kind.Name, Resource: r.URN.String(), Name: r.URN.Name, State: r.State,
		Power: r.Power, Version: r.Version, At: r.ModifiedAt, Message: r.Observed.Message, Reason: r.Observed.Reason,
	}
	if !r.GoneAt.IsZero() {
		e.State, e.Reason, e.Message = gone, "", ""
	}
	return e
}

// lasting reports whether a route answers for as long as its client likes.
func (r route) lasting() bool { return strings.HasSuffix(r.path, "/events") }

// streams counts who reads events here.
type streams struct {
	mu sync.Mutex
	by map[string]int
}

func (s *streams) enter(account string) error {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by[account] >= maxStreams {
		return fault.Exhausted.Errorf("%s reads %d event streams already", account, maxStreams)
	}
	if s.by == nil {
		s.by = map[string]int{}
	}
	s.by[account]++
	return nil
}

func (s *streams) leave(account string) {
	s.mu.Lock()
	defer s.mu.Unlock()
	if s.by[account]--; s.by[account] == 0 {
		delete(s.by, account)
	}
}

// events answers with a stream that goes on after the header Last-Event-ID, or the
// parameter since; by default it begins now, and 0 is before everything that is there.
func (c *call) events() (reply, error) {
	if err := c.wellFormed(false); err != nil {
		return reply{}, err
	}
	if c.req.Method == http.MethodHead {
		return reply{status: http.StatusOK}, nil
	}
	r := &reader{call: c}
	after := c.req.Header.Get("Last-Event-ID")
	if after == "" {
		after = c.req.URL.Query().Get("since")
	}
	if err := r.begin(after); err != nil {
		return reply{}, err
	}
	if err := c.server.streams.enter(c.who.Subject); err != nil {
		return reply{}, err
	}
	return reply{stream: func(w http.ResponseWriter) {
		defer c.server.streams.leave(c.who.Subject)
		if err := r.run(w); err != nil {
			c.server.log.DebugContext(c.ctx, "event stream ended", "request", requestID(c.ctx), "error", err)
		}
	}}, nil
}

// A reader is one open stream.
type reader struct {
	*call
	since int64
	reset bool // the place that the client named is of a database that is no more
	out   *http.ResponseController
	w     http.ResponseWriter
}

// begin reads where to go on: EPOCH.REVISION, as in an id, or 0.
func (r *reader) begin(after string) (err error) {
	switch epoch, revision, full := strings.Cut(after, "."); {
	case after == "0":
		return nil
	case after != "" && !full:
		return fault.Parameter(fault.Malformed.Errorf("since must be 0 or the id of an event, not %q", clip(after, 64)), "since")
	case after != "" && epoch == r.server.Providers.Epoch:
		if r.since, err = strconv.ParseInt(revision, 10, 64); err == nil && r.since >= 0 {
			return nil
		}
		return fault.Parameter(fault.Malformed.Errorf("%q is not the id of an event", clip(after, 64)), "since")
	case after != "":
		r.reset = true
		return nil
	}
	feed := r.region.Name
	if r.virtual != nil {
		feed = resource.ShownFeed(feed, r.at.Tenant)
	}
	r.since, err = r.server.Resources.Head(r.ctx, feed)
	return err
}

// run sends until the client goes, may not read any more, or is to go elsewhere.
func (r *reader) run(w http.ResponseWriter) error {
	r.w, r.out = w, http.NewResponseController(w)
	if err := r.out.SetReadDeadline(time.Time{}); err != nil {
		return err
	}
	w.Header().Set("Content-Type", "text/event-stream")
	w.Header().Set("X-Accel-Buffering", "no") // nginx
	w.WriteHeader(http.StatusOK)
	if r.reset {
		if err := r.send("event: reset\ndata: {}\n\n"); err != nil {
			return err
		}
	}
	told := false // that all is sent that was there at first
	for beat := time.Now(); ; {
		touched := r.server.Resources.Touched(r.region.Name, r.at.Tenant)
		began := time.Now()
		more, err := r.look()
		if err != nil {
			return err
		}
		if !more && !told {
			told = true
			err = r.send(fmt.Sprintf("event: current\nid: %s\ndata: {}\n\n", r.place()))
		} else if time.Since(beat) >= heartbeat {
			err = r.send(": alive\n\n")
			beat = time.Now()
		}
		if err != nil {
			return err
		}
		if !r.rest(touched, more, restShare*time.Since(began)) {
			return nil
		}
	}
}

// rest waits until another look is worth it, and reports whether to go on.
func (r *reader) rest(touched <-chan struct{}, more bool, pause time.Duration) bool {
	if !r.pause(nil, max(gatherEvents, pause)) {
		return false
	}
	if more {
		return true
	}
	return r.pause(touched, lookAnyway)
}

// pause waits, also for a wake-up if there is one.
func (r *reader) pause(wake <-chan struct{}, d time.Duration) bool {
	t := time.NewTimer(d)
	defer t.Stop()
	select {
	case <-t.C:
	case <-wake:
	case <-r.ctx.Done():
		return false
	case <-r.server.Leaving:
		return false
	case <-r.server.Stop:
		return false
	}
	return true
}

// look sends what has changed, of what the caller may read at this moment.
func (r *reader) look() (more bool, err error) {
	ctx, cancel := context.WithTimeout(r.ctx, maxTime)
	defer cancel()
	look := *r.call
	look.ctx = ctx
	if err := look.authenticate(permission{member: true}); err != nil {
		return false, err
	}
	if err := look.authorize(permission{member: true}); err != nil {
		return false, err
	}
	all, next, more, err := r.server.Resources.Since(ctx, r.region.Name, r.at.Tenant, r.at.Workspace, r.since, maxEvents)
	if err != nil {
		return false, err
	}
	var text strings.Builder
	for i, x := range all {
		may, err := look.mayRead(x)
		if err != nil {
			return false, err
		}
		if !may {
			continue
		}
		b, err := json.Marshal(eventOf(x))
		if err != nil {
			return false, err
		}
		// Only the last of a revision may be gone on after.
		if i+1 == len(all) || all[i+1].Revision != x.Revision {
			fmt.Fprintf(&text, "id: %s.%d\n", r.server.Providers.Epoch, x.Revision)
		}
		fmt.Fprintf(&text, "event: state\ndata: %s\n\n", b)
	}
	r.since = next
	if text.Len() == 0 {
		return more, nil
	}
	return more, r.send(text.String())
}

func (r *reader) place() string {
	return r.server.Providers.Epoch + "." + strconv.FormatInt(r.since, 10)
}

// send writes to a reader who must take it in time.
func (r *reader) send(text string) error {
	if err := r.out.SetWriteDeadline(time.Now().Add(slowest)); err != nil {
		return err
	}
	if _, err := r.w.Write([]byte(text)); err != nil {
		return err
	}
	return r.out.Flush()
}

// mayRead reports whether the caller could get a resource by its path.
func (c *call) mayRead(r *resource.Resource) (bool, error) {
	grants, err := c.server.access.of(c, r.URN.Tenant)
	if err != nil {
		return false, err
	}
	return tenant.Allowed(c.who, grants.assignments, grants.roles, tenant.Request{
		Provider: r.Kind.Provider, Version: "v1", Tenant: r.URN.Tenant, Region: r.Region, Workspace: r.Workspace(),
		Resource: r.Kind.InPermissions(r.URN), Verb: "get",
	}), nil
}
