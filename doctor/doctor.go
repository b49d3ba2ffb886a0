// Package doctor checks from end to end whether Kontor can work with a
// platform: that it answers, what it has, which rights are missing, and that a
// machine really starts, can be reached and is as quick as it should be. It
// needs no exchange.
//
// Whatever it makes belongs to an owner of its own, whose exchange is "doctor"
// and whose region is different each time, so that it can be told from
// everything else, and is removed in the end. A run that was killed leaves a
// note in its directory, and the next one removes what it has left.
package doctor

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math"
	"time"

	"golang.org/x/time/rate"

	"github.com/kontor-cloud/kontor/driver"
)

// A Config says what to examine.
type Config struct {
	Driver   string // its name, for the report
	Open     driver.Opener
	Settings json.RawMessage // the driver's
	Dir      string          // the driver's, and for notes of what was left; it must exist

	NoVM   bool // a quick look: make nothing
	Hollow bool // machines of this platform run nothing: do not try to reach them

	Image, SKU, StorageSKU string // names of the inventory; default: the smallest

	Patience time.Duration // with one thing; default 10 minutes
	Step     time.Duration // between looks; default 1 s

	Progress func(what string) // told what is being done; may be nil
	Log      *slog.Logger
}

// An examination is one run.
type examination struct {
	Config
	owner  driver.Owner
	cloud  *driver.Cloud
	kinds  []kind
	stock  *driver.Inventory
	limit  *rate.Limiter
	report Report
}

// Exchange is the owner's of everything that is made here.
const Exchange = "doctor"

// Run examines a platform. What is wrong with the platform is in the report;
// an error is about the directory, or ctx's when it ends early. Either way
// what was made is removed first.
func Run(ctx context.Context, c Config) (*Report, error) {
	if c.Patience == 0 {
		c.Patience = 10 * time.Minute
	}
	if c.Step == 0 {
		c.Step = time.Second
	}
	if c.Progress == nil {
		c.Progress = func(string) {}
	}
	n, err := openNotes(c.Dir)
	if err != nil {
		return nil, fmt.Errorf("use directory %s: %w", c.Dir, err)
	}
	defer n.close()
	x := &examination{Config: c, owner: driver.Owner{Exchange: Exchange, Region: newRegion()}}
	x.report = Report{
		Driver: c.Driver, Region: x.owner.Region, Began: time.Now().UTC(),
		Checks: []Check{}, Measured: []Measurement{},
	}
	x.examine(ctx, n)
	x.report.Ended = time.Now().UTC()
	return &x.report, ctx.Err()
}

func (x *examination) examine(ctx context.Context, n *notes) {
	x.check(ctx, "leftovers", func(ctx context.Context) (string, error) { return x.leftovers(ctx, n) })
	if x.check(ctx, "access", x.open) != OK {
		return
	}
	defer x.cloud.Close() //nolint:errcheck // nothing of ours is there any more, or has been told of
	x.check(ctx, "api", x.answers)
	x.look(ctx)
	switch {
	case ctx.Err() != nil:
	case x.NoVM:
		x.add(judge("probe", "", skip("not asked for")))
	case x.stock != nil:
		x.probe(ctx, n)
	}
}

// check runs one check and adds what came of it to the report.
func (x *examination) check(ctx context.Context, name string, do func(context.Context) (string, error)) Status {
	if ctx.Err() != nil {
		return Skip
	}
	x.Progress(name)
	began := time.Now()
	detail, err := do(ctx)
	if ctx.Err() != nil {
		err = remedied{fmt.Errorf("interrupted: %w", context.Cause(ctx)), "run it again"}
	}
	c := judge(name, detail, err)
	c.Seconds = math.Round(time.Since(began).Seconds()*1000) / 1000
	x.add(c)
	return c.Status
}

func (x *examination) add(c Check) { x.report.Checks = append(x.report.Checks, c) }

// open connects to the platform.
func (x *examination) open(ctx context.Context) (string, error) {
	cloud, err := x.connect(ctx, x.owner)
	if err != nil {
		return "", err
	}
	x.cloud, x.kinds, x.limit = cloud, kindsOf(cloud), limiter(cloud.Limits)
	return "driver " + x.Driver + " is connected", nil
}

func (x *examination) connect(ctx context.Context, owner driver.Owner) (*driver.Cloud, error) {
	return x.Open(ctx, owner, x.Dir, x.Settings, x.Log)
}

// limiter keeps to what the platform tolerates.
func limiter(l driver.Limits) *rate.Limiter {
	if l.PerSecond == 0 {
		l.PerSecond = 10
	}
	return rate.NewLimiter(rate.Limit(l.PerSecond), max(1, l.Burst))
}
