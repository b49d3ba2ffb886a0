package crash

import (
	"context"
	"encoding/json"
	"fmt"
	"math/rand/v2"
	"slices"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
)

// A customer remembers what the exchange has acknowledged, and holds it to that.
type customer struct {
	client  *client.Client
	patient time.Duration // for one thing to become active or to go

	mu      sync.Mutex
	promise map[string]*fact // by address

	puts, deletes, actions, unanswered atomic.Int64
}

// A fact is what was acknowledged last about a resource that should be there.
type fact struct {
	item   item
	round  int
	power  seca.Power
	native string // the platform's id, when first seen
}

// until repeats a call while the exchange is away. In doubt, an earlier try may
// have been carried out although no answer came.
func (c *customer) until(ctx context.Context, call func() error) (doubt bool, err error) {
	for {
		err = call()
		if fault.KindOf(err) != fault.Unavailable || ctx.Err() != nil {
			return doubt, err
		}
		doubt = true
		c.unanswered.Add(1)
		pause(ctx, 20*time.Millisecond)
	}
}

// put writes an item and makes sure that the exchange knows it from then on.
func (c *customer) put(ctx context.Context, i item, round int) error {
	err := poll(ctx, c.patient, func() error {
		_, err := c.until(ctx, func() error {
			_, _, err := c.client.Put(ctx, i.at, i.document(round), 0)
			return err
		})
		if k := fault.KindOf(err); err != nil && k != fault.Conflict { // the one before may still be leaving
			return broken("put %s: %w", i.urn, err)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("put %s: %w", i.urn, err)
	}
	c.puts.Add(1)
	c.mu.Lock()
	f := c.promise[i.at]
	if f == nil {
		f = &fact{item: i, power: seca.Off}
		c.promise[i.at] = f
	}
	f.round = round
	c.mu.Unlock()
	_, err = c.get(ctx, i)
	return err
}

// get reads an item that was acknowledged, and checks that it is as promised.
func (c *customer) get(ctx context.Context, i item) (client.Item, error) {
	var have client.Item
	_, err := c.until(ctx, func() (err error) {
		have, err = c.client.Get(ctx, i.at)
		return err
	})
	c.mu.Lock()
	defer c.mu.Unlock()
	f := c.promise[i.at]
	switch {
	case fault.KindOf(err) == fault.Missing:
		return have, broken("%s was acknowledged and is not there", i.urn)
	case err != nil:
		return have, fmt.Errorf("get %s: %w", i.urn, err)
	case have.Labels["round"] != strconv.Itoa(f.round):
		return have, broken("%s is as of round %s, round %d was acknowledged", i.urn, have.Labels["round"], f.round)
	case have.State() == seca.Deleting:
		return have, broken("%s is being deleted; nobody asked for that", i.urn)
	case have.State() == seca.Error:
		return have, broken("%s is in error: %s", i.urn, have.Raw)
	}
	if native := nativeOf(have); f.native == "" {
		f.native = native
	} else if native != f.native {
		return have, broken("%s was %s and is %s: it was lost or made twice", i.urn, f.native, native)
	}
	return have, nil
}

func nativeOf(i client.Item) string {
	var k struct{ Native string }
	json.Unmarshal(i.Kontor, &k) //nolint:errcheck // then there is none
	return k.Native
}

// active waits until an item is what was asked for.
func (c *customer) active(ctx context.Context, i item) error {
	err := poll(ctx, c.patient, func() error {
		have, err := c.get(ctx, i)
		if err == nil && have.State() != seca.Active {
			pause(ctx, 80*time.Millisecond) // there are many of us
			err = fmt.Errorf("it is %s %s", have.State(), have.Kontor)
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("wait for %s to be active: %w", i.urn, err)
	}
	return nil
}

// power starts or stops an active instance.
func (c *customer) power(ctx context.Context, i item, to seca.Power) error {
	if err := c.active(ctx, i); err != nil {
		return err
	}
	action := map[seca.Power]string{seca.On: "/start", seca.Off: "/stop"}[to]
	doubt, err := c.until(ctx, func() error { return c.client.Post(ctx, i.at+action, nil, nil) })
	if fault.KindOf(err) == fault.Conflict && doubt {
		err = nil // it was carried out before
	}
	if err != nil {
		return broken("%s of active %s: %w", action, i.urn, err)
	}
	c.actions.Add(1)
	c.mu.Lock()
	defer c.mu.Unlock()
	c.promise[i.at].power = to
	return nil
}

// remove deletes an item and makes sure that this is not forgotten.
func (c *customer) remove(ctx context.Context, i item) error {
	doubt, err := c.until(ctx, func() error { return c.client.Delete(ctx, i.at, 0) })
	if fault.KindOf(err) == fault.Missing && doubt {
		err = nil
	}
	if err != nil {
		return broken("delete %s: %w", i.urn, err)
	}
	c.deletes.Add(1)
	c.mu.Lock()
	delete(c.promise, i.at)
	c.mu.Unlock()
	_, err = c.leaving(ctx, i)
	return err
}

// leaving checks that an item is on its way out, and reports whether it is gone.
func (c *customer) leaving(ctx context.Context, i item) (gone bool, err error) {
	var state seca.State
	_, err = c.until(ctx, func() (err error) {
		state, err = stateOf(c.client.Get(ctx, i.at))
		return err
	})
	if err == nil && state != "" && state != seca.Deleting {
		err = broken("%s is %s although its deletion was acknowledged", i.urn, state)
	}
	return state == "", err
}

func (c *customer) gone(ctx context.Context, i item) error {
	err := poll(ctx, c.patient, func() error {
		gone, err := c.leaving(ctx, i)
		if err == nil && !gone {
			pause(ctx, 80*time.Millisecond)
			err = fmt.Errorf("it is still there")
		}
		return err
	})
	if err != nil {
		return fmt.Errorf("wait for the end of %s: %w", i.urn, err)
	}
	return nil
}

// A slot is a place where the customer makes and deletes the same things over
// and over, each after those that it needs.
type slot struct {
	*customer
	items  []item
	rng    *rand.Rand
	linger time.Duration // with machines on, at most
	round  int
}

func (s *slot) chance(percent int) bool { return s.rng.IntN(100) < percent }

// live goes on until stop closes. It ends with the things there, or not, as
// chance has it.
func (s *slot) live(ctx context.Context, stop <-chan struct{}) error {
	for {
		if err := s.make(ctx); err != nil {
			return err
		}
		if s.chance(50) {
			if err := s.change(ctx); err != nil {
				return err
			}
			pause(ctx, time.Duration(s.rng.Float64()*float64(s.linger)))
		}
		ended := isClosed(stop)
		if ended && s.chance(60) {
			return nil
		}
		if err := s.unmake(ctx); err != nil || ended {
			return err
		}
	}
}

func isClosed(c <-chan struct{}) bool {
	select {
	case <-c:
		return true
	default:
		return false
	}
}

func (s *slot) make(ctx context.Context) error {
	s.round++
	for _, i := range s.items {
		if err := s.put(ctx, i, s.round); err != nil {
			return err
		}
		if s.chance(10) {
			if err := s.active(ctx, i); err != nil {
				return err
			}
		}
	}
	if s.chance(50) {
		return s.active(ctx, s.items[len(s.items)-1])
	}
	return nil
}

// change writes everything anew and switches instances on.
func (s *slot) change(ctx context.Context) error {
	s.round++
	for _, i := range s.items {
		if err := s.put(ctx, i, s.round); err != nil {
			return err
		}
		if i.kind.Name == "instance" && s.promiseOf(i).power == seca.Off {
			if err := s.power(ctx, i, seca.On); err != nil {
				return err
			}
		}
	}
	return nil
}

// promiseOf is what was acknowledged of an item; zero if it is not to be there.
func (c *customer) promiseOf(i item) fact {
	c.mu.Lock()
	defer c.mu.Unlock()
	if f := c.promise[i.at]; f != nil {
		return *f
	}
	return fact{}
}

func (s *slot) unmake(ctx context.Context) error {
	for _, i := range slices.Backward(s.items) {
		if err := s.remove(ctx, i); err != nil {
			return err
		}
	}
	if s.chance(50) {
		return s.gone(ctx, s.items[0])
	}
	return nil
}

// A row is what is compared of each resource.
type row struct {
	Round, State, Native string
	Power                seca.Power
}

// promised is what must be listed in the end.
func (c *customer) promised() map[string]row {
	c.mu.Lock()
	defer c.mu.Unlock()
	all := map[string]row{}
	for _, f := range c.promise {
		r := row{Round: strconv.Itoa(f.round), State: string(seca.Active), Native: f.native}
		if f.item.kind.Name == "instance" {
			r.Power = f.power
		}
		all[f.item.urn] = r
	}
	return all
}

// listed is what the exchange says in lists of the same collections.
func (c *customer) listed(ctx context.Context, items []item) (map[string]row, error) {
	all, seen := map[string]row{}, map[string]bool{}
	for _, i := range items {
		at := i.at[:strings.LastIndex(i.at, "/")]
		if seen[at] {
			continue
		}
		seen[at] = true
		for have, err := range c.client.List(ctx, at, client.Query{Page: 7}) {
			if err != nil {
				return nil, fmt.Errorf("list %s: %w", at, err)
			}
			var s seca.InstanceStatus
			if err := json.Unmarshal(have.Status, &s); err != nil {
				return nil, err
			}
			all[have.Metadata.Ref] = row{have.Labels["round"], string(have.State()), nativeOf(have), s.PowerState}
		}
	}
	return all, nil
}
