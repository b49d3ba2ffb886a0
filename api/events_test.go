package api

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/wire"
)

const (
	eventsPath     = region + "kontor.exchange" + acme + "/events"
	shopEventsPath = region + "kontor.exchange" + shop + "/events"
)

// A listened event, as it came.
type listened struct {
	id, name string
	event
}

// listen opens a stream and passes on what comes until the test ends. The
// channel closes when the stream does.
func (w *world) listen(as, path, last string) (events <-chan listened, stop func()) {
	w.t.Helper()
	ctx, cancel := context.WithCancel(context.Background())
	r, err := http.NewRequestWithContext(ctx, "GET", w.http.URL+path, nil)
	check(w.t, err)
	r.Header.Set("Authorization", "Bearer "+w.token[as])
	if last != "" {
		r.Header.Set("Last-Event-ID", last)
	}
	resp, err := http.DefaultClient.Do(r)
	check(w.t, err)
	w.t.Cleanup(func() { cancel(); resp.Body.Close() })
	if resp.StatusCode != 200 || resp.Header.Get("Content-Type") != "text/event-stream" {
		w.t.Fatalf("%s: %s", path, resp.Status)
	}
	out := make(chan listened, 1000)
	go func() {
		defer close(out)
		var e listened
		for lines := bufio.NewScanner(resp.Body); lines.Scan(); {
			field, value, _ := strings.Cut(lines.Text(), ": ")
			switch field {
			case "id":
				e.id = value
			case "event":
				e.name = value
			case "data":
				if json.Unmarshal([]byte(value), &e.event) != nil {
					e.name = "broken"
				}
			case "":
				out <- e
				e = listened{}
			}
		}
	}()
	return out, cancel
}

// next waits for the next event of a name, and skips others.
func (w *world) next(events <-chan listened, name string) listened {
	w.t.Helper()
	for end := time.After(20 * time.Second); ; {
		select {
		case e, ok := <-events:
			if !ok {
				w.t.Fatalf("the stream ended before %s", name)
			}
			if e.name == name {
				return e
			}
		case <-end:
			w.t.Fatalf("no event %s", name)
		}
	}
}

// told collects states until all that is there is told.
func (w *world) told(events <-chan listened) (all []string, last string) {
	w.t.Helper()
	for end := time.After(20 * time.Second); ; {
		select {
		case e, ok := <-events:
			switch {
			case !ok:
				w.t.Fatal("the stream ended")
			case e.name == "current":
				return all, e.id
			default:
				all = append(all, strings.TrimSpace(fmt.Sprint(e.name, " ", e.Kind, " ", e.Name, " ", e.State)))
			}
		case <-end:
			w.t.Fatal("it is never said that all is told")
		}
	}
}

func (w *world) observed(name string, state seca.State, presence wire.Presence) {
	w.t.Helper()
	for _, r := range w.wanted() {
		if strings.HasSuffix(r.URN, "/"+name) {
			_, err := w.Resources.Observe(w.t.Context(), "r1", []wire.Observation{{ID: r.ID, Generation: r.Generation, State: state, Presence: presence}})
			check(w.t, err)
			return
		}
	}
	w.t.Fatal("nobody wants ", name)
}

func (w *world) wanted() []wire.Resource {
	all, _, err := w.Resources.Follow(w.t.Context(), "r1", 0, wire.MaxChanges)
	check(w.t, err)
	return all
}

const diskPath = region + "seca.storage" + shop + "/block-storages/disk"

func TestEventsTellWhatHappens(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.ok("acme-admin", "PUT", region+"seca.workspace"+shop, `{"spec":null}`)
		events, stop := w.listen("acme-admin", eventsPath, "")
		began := w.next(events, "current").id
		states := func(want ...seca.State) (last listened) {
			t.Helper()
			for _, s := range want {
				for last = w.next(events, "state"); last.Name != "disk" || last.State != s; last = w.next(events, "state") {
					if last.Name == "disk" {
						t.Fatalf("disk is %s, want %s", last.State, s)
					}
				}
			}
			return last
		}
		w.ok("acme-admin", "PUT", diskPath, aVolume)
		states(seca.Pending)
		w.observed("disk", seca.Active, wire.Present)
		active := states(seca.Active)
		w.ok("acme-admin", "DELETE", diskPath, "")
		states(seca.Deleting)
		w.observed("disk", seca.Deleting, wire.Absent)
		states(gone)
		w.ok("acme-admin", "DELETE", region+"seca.workspace"+shop, "")
		if e := w.next(events, "state"); e.Kind != "workspace" || e.State != gone {
			t.Errorf("the workspace is %s %s", e.Kind, e.State)
		}
		stop()
		for last, want := range map[string]string{
			active.id:       "state block-storage disk gone, state workspace shop gone",
			began:           "state block-storage disk gone, state workspace shop gone",
			"0":             "",
			"RESTORED.1000": "reset",
		} {
			events, stop := w.listen("acme-admin", eventsPath, last)
			if all, _ := w.told(events); strings.Join(all, ", ") != want {
				t.Errorf("after %s: %v, want %s", last, all, want)
			}
			stop()
		}
		if status, _ := w.do("acme-admin", "GET", eventsPath+"?since=yesterday", ""); status != 400 {
			t.Errorf("since yesterday: %d", status)
		}
	})
}

