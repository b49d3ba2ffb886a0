package doctor

import (
	"cmp"
	"context"
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/driver/openstack"
	"github.com/kontor-cloud/kontor/driver/qemu"
	"github.com/kontor-cloud/kontor/driver/qemu/vnet"
)

// TestMain lets the test's program be what the driver starts beside machines
// and networks.
func TestMain(m *testing.M) {
	if len(os.Args) == 3 {
		var err error
		switch os.Args[1] {
		case "qemu-console":
			err = qemu.RunConsole(os.Args[2])
		case "qemu-network":
			err = vnet.Run(context.Background(), os.Args[2], slog.Default())
		default:
			os.Exit(m.Run())
		}
		if err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		os.Exit(0)
	}
	os.Exit(m.Run())
}

// withImage gives a directory with the demo image in it, or skips the test.
func withImage(t *testing.T) string {
	t.Helper()
	if os.Getenv("KONTOR_LAB") != "1" {
		t.Skip("set KONTOR_LAB=1, as \"make lab\" does, to run what needs real machines")
	}
	for _, program := range []string{"qemu-system-x86_64", "qemu-img"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no %s here", program)
		}
	}
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

// onQEMU examines this very host. Short directories keep sockets' names short.
func onQEMU(t *testing.T, settings map[string]any) *Report {
	t.Helper()
	settings["images"] = withImage(t)
	b, err := json.Marshal(settings)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	t.Cleanup(func() {
		if err := qemu.Halt(context.Background(), dir); err != nil {
			t.Error(err)
		}
	})
	r, err := Run(t.Context(), Config{
		Driver: "qemu", Open: qemu.Open, Settings: b, Dir: dir,
		Patience: 5 * time.Minute, Step: 250 * time.Millisecond,
		Progress: func(what string) { t.Log(what) },
		Log:      slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, kind := range []string{"instances", "volumes", "nics", "networks", "public-ips"} {
		if left, _ := filepath.Glob(filepath.Join(dir, "*@*", kind, "*")); len(left) > 0 {
			t.Errorf("left: %v", left)
		}
	}
	return r
}

func TestLabDoctor(t *testing.T) {
	r := onQEMU(t, map[string]any{"publicIPs": []string{"127.78.0.1-127.78.0.3"}, "powerOffSeconds": 5})
	for _, c := range r.Checks {
		if c.Status != OK {
			t.Errorf("%s: %s: %s", c.Name, c.Status, c.Detail)
		}
	}
	measured := map[string]float64{}
	for _, m := range r.Measured {
		measured[m.Name] = m.Value
	}
	for _, name := range []string{APILatency, MakeTime, BootTime, RTT, HTTPTime, VCPU, DiskWrite, DiskRead, CycleTime} {
		if measured[name] <= 0 {
			t.Errorf("%s is %v", name, measured[name])
		}
	}
	t.Logf("measured: %v", measured)
	evidence, err := Read("report.json", kept(t, r), time.Now())
	if err != nil || len(evidence.Measured) != len(Units) {
		t.Errorf("as evidence it is %+v, %v", evidence, err)
	}
}

// TestLabDoctorWithoutPublicAddress takes the guest's results from its console.
func TestLabDoctorWithoutPublicAddress(t *testing.T) {
	r := onQEMU(t, map[string]any{"powerOffSeconds": 5})
	if s := status(r, "make public-ip"); s != Fail {
		t.Errorf("make public-ip is %q on a host without such addresses", s)
	}
	if s := status(r, "reach"); s != Warn {
		t.Errorf("reach is %q", s)
	}
	for _, name := range []string{"measure", "power cycle", "clean up"} {
		if c := line(r, name); c.Status != OK {
			t.Errorf("%s is %+v", name, c)
		}
	}
}

// TestLabDoctorOnOpenStack examines the cloud of a clouds.yaml.
func TestLabDoctorOnOpenStack(t *testing.T) {
	clouds := os.Getenv("KONTOR_LAB_OPENSTACK_CLOUDS")
	if os.Getenv("KONTOR_LAB") != "1" || clouds == "" {
		t.Skip("set KONTOR_LAB=1, and KONTOR_LAB_OPENSTACK_CLOUDS to the path of a clouds.yaml")
	}
	settings, err := json.Marshal(map[string]any{
		"clouds": clouds, "cloud": cmp.Or(os.Getenv("KONTOR_LAB_OPENSTACK_CLOUD"), "demo"), "configDrive": false,
	})
	if err != nil {
		t.Fatal(err)
	}
	r, err := Run(t.Context(), Config{
		Driver: "openstack", Open: openstack.Open, Settings: settings, Dir: t.TempDir(),
		Image: cmp.Or(os.Getenv("KONTOR_LAB_OPENSTACK_IMAGE"), "testbed"), SKU: cmp.Or(os.Getenv("KONTOR_LAB_OPENSTACK_SKU"), "t1.nano"),
		Progress: func(what string) { t.Log(what) },
		Log:      slog.New(slog.NewTextHandler(t.Output(), nil)),
	})
	if err != nil {
		t.Fatal(err)
	}
	for _, c := range r.Checks {
		if c.Status == Fail || c.Status == Skip {
			t.Errorf("%s: %s: %s", c.Name, c.Status, c.Detail)
		}
	}
	t.Logf("measured: %+v", r.Measured)
}
