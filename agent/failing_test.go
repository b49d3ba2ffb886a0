package agent

import (
	"context"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/driver/fake"
	"github.com/kontor-cloud/kontor/fault"
)

// barren takes orders, and then nothing comes of them.
type barren struct {
	driver.Keeper[driver.Gateway]
	platform *fake.Platform
}

func (b barren) Ensure(ctx context.Context, want driver.Gateway) (driver.Gateway, error) {
	have, err := b.Keeper.Ensure(ctx, want)
	if err == nil && have.State == driver.Ready {
		b.platform.Vanish(want.ID)
		err = fault.Unavailable.Errorf("no host could start it")
	}
	return have, err
}

// TestWhatComesToNothingIsNotOrderedAgainAtOnce: that a thing has vanished which
// never was is no reason to hurry.
func TestWhatComesToNothingIsNotOrderedAgainAtOnce(t *testing.T) {
	s := newStage(t, fake.Config{Delays: map[string]fake.Delay{fake.Gateways: {Make: fake.Duration(60 * time.Millisecond)}}})
	s.spoil = func(c *driver.Cloud) { c.Gateways = barren{c.Gateways, s.platform} }
	s.start()
	s.gateway()
	s.await("an order", func() bool { return s.platform.Made(fake.Gateways) > 0 })
	time.Sleep(3 * time.Second)
	if n := s.platform.Made(fake.Gateways); n > 5 {
		t.Errorf("ordered %d times within three seconds", n)
	}
}
