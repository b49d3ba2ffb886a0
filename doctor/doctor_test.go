package doctor

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/driver/fake"
	"github.com/kontor-cloud/kontor/fault"
)

// kinds of the fake platform, all of which an examination makes but images.
var fakeKinds = []string{
	fake.Networks, fake.Subnets, fake.RouteTables, fake.Gateways, fake.SecurityGroups,
	fake.PublicIPs, fake.NICs, fake.Images, fake.Volumes, fake.Instances,
}

func configFor(t *testing.T, open driver.Opener) Config {
	return Config{
		Driver: "fake", Open: open, Dir: t.TempDir(), Hollow: true,
		Patience: 200 * time.Millisecond, Step: time.Millisecond,
		Log: slog.New(slog.NewTextHandler(t.Output(), nil)),
	}
}

func examine(t *testing.T, p *fake.Platform) *Report {
	t.Helper()
	r, err := Run(t.Context(), configFor(t, p.Open))
	if err != nil {
		t.Fatal(err)
	}
	return r
}

// status is how a check went, "" if it is not in the report.
func status(r *Report, name string) Status {
	for _, c := range r.Checks {
		if c.Name == name {
			return c.Status
		}
	}
	return ""
}

func line(r *Report, name string) Check {
	i := slices.IndexFunc(r.Checks, func(c Check) bool { return c.Name == name })
	if i < 0 {
		return Check{}
	}
	return r.Checks[i]
}

// nothingLeft checks the platform itself, whatever the report says.
func nothingLeft(t *testing.T, p *fake.Platform) {
	t.Helper()
	for _, kind := range fakeKinds {
		if n := p.Count(kind); n > 0 {
			t.Errorf("%d %ss are left", n, kind)
		}
	}
}

func TestAllIsWell(t *testing.T) {
	p := fake.New(fake.Config{Late: fake.Duration(5 * time.Millisecond), Delays: map[string]fake.Delay{
		fake.Instances: {Make: fake.Duration(10 * time.Millisecond), Leave: fake.Duration(10 * time.Millisecond)},
	}})
	r := examine(t, p)
	if r.Failed() {
		t.Errorf("failed: %+v", r.Checks)
	}
	for _, kind := range fakeKinds {
		if kind != fake.Images && p.Made(kind) == 0 {
			t.Errorf("no %s was made", kind)
		}
	}
	for _, skipped := range []string{"reach", "round trip", "measure"} {
		if s := status(r, skipped); s != Skip {
			t.Errorf("%s is %q on a platform whose machines run nothing", skipped, s)
		}
	}
	if s := status(r, "clean up"); s != OK {
		t.Errorf("clean up is %q", s)
	}
	nothingLeft(t, p)
}

func TestQuickLookMakesNothing(t *testing.T) {
	p := fake.New(fake.Config{})
	c := configFor(t, p.Open)
	c.NoVM = true
	r, err := Run(t.Context(), c)
	if err != nil || r.Failed() || status(r, "probe") != Skip {
		t.Errorf("the report is %+v, %v", r, err)
	}
	for _, kind := range fakeKinds {
		if p.Made(kind) > 0 {
			t.Errorf("a %s was made", kind)
		}
	}
}

