package agent

import (
	"bytes"
	"context"
	"encoding/json"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/wire"
)

// stockEvery is how often the platform is asked what it has left.
const stockEvery = 10 * time.Second

// stock tells the exchange what the region offers: when it connects, and when
// that has changed.
func (a *agent) stock(ctx context.Context) error {
	var sent []byte
	var told int64 = -1
	for ctx.Err() == nil {
		wait := jitter(stockEvery)
		now := a.inventory(ctx)
		text, err := json.Marshal(now)
		epoch := a.link.epoch()
		if err == nil && (!bytes.Equal(text, sent) || epoch != told) && ctx.Err() == nil {
			if err := a.link.post(ctx, wire.PathInventory, now, nil); err == nil {
				sent, told = text, epoch
			} else {
				wait = jitter(time.Second)
			}
		}
		sleep(ctx, wait)
	}
	return nil
}

func (a *agent) inventory(ctx context.Context) wire.Inventory {
	i := wire.Inventory{Driver: a.config.Driver, Console: a.cloud.Console != nil, Version: a.config.Version}
	for _, k := range a.order {
		if k.kept {
			i.Kinds = append(i.Kinds, k.name)
		}
	}
	v, err := a.throttle.look(ctx, operation{"inventory", ""}, func(ctx context.Context) (any, error) { return boxed(a.cloud.Inventory(ctx)) })
	a.mu.Lock()
	defer a.mu.Unlock()
	for _, k := range a.order {
		if k.failures > 0 {
			i.Trouble = a.trouble
		}
	}
	if err != nil {
		i.Trouble = err.Error()
	} else {
		a.stocked = *v.(*driver.Inventory)
	}
	i.Inventory = a.stocked
	return i
}
