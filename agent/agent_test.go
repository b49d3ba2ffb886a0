package agent

import (
	"encoding/json"
	"fmt"
	"slices"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/driver/fake"
	"github.com/kontor-cloud/kontor/seca"
	"github.com/kontor-cloud/kontor/wire"
)

func status[T any](t *testing.T, o wire.Observation) T {
	t.Helper()
	var s T
	if err := json.Unmarshal(o.Status, &s); err != nil {
		t.Fatalf("status of %s: %v", o.ID, err)
	}
	return s
}

func TestCreateInAnyOrder(t *testing.T) {
	s := newStage(t, fake.Config{})
	s.start()
	all := s.whole()
	s.active(all...)
	nic := status[seca.NICStatus](t, s.get("nic"))
	if len(nic.Addresses) != 1 || nic.MACAddress == "" || len(nic.PublicIPRefs) != 1 || nic.PublicIPRefs[0] != ref("public-ip", "ip") {
		t.Errorf("status of the card: %+v", nic)
	}
	if n := status[seca.NetworkStatus](t, s.get("net")); n.CIDR.IPv4 != "10.1.0.0/16" || n.CIDR.IPv6 != "" {
		t.Errorf("status of the network: %+v", n)
	}
	if r := status[seca.RouteTableStatus](t, s.get("rt")); len(r.Routes) != 1 || r.Routes[0].State != seca.Active || r.Routes[0].Conditions == nil {
		t.Errorf("status of the route table: %+v", r)
	}
	if n := status[seca.SubnetStatus](t, s.get("sub")); n.CIDR.IPv4 != "10.1.2.0/24" || *n.RouteTableRef != ref("routing-table", "rt") {
		t.Errorf("status of the subnet: %+v", n)
	}
	s.await("attachments shown", func() bool {
		v, p := status[seca.BlockStorageStatus](t, s.get("vol")), status[seca.PublicIPStatus](t, s.get("ip"))
		return v.SizeGB == 10 && v.AttachedTo != nil && *v.AttachedTo == ref("instance", "vm") &&
			p.IPAddress != "" && p.AttachedTo != nil && *p.AttachedTo == ref("nic", "nic")
	})
	if i := status[seca.InstanceStatus](t, s.get("vm")); i.PowerState != seca.Off {
		t.Errorf("status of the machine: %+v", i)
	}
	for _, kind := range []string{fake.Instances, fake.NICs, fake.Volumes, fake.Networks} {
		if n := s.platform.Made(kind); n != 1 {
			t.Errorf("%d of kind %s were made", n, kind)
		}
	}
}

func TestMachineIsGuardedBeforeItIsMade(t *testing.T) {
	s := newStage(t, fake.Config{})
	s.start()
	s.whole()
	s.active("vm")
	cloud, _ := s.platform.Open(t.Context(), owner, "", nil, nil)
	for n, err := range cloud.NICs.List(t.Context()) {
		if err != nil || !slices.Equal(n.SecurityGroups, []string{"sg"}) {
			t.Errorf("the card is in groups %v (%v), want the machine's", n.SecurityGroups, err)
		}
	}
}

func TestDeleteInAnyOrder(t *testing.T) {
	for name, order := range map[string]func([]string){"first made first": func([]string) {}, "last made first": slices.Reverse[[]string]} {
		t.Run(name, func(t *testing.T) {
			s := newStage(t, fake.Config{Delays: map[string]fake.Delay{fake.Instances: {Leave: fake.Duration(20 * time.Millisecond)}}})
			s.start()
			all := s.whole()
			s.active(all...)
			order(all)
			s.del(all...)
			s.isGone(all...)
			for _, id := range all {
				if s.platform.Has(owner, id) {
					t.Errorf("%s is said to be gone and is not", id)
				}
			}
		})
	}
}

