package crash

import (
	"cmp"
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"io/fs"
	"math/rand/v2"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"golang.org/x/sync/errgroup"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/driver/qemu"
	"github.com/kontor-cloud/kontor/seca"
)

// TestLabKillsAtRandomMomentsOnQEMU is the promise of the fake cloud kept with
// real machines, which are killed, too: they come back, with their data.
func TestLabKillsAtRandomMomentsOnQEMU(t *testing.T) {
	on := needQEMU(t)
	rng := seeded(t)
	w := newWorld(t, rng, "", on)
	t.Cleanup(func() { w.endGuests() })
	c := w.aCustomer(2 * time.Minute)
	all := w.slots(c, rng, 3, 10*time.Second)
	guest := victim{"guest", func() (bool, error) { return w.killGuest(rng) }}
	k := &killer{rng: rng, longest: 6 * time.Second, log: t.Logf, victims: []victim{again(w.agent), guest, again(w.exchange), guest, both(w.exchange, w.agent)}}
	w.endure(c, all, k, 20)

	w.switchOn(all)
	w.compare(c, all)
	before := w.visitGuests(all, nil)
	k.longest = time.Second
	k.victims = []victim{guest, again(w.agent), guest, guest, again(w.exchange), guest}
	if err := k.rage(t.Context(), len(k.victims)); err != nil {
		t.Fatal(err)
	}
	for _, pid := range w.guests() { // each has died at least once
		syscall.Kill(pid, syscall.SIGKILL) //nolint:errcheck // it may have ended
	}
	w.visitGuests(all, before)
	w.compare(c, all)
	w.resync()
	if n := len(w.guests()); n != len(all) {
		t.Errorf("%d guests run, want %d", n, len(all))
	}
	w.platform(c)
	w.clear(c, all)
	w.nothingLeft()
}

// A qemuCloud is the driver of real machines on this one, with a configuration.
type qemuCloud string

func (q qemuCloud) driver() (name, config string) { return "qemu", string(q) }

// look takes the agent's place for a while, as one process has the platform.
func (q qemuCloud) look(w *world, do func(*driver.Cloud)) {
	w.t.Helper()
	if err := w.agent.end(syscall.SIGTERM); err != nil {
		w.t.Fatal(err)
	}
	do(w.cloud(qemu.Open, w.agentDir, string(q)))
	if err := w.agent.start(); err != nil {
		w.t.Fatal(err)
	}
}

func needQEMU(t *testing.T) qemuCloud {
	t.Helper()
	if os.Getenv("KONTOR_LAB") == "" {
		t.Skip("slow: set KONTOR_LAB=1")
	}
	if os.Getenv("KONTOR_TEST_QEMU") == "off" {
		t.Skip("KONTOR_TEST_QEMU is off")
	}
	for _, program := range []string{"qemu-system-x86_64", "qemu-img"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no %s here", program)
		}
	}
	image := os.Getenv("KONTOR_TEST_IMAGE")
	if cache, err := os.UserCacheDir(); image == "" && err == nil {
		image = filepath.Join(cache, "kontor", "image", "kontor-tiny.qcow2")
	}
	if _, err := os.Stat(image); err != nil {
		t.Skipf("no image: run image/build, or set KONTOR_TEST_IMAGE (%v)", err)
	}
	dir := t.TempDir()
	if err := os.Symlink(image, filepath.Join(dir, "tiny.qcow2")); err != nil {
		t.Fatal(err)
	}
	return qemuCloud(fmt.Sprintf(`{"images": %q, "accel": "tcg", "powerOffSeconds": 3, "publicIPs": ["127.77.9.1-127.77.9.9"]}`, dir))
}

