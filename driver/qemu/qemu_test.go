package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"log/slog"
	"net/http"
	"net/netip"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/driver/drivertest"
	"github.com/kontor-cloud/kontor/driver/qemu/vnet"
)

// TestMain lets the test's program be what the driver starts beside machines
// and networks.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 {
		switch os.Args[1] {
		case "qemu-console":
			exit(RunConsole(os.Args[2]))
		case "qemu-network":
			exit(vnet.Run(context.Background(), os.Args[2], slog.Default()))
		case "qemu-crash":
			exit(makeAndDelete(os.Args[2]))
		}
	}
	os.Exit(m.Run())
}

func exit(err error) {
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	os.Exit(0)
}

var us = driver.Owner{Exchange: "x1", Region: "nl-test"}

// open connects to a host whose directory is dir.
func open(t *testing.T, dir string, owner driver.Owner, config string) *driver.Cloud {
	t.Helper()
	c, err := Open(t.Context(), owner, dir, json.RawMessage(config), slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := c.Close(); err != nil {
			t.Error(err)
		}
	})
	return c
}

// needQEMU skips tests where there is no QEMU.
func needQEMU(t *testing.T) {
	t.Helper()
	for _, program := range []string{"qemu-system-x86_64", "qemu-img"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no %s here", program)
		}
	}
}