func TestDeleteWaitsForTheListing(t *testing.T) {
	s := newStage(t, fake.Config{Delays: map[string]fake.Delay{fake.Gateways: {Leave: fake.Duration(time.Hour)}}})
	s.start()
	s.gateway()
	s.active("gw")
	s.del("gw")
	s.await("deletion taken", func() bool { return s.platform.Calls("delete", fake.Gateways) > 0 })
	time.Sleep(200 * time.Millisecond) // several listings
	if read(s.office, func() bool { return s.gone["gw"] }) {
		t.Error("said to be gone while it is listed")
	}
}

func TestUpdatesArrive(t *testing.T) {
	s := newStage(t, fake.Config{})
	s.start()
	all := s.whole()
	s.active(all...)
	s.volume("vol", 30)
	s.active("vol")
	if v := status[seca.BlockStorageStatus](t, s.get("vol")); v.SizeGB != 30 {
		t.Errorf("grown volume: %+v", v)
	}
	s.set(func() { w := s.wanted["vm"]; w.Power = seca.On; s.wanted["vm"] = w })
	s.instance()
	s.active("vm")
	i := status[seca.InstanceStatus](t, s.get("vm"))
	if i.PowerState != seca.On || i.PowerStateSince == nil {
		t.Fatalf("started machine: %+v", i)
	}
	s.set(func() { w := s.wanted["vm"]; w.Restarts = 1; s.wanted["vm"] = w })
	s.instance()
	s.active("vm")
	if j := status[seca.InstanceStatus](t, s.get("vm")); !j.PowerStateSince.After(*i.PowerStateSince) {
		t.Errorf("restarted machine: on since %v, before since %v", j.PowerStateSince, i.PowerStateSince)
	}
}

func TestSlowPlatformPassesThroughCreating(t *testing.T) {
	d := fake.Delay{Make: fake.Duration(50 * time.Millisecond), Change: fake.Duration(50 * time.Millisecond)}
	s := newStage(t, fake.Config{Delays: map[string]fake.Delay{fake.Volumes: d}})
	s.start()
	s.volume("vol", 1)
	s.active("vol")
	s.volume("vol", 2)
	s.active("vol")
	want := []seca.State{seca.Creating, seca.Active, seca.Updating, seca.Active}
	if got := slices.Compact(s.states("vol")); !slices.Equal(got, want) {
		t.Errorf("states %v, want %v", got, want)
	}
}

func TestAnswerLostAfterCreateMakesOne(t *testing.T) {
	s := newStage(t, fake.Config{})
	s.platform.Fail(fake.Fault{Op: "ensure", Kind: fake.Volumes, Done: true, Times: 3})
	s.start()
	s.volume("vol", 1)
	s.active("vol")
	if n := s.platform.Made(fake.Volumes); n != 1 {
		t.Errorf("%d volumes were made", n)
	}
}

func TestRestartAdoptsWhatWasMadeBeforeTheRecord(t *testing.T) {
	s := newStage(t, fake.Config{})
	s.platform.Fail(fake.Fault{Op: "ensure", Kind: fake.Volumes, Done: true, Hang: true})
	s.start()
	s.volume("vol", 1)
	s.await("the call", func() bool { return s.platform.Calls("ensure", fake.Volumes) == 1 })
	go s.stop()
	s.await("the thing", func() bool { return s.platform.Made(fake.Volumes) == 1 })
	s.await("the end", func() bool { return s.stop == nil })
	s.start()
	s.active("vol")
	if n := s.platform.Made(fake.Volumes); n != 1 {
		t.Errorf("%d volumes were made", n)
	}
}

func TestRestartTouchesNothingThatIsAsWanted(t *testing.T) {
	s := newStage(t, fake.Config{})
	s.start()
	all := s.whole()
	s.active(all...)
	s.await("quiet", func() bool { return status[seca.PublicIPStatus](t, s.get("ip")).AttachedTo != nil })
	s.stop()
	before := map[string]int{}
	for _, kind := range []string{fake.Networks, fake.Subnets, fake.RouteTables, fake.SecurityGroups, fake.NICs, fake.Volumes, fake.Instances} {
		before[kind] = s.platform.Calls("ensure", kind)
	}
	s.set(func() { clear(s.seen) })
	s.start()
	s.active(all...)
	for kind, n := range before {
		if now := s.platform.Calls("ensure", kind); now != n {
			t.Errorf("the restart made %d calls about %s", now-n, kind)
		}
	}
}