// TestFailureIsToldWhereItIsAndLeavesNothing has every call of the platform
// fail that a check makes.
func TestFailureIsToldWhereItIsAndLeavesNothing(t *testing.T) {
	denied := fault.Denied.Errorf("policy does not allow it: right compute:x is missing")
	for _, c := range []struct {
		check string
		fault fake.Fault
	}{
		{"api", fake.Fault{Op: "inventory", Times: 1e6}},
		{"list network", fake.Fault{Op: "list", Kind: fake.Networks, Err: denied}},
		{"list instance", fake.Fault{Op: "list", Kind: fake.Instances, Err: denied}},
		{"make network", fake.Fault{Op: "ensure", Kind: fake.Networks, Err: denied, Times: 1e6}},
		{"make gateway", fake.Fault{Op: "ensure", Kind: fake.Gateways, Err: denied, Times: 1e6}},
		{"make route-table", fake.Fault{Op: "ensure", Kind: fake.RouteTables, Err: denied, Times: 1e6}},
		{"make subnet", fake.Fault{Op: "ensure", Kind: fake.Subnets, Err: denied, Times: 1e6}},
		{"make security-group", fake.Fault{Op: "ensure", Kind: fake.SecurityGroups, Err: denied, Times: 1e6}},
		{"make public-ip", fake.Fault{Op: "ensure", Kind: fake.PublicIPs, Err: fault.Exhausted.Errorf("no address"), Times: 1e6}},
		{"make nic", fake.Fault{Op: "ensure", Kind: fake.NICs, Times: 1e6}},
		{"make boot volume", fake.Fault{Op: "ensure", Kind: fake.Volumes, Err: denied}},
		{"make data volume", fake.Fault{Op: "ensure", Kind: fake.Volumes, Err: denied, Skip: 1}},
		{"make instance", fake.Fault{Op: "ensure", Kind: fake.Instances, Err: fault.Exhausted.Errorf("no host has room")}},
		{"make instance", fake.Fault{Op: "ensure", Kind: fake.Instances, Done: true, Hang: true, Times: 1e6}},
		{"power cycle", fake.Fault{Op: "ensure", Kind: fake.Instances, Err: denied, Skip: 1}},
	} {
		t.Run(c.check, func(t *testing.T) {
			p := fake.New(fake.Config{})
			p.Fail(c.fault)
			r := examine(t, p)
			if got := line(r, c.check); got.Status != Fail || got.Try == "" {
				t.Errorf("%s is %+v", c.check, got)
			}
			for _, other := range r.Checks {
				if other.Status == Fail && other.Name != c.check {
					t.Errorf("%s failed, too: %s", other.Name, other.Detail)
				}
			}
			nothingLeft(t, p)
		})
	}
}

func TestMissingRightIsNamed(t *testing.T) {
	p := fake.New(fake.Config{})
	p.Fail(fake.Fault{Op: "ensure", Kind: fake.Volumes, Err: fault.Denied.Errorf("right volume:create is missing")})
	got := line(examine(t, p), "make boot volume")
	if !strings.Contains(got.Detail, "volume:create") || !strings.Contains(got.Try, "right") {
		t.Errorf("the line is %+v", got)
	}
}

func TestPassingTroubleIsWaitedFor(t *testing.T) {
	p := fake.New(fake.Config{})
	p.Fail(fake.Fault{Op: "ensure", Kind: fake.Instances, Times: 3, Done: true})
	p.Fail(fake.Fault{Op: "delete", Kind: fake.Volumes, Times: 3})
	if r := examine(t, p); r.Failed() {
		t.Errorf("failed: %+v", r.Checks)
	}
	if n := p.Made(fake.Instances); n != 1 {
		t.Errorf("%d machines were made", n)
	}
	nothingLeft(t, p)
}

func TestShortageIsFoundBeforeAnythingIsMade(t *testing.T) {
	one := 1
	p := fake.New(fake.Config{})
	open := func(ctx context.Context, o driver.Owner, dir string, c json.RawMessage, l *slog.Logger) (*driver.Cloud, error) {
		cloud, err := p.Open(ctx, o, dir, c, l)
		stock := cloud.Inventory
		cloud.Inventory = func(ctx context.Context) (*driver.Inventory, error) {
			inv, err := stock(ctx)
			inv.Free = driver.Capacity{VCPU: &one, DiskGB: &one}
			return inv, err
		}
		return cloud, err
	}
	r, err := Run(t.Context(), configFor(t, open))
	if err != nil {
		t.Fatal(err)
	}
	if got := line(r, "capacity"); got.Status != Fail || !strings.Contains(got.Detail, "1 of 2 GB of disk") {
		t.Errorf("capacity is %+v", got)
	}
}

func TestWhatThePlatformLacksIsNoFailure(t *testing.T) {
	p := fake.New(fake.Config{})
	open := func(ctx context.Context, o driver.Owner, dir string, c json.RawMessage, l *slog.Logger) (*driver.Cloud, error) {
		cloud, err := p.Open(ctx, o, dir, c, l)
		cloud.PublicIPs, cloud.Gateways, cloud.RouteTables, cloud.Images = nil, nil, nil, nil
		return cloud, err
	}
	r, err := Run(t.Context(), configFor(t, open))
	if err != nil || r.Failed() || status(r, "kinds") != Warn || status(r, "make public-ip") != Skip || status(r, "make instance") != OK {
		t.Errorf("the report is %+v, %v", r, err)
	}
	nothingLeft(t, p)
}