// images makes a directory with the demo image in it, or skips the test.
func withImage(t *testing.T) string {
	t.Helper()
	needQEMU(t)
	path := os.Getenv("KONTOR_TEST_IMAGE")
	if path == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Skip(err)
		}
		path = filepath.Join(cache, "kontor", "image", "kontor-tiny.qcow2")
	}
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no image: run image/build, or set KONTOR_TEST_IMAGE (%v)", err)
	}
	dir := t.TempDir()
	if err := os.Symlink(path, filepath.Join(dir, "tiny.qcow2")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// endProcesses kills whatever a failed test has left, found by the locks that
// its machines and networks hold.
func endProcesses(t *testing.T, dir string) {
	t.Helper()
	t.Cleanup(func() {
		pids, _ := filepath.Glob(filepath.Join(dir, "*", "instances", "*", "qemu.pid"))
		for _, path := range pids {
			if pid, err := pidOf(filepath.Dir(path)); err == nil && locked(filepath.Join(filepath.Dir(path), "run.lock")) {
				t.Errorf("left running: %s", path)
				unix.Kill(pid, unix.SIGKILL) //nolint:errcheck // it may have ended
			}
		}
		networks, _ := filepath.Glob(filepath.Join(dir, "*", "networks", "*", "vnet"))
		for _, d := range networks {
			t.Errorf("left running: %s", d)
			stopNetwork(context.Background(), d) //nolint:errcheck // best effort
		}
	})
}

func TestConformance(t *testing.T) {
	images, dir := withImage(t), t.TempDir()
	endProcesses(t, dir)
	config := fmt.Sprintf(`{"images": %q, "publicIPs": ["127.77.0.1-127.77.0.9"], "powerOffSeconds": 2, "nice": 1}`, images)
	drivertest.Run(t, drivertest.Platform{
		Open: func(t *testing.T) *driver.Cloud { return open(t, dir, us, config) },
		Foreign: func(t *testing.T) *driver.Cloud {
			return open(t, dir, driver.Owner{Exchange: "x2", Region: us.Region}, config)
		},
		Slow: true,
	})
}

// settle calls Ensure until the thing is ready.
func settle[T any, P interface {
	*T
	Base() *driver.Meta
	Satisfies(T) bool
}](t *testing.T, k driver.Keeper[T], want T) T {
	t.Helper()
	var have T
	err := poll(t.Context(), 2*time.Minute, func() (err error) {
		have, err = k.Ensure(t.Context(), want)
		if err != nil {
			return err
		}
		if m := P(&have).Base(); m.State != driver.Ready || !P(&have).Satisfies(want) {
			return fmt.Errorf("%s: %s", m.State, m.Detail)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("Ensure(%+v): %v", want, err)
	}
	return have
}

// find is the instance as listed, or a zero one.
func find(t *testing.T, c *driver.Cloud, id string) driver.Instance {
	t.Helper()
	for i, err := range c.Instances.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		if i.ID == id {
			return i
		}
	}
	return driver.Instance{}
}

// guest is what the demo image tells about itself.
type guest struct {
	Hostname, InstanceID, Region, BootID string
	UserDataExit                         *int
	Addresses                            []string
	Disks                                []struct {
		Name   string
		Bytes  int64
		Serial string
		Mounts int
	}
}

// reach is where the outside finds a port of a public address: that very port,
// unless this user may not listen there.
func reach(t *testing.T, c *driver.Cloud, id string, port uint16) netip.AddrPort {
	t.Helper()
	for p, err := range c.PublicIPs.List(t.Context()) {
		if err != nil {
			t.Fatal(err)
		}
		for _, f := range p.Forwards {
			if p.ID == id && f.Protocol == driver.TCP && f.Port == port {
				return f.Outside
			}
		}
	}
	t.Fatalf("nothing forwards port %d of %s", port, id)
	return netip.AddrPort{}
}

// ask polls the guest at a public address until it says what is expected.
func ask(t *testing.T, at netip.AddrPort, what string, expected func(guest) bool) guest {
	t.Helper()
	var g guest
	client := http.Client{Timeout: 10 * time.Second}
	err := poll(t.Context(), 3*time.Minute, func() error { // on a busy machine; seconds on an idle one
		reply, err := client.Get("http://" + at.String() + "/cgi-bin/info")
		if err != nil {
			return err
		}
		defer reply.Body.Close()
		text, err := io.ReadAll(reply.Body)
		if err != nil {
			return err
		}
		if err := json.Unmarshal(text, &g); err != nil {
			return err
		}
		if !expected(g) {
			return fmt.Errorf("the guest says %s", text)
		}
		return nil
	})
	if err != nil {
		t.Fatalf("waiting for %s: %v", what, err)
	}
	return g
}

func (g guest) disk(serial string) int64 {
	for _, d := range g.Disks {
		if d.Serial == serial {
			return d.Bytes
		}
	}
	return 0
}

func meta(id string) driver.Meta { return driver.Meta{ID: id, Attempt: 1, Name: id} }

// stack is a network with a way out, a public address, and a boot volume.
func stack(t *testing.T, c *driver.Cloud) (driver.Instance, driver.PublicIP) {
	t.Helper()
	cidr := netip.MustParsePrefix("10.7.0.0/24")
	settle(t, c.Networks, driver.Network{Meta: meta("net"), CIDRs: []netip.Prefix{cidr}})
	settle(t, c.Gateways, driver.Gateway{Meta: meta("gw")})
	settle(t, c.RouteTables, driver.RouteTable{Meta: meta("rt"), Network: "net", Routes: []driver.Route{
		{Destination: netip.MustParsePrefix("0.0.0.0/0"), Gateway: "gw"},
	}})
	settle(t, c.Subnets, driver.Subnet{Meta: meta("sub"), Network: "net", CIDRs: []netip.Prefix{cidr}, RouteTable: "rt"})
	settle(t, c.SecurityGroups, driver.SecurityGroup{Meta: meta("sg"), Rules: []driver.Rule{
		{Ingress: true, Protocol: driver.TCP, Ports: []driver.PortRange{{From: 80, To: 80}, {From: 22, To: 22}}}, {Protocol: driver.AnyProto},
	}})
	public := settle(t, c.PublicIPs, driver.PublicIP{Meta: meta("pip"), Family: 4})
	settle(t, c.NICs, driver.NIC{
		Meta: meta("nic"), Subnet: "sub", Addresses: []netip.Addr{netip.IPv4Unspecified()},
		PublicIPs: []string{"pip"}, SecurityGroups: []string{"sg"},
	})
	settle(t, c.Volumes, driver.Volume{Meta: meta("boot"), SizeGB: 1, Image: driver.OfferedImage("tiny")})
	return driver.Instance{
		Meta: meta("web"), SKU: "kontor.tiny", VCPU: 1, RAMGiB: 1, BootVolume: "boot", NICs: []string{"nic"}, On: true,
		UserData: "#cloud-config\nwrite_files:\n- path: /run/told\n  content: |\n    from-user-data\nruncmd:\n- cat /run/told\n",
	}, public
}

// TestLifeOfAGuest is the whole story of one real machine.
func TestLifeOfAGuest(t *testing.T) {
	images, dir := withImage(t), t.TempDir()
	endProcesses(t, dir)
	config := fmt.Sprintf(`{"images": %q, "publicIPs": ["127.77.1.1-127.77.1.9"], "powerOffSeconds": 60, "nice": 1}`, images)
	c := open(t, dir, us, config)
	want, public := stack(t, c)
	at := reach(t, c, public.ID, 80)
	key, authorized := keyPair(t)
	want.SSHKeys = []string{authorized}

	began := time.Now()
	settle(t, c.Instances, want)
	g := ask(t, at, "the first boot", func(g guest) bool { return g.UserDataExit != nil })
	took := time.Since(began)
	early, err := c.Console(t.Context(), "web", 4096)
	if err != nil {
		t.Fatal(err)
	}
	up, _, _ := strings.Cut(string(early[max(0, strings.Index(string(early), "up after")):]), "\n")
	t.Logf("from start to HTTP: %v; the guest says %q", took.Round(10*time.Millisecond), up)
	if g.Hostname != "web" || g.InstanceID != "web" || g.Region != us.Region || *g.UserDataExit != 0 {
		t.Errorf("the guest says %+v", g)
	}

	if got := run(t, reach(t, c, public.ID, 22), key, "hostname"); got != "web\n" {
		t.Errorf("hostname over SSH says %q", got)
	}

	// An agent that comes back finds the machine as it is.
	c = open(t, dir, us, config)
	one := find(t, c, "web")

	settle(t, c.Volumes, driver.Volume{Meta: meta("data"), SizeGB: 1})
	want.DataVolumes = []string{"data"}
	settle(t, c.Instances, want)
	ask(t, at, "the new disk", func(g guest) bool { return g.disk("data") == 1<<30 })
	settle(t, c.Volumes, driver.Volume{Meta: meta("data"), SizeGB: 3})
	ask(t, at, "its new size", func(g guest) bool { return g.disk("data") == 3<<30 })
	if err := c.Volumes.Delete(t.Context(), "data"); err == nil {
		t.Error("an attached volume was deleted")
	}
	settle(t, c.Images, driver.Image{Meta: meta("img"), Volume: "data", Arch: "amd64"})
	want.DataVolumes = nil
	settle(t, c.Instances, want)
	ask(t, at, "the disk to be gone", func(g guest) bool { return g.disk("data") == 0 })
	replugCard(t, c, want)
	restartNetwork(t, dir, c)
	ask(t, at, "the network to be back", func(guest) bool { return true })
	if two := find(t, c, "web"); !two.PowerSince.Equal(one.PowerSince) {
		t.Error("the machine was restarted on the way")
	}

	// The guest powers off in its own time when asked to: its last words tell.
	want.Restarts = 1
	settle(t, c.Instances, want)
	again := ask(t, at, "the second boot", func(guest) bool { return true })
	if again.BootID == g.BootID {
		t.Error("a restart did not boot again")
	}
	text, err := c.Console(t.Context(), "web", 64<<10)
	if err != nil {
		t.Fatal(err)
	}
	for _, line := range []string{"kontor-tiny: up after", "user-data: from-user-data", "kontor-tiny: going down"} {
		if !strings.Contains(string(text), line) {
			t.Errorf("the console lacks %q:\n%s", line, text)
		}
	}

	pid, err := pidOf(filepath.Join(rootOf(t, dir), "instances", "web"))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	if err := poll(t.Context(), 5*time.Second, func() error {
		if find(t, c, "web").On {
			return errors.New("a killed machine is listed as on")
		}
		return nil
	}); err != nil {
		t.Error(err)
	}
	settle(t, c.Instances, want) // and it comes back
	deleteAll(t, c)
	nothingLeft(t, dir)
}

func rootOf(t *testing.T, dir string) string {
	t.Helper()
	roots, err := filepath.Glob(filepath.Join(dir, "*@*"))
	if err != nil || len(roots) != 1 {
		t.Fatalf("roots %v, %v", roots, err)
	}
	return roots[0]
}

// deleteAll deletes in the order in which an agent does.
func deleteAll(t *testing.T, c *driver.Cloud) {
	t.Helper()
	steps := []error{
		c.Instances.Delete(t.Context(), "web"),
		c.NICs.Delete(t.Context(), "nic"),
		c.PublicIPs.Delete(t.Context(), "pip"),
		c.Subnets.Delete(t.Context(), "sub"),
		c.RouteTables.Delete(t.Context(), "rt"),
		c.Gateways.Delete(t.Context(), "gw"),
		c.SecurityGroups.Delete(t.Context(), "sg"),
		c.Networks.Delete(t.Context(), "net"),
		c.Volumes.Delete(t.Context(), "boot"),
		c.Volumes.Delete(t.Context(), "data"),
		c.Images.Delete(t.Context(), "img"),
	}
	if err := errors.Join(steps...); err != nil {
		t.Fatal(err)
	}
}

// nothingLeft checks that no file of any thing is there but locks and directories.
func nothingLeft(t *testing.T, dir string) {
	t.Helper()
	err := filepath.WalkDir(dir, func(path string, d os.DirEntry, err error) error {
		if err == nil && !d.IsDir() && d.Name() != ".lock" {
			t.Errorf("left behind: %s", path)
		}
		return err
	})
	if err != nil {
		t.Error(err)
	}
}