func TestUnknownDestroysAndMakesNothing(t *testing.T) {
	s := newStage(t, fake.Config{})
	s.start()
	all := s.whole()
	s.active(all...)
	s.platform.Outage(true)
	s.await("unknown", func() bool { return s.get("vol").Presence == wire.Unknown && s.get("vm").Presence == wire.Unknown })
	made := s.platform.Made(fake.Volumes)
	s.platform.Outage(false)
	s.await("known again", func() bool { return s.get("vol").Presence == wire.Present && s.get("vm").Presence == wire.Present })
	if s.platform.Made(fake.Volumes) != made || s.platform.Calls("delete", fake.Volumes)+s.platform.Calls("delete", fake.Instances) != 0 {
		t.Error("the outage made the agent act")
	}
	s.active(all...)
}

func TestNothingIsDoneBeforeTheFirstListing(t *testing.T) {
	s := newStage(t, fake.Config{})
	s.platform.Fail(fake.Fault{Op: "list", Kind: fake.Gateways, Times: 1000})
	s.gateway()
	s.network()
	s.start()
	s.active("net")
	if n := s.platform.Calls("ensure", fake.Gateways); n != 0 {
		t.Errorf("%d calls without a listing", n)
	}
}

func TestVanishedThingIsMadeAgain(t *testing.T) {
	s := newStage(t, fake.Config{})
	s.start()
	s.gateway()
	s.active("gw")
	s.listed(fake.Gateways)
	s.platform.Vanish("gw")
	s.await("made again", func() bool { return s.platform.Made(fake.Gateways) == 2 })
	s.active("gw")
}

func TestLostVolumeIsAnErrorAndNeverMadeAgain(t *testing.T) {
	for _, restart := range []bool{false, true} {
		t.Run(fmt.Sprintf("restart=%v", restart), func(t *testing.T) {
			s := newStage(t, fake.Config{})
			s.start()
			s.volume("vol", 1)
			s.active("vol")
			s.listed(fake.Volumes)
			if restart {
				s.stop()
				s.set(func() { w := s.wanted["vol"]; w.Lived = false; s.wanted["vol"] = w }) // the journal has to know
			}
			s.platform.Vanish("vol")
			if restart {
				s.start()
			}
			s.await("lost", func() bool { o := s.get("vol"); return o.State == seca.Error && o.Reason == "Lost" })
			time.Sleep(200 * time.Millisecond) // several listings
			if n := s.platform.Made(fake.Volumes); n != 1 {
				t.Errorf("%d volumes were made", n)
			}
			s.del("vol")
			s.isGone("vol")
		})
	}
}

func TestVolumeThatIsLostIsNotMadeAgainByAChange(t *testing.T) {
	s := newStage(t, fake.Config{})
	s.config.Relist = time.Hour
	s.start()
	s.volume("vol", 1)
	s.active("vol")
	s.platform.Vanish("vol")
	s.volume("vol", 2)
	s.await("the call", func() bool { return s.platform.Calls("ensure", fake.Volumes) > 1 })
	time.Sleep(300 * time.Millisecond)
	if n := s.platform.Made(fake.Volumes); n != 1 {
		t.Errorf("%d volumes were made", n)
	}
}

func TestMachineThatStoppedIsStartedAgain(t *testing.T) {
	s := newStage(t, fake.Config{})
	s.start()
	s.whole()
	s.set(func() { w := s.wanted["vm"]; w.Power = seca.On; s.wanted["vm"] = w })
	s.instance()
	s.active("vm")
	since := *status[seca.InstanceStatus](t, s.get("vm")).PowerStateSince
	s.platform.Switch("vm", false)
	s.await("on again", func() bool {
		i := status[seca.InstanceStatus](t, s.get("vm"))
		return i.PowerState == seca.On && i.PowerStateSince.After(since)
	})
	s.active("vm")
}

