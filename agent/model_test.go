package agent

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"testing"
	"testing/synctest"
	"time"

	"pgregory.net/rapid"

	"github.com/kontor-cloud/kontor/driver/fake"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/wire"
)

// A move is one thing that happens to a region: an order of a customer, a
// fault, or a restart.
type move struct {
	What string
	N    int
}

var whats = []string{
	"put", "put", "put", "put", "put", "put", "grow", "power", "power", "restart vm", "delete", "delete", "wait", "wait",
	"fail", "lose answers", "throttle", "outage", "calm", "vanish", "restart agent", "exchange down", "exchange up", "reset",
}

// A world is the model: what is wanted, by name, and what was lost.
type world struct {
	*office
	platform *fake.Platform
	dir      string
	stop     func() error

	id      map[string]string // by name, of what is wanted and not being deleted
	leaving map[string]string
	lost    map[string]bool // ids of volumes that vanished
	volumes int
	wrong   []string
	next    int
}

// what each name is and needs.
var pieces = []struct {
	name, kind string
	needs      []string
}{
	{"net", "network", nil},
	{"gw", "internet-gateway", nil},
	{"rt", "routing-table", []string{"net"}},
	{"sub", "subnet", []string{"net", "rt"}},
	{"sg", "security-group", nil},
	{"ip", "public-ip", nil},
	{"nic", "nic", []string{"sub", "ip"}},
	{"vol", "block-storage", nil},
	{"data", "block-storage", nil},
	{"vm", "instance", []string{"nic", "vol", "sg"}},
}

func TestWhateverHappensTheRegionComesOutAsWanted(t *testing.T) {
	rapid.Check(t, func(rt *rapid.T) {
		moves := rapid.SliceOfN(rapid.Custom(func(rt *rapid.T) move {
			return move{rapid.SampledFrom(whats).Draw(rt, "what"), rapid.IntRange(0, 99).Draw(rt, "n")}
		}), 30, 80).Draw(rt, "moves")
		dir, err := os.MkdirTemp(t.TempDir(), "")
		if err != nil {
			rt.Fatal(err)
		}
		var wrong []string
		synctest.Test(t, func(*testing.T) { wrong = play(dir, moves) })
		for _, w := range wrong {
			rt.Error(w)
		}
	})
}

func play(dir string, moves []move) []string {
	delay := fake.Delay{Make: fake.Duration(3 * time.Second), Change: fake.Duration(time.Second), Leave: fake.Duration(2 * time.Second)}
	w := &world{
		office: newOffice(), dir: dir, id: map[string]string{}, leaving: map[string]string{}, lost: map[string]bool{},
		platform: fake.New(fake.Config{PageSize: 2, Delays: map[string]fake.Delay{fake.Instances: delay, fake.Volumes: delay, fake.NICs: delay}}),
	}
	w.onGone = func(id string) {
		if w.platform.Has(owner, id) {
			w.wrong = append(w.wrong, id+" was said to be gone and was there")
		}
	}
	w.start()
	for _, m := range moves {
		w.do(m)
		time.Sleep(time.Duration(m.N) * 20 * time.Millisecond)
	}
	w.platform.Calm()
	w.set(func() { w.down = false })
	time.Sleep(10 * time.Minute)
	wrong := append(w.check(), w.wrong...)
	if err := w.stop(); err != nil {
		wrong = append(wrong, err.Error())
	}
	return wrong
}

func (w *world) start() {
	ctx, cancel := context.WithCancel(context.Background())
	cloud, _ := w.platform.Open(ctx, owner, "", nil, nil)
	ended := make(chan error, 1)
	go func() {
		ended <- serve(ctx, Config{Dir: w.dir, Relist: 30 * time.Second}, cloud, w.office, slog.New(slog.DiscardHandler))
	}()
	w.stop = func() error { cancel(); return <-ended }
}

