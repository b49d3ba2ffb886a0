package crash

import (
	"context"
	"errors"
	"fmt"
	"math/rand/v2"
	"os"
	"slices"
	"strings"
	"sync/atomic"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/failpoint"
	"github.com/kontor-cloud/kontor/seca"
)

// TestCrucible kills the exchange or the agent at each moment that has a name,
// while customers order, resize, switch and delete, and looks at the platform
// after each. The short form visits a few points on SQLite.
func TestCrucible(t *testing.T) {
	if os.Getenv("KONTOR_CRUCIBLE") == "" {
		t.Run("short", func(t *testing.T) {
			visitAll(t, "", nil, 4, []failpoint.Point{
				failpoint.PutWritten, failpoint.GroupRun, failpoint.ObserveDone, failpoint.CreateCalled, failpoint.DeleteCalled,
			})
		})
		return
	}
	every := slices.Concat(failpoint.Exchange(), failpoint.Agent())
	t.Run("sqlite", func(t *testing.T) { visitAll(t, "", nil, 6, every) })
	t.Run("postgres", func(t *testing.T) {
		pg := ownPostgres(t)
		visitAll(t, pg.url, pg.restart, 6, every)
	})
}

// A tour is a visit to many points with the same customers.
type tour struct {
	*stage
	customer *customer
	slots    []*slot
	orders   atomic.Int64
	least    int64        // orders in a trial
	names    atomic.Int64 // of tenants
	restart  func()       // of the database, if it can

	storage string // the SKU of a volume
	// stray keeps what the platform has for a URN, to put it back after its end.
	stray func(urn string) (putBack func() error, err error)
}

func visitAll(t *testing.T, postgres string, restart func(), slots int, points []failpoint.Point) {
	t.Helper()
	rng := seeded(t)
	s := newStage(t, "", postgres, fakeCloud(scriptedCloud))
	full := len(points) > 10
	if full {
		s.beginAtPoints()
	} else {
		s.begin()
	}
	tr := &tour{stage: s, restart: restart, storage: "seca.rd100", stray: s.strayOfFake}
	tr.customer, tr.slots = s.places(rng, slots)
	tr.visitEach(rng, points)
	if full {
		tr.unreliable()
		tr.unreliablePlatform()
		tr.partitioned(func() {})
	}
	s.compare(tr.customer, tr.slots)
	s.resync()
	s.clear(tr.customer, tr.slots)
	if left := s.platformNow(s.copyOfFake()); len(left) > 0 {
		t.Errorf("left on the platform: %v", left)
	}
}

// visitEach comes to the points in some order.
func (tr *tour) visitEach(rng *rand.Rand, points []failpoint.Point) {
	tr.t.Helper()
	rng.Shuffle(len(points), func(i, j int) { points[i], points[j] = points[j], points[i] })
	for _, p := range points {
		if !slices.Contains(once, p) {
			n := 1
			if !slices.Contains(atStart, p) {
				n += rng.IntN(3)
			}
			tr.visit(p, n)
		}
	}
}

// once are the points to which only the beginning of an exchange or agent comes.
var once = []failpoint.Point{
	failpoint.MigrationBegun, failpoint.MigrationRun, failpoint.MigrationDone,
	failpoint.KeyFileMade, failpoint.SecretsSealed, failpoint.TokenMade, failpoint.KeyMade,
	failpoint.EnrolUsed, failpoint.EnrolDone, failpoint.EnrolledUnkept,
}

// atStart are those to which an agent comes once in its life, or brings its exchange.
var atStart = []failpoint.Point{
	failpoint.JournalCompacted, failpoint.InventorySaved, failpoint.OrphansSaved, failpoint.RenewDone, failpoint.RenewedUnkept,
	failpoint.OrphanCondemned, failpoint.TenantMade, failpoint.TenantJoined,
}

// beginAtPoints begins like begin, and both sides die at every step of that.
func (s *stage) beginAtPoints() {
	s.t.Helper()
	died := func(p *process, at failpoint.Point) {
		s.t.Helper()
		if !p.dies(s.patience) {
			s.t.Fatalf("the %s has not come to %q", p.name, at)
		}
		s.table = append(s.table, result{name: string(at), kills: 1})
	}
	s.exchange.fails = string(failpoint.MigrationBegun)
	s.run(s.exchange)
	for _, next := range []failpoint.Point{
		failpoint.MigrationRun, failpoint.MigrationDone, failpoint.KeyFileMade, failpoint.SecretsSealed, failpoint.TokenMade, "",
	} {
		died(s.exchange, failpoint.Point(s.exchange.fails))
		s.again(s.exchange, string(next))
	}
	s.operate(s.url(), s.joinFile())

	s.agent.fails = string(failpoint.KeyMade)
	s.run(s.agent)
	died(s.agent, failpoint.KeyMade)
	s.again(s.exchange, string(failpoint.EnrolUsed))
	s.again(s.agent, string(failpoint.EnrolledUnkept))
	died(s.exchange, failpoint.EnrolUsed)
	s.again(s.exchange, string(failpoint.EnrolDone))
	died(s.exchange, failpoint.EnrolDone)
	s.again(s.exchange, "")
	died(s.agent, failpoint.EnrolledUnkept)
	s.again(s.agent, "")
	s.open()
}

