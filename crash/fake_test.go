package crash

import (
	"context"
	"errors"
	"fmt"
	"os"
	"path/filepath"
	"slices"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"
	"golang.org/x/sync/errgroup"

	"github.com/kontor-cloud/kontor/db/dbtest"
	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/driver/fake"
	"github.com/kontor-cloud/kontor/fault"
)

// slowCloud takes its time, so that kills hit the middle of things.
const slowCloud = `{"persist": true, "late": "60ms", "delays": {
	"network": {"make": "100ms", "leave": "60ms"}, "gateway": {"make": "50ms"}, "route-table": {"make": "50ms", "leave": "30ms"},
	"subnet": {"make": "80ms", "leave": "50ms"}, "nic": {"make": "60ms", "change": "40ms", "leave": "50ms"},
	"volume": {"make": "150ms", "change": "60ms", "leave": "90ms"},
	"instance": {"make": "200ms", "change": "100ms", "leave": "120ms"}}}`

// TestKillsAtRandomMomentsOnAFakeCloud is the promise that no acknowledged write
// is lost, nothing is made twice, nothing is left over, and no volume is lost.
func TestKillsAtRandomMomentsOnAFakeCloud(t *testing.T) {
	if testing.Short() {
		killOnFake(t, "", 6, 5)
	} else {
		killOnFake(t, "", 30, 20)
	}
}

// TestLabManyKillsOnAFakeCloud is the same for minutes, on both databases.
func TestLabManyKillsOnAFakeCloud(t *testing.T) {
	if os.Getenv("KONTOR_LAB") == "" {
		t.Skip("slow: set KONTOR_LAB=1")
	}
	t.Run("sqlite", func(t *testing.T) { killOnFake(t, "", 60, 100) })
	t.Run("postgres", func(t *testing.T) { killOnFake(t, dbtest.PostgresURL(t), 60, 100) })
}

func killOnFake(t *testing.T, postgres string, slots, kills int) {
	t.Helper()
	rng := seeded(t)
	w := newWorld(t, rng, postgres, fakeCloud(slowCloud))
	c := w.aCustomer(time.Minute)
	all := w.slots(c, rng, slots, 0)
	k := &killer{rng: rng, longest: 2 * time.Second, log: t.Logf, victims: []victim{
		again(w.agent), again(w.exchange), again(w.agent), again(w.exchange), both(w.exchange, w.agent),
	}}
	w.endure(c, all, k, kills)
	w.settle(c, all)
}

// settle compares what was promised with what is, and clears it away.
func (w *world) settle(c *customer, all []*slot) {
	w.t.Helper()
	w.compare(c, all)
	w.resync()
	w.platform(c)
	w.clear(c, all)
	w.platform(c)
}

// A fakeCloud is the fake platform with a configuration, which has it persist.
type fakeCloud string

func (f fakeCloud) driver() (name, config string) { return "fake", string(f) }

// look opens a copy: the agent has the platform itself in its own process.
func (fakeCloud) look(w *world, do func(*driver.Cloud)) { do(w.copyOfFake()) }

// items are a volume and an instance, some with a card, some of those in a
// network of their own.
func (fakeCloud) items(w *world, n int) []item {
	name := fmt.Sprintf("s%02d", n)
	volume := w.item("block-storage", "", name, `{"sizeGB": ROUND, "skuRef": {"resource": "skus/seca.rd100"}}`)
	card := ""
	var items []item
	if n%3 == 0 {
		card = fmt.Sprintf(`, "primaryNicRef": {"resource": "nics/%s"}`, name)
		items = append(items,
			w.item("network", "", name, fmt.Sprintf(`{"cidr": {"ipv4": "10.%d.0.0/16"}, "skuRef": {"resource": "skus/seca.n1k"}}`, n)),
			w.item("internet-gateway", "", name, `{}`),
			w.item("routing-table", name, name, fmt.Sprintf(`{"routes": [{"destinationCidrBlock": "0.0.0.0/0", "targetRef": {"resource": "internet-gateways/%s"}}]}`, name)),
			w.item("subnet", name, name, fmt.Sprintf(`{"cidr": {"ipv4": "10.%d.1.0/24"}, "routeTableRef": {"resource": "route-tables/%s"}}`, n, name)),
			w.item("nic", "", name, fmt.Sprintf(`{"subnetRef": {"resource": "networks/%s/subnets/%s"}, "addresses": ["0.0.0.0"]}`, name, name)))
	}
	return append(items, volume,
		w.item("instance", "", name, fmt.Sprintf(`{"skuRef": {"resource": "skus/seca.d2xs"}, "bootVolume": {"deviceRef": {"resource": "block-storages/%s"}}%s}`, name, card)))
}

