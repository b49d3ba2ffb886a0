package agent

import (
	"context"
	"encoding/json"
	"log/slog"
	"slices"
	"sync"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/driver/fake"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/wire"
)

var owner = driver.Owner{Exchange: "x1", Region: "r1"}

// An office is an exchange in memory: it keeps wanted states and the latest
// observation of each.
type office struct {
	mu        sync.Mutex
	changed   *sync.Cond
	revision  int64
	feed      []string // ids by revision, from 1
	wanted    map[string]wire.Resource
	seen      map[string]wire.Observation
	log       map[string][]seca.State // states in the order reported
	presences map[string][]wire.Presence
	gone      map[string]bool
	orphans   []wire.Orphan
	remove    []string
	requests  []wire.Request
	answers   map[string]wire.Answer
	inventory wire.Inventory
	lenient   bool
	reset     bool
	down      bool
	onGone    func(id string)
	batches   int
	refused   int
}

func newOffice() *office {
	o := &office{
		wanted: map[string]wire.Resource{}, seen: map[string]wire.Observation{}, log: map[string][]seca.State{},
		presences: map[string][]wire.Presence{}, gone: map[string]bool{}, answers: map[string]wire.Answer{},
	}
	o.changed = sync.NewCond(&o.mu)
	return o
}

func (o *office) name() string { return owner.Exchange }
func (o *office) epoch() int64 { return 1 }

func (o *office) region() string { return "here" }

func (o *office) post(ctx context.Context, path string, in, out any) error {
	b, err := json.Marshal(in)
	if err != nil {
		return err
	}
	reply, err := o.serve(ctx, path, b)
	if err != nil || out == nil {
		return err
	}
	b, err = json.Marshal(reply)
	if err != nil {
		return err
	}
	return json.Unmarshal(b, out)
}

func (o *office) serve(ctx context.Context, path string, body []byte) (any, error) {
	o.mu.Lock()
	defer o.mu.Unlock()
	if o.down {
		o.refused++
		return nil, fault.Unavailable.Errorf("exchange is down")
	}
	switch path {
	case wire.PathChanges:
		var f wire.Follow
		return o.changes(ctx, f, json.Unmarshal(body, &f), &f)
	case wire.PathObservations:
		var batch []wire.Observation
		err := json.Unmarshal(body, &batch)
		return o.observe(batch), err
	case wire.PathInventory:
		return struct{}{}, json.Unmarshal(body, &o.inventory)
	case wire.PathOrphans:
		o.orphans = nil
		err := json.Unmarshal(body, &o.orphans)
		return wire.Verdicts{Remove: o.remove}, err
	case wire.PathAnswers:
		var a wire.Answer
		err := json.Unmarshal(body, &a)
		o.answers[a.ID] = a
		return struct{}{}, err
	}
	return nil, fault.Missing.Errorf("no path %s", path)
}

func (o *office) changes(ctx context.Context, _ wire.Follow, err error, f *wire.Follow) (any, error) {
	stop := context.AfterFunc(ctx, func() { o.mu.Lock(); o.changed.Broadcast(); o.mu.Unlock() })
	defer stop()
	wake := time.AfterFunc(f.Wait, func() { o.mu.Lock(); o.changed.Broadcast(); o.mu.Unlock() })
	defer wake.Stop()
	deadline := time.Now().Add(f.Wait)
	for err == nil && o.revision <= f.Since && len(o.requests) == 0 && !o.reset && time.Now().Before(deadline) && !o.down {
		if err = ctx.Err(); err == nil {
			o.changed.Wait()
		}
	}
	if err != nil || o.down {
		return nil, fault.Unavailable.Errorf("poll broke off")
	}
	since := f.Since
	if o.reset {
		since = 0
	}
	c := wire.Changes{Exchange: owner.Exchange, Revision: o.revision, Requests: o.requests, Lenient: o.lenient, Reset: o.reset}
	for i, id := range o.feed[since:] {
		if w, ok := o.wanted[id]; ok && w.Revision == since+int64(i)+1 && (since > 0 || !w.Gone) {
			c.Resources = append(c.Resources, w)
		}
	}
	o.requests, o.reset = nil, false
	return c, nil
}

