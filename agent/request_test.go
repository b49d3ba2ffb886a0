package agent

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/driver/fake"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/wire"
)

func TestErrorsSayWhatToDo(t *testing.T) {
	s := newStage(t, fake.Config{Quota: map[string]int{fake.Volumes: 0}})
	s.platform.Fail(fake.Fault{Op: "ensure", Kind: fake.Gateways, Times: 100, Err: fault.Unsupported.Errorf("no such thing here")})
	s.start()
	s.volume("vol", 1)
	s.gateway()
	s.nic()
	s.await("quota", func() bool { o := s.get("vol"); return o.State == seca.Creating && o.Reason == "Exhausted" })
	s.await("error", func() bool { o := s.get("gw"); return o.State == seca.Error && o.Reason == "Unsupported" })
	s.await("waiting", func() bool {
		o := s.get("nic")
		return o.State == seca.Pending && o.Reason == "Waiting" && o.Message == "subnets/sub does not exist yet, public-ips/ip does not exist yet"
	})
}

func TestMissingReferencesAreLeftOutWhereTheyMayBe(t *testing.T) {
	s := newStage(t, fake.Config{})
	s.lenient = true
	s.start()
	s.network()
	s.put("routing-table", "rt", seca.RouteTableSpec{Routes: []seca.Route{
		{DestinationCIDRBlock: "0.0.0.0/0", TargetRef: ref("instance", "none")},
		{DestinationCIDRBlock: "192.0.2.0/24", TargetRef: seca.Ref("10.1.2.9")},
	}})
	s.subnet()
	s.nic() // its public address does not exist
	s.put("image", "img", seca.ImageSpec{BlockStorageRef: ref("block-storage", "vol"), CPUArchitecture: "amd64"})
	s.active("rt", "sub", "nic", "img")
	if r := status[seca.RouteTableStatus](t, s.get("rt")); r.Routes[0].State != seca.Pending || r.Routes[1].State != seca.Active {
		t.Errorf("routes %+v", r.Routes)
	}
	s.publicIP()
	s.await("the address joins", func() bool { return len(status[seca.NICStatus](t, s.get("nic")).PublicIPRefs) == 1 })
}

func TestRuleChangesReachTheGroups(t *testing.T) {
	s := newStage(t, fake.Config{})
	s.start()
	rule := func(port int) {
		s.put("security-group-rule", "rule", seca.SecurityGroupRuleSpec{Direction: "ingress", Protocol: "tcp", Ports: &seca.Ports{From: port}})
	}
	other, self := ref("security-group", "g2"), ref("security-group", "g1")
	s.put("security-group", "g1", seca.SecurityGroupSpec{RuleRefs: []seca.Reference{ref("security-group-rule", "rule")}})
	s.put("security-group", "g2", seca.SecurityGroupSpec{Rules: []seca.SecurityGroupRuleSpec{{Direction: "ingress", SourceRef: []seca.Reference{self, other}}}})
	s.put("security-group", "g1", seca.SecurityGroupSpec{
		RuleRefs: []seca.Reference{ref("security-group-rule", "rule")},
		Rules:    []seca.SecurityGroupRuleSpec{{Direction: "ingress", SourceRef: []seca.Reference{other}}},
	})
	rule(22)
	s.active("g1", "g2", "rule")
	cloud, _ := s.platform.Open(t.Context(), owner, "", nil, nil)
	has := func(id string, so func(driver.SecurityGroup) bool) func() bool {
		return func() bool {
			for g, err := range cloud.SecurityGroups.List(t.Context()) {
				if err == nil && g.ID == id && so(g) {
					return true
				}
			}
			return false
		}
	}
	s.await("rule in group", has("g1", func(g driver.SecurityGroup) bool {
		return len(g.Rules) == 2 && slices.Equal(g.Rules[0].PeerGroups, []string{"g2"}) && g.Rules[1].Ports[0].From == 22
	}))
	s.await("peers in group", has("g2", func(g driver.SecurityGroup) bool {
		return len(g.Rules) == 1 && slices.Equal(g.Rules[0].PeerGroups, []string{"g1", "g2"})
	}))
	rule(2222)
	s.await("new port in group", has("g1", func(g driver.SecurityGroup) bool { return g.Rules[1].Ports[0].From == 2222 }))
	s.del("rule", "g1", "g2")
	s.isGone("rule", "g1", "g2")
}

