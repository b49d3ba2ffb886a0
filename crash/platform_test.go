package crash

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"time"

	"github.com/kontor-cloud/kontor/driver"
)

// A platform is what a region's machines are on.
type platform interface {
	// driver is what the agent is told.
	driver() (name, config string)

	// items are what the n-th slot holds, each after those that it needs, a
	// machine last.
	items(w *world, n int) []item

	// look shows what is there, by the platform's own listing.
	look(w *world, do func(*driver.Cloud))
}

// agentConfig writes the agent's configuration file.
func (w *world) agentConfig(relist time.Duration) string {
	w.t.Helper()
	name, config := w.on.driver()
	return w.write("agent.json", fmt.Sprintf(`{"dir": %q, "driver": %q, "relist": %d, "config": %s}`, w.agentDir, name, relist, config))
}

// cloud opens a platform as the agent does. The end of the test closes it.
func (w *world) cloud(open driver.Opener, dir, config string) *driver.Cloud {
	w.t.Helper()
	c, err := open(w.t.Context(), w.owner(), dir, json.RawMessage(config), slog.New(slog.DiscardHandler))
	if err != nil {
		w.t.Fatal(err)
	}
	w.t.Cleanup(func() {
		if err := c.Close(); err != nil {
			w.t.Error(err)
		}
	})
	return c
}

func (w *world) aCustomer(patient time.Duration) *customer {
	return &customer{client: w.client, patient: patient, promise: map[string]*fact{}}
}

// slots are n places of a customer, whose machines run for a while.
func (w *world) slots(c *customer, rng *rand.Rand, n int, linger time.Duration) []*slot {
	all := make([]*slot, n)
	for i := range all {
		all[i] = &slot{customer: c, items: w.on.items(w, i), rng: rand.New(rand.NewPCG(rng.Uint64(), 0)), linger: linger}
	}
	return all
}