// items are a machine with a data volume, in a network of its own that the
// outside reaches.
func (qemuCloud) items(w *world, n int) []item {
	name := fmt.Sprintf("s%d", n)
	spec := func(text string) string {
		return strings.NewReplacer("NAME", name, "NET", strconv.Itoa(20+n)).Replace(text)
	}
	return []item{
		w.item("network", "", name, spec(`{"cidr": {"ipv4": "10.NET.0.0/16"}, "skuRef": {"resource": "skus/seca.n1k"}}`)),
		w.item("internet-gateway", "", name, `{}`),
		w.item("routing-table", name, name, spec(`{"routes": [{"destinationCidrBlock": "0.0.0.0/0", "targetRef": {"resource": "internet-gateways/NAME"}}]}`)),
		w.item("subnet", name, name, spec(`{"cidr": {"ipv4": "10.NET.1.0/24"}, "routeTableRef": {"resource": "route-tables/NAME"}}`)),
		w.item("public-ip", "", name, `{"version": "IPv4"}`),
		w.item("nic", "", name, spec(`{"subnetRef": {"resource": "networks/NAME/subnets/NAME"}, "addresses": ["0.0.0.0"], "publicIpRefs": [{"resource": "public-ips/NAME"}]}`)),
		w.item("block-storage", "", name, `{"sizeGB": 1, "skuRef": {"resource": "skus/seca.le100"}, "sourceImageRef": {"resource": "tenants/public/images/tiny"}}`),
		w.item("block-storage", "", name+"-data", `{"sizeGB": 1, "skuRef": {"resource": "skus/seca.le100"}}`),
		w.item("instance", "", name, spec(`{"skuRef": {"resource": "skus/kontor.tiny"}, "primaryNicRef": {"resource": "nics/NAME"},
			"bootVolume": {"deviceRef": {"resource": "block-storages/NAME"}}, "dataVolumes": [{"deviceRef": {"resource": "block-storages/NAME-data"}}]}`)),
	}
}

// switchOn makes what is not there, and has all machines run.
func (w *world) switchOn(all []*slot) {
	w.t.Helper()
	work, ctx := errgroup.WithContext(w.t.Context())
	for _, s := range all {
		work.Go(func() error {
			vm := s.items[len(s.items)-1]
			if s.promiseOf(vm).round == 0 {
				if err := s.make(ctx); err != nil {
					return err
				}
			}
			if s.promiseOf(vm).power == seca.On {
				return nil
			}
			return s.power(ctx, vm, seca.On)
		})
	}
	if err := work.Wait(); err != nil {
		w.t.Fatal(err)
	}
}

// A sight is what a guest says of itself, and since when the exchange has it on.
type sight struct {
	Since         time.Time `json:"-"`
	BootID        string
	UptimeSeconds float64
	Disks         []struct {
		Name   string
		Serial string
		Mounts int
	}

	// What the guest of the lab's OpenStack calls the boot and its age.
	OtherBootID string  `json:"boot_id"`
	OtherUptime float64 `json:"uptime_s"`
}

// data tells how often the guest's data volume has been mounted, by its own
// account.
func (s sight) data() int {
	most := 0
	for _, d := range s.Disks {
		most = max(most, d.Mounts)
	}
	return most
}

// visitGuests asks each guest how it is. Unless before is nil, each must have booted
// since, and found on its data volume what it had written there.
func (w *world) visitGuests(all []*slot, before []sight) []sight {
	w.t.Helper()
	began := time.Now()
	sights := make([]sight, len(all))
	var work errgroup.Group
	for n, s := range all {
		work.Go(func() error {
			return poll(w.t.Context(), s.patient, func() (err error) {
				now, err := s.see(w.t.Context())
				switch {
				case err != nil:
					return err
				case now.data() == 0:
					return fmt.Errorf("guest %d has not mounted its data volume: %+v", n, now)
				case before != nil && now.BootID == before[n].BootID:
					return fmt.Errorf("guest %d has not booted again", n)
				case before != nil && !now.Since.After(before[n].Since):
					return fmt.Errorf("guest %d is listed as on since %s, before it was killed", n, now.Since)
				case before != nil && now.data() <= before[n].data():
					return broken("the data volume of guest %d was mounted %d times before, %d now", n, before[n].data(), now.data())
				}
				sights[n] = now
				return nil
			})
		})
	}
	if err := work.Wait(); err != nil {
		w.t.Fatal(err)
	}
	w.t.Logf("the guests answer after %.1fs: %+v", time.Since(began).Seconds(), sights)
	return sights
}