func (w *world) do(m move) {
	piece := pieces[m.N%len(pieces)]
	switch m.What {
	case "put":
		w.make(m.N % len(pieces))
	case "grow":
		w.change("data", func(r *wire.Resource) { r.Spec = w.spec("data", 10+m.N) })
	case "power":
		w.change("vm", func(r *wire.Resource) { r.Power = map[bool]seca.Power{true: seca.On, false: seca.Off}[m.N%2 == 0] })
	case "restart vm":
		w.change("vm", func(r *wire.Resource) { r.Restarts++ })
	case "delete":
		w.leave(piece.name)
	case "wait":
		time.Sleep(time.Duration(m.N) * time.Second)
	case "fail":
		w.platform.Fail(fake.Fault{Times: 1 + m.N%5})
	case "lose answers":
		w.platform.Fail(fake.Fault{Op: []string{"ensure", "delete"}[m.N%2], Done: true, Hang: m.N%7 == 0, Times: 1 + m.N%3})
	case "throttle":
		w.platform.Throttle(1+m.N%5, time.Duration(m.N)*time.Second)
	case "outage":
		w.platform.Outage(true)
	case "calm":
		w.platform.Calm()
	case "vanish":
		w.vanish([]string{"gw", "vm", "data"}[m.N%3])
	case "restart agent":
		w.stop() //nolint:errcheck // the last one tells
		w.start()
	case "exchange down":
		w.set(func() { w.down = true })
	case "exchange up":
		w.set(func() { w.down = false })
	case "reset":
		w.set(func() { w.reset = true })
	}
}

func (w *world) spec(name string, gb int) json.RawMessage {
	o := newOffice()
	card, group := ref("nic", "nic"), ref("security-group", "sg")
	switch name {
	case "vol", "data":
		o.volume(name, gb)
	case "vm":
		o.put("instance", "vm", seca.InstanceSpec{
			SKURef: sku("seca.d2xs"), Zone: "a", BootVolume: seca.VolumeReference{DeviceRef: ref("block-storage", "vol")},
			PrimaryNICRef: &card, SecurityGroupRef: &group,
		})
	default:
		o.whole()
	}
	return o.wanted[name].Spec
}

// make orders a thing with all that it needs, unless a former one of the name
// is still on its way out.
func (w *world) make(i int) {
	p := pieces[i]
	for _, n := range p.needs {
		for j := range pieces {
			if pieces[j].name == n {
				w.make(j)
			}
		}
		if w.id[n] == "" {
			return
		}
	}
	if old := w.leaving[p.name]; w.id[p.name] != "" || old != "" && !read(w.office, func() bool { return w.gone[old] }) {
		return
	}
	w.next++
	id := fmt.Sprintf("%s-%d", p.name, w.next)
	r := wire.Resource{ID: id, Kind: p.kind, URN: urnOf(p.kind, p.name), Spec: w.spec(p.name, 10)}
	if p.kind == "instance" {
		r.Power, r.SKU = seca.Off, json.RawMessage(`{"name":"seca.d2xs","vcpu":1,"ramGiB":1}`)
	}
	if p.kind == "block-storage" {
		w.volumes++
	}
	w.id[p.name] = id
	w.want(r)
}

func (w *world) change(name string, how func(*wire.Resource)) {
	if id := w.id[name]; id != "" {
		r := read(w.office, func() wire.Resource { return w.wanted[id] })
		how(&r)
		w.want(r)
	}
}

// leave deletes a thing, and first what needs it, as the exchange demands.
func (w *world) leave(name string) {
	for _, p := range pieces {
		for _, n := range p.needs {
			if n == name {
				w.leave(p.name)
			}
		}
	}
	if id := w.id[name]; id != "" {
		w.leaving[name] = id
		delete(w.id, name)
		w.del(id)
	}
}

// vanish removes a thing behind everybody's back.
func (w *world) vanish(name string) {
	id := w.id[name]
	if id == "" || name == "data" && w.get(id).State != seca.Active {
		return // nobody knows yet that it is there
	}
	if w.platform.Vanish(id) && name == "data" {
		w.lost[id] = true
	}
}

// check compares what has become of it all with the model.
func (w *world) check() (wrong []string) {
	for name, id := range w.id {
		o := w.get(id)
		lost := o.State == seca.Error && o.Reason == "Lost"
		switch {
		case w.lost[id] && lost:
		case o.State != seca.Active || o.Presence != wire.Present || o.Generation != w.wanted[id].Generation:
			wrong = append(wrong, fmt.Sprintf("%s (%s) is %s %s: %s %s", name, id, o.Presence, o.State, o.Reason, o.Message))
		case !w.platform.Has(owner, id):
			wrong = append(wrong, fmt.Sprintf("%s is said to be active and is not there", id))
		}
		if lost && !w.lost[id] {
			wrong = append(wrong, id+" is said to be lost and is not")
		}
	}
	for name, id := range w.leaving {
		if !w.gone[id] {
			o := w.get(id)
			wrong = append(wrong, fmt.Sprintf("%s (%s) is not gone: %s %s: %s %s", name, id, o.Presence, o.State, o.Reason, o.Message))
		}
	}
	if n := w.platform.Made(fake.Volumes); n > w.volumes {
		wrong = append(wrong, fmt.Sprintf("%d volumes were made, %d ordered", n, w.volumes))
	}
	return wrong
}