func (o *office) observe(batch []wire.Observation) wire.Accepted {
	var a wire.Accepted
	o.batches++
	for _, ob := range batch {
		w, ok := o.wanted[ob.ID]
		if !ok || w.Gone {
			a.Strangers = append(a.Strangers, ob.ID)
			continue
		}
		o.seen[ob.ID] = ob
		o.log[ob.ID] = append(o.log[ob.ID], ob.State)
		o.presences[ob.ID] = append(o.presences[ob.ID], ob.Presence)
		if ob.State == seca.Active && ob.Presence == wire.Present {
			w.Lived = true
			o.wanted[ob.ID] = w
		}
		if w.Deleting && ob.Presence == wire.Absent && ob.Generation >= w.Generation {
			w.Gone, w.Revision = true, o.next(ob.ID)
			o.wanted[ob.ID] = w
			o.gone[ob.ID] = true
			if o.onGone != nil {
				o.onGone(ob.ID)
			}
		}
	}
	o.changed.Broadcast()
	return a
}

func (o *office) next(id string) int64 {
	o.feed = append(o.feed, id)
	o.revision++
	return o.revision
}

// want stores a wanted state, as a new generation.
func (o *office) want(w wire.Resource) {
	o.mu.Lock()
	defer o.mu.Unlock()
	old := o.wanted[w.ID]
	w.Revision, w.Generation, w.Lived, w.Tenant = o.next(w.ID), old.Generation+1, old.Lived, "t"
	o.wanted[w.ID] = w
	o.changed.Broadcast()
}

// del asks for deletions.
func (o *office) del(ids ...string) {
	for _, id := range ids {
		o.mu.Lock()
		w := o.wanted[id]
		o.mu.Unlock()
		w.Deleting = true
		o.want(w)
	}
}

func (o *office) get(id string) wire.Observation {
	o.mu.Lock()
	defer o.mu.Unlock()
	return o.seen[id]
}

// read gives something of the office, safely.
func read[T any](o *office, of func() T) T {
	o.mu.Lock()
	defer o.mu.Unlock()
	return of()
}

func (o *office) states(id string) []seca.State {
	return read(o, func() []seca.State { return slices.Clone(o.log[id]) })
}

func (o *office) set(do func()) {
	o.mu.Lock()
	defer o.mu.Unlock()
	do()
	o.changed.Broadcast()
}

// A stage is an office, a platform, and an agent between them that can be
// stopped and started.
type stage struct {
	*testing.T
	*office
	platform *fake.Platform
	config   Config
	spoil    func(*driver.Cloud) // what is wrong with the platform
	stop     func()
}

func newStage(t *testing.T, c fake.Config) *stage {
	s := &stage{T: t, office: newOffice(), platform: fake.New(c), config: Config{Dir: t.TempDir(), Driver: "fake", Relist: 50 * time.Millisecond}}
	t.Cleanup(func() {
		if s.stop != nil {
			s.stop()
		}
	})
	return s
}

func (s *stage) start() {
	s.Helper()
	cloud, err := s.platform.Open(s.Context(), owner, "", nil, nil)
	if err != nil {
		s.Fatal(err)
	}
	if s.spoil != nil {
		s.spoil(cloud)
	}
	ctx, cancel := context.WithCancel(context.Background())
	ended := make(chan error, 1)
	log := slog.New(slog.DiscardHandler)
	go func() { ended <- serve(ctx, s.config, cloud, s.office, log) }()
	s.stop = func() {
		s.stop = nil
		cancel()
		select {
		case err := <-ended:
			if err != nil {
				s.Errorf("agent ended: %v", err)
			}
		case <-time.After(20 * time.Second):
			s.Error("agent does not end")
		}
	}
}

// await waits until something is so.
func (s *stage) await(what string, so func() bool) {
	s.Helper()
	deadline := time.Now().Add(10 * time.Second)
	for !so() {
		if time.Now().After(deadline) {
			s.mu.Lock()
			defer s.mu.Unlock()
			for id, o := range s.seen {
				if !s.gone[id] {
					s.Logf("%s: %s %s %s %s %s", id, o.Presence, o.State, o.Reason, o.Message, o.Status)
				}
			}
			s.Fatalf("%s: not within 10 s", what)
		}
		time.Sleep(time.Millisecond)
	}
}

func (s *stage) active(ids ...string) {
	s.Helper()
	for _, id := range ids {
		s.await(id+" active", func() bool {
			s.mu.Lock()
			defer s.mu.Unlock()
			o := s.seen[id]
			return o.State == seca.Active && o.Generation == s.wanted[id].Generation && o.Presence == wire.Present
		})
	}
}

// listed waits until the agent has listed a kind once more.
func (s *stage) listed(kind string) {
	s.Helper()
	before := s.platform.Calls("list", kind)
	s.await("list of "+kind, func() bool { return s.platform.Calls("list", kind) >= before+2 })
}