// see reads what the guest at a slot's public address says, and what the
// exchange says of the guest.
func (s *slot) see(ctx context.Context) (seen sight, err error) {
	at := ""
	for _, i := range s.items {
		have, err := s.get(ctx, i)
		if err != nil {
			return seen, err
		}
		switch i.kind.Name {
		case "public-ip":
			at = web(have)
		case "instance":
			if seen.Since, err = onSince(have); err != nil {
				return seen, err
			}
		}
	}
	if at == "" {
		return seen, errors.New("nothing leads to the guest")
	}
	ctx, cancel := context.WithTimeout(ctx, 5*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at+"/cgi-bin/info", nil)
	if err != nil {
		return seen, err
	}
	answer, err := http.DefaultClient.Do(r)
	if err != nil {
		return seen, err
	}
	defer answer.Body.Close()
	b, err := io.ReadAll(io.LimitReader(answer.Body, 1<<20))
	if err != nil {
		return seen, err
	}
	err = json.Unmarshal(b, &seen)
	seen.BootID, seen.UptimeSeconds = cmp.Or(seen.BootID, seen.OtherBootID), cmp.Or(seen.UptimeSeconds, seen.OtherUptime)
	return seen, err
}

// web is where the outside finds port 80 behind a public address.
func web(address client.Item) string {
	var k struct{ Forwards []driver.Forward }
	json.Unmarshal(address.Kontor, &k) //nolint:errcheck // then there is none
	for _, f := range k.Forwards {
		if f.Port == 80 && f.Protocol == driver.TCP {
			return f.Outside.String()
		}
	}
	var s seca.PublicIPStatus
	json.Unmarshal(address.Status, &s) //nolint:errcheck // likewise
	return s.IPAddress
}

func onSince(instance client.Item) (time.Time, error) {
	var s seca.InstanceStatus
	if err := json.Unmarshal(instance.Status, &s); err != nil {
		return time.Time{}, err
	}
	if s.PowerState != seca.On || s.PowerStateSince == nil {
		return time.Time{}, errors.New("it is not on")
	}
	return *s.PowerStateSince, nil
}

// below lists the processes that work in the agent's directory.
func (w *world) below(program string) []int {
	var pids []int
	links, _ := filepath.Glob("/proc/[0-9]*/cwd")
	for _, link := range links {
		cwd, err := os.Readlink(link)
		if err != nil {
			continue // ended, or not ours
		}
		exe, _ := os.Readlink(filepath.Join(filepath.Dir(link), "exe"))
		in, err := filepath.Rel(w.agentDir, strings.TrimSuffix(cwd, " (deleted)"))
		if err == nil && filepath.IsLocal(in) && strings.HasPrefix(filepath.Base(exe), program) {
			pid, _ := strconv.Atoi(filepath.Base(filepath.Dir(link)))
			pids = append(pids, pid)
		}
	}
	return pids
}

func (w *world) guests() []int { return w.below("qemu-system") }

func (w *world) killGuest(rng *rand.Rand) (bool, error) {
	pids := w.guests()
	if len(pids) == 0 {
		return false, nil
	}
	return syscall.Kill(pids[rng.IntN(len(pids))], syscall.SIGKILL) == nil, nil
}

// endGuests leaves no process behind.
func (w *world) endGuests() {
	w.agent.end(syscall.SIGKILL) //nolint:errcheck // it may have ended
	for _, pid := range w.below("") {
		if w.t.Failed() {
			syscall.Kill(pid, syscall.SIGKILL) //nolint:errcheck // it may have ended
			continue
		}
		w.t.Errorf("process %d is left", pid)
		syscall.Kill(pid, syscall.SIGKILL) //nolint:errcheck // it may have ended
	}
}

// nothingLeft looks for disks, records and processes of what was deleted.
func (w *world) nothingLeft() {
	w.t.Helper()
	err := poll(w.t.Context(), 10*time.Second, func() error {
		var left []string
		for _, pid := range w.below("") {
			left = append(left, fmt.Sprint("process ", pid))
		}
		roots, err := filepath.Glob(filepath.Join(w.agentDir, "*@*"))
		if err != nil || len(roots) != 1 {
			return errors.Join(err, fmt.Errorf("%d directories of regions, want one", len(roots)))
		}
		err = filepath.WalkDir(roots[0], func(path string, d fs.DirEntry, err error) error {
			if in, _ := filepath.Rel(roots[0], path); strings.Contains(in, "/") {
				left = append(left, in)
			}
			return err
		})
		if err == nil && len(left) > 0 {
			err = fmt.Errorf("left: %s", strings.Join(left, ", "))
		}
		return err
	})
	if err != nil {
		w.t.Error(err)
	}
}