func TestEventsAreForThoseWhoMayRead(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		w.fill()
		for _, path := range []string{eventsPath, shopEventsPath, strings.Replace(eventsPath, "acme", "zeta%2F..%2Facme", 1)} {
			for as, want := range map[string]int{"zeta-admin": 403, "op": 403, "": 401} {
				if status, body := w.do(as, "GET", path+"?since=0", ""); status != want || strings.Contains(body, "disk") {
					t.Errorf("%s as %q: %d, want %d", path, as, status, want)
				}
			}
		}
		zeta, _ := w.listen("zeta-admin", region+"kontor.exchange/v1/tenants/zeta/events", "0")
		if all, _ := w.told(zeta); len(all) > 0 {
			t.Errorf("another tenant is told %v", all)
		}
		// A member who may read instances alone.
		check(t, w.Tenants.AddMember(t.Context(), "acme", "zeta-admin"))
		w.ok("acme-admin", "PUT", "/providers/seca.authorization"+acme+"/role-assignments/zeta",
			`{"spec":{"subs":["zeta-admin"],"scopes":[{"tenants":["acme"]}],"roles":["reader"]}}`)
		var some []string
		soon(t, "the role", func() bool {
			events, stop := w.listen("zeta-admin", eventsPath, "0")
			defer stop()
			some, _ = w.told(events)
			return len(some) > 0
		})
		if got := strings.Join(some, ", "); got != "state instance vm pending" {
			t.Errorf("a reader of instances is told %s", got)
		}
		// All of it, and of the workspace alone, for who may read it.
		events, _ := w.listen("acme-admin", eventsPath, "0")
		all, _ := w.told(events)
		events, _ = w.listen("acme-admin", shopEventsPath, "0")
		within, _ := w.told(events)
		if len(all) != 12 || len(within) != 11 {
			t.Errorf("told of %d resources, %d of them in the workspace: %v", len(all), len(within), all)
		}
		// Who may not read any more is told nothing more.
		events, _ = w.listen("zeta-admin", eventsPath, "")
		w.next(events, "current")
		w.ok("acme-admin", "DELETE", "/providers/seca.authorization"+acme+"/role-assignments/zeta", "")
		w.observed("vm", seca.Active, wire.Present)
		w.observed("disk", seca.Active, wire.Present)
		mine, _ := w.listen("acme-admin", eventsPath, "")
		w.next(mine, "current")
		w.observed("net", seca.Active, wire.Present)
		w.next(mine, "state")
		select {
		case e := <-events:
			t.Errorf("told of %s", e.Name)
		default:
		}
	})
}

func TestStreamsAreCounted(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		var stops []func()
		for range maxStreams {
			_, stop := w.listen("acme-admin", eventsPath, "")
			stops = append(stops, stop)
		}
		if status, _ := w.do("acme-admin", "GET", eventsPath, ""); status != 429 {
			t.Errorf("one more: %d", status)
		}
		other, _ := w.listen("zeta-admin", strings.Replace(eventsPath, "acme", "zeta", 1), "")
		w.next(other, "current")
		for _, stop := range stops {
			stop()
		}
		soon(t, "streams to be free again", func() bool {
			w.streams.mu.Lock()
			defer w.streams.mu.Unlock()
			return w.streams.by["acme-admin"] == 0
		})
	})
}

// TestEventsOfAnotherProcess has a client of one process hear what another does,
// and go on there.
func TestEventsOfAnotherProcess(t *testing.T) {
	one, two := replicas(t)
	connect(t, one, two)
	one.ok("acme-admin", "PUT", region+"seca.workspace"+shop, `{"spec":null}`)
	events, stop := two.listen("acme-admin", eventsPath, "")
	two.next(events, "current")
	one.ok("acme-admin", "PUT", diskPath, aVolume)
	e := two.next(events, "state")
	if e.Name != "disk" || e.State != seca.Pending {
		t.Errorf("told of %s %s", e.Name, e.State)
	}
	stop()
	two.observed("disk", seca.Active, wire.Present)
	events, _ = one.listen("acme-admin", eventsPath, e.id)
	if all, _ := one.told(events); strings.Join(all, ", ") != "state block-storage disk active" {
		t.Errorf("at the other process: %v", all)
	}
}

// TestStreamsEndWhenTheProcessGoes, so that a balancer sends their readers elsewhere.
func TestStreamsEndWhenTheProcessGoes(t *testing.T) {
	each(t, func(t *testing.T, w *world) {
		leaving := make(chan struct{})
		w.Leaving = leaving
		events, _ := w.listen("acme-admin", eventsPath, "")
		w.next(events, "current")
		close(leaving)
		select {
		case _, open := <-events:
			if open {
				t.Error("something is told")
			}
		case <-time.After(20 * time.Second):
			t.Error("the stream goes on")
		}
	})
}

// A sluggish client takes nothing until its deadline.
type sluggish struct {
	http.ResponseWriter
	deadline time.Time
}

func (s *sluggish) SetWriteDeadline(t time.Time) error { s.deadline = t; return nil }
func (s *sluggish) FlushError() error                  { return nil }

func (s *sluggish) Write([]byte) (int, error) {
	time.Sleep(time.Until(s.deadline))
	return 0, os.ErrDeadlineExceeded
}

// TestASlowReaderIsLetGo: he holds a stream for a moment, and memory never.
func TestASlowReaderIsLetGo(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		w := &sluggish{}
		r := &reader{w: w, out: http.NewResponseController(w)}
		began := time.Now()
		if err := r.send("data: {}\n\n"); !errors.Is(err, os.ErrDeadlineExceeded) {
			t.Errorf("sent: %v", err)
		}
		if took := time.Since(began); took != slowest {
			t.Errorf("he is waited for %v", took)
		}
	})
}