func TestOrphanIsReportedAndStays(t *testing.T) {
	s := newStage(t, fake.Config{})
	cloud, _ := s.platform.Open(t.Context(), owner, "", nil, nil)
	for _, id := range []string{"stray", "condemned"} {
		if _, err := cloud.Volumes.Ensure(t.Context(), driver.Volume{Meta: driver.Meta{ID: id, Name: id}, SizeGB: 1}); err != nil {
			t.Fatal(err)
		}
	}
	s.remove = []string{"condemned", "never-heard-of"}
	s.start()
	s.await("removed by verdict", func() bool { return !s.platform.Has(owner, "condemned") })
	s.await("reported", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return slices.ContainsFunc(s.orphans, func(o wire.Orphan) bool { return o.ID == "stray" && o.Kind == "block-storage" && o.Name == "stray" })
	})
	time.Sleep(200 * time.Millisecond)
	if !s.platform.Has(owner, "stray") {
		t.Error("an orphan without a verdict was removed")
	}
}

func TestForeignThingsAreNotSeen(t *testing.T) {
	s := newStage(t, fake.Config{})
	cloud, _ := s.platform.Open(t.Context(), driver.Owner{Exchange: "x2", Region: "r1"}, "", nil, nil)
	if _, err := cloud.Volumes.Ensure(t.Context(), driver.Volume{Meta: driver.Meta{ID: "theirs"}, SizeGB: 1}); err != nil {
		t.Fatal(err)
	}
	s.remove = []string{"theirs"}
	s.start()
	s.volume("vol", 1)
	s.active("vol")
	time.Sleep(200 * time.Millisecond)
	orphans := read(s.office, func() []wire.Orphan { return s.orphans })
	if s.platform.Count(fake.Volumes) != 2 || len(orphans) != 0 {
		t.Errorf("orphans %v, %d volumes", orphans, s.platform.Count(fake.Volumes))
	}
}

func TestDestructionIsLimited(t *testing.T) {
	s := newStage(t, fake.Config{})
	s.config.DestroyPerMinute, s.config.DestroyBurst = 1, 3
	s.start()
	var all []string
	for i := range 10 {
		id := fmt.Sprintf("gw%d", i)
		s.put("internet-gateway", id, seca.InternetGatewaySpec{})
		all = append(all, id)
	}
	s.active(all...)
	s.del(all...)
	s.await("limited", func() bool {
		n := 0
		for _, id := range all {
			if s.get(id).Reason == "DestructionLimited" {
				n++
			}
		}
		return n == 7
	})
	s.await("three are destroyed", func() bool { return s.platform.Count(fake.Gateways) == 7 })
	time.Sleep(200 * time.Millisecond)
	if n := s.platform.Count(fake.Gateways); n != 7 {
		t.Errorf("%d gateways are left, want 7", n)
	}
}

func TestReconnectSendsWhatWasKept(t *testing.T) {
	s := newStage(t, fake.Config{Delays: map[string]fake.Delay{fake.Volumes: {Make: fake.Duration(100 * time.Millisecond)}}})
	s.start()
	s.volume("vol", 1)
	s.await("under way", func() bool { return s.platform.Made(fake.Volumes) == 1 })
	s.set(func() { s.down = true })
	time.Sleep(200 * time.Millisecond)
	if s.get("vol").State == seca.Active {
		t.Fatal("reported to an exchange that is down")
	}
	s.set(func() { s.down = false })
	s.active("vol")
}

func TestResetSaysEverythingAgain(t *testing.T) {
	s := newStage(t, fake.Config{})
	s.start()
	s.gateway()
	s.network()
	s.active("gw", "net")
	s.set(func() {
		clear(s.seen)
		delete(s.wanted, "net") // the backup does not know it
		s.reset = true
	})
	s.active("gw")
	s.await("orphan", func() bool {
		s.mu.Lock()
		defer s.mu.Unlock()
		return len(s.orphans) == 1 && s.orphans[0].ID == "net"
	})
	if !s.platform.Has(owner, "net") {
		t.Error("what a restored exchange did not mention was deleted")
	}
}