// endure lets the customer work while the killer does.
func (w *world) endure(c *customer, all []*slot, k *killer, kills int) {
	w.t.Helper()
	w.meanwhile(c, all, func(ctx context.Context) error { return k.rage(ctx, kills) })
}

// meanwhile does something while the customer works.
func (w *world) meanwhile(c *customer, all []*slot, do func(context.Context) error) {
	w.t.Helper()
	ctx, cancel := context.WithTimeout(w.t.Context(), 10*c.patient)
	defer cancel()
	stop := make(chan struct{})
	work, ctx := errgroup.WithContext(ctx)
	for _, s := range all {
		work.Go(func() error { return s.live(ctx, stop) })
	}
	work.Go(func() error {
		defer close(stop)
		return do(ctx)
	})
	if err := work.Wait(); err != nil {
		w.t.Fatal(err)
	}
	rounds := 0
	for _, s := range all {
		rounds += s.round
	}
	w.t.Logf("%d slots, %d rounds, %d puts, %d deletes and %d power actions acknowledged, %d calls unanswered",
		len(all), rounds, c.puts.Load(), c.deletes.Load(), c.actions.Load(), c.unanswered.Load())
}

// compare waits until the exchange lists exactly what it has acknowledged.
func (w *world) compare(c *customer, all []*slot) {
	w.t.Helper()
	began := time.Now()
	var items []item
	for _, s := range all {
		items = append(items, s.items...)
	}
	w.wait(c.patient, "what is listed to become what was promised", func() error {
		listed, err := c.listed(w.t.Context(), items)
		if err != nil {
			return err
		}
		want := c.promised()
		for urn, r := range want {
			if r.Native == "" {
				r.Native = listed[urn].Native
				want[urn] = r
			}
		}
		if d := cmp.Diff(want, listed); d != "" {
			return errors.New("promised (-), listed (+):\n" + d)
		}
		return nil
	})
	w.t.Logf("%d resources are listed as promised, %.1fs later", len(c.promise), time.Since(began).Seconds())
	for _, f := range c.promise {
		if _, err := c.get(w.t.Context(), f.item); err != nil { // notes what the platform calls it
			w.t.Error(err)
		}
	}
}

// platform compares what is promised with what the platform has.
func (w *world) platform(c *customer) {
	w.t.Helper()
	want := map[string]string{}
	for urn, r := range c.promised() {
		want[urn] = r.Native
	}
	w.on.look(w, func(cloud *driver.Cloud) {
		if d := cmp.Diff(want, w.things(cloud)); d != "" {
			w.t.Errorf("promised (-), on the platform (+):\n%s", d)
		}
	})
}

// clear deletes everything, also the workspace, and waits until it is gone.
func (w *world) clear(c *customer, all []*slot) {
	w.t.Helper()
	var work errgroup.Group
	for _, s := range all {
		work.Go(func() error {
			for _, i := range slices.Backward(s.items) {
				if c.promiseOf(i).round == 0 {
					continue
				}
				if err := s.remove(w.t.Context(), i); err != nil {
					return err
				}
			}
			return nil
		})
	}
	if err := work.Wait(); err != nil {
		w.t.Fatal(err)
	}
	at := w.item("workspace", "", workspace, "{}")
	if err := c.remove(w.t.Context(), at); err != nil {
		w.t.Fatal(err)
	}
	if err := c.gone(w.t.Context(), at); err != nil {
		w.t.Fatal(err)
	}
	_, err := w.client.Get(w.t.Context(), all[0].items[0].at)
	if fault.KindOf(err) != fault.Missing {
		w.t.Errorf("after the end of the workspace: %v, want that nothing is there", err)
	}
}

// fakeJournal is where the fake platform keeps what it has.
func (w *world) fakeJournal() string {
	if w.cloudDir != "" { // a disk of its own, as platforms have
		return filepath.Join(w.cloudDir, "fake.jsonl")
	}
	return filepath.Join(w.agentDir, "fake.jsonl")
}

// copyOfFake opens a copy of what the fake cloud has kept.
func (w *world) copyOfFake() *driver.Cloud {
	w.t.Helper()
	b, err := os.ReadFile(w.fakeJournal())
	if err != nil {
		w.t.Fatal(err)
	}
	dir := w.t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "fake.jsonl"), b, 0o600); err != nil {
		w.t.Fatal(err)
	}
	return w.cloud(fake.Open, dir, `{"persist": true}`)
}