func TestUnopenablePlatformIsOneFailure(t *testing.T) {
	refuse := func(context.Context, driver.Owner, string, json.RawMessage, *slog.Logger) (*driver.Cloud, error) {
		return nil, fault.Unauthenticated.Errorf("wrong password")
	}
	r, err := Run(t.Context(), configFor(t, refuse))
	if got := line(r, "access"); err != nil || got.Status != Fail || !strings.Contains(got.Try, "credentials") {
		t.Errorf("access is %+v, %v", got, err)
	}
}

func TestInterruptedRunCleansUp(t *testing.T) {
	p := fake.New(fake.Config{})
	ctx, interrupt := context.WithCancel(t.Context())
	c := configFor(t, p.Open)
	c.Progress = func(what string) {
		if what == "power cycle" {
			interrupt()
		}
	}
	r, err := Run(ctx, c)
	if !errors.Is(err, context.Canceled) || !r.Failed() {
		t.Errorf("the run ended with %v: %+v", err, r)
	}
	if p.Made(fake.Instances) != 1 || status(r, "clean up") != OK {
		t.Errorf("%d machines, clean up is %q", p.Made(fake.Instances), status(r, "clean up"))
	}
	nothingLeft(t, p)
}

// TestNextRunRemovesWhatAKilledOneLeft has a run fail to clean up, which is all
// that a killed one can do.
func TestNextRunRemovesWhatAKilledOneLeft(t *testing.T) {
	p := fake.New(fake.Config{})
	c := configFor(t, p.Open)
	p.Fail(fake.Fault{Op: "delete", Times: 1e6})
	r, err := Run(t.Context(), c)
	if got := line(r, "clean up"); err != nil || got.Status != Fail || !strings.Contains(got.Detail, r.Region) {
		t.Fatalf("clean up is %+v, %v", got, err)
	}
	if p.Count(fake.Instances) != 1 {
		t.Fatal("nothing was left to remove")
	}
	p.Calm()
	c.NoVM = true
	r, err = Run(t.Context(), c)
	if err != nil || r.Failed() || !strings.Contains(line(r, "leftovers").Detail, "1 earlier") {
		t.Errorf("the next run says %+v, %v", r, err)
	}
	nothingLeft(t, p)
	if notes, _ := filepath.Glob(filepath.Join(c.Dir, "doctor", "probe-*")); len(notes) > 0 {
		t.Errorf("notes are left: %v", notes)
	}
}

func TestOthersAreNotTouched(t *testing.T) {
	p := fake.New(fake.Config{})
	cloud, err := p.Open(t.Context(), driver.Owner{Exchange: "x", Region: "r"}, "", nil, nil)
	if err != nil {
		t.Fatal(err)
	}
	if _, err := cloud.Volumes.Ensure(t.Context(), driver.Volume{Meta: driver.Meta{ID: "v"}, SizeGB: 1}); err != nil {
		t.Fatal(err)
	}
	if examine(t, p).Failed() || p.Count(fake.Volumes) != 1 {
		t.Errorf("%d volumes of others are left of 1", p.Count(fake.Volumes))
	}
}

func TestOneAtATimeInADirectory(t *testing.T) {
	dir := t.TempDir()
	n, err := openNotes(dir)
	if err != nil {
		t.Fatal(err)
	}
	c := configFor(t, fake.New(fake.Config{}).Open)
	c.Dir = dir
	if _, err := Run(t.Context(), c); !errors.Is(err, fault.Conflict) {
		t.Errorf("a second examination: %v", err)
	}
	n.close()
	if _, err := Run(t.Context(), c); err != nil {
		t.Errorf("after the first: %v", err)
	}
}

func TestUnknownChoiceFailsByName(t *testing.T) {
	p := fake.New(fake.Config{})
	c := configFor(t, p.Open)
	c.SKU = "nonesuch"
	r, err := Run(t.Context(), c)
	if got := line(r, "capacity"); err != nil || got.Status != Fail || !strings.Contains(got.Detail, "nonesuch") {
		t.Errorf("capacity is %+v, %v", got, err)
	}
	nothingLeft(t, p)
}

func TestReportIsPlainJSON(t *testing.T) {
	p := fake.New(fake.Config{})
	b, err := json.Marshal(examine(t, p))
	if err != nil {
		t.Fatal(err)
	}
	var r Report
	if err := json.Unmarshal(b, &r); err != nil || len(r.Checks) == 0 || len(r.Measured) == 0 || r.Measured[0].At.IsZero() {
		t.Errorf("%v: %s", err, b)
	}
	if !strings.Contains(string(b), `"name":"api-latency","unit":"ms"`) {
		t.Errorf("the report is %s", b)
	}
}