func (s *stage) isGone(ids ...string) {
	s.Helper()
	for _, id := range ids {
		s.await(id+" gone", func() bool { s.mu.Lock(); defer s.mu.Unlock(); return s.gone[id] })
	}
}

const place = "/v1/tenants/t/workspaces/w/"

func resource(id, kind, urn string, spec any) wire.Resource {
	b, err := json.Marshal(spec)
	if err != nil {
		panic(err)
	}
	return wire.Resource{ID: id, Kind: kind, URN: urn, Spec: b}
}

func urnOf(kind, name string) string {
	switch kind {
	case "network":
		return "seca.network" + place + "networks/" + name
	case "subnet", "routing-table":
		return "seca.network" + place + "networks/net/" + map[string]string{"subnet": "subnets/", "routing-table": "route-tables/"}[kind] + name
	case "block-storage":
		return "seca.storage" + place + "block-storages/" + name
	case "image":
		return "seca.storage/v1/tenants/t/images/" + name
	case "instance":
		return "seca.compute" + place + "instances/" + name
	}
	return "seca.network" + place + kind + "s/" + name
}

func ref(kind, name string) seca.Reference { return seca.Ref(urnOf(kind, name)) }

func sku(name string) seca.Reference { return seca.Ref("seca.x/v1/tenants/t/skus/" + name) }

func (o *office) put(kind, name string, spec any) {
	w := resource(name, kind, urnOf(kind, name), spec)
	o.mu.Lock()
	w.Power, w.Restarts = o.wanted[name].Power, o.wanted[name].Restarts
	o.mu.Unlock()
	if kind == "instance" {
		w.SKU = json.RawMessage(`{"name":"seca.d2xs","vcpu":1,"ramGiB":1}`)
		if w.Power == "" {
			w.Power = seca.Off
		}
	}
	o.want(w)
}

// The pieces of a small workspace.
func (o *office) network() {
	o.put("network", "net", seca.NetworkSpec{CIDR: seca.CIDR{IPv4: "10.1.0.0/16"}, SKURef: sku("seca.n1k")})
}

func (o *office) gateway() { o.put("internet-gateway", "gw", seca.InternetGatewaySpec{}) }

func (o *office) routes() {
	o.put("routing-table", "rt", seca.RouteTableSpec{Routes: []seca.Route{{DestinationCIDRBlock: "0.0.0.0/0", TargetRef: ref("internet-gateway", "gw")}}})
}

func (o *office) subnet() {
	o.put("subnet", "sub", seca.SubnetSpec{CIDR: seca.CIDR{IPv4: "10.1.2.0/24"}, Zone: "a", RouteTableRef: ref("routing-table", "rt")})
}

func (o *office) group() {
	o.put("security-group", "sg", seca.SecurityGroupSpec{Rules: []seca.SecurityGroupRuleSpec{{Direction: "ingress", Protocol: "tcp+udp", Ports: &seca.Ports{From: 80, List: []int{443}}}}})
}

func (o *office) publicIP() { o.put("public-ip", "ip", seca.PublicIPSpec{Version: "IPv4"}) }

func (o *office) nic() {
	o.put("nic", "nic", seca.NICSpec{
		SubnetRef: ref("subnet", "sub"), Addresses: []string{"0.0.0.0"},
		PublicIPRefs: []seca.Reference{ref("public-ip", "ip")},
	})
}

func (o *office) volume(name string, gb int) {
	image := seca.Ref("seca.storage/v1/tenants/public/images/tiny")
	o.put("block-storage", name, seca.BlockStorageSpec{SizeGB: gb, SKURef: sku("seca.rd100"), SourceImageRef: &image})
}

func (o *office) instance() {
	card, group := ref("nic", "nic"), ref("security-group", "sg")
	o.put("instance", "vm", seca.InstanceSpec{
		SKURef: sku("seca.d2xs"), Zone: "a", BootVolume: seca.VolumeReference{DeviceRef: ref("block-storage", "vol")},
		PrimaryNICRef: &card, SecurityGroupRef: &group,
	})
}

// whole is a workspace with one machine, what depends first.
func (o *office) whole() []string {
	o.instance()
	o.nic()
	o.volume("vol", 10)
	o.publicIP()
	o.group()
	o.subnet()
	o.routes()
	o.gateway()
	o.network()
	return []string{"net", "gw", "rt", "sub", "sg", "ip", "nic", "vol", "vm"}
}