func TestConsoleAndResyncAreAnswered(t *testing.T) {
	s := newStage(t, fake.Config{})
	s.config.Relist = time.Hour
	s.start()
	s.whole()
	s.set(func() { w := s.wanted["vm"]; w.Power = seca.On; s.wanted["vm"] = w })
	s.instance()
	s.active("vm")
	ask := func(r wire.Request) wire.Answer {
		s.set(func() { s.requests = append(s.requests, r) })
		var a wire.Answer
		s.await("answer "+r.ID, func() (ok bool) { s.mu.Lock(); defer s.mu.Unlock(); a, ok = s.answers[r.ID]; return ok })
		return a
	}
	if a := ask(wire.Request{ID: "1", Verb: wire.VerbConsole, Resource: "vm", Tail: 6}); len(a.Body) != 6 {
		t.Errorf("console: %+v", a)
	}
	if a := ask(wire.Request{ID: "2", Verb: wire.VerbConsole, Resource: "none", Tail: 6}); a.Kind != string(fault.Missing) {
		t.Errorf("console of nothing: %+v", a)
	}
	s.platform.Vanish("gw")
	s.platform.Switch("vm", false)
	differences := func(id string, apply bool) map[string]string {
		var all []wire.Difference
		if err := json.Unmarshal(ask(wire.Request{ID: id, Verb: wire.VerbResync, Apply: apply}).Body, &all); err != nil {
			t.Fatal(err)
		}
		actions := map[string]string{}
		for _, d := range all {
			actions[d.ID] = d.Action
		}
		return actions
	}
	if d := differences("3", false); len(d) != 2 || d["gw"] != "create" || d["vm"] != "update" {
		t.Errorf("differences %v", d)
	}
	if s.platform.Has(owner, "gw") {
		t.Error("a dry run acted")
	}
	differences("4", true)
	s.await("acted on", func() bool { return s.platform.Has(owner, "gw") })
	s.await("no difference", func() bool { return len(differences(fmt.Sprint(time.Now().UnixNano()), false)) == 0 })
}

func TestListThatLacksMostIsNotBelieved(t *testing.T) {
	s := newStage(t, fake.Config{})
	s.start()
	var all []string
	for i := range 10 {
		all = append(all, fmt.Sprint("v", i))
		s.volume(all[i], 1)
	}
	s.active(all...)
	s.listed(fake.Volumes)
	for _, id := range all[:8] {
		s.platform.Vanish(id)
	}
	s.await("unknown", func() bool { return s.get("v0").Presence == wire.Unknown && s.get("v9").Presence == wire.Unknown })
	if s := s.get("v0").State; s != seca.Active {
		t.Errorf("%s on the word of that list", s)
	}
	s.set(func() { s.requests = append(s.requests, wire.Request{ID: "1", Verb: wire.VerbResync, Apply: true}) })
	s.await("lost", func() bool { return s.get("v0").Reason == "Lost" })
	s.active(all[8:]...)
	if n := s.platform.Made(fake.Volumes); n != 10 {
		t.Errorf("%d were made again", n-10)
	}
}

func TestInventoryArrives(t *testing.T) {
	s := newStage(t, fake.Config{})
	s.start()
	s.await("inventory", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		i := s.inventory
		return i.Driver == "fake" && i.Console && slices.Contains(i.Kinds, "security-group-rule") && len(i.Kinds) == 11 && len(i.Inventory.InstanceSKUs) == 1
	})
}

func TestManyResourcesAreActiveSoon(t *testing.T) {
	const n = 1000
	s := newStage(t, fake.Config{})
	s.config.Relist = 30 * time.Second
	s.start()
	began := time.Now()
	var all []string
	for i := range n {
		id := fmt.Sprintf("v%d", i)
		s.volume(id, 1)
		all = append(all, id)
	}
	s.active(all...)
	t.Logf("%d active in %v, %d batches", n, time.Since(began), s.batches)
	began = time.Now()
	s.del(all...)
	s.isGone(all...)
	t.Logf("%d gone in %v, %d lists", n, time.Since(began), s.platform.Calls("list", fake.Volumes))
	if took := time.Since(began); took > 5*time.Second {
		t.Errorf("deletion of %d took %v", n, took)
	}
}
