package qemu

import (
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"math/rand/v2"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/driver"
)

const crashConfig = `{"accel": "tcg", "publicIPs": ["127.77.2.1-127.77.2.4"]}`

// crashThings are what makeAndDelete makes, by index.
func crashThings(n int) (driver.Volume, driver.PublicIP, driver.Image, driver.Instance) {
	id := func(kind string) driver.Meta { return meta(fmt.Sprint(kind, n)) }
	v := driver.Volume{Meta: id("v"), SizeGB: 1, Image: driver.OfferedImage("blank")}
	i := driver.Instance{Meta: id("i"), VCPU: 1, RAMGiB: 1, BootVolume: v.ID, On: true}
	return v, driver.PublicIP{Meta: id("p"), Family: 4}, driver.Image{Meta: id("m"), Volume: v.ID, Arch: "amd64"}, i
}

// makeAndDelete is an agent that works until it is killed. Errors are left to
// the one that comes after it.
func makeAndDelete(dir string) error {
	ctx := context.Background()
	c, err := Open(ctx, us, dir, json.RawMessage(crashConfig), slog.New(slog.DiscardHandler))
	if err != nil {
		return err
	}
	for n := 0; ; n = (n + 1) % 2 {
		v, p, m, i := crashThings(n)
		for range 5 {
			c.PublicIPs.Ensure(ctx, p) //nolint:errcheck // see above
			c.Volumes.Ensure(ctx, v)   //nolint:errcheck // see above
			c.Images.Ensure(ctx, m)    //nolint:errcheck // see above
			c.Instances.Ensure(ctx, i) //nolint:errcheck // see above
			v.SizeGB++
			i.Restarts++
		}
		if rand.IntN(2) == 0 {
			c.Instances.Delete(ctx, i.ID) //nolint:errcheck // see above
			c.Images.Delete(ctx, m.ID)    //nolint:errcheck // see above
			c.Volumes.Delete(ctx, v.ID)   //nolint:errcheck // see above
			c.PublicIPs.Delete(ctx, p.ID) //nolint:errcheck // see above
		}
	}
}

// TestAnAgentKilledAtAnyMomentLeavesNothingDouble kills agents in the middle of
// their work, and looks whether the next one finds an order in it.
func TestAnAgentKilledAtAnyMomentLeavesNothingDouble(t *testing.T) {
	needQEMU(t)
	dir := t.TempDir()
	endProcesses(t, dir)
	if err := os.Mkdir(filepath.Join(dir, "images"), 0o700); err != nil {
		t.Fatal(err)
	}
	image := filepath.Join(dir, "images", "blank.qcow2")
	if out, err := exec.Command("qemu-img", "create", "-f", "qcow2", image, "1M").CombinedOutput(); err != nil {
		t.Fatalf("%v: %s", err, out)
	}
	for range 15 {
		agent := exec.Command(os.Args[0], "qemu-crash", dir)
		if err := agent.Start(); err != nil {
			t.Fatal(err)
		}
		time.Sleep(time.Duration(100+rand.IntN(500)) * time.Millisecond) // the moment is the point
		if err := agent.Process.Kill(); err != nil {
			t.Fatal(err)
		}
		agent.Wait() //nolint:errcheck // it was killed
	}

	c := open(t, dir, us, crashConfig)
	for n := range 2 {
		v, p, m, i := crashThings(n)
		settle(t, c.PublicIPs, p)
		settle(t, c.Volumes, v)
		settle(t, c.Images, m)
		i.Restarts = find(t, c, i.ID).Restarts
		settle(t, c.Instances, i)
	}
	if n := processes(t, dir); n != 2 {
		t.Errorf("%d processes of QEMU work in the directory, want 2", n)
	}
	for n := range 2 {
		v, p, m, i := crashThings(n)
		for _, err := range []error{
			c.Instances.Delete(t.Context(), i.ID), c.Images.Delete(t.Context(), m.ID),
			c.Volumes.Delete(t.Context(), v.ID), c.PublicIPs.Delete(t.Context(), p.ID),
		} {
			if err != nil {
				t.Error(err)
			}
		}
	}
	if n := processes(t, dir); n != 0 {
		t.Errorf("%d processes of QEMU are left", n)
	}
	if err := os.RemoveAll(filepath.Join(dir, "images")); err != nil {
		t.Fatal(err)
	}
	nothingLeft(t, dir)
}

// processes counts those of QEMU whose working directory is below dir.
func processes(t *testing.T, dir string) int {
	t.Helper()
	links, err := filepath.Glob("/proc/[0-9]*/cwd")
	if err != nil {
		t.Fatal(err)
	}
	n := 0
	for _, link := range links {
		cwd, err := os.Readlink(link)
		if err != nil {
			continue // ended, or not ours
		}
		program, _ := os.Readlink(filepath.Join(filepath.Dir(link), "exe"))
		if in, err := filepath.Rel(dir, cwd); err == nil && filepath.IsLocal(in) && filepath.Base(program) == "qemu-system-x86_64" {
			n++
		}
	}
	return n
}
