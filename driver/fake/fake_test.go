package fake_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"os"
	"path/filepath"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/driver/drivertest"
	"github.com/kontor-cloud/kontor/driver/fake"
	"github.com/kontor-cloud/kontor/fault"
)

var (
	us   = driver.Owner{Exchange: "x1", Region: "fake-1"}
	them = driver.Owner{Exchange: "x2", Region: "fake-1"}
)

func connect(t *testing.T, p *fake.Platform, owner driver.Owner) *driver.Cloud {
	t.Helper()
	c, err := p.Open(t.Context(), owner, "", nil, slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	return c
}

func conform(t *testing.T, p *fake.Platform) {
	drivertest.Run(t, drivertest.Platform{
		Open:    func(t *testing.T) *driver.Cloud { return connect(t, p, us) },
		Foreign: func(t *testing.T) *driver.Cloud { return connect(t, p, them) },
	})
}

func TestConformance(t *testing.T) { conform(t, fake.New(fake.Config{})) }

func TestConformanceOfASlowCloudWithLateLists(t *testing.T) {
	d := fake.Delay{Make: fake.Duration(2 * time.Millisecond), Change: fake.Duration(time.Millisecond), Leave: fake.Duration(2 * time.Millisecond)}
	c := fake.Config{PageSize: 1, Late: fake.Duration(3 * time.Millisecond), Delays: map[string]fake.Delay{}}
	for _, kind := range []string{
		fake.Networks, fake.Subnets, fake.RouteTables, fake.Gateways, fake.SecurityGroups,
		fake.PublicIPs, fake.NICs, fake.Images, fake.Volumes, fake.Instances,
	} {
		c.Delays[kind] = d
	}
	conform(t, fake.New(c))
}

func TestAnswerLostAfterCreateLeavesOneThing(t *testing.T) {
	p := fake.New(fake.Config{})
	c := connect(t, p, us)
	p.Fail(fake.Fault{Op: "ensure", Kind: fake.Volumes, Done: true})
	want := driver.Volume{Meta: driver.Meta{ID: "v1"}, SizeGB: 1}
	if _, err := c.Volumes.Ensure(t.Context(), want); !errors.Is(err, fault.Unavailable) {
		t.Fatalf("Ensure: %v, want unavailable", err)
	}
	if _, err := c.Volumes.Ensure(t.Context(), want); err != nil {
		t.Fatal(err)
	}
	if n := p.Made(fake.Volumes); n != 1 {
		t.Errorf("%d volumes were made", n)
	}
}

func TestListThatBreaksOffIsAnError(t *testing.T) {
	p := fake.New(fake.Config{PageSize: 2})
	c := connect(t, p, us)
	for _, id := range []string{"a", "b", "c"} {
		if _, err := c.Gateways.Ensure(t.Context(), driver.Gateway{Meta: driver.Meta{ID: id}}); err != nil {
			t.Fatal(err)
		}
	}
	p.Fail(fake.Fault{Op: "list", Skip: 1})
	var last error
	for _, err := range c.Gateways.List(t.Context()) {
		last = err
	}
	if last == nil {
		t.Error("the second page failed, and the list says nothing of it")
	}
}

func TestQuotaIsExhausted(t *testing.T) {
	p := fake.New(fake.Config{Quota: map[string]int{fake.Gateways: 1}})
	c := connect(t, p, us)
	if _, err := c.Gateways.Ensure(t.Context(), driver.Gateway{Meta: driver.Meta{ID: "a"}}); err != nil {
		t.Fatal(err)
	}
	if _, err := c.Gateways.Ensure(t.Context(), driver.Gateway{Meta: driver.Meta{ID: "b"}}); !errors.Is(err, fault.Exhausted) {
		t.Errorf("Ensure over quota: %v", err)
	}
}

func TestThrottleSaysWhenToComeBack(t *testing.T) {
	p := fake.New(fake.Config{})
	c := connect(t, p, us)
	p.Throttle(1, time.Second)
	if _, err := c.Inventory(t.Context()); fault.After(err) != time.Second {
		t.Errorf("Inventory: %v, retry after %v", err, fault.After(err))
	}
}

func TestUnknownConfigurationIsRefused(t *testing.T) {
	_, err := fake.Open(t.Context(), us, t.TempDir(), json.RawMessage(`{"zone":["a"]}`), slog.Default())
	if !errors.Is(err, fault.Invalid) {
		t.Errorf("Open: %v, want invalid", err)
	}
}

func TestPlatformOutlivesItsProcess(t *testing.T) {
	dir := t.TempDir()
	open := func(t *testing.T) *driver.Cloud {
		c, err := fake.Open(t.Context(), us, dir, json.RawMessage(`{"persist":true}`), slog.Default())
		if err != nil {
			t.Fatal(err)
		}
		return c
	}
	c := open(t)
	n, err := c.Networks.Ensure(t.Context(), driver.Network{Meta: driver.Meta{ID: "n1", Name: "n"}})
	if err != nil {
		t.Fatal(err)
	}
	p, err := c.PublicIPs.Ensure(t.Context(), driver.PublicIP{Meta: driver.Meta{ID: "p1"}, Family: 4})
	if err != nil {
		t.Fatal(err)
	}
	if err := c.PublicIPs.Delete(t.Context(), "none"); err != nil {
		t.Fatal(err)
	}
	c = open(t) // without Close, as after a kill
	again, err := c.Networks.Ensure(t.Context(), driver.Network{Meta: driver.Meta{ID: "n1", Name: "other"}})
	if err != nil || again.Name != n.Name {
		t.Errorf("after the restart: %+v, %v; want the network that was made before", again, err)
	}
	q, err := c.PublicIPs.Ensure(t.Context(), driver.PublicIP{Meta: driver.Meta{ID: "p2"}, Family: 4})
	if err != nil || q.Address == p.Address {
		t.Errorf("the address %v is given away twice (%v)", q.Address, err)
	}
}

func TestJournalStaysShort(t *testing.T) {
	dir := t.TempDir()
	c, err := fake.Open(t.Context(), us, dir, json.RawMessage(`{"persist":true}`), slog.Default())
	if err != nil {
		t.Fatal(err)
	}
	for i := range 60_000 {
		if _, err := c.Gateways.Ensure(t.Context(), driver.Gateway{Meta: driver.Meta{ID: "g"}, EgressOnly: i%2 == 0}); err != nil {
			t.Fatal(err)
		}
	}
	info, err := os.Stat(filepath.Join(dir, "fake.jsonl"))
	if err != nil || info.Size() > 5<<20 {
		t.Errorf("the journal of one thing has %d bytes (%v)", info.Size(), err)
	}
	if err := c.Close(); err != nil {
		t.Error(err)
	}
}

func BenchmarkEnsure(b *testing.B) {
	p := fake.New(fake.Config{})
	c, _ := p.Open(b.Context(), us, "", nil, nil)
	want := driver.Gateway{Meta: driver.Meta{ID: "g"}}
	for b.Loop() {
		if _, err := c.Gateways.Ensure(b.Context(), want); err != nil {
			b.Fatal(err)
		}
	}
}