// visit has a process die when it comes to a point for the n-th time, while
// customers work.
func (tr *tour) visit(p failpoint.Point, n int) {
	tr.t.Helper()
	victim := tr.target(p)
	tr.trial(fmt.Sprint(p), func() int {
		what := fmt.Sprintf("%s#%d", p, n)
		switch p {
		case failpoint.OrphanCondemned:
			tr.makeOrphan()
		case failpoint.RenewDone:
			tr.again(tr.agent, "on "+string(failpoint.Hurry))
			defer tr.again(tr.agent, "")
		case failpoint.RenewedUnkept:
			what += ";on " + string(failpoint.Hurry)
		default: // needs no preparation
		}
		tr.again(victim, what)
		switch p {
		case failpoint.InventorySaved, failpoint.OrphansSaved:
			tr.again(tr.agent, "")
		case failpoint.TenantMade, failpoint.TenantJoined:
			defer tr.makeTenant()()
		default: // what customers do leads there
		}
		return tr.awaitDeath(victim, p)
	})
}

// trial lets customers work while something goes wrong, and audits what there
// is afterwards. do reports how often something died.
func (tr *tour) trial(name string, do func() int) {
	tr.t.Helper()
	r := result{name: name}
	before := tr.orders.Load()
	ctx, cancel := context.WithTimeout(tr.t.Context(), 3*time.Minute+3*tr.patience)
	defer cancel()
	work, ctx := errgroup.WithContext(ctx)
	stop := make(chan struct{})
	for _, s := range tr.slots {
		work.Go(func() error {
			for {
				if err := s.order(ctx); err != nil {
					return err
				}
				if tr.orders.Add(1); isClosed(stop) {
					return nil
				}
			}
		})
	}
	r.kills = do()
	for tr.orders.Load()-before < tr.least && ctx.Err() == nil {
		pause(ctx, 50*time.Millisecond)
	}
	close(stop)
	err := work.Wait()
	r.orders = int(tr.orders.Load() - before)
	switch {
	case err == nil:
		tr.compare(tr.customer, tr.slots)
		tr.on.look(tr.world, func(c *driver.Cloud) { tr.audit(&r, tr.customer, c) })
	case errors.Is(err, errBroken):
		r.lost++
	default:
		r.stuck++
	}
	tr.table = append(tr.table, r)
	if err != nil {
		tr.t.Fatalf("%s: %v", name, err)
	}
}

// order makes what is in a slot, changes it, switches it, and often deletes it.
func (s *slot) order(ctx context.Context) error {
	if err := s.make(ctx); err != nil {
		return err
	}
	if s.chance(60) {
		if err := s.change(ctx); err != nil {
			return err
		}
		vm := s.items[len(s.items)-1]
		if s.chance(50) && s.promiseOf(vm).power == seca.On {
			if err := s.power(ctx, vm, seca.Off); err != nil {
				return err
			}
		}
	}
	if s.chance(60) {
		return s.unmake(ctx)
	}
	return nil
}

// makeTenant begins to make a tenant, and goes on although the exchange dies at
// it. The function returned waits until the tenant is whole.
func (tr *tour) makeTenant() (wait func()) {
	name, made := fmt.Sprintf("t%d", tr.names.Add(1)), make(chan error, 1)
	go func() {
		_, err := tr.customer.until(tr.t.Context(), func() error {
			_, _, err := tr.client.Put(tr.t.Context(), tr.client.Exchange("tenants", name), map[string]any{"spec": map[string]any{"admins": []string{"admin"}}}, 0)
			return err
		})
		made <- err
	}()
	return func() {
		tr.t.Helper()
		if err := <-made; err != nil {
			tr.t.Errorf("tenant %s: %v", name, err)
		}
		if _, err := client.All(tr.client.List(tr.t.Context(), "/providers/seca.authorization/v1/tenants/"+name+"/role-assignments", client.Query{})); err != nil {
			tr.t.Errorf("the admins of tenant %s: %v", name, err)
		}
	}
}

// makeOrphan has the platform find again what was deleted: a volume that the
// exchange knows to be gone.
func (tr *tour) makeOrphan() {
	tr.t.Helper()
	i := tr.item("block-storage", "", fmt.Sprintf("stray%d", tr.names.Add(1)), fmt.Sprintf(`{"sizeGB": 1, "skuRef": {"resource": "skus/%s"}}`, tr.storage))
	c := &customer{client: tr.client, patient: tr.customer.patient, promise: map[string]*fact{}}
	steps := []func(context.Context, item) error{
		func(ctx context.Context, i item) error { return c.put(ctx, i, 1) }, c.active,
	}
	for _, step := range steps {
		if err := step(tr.t.Context(), i); err != nil {
			tr.t.Fatal(err)
		}
	}
	putBack, err := tr.stray(i.urn)
	if err != nil {
		tr.t.Fatal(err)
	}
	for _, step := range []func(context.Context, item) error{c.remove, c.gone} {
		if err := step(tr.t.Context(), i); err != nil {
			tr.t.Fatal(err)
		}
	}
	tr.agent.kill()
	if err := putBack(); err != nil {
		tr.t.Fatalf("put %s back: %v", i.urn, err)
	}
}

// strayOfFake takes the line of a thing from the fake platform's journal. The
// function returned adds it again.
func (s *stage) strayOfFake(urn string) (putBack func() error, err error) {
	path, line := s.fakeJournal(), ""
	b, err := os.ReadFile(path)
	for l := range strings.Lines(string(b)) {
		if strings.Contains(l, urn+`"`) {
			line = l
		}
	}
	if err == nil && line == "" {
		err = fmt.Errorf("nothing on the platform is %s", urn)
	}
	return func() error {
		f, err := os.OpenFile(path, os.O_APPEND|os.O_WRONLY, 0)
		if err == nil {
			_, err = f.WriteString(line)
			err = errors.Join(err, f.Close())
		}
		return err
	}, err
}
