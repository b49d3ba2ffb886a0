package qemu

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"os"
	"path/filepath"
	"strconv"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// A host is this machine as the platform of one region of one exchange.
type host struct {
	owner  driver.Owner
	shared string // the driver's directory; regions may share it
	root   string // what belongs to the owner, below shared
	config Config
	accel  string // kvm or tcg
	qemu   version
	log    *slog.Logger

	turn   chan struct{} // holds one token: whoever takes it may change things
	staged atomic.Int64
	tasks  tasks

	networks       shelf[driver.Network, *driver.Network]
	subnets        shelf[driver.Subnet, *driver.Subnet]
	routeTables    shelf[driver.RouteTable, *driver.RouteTable]
	gateways       shelf[driver.Gateway, *driver.Gateway]
	securityGroups shelf[driver.SecurityGroup, *driver.SecurityGroup]
	publicIPs      shelf[driver.PublicIP, *driver.PublicIP]
	nics           shelf[driver.NIC, *driver.NIC]
	images         shelf[driver.Image, *driver.Image]
	volumes        shelf[volume, *volume]
	instances      shelf[instance, *instance]
}

func newHost(owner driver.Owner, dir string, config Config, log *slog.Logger) *host {
	name := fileName(owner.Region) + "@" + digest(owner.Exchange, 6)
	h := &host{owner: owner, shared: dir, root: filepath.Join(dir, name), config: config, log: log, turn: make(chan struct{}, 1)}
	h.turn <- struct{}{}
	h.networks = shelf[driver.Network, *driver.Network]{h, "networks"}
	h.subnets = shelf[driver.Subnet, *driver.Subnet]{h, "subnets"}
	h.routeTables = shelf[driver.RouteTable, *driver.RouteTable]{h, "route-tables"}
	h.gateways = shelf[driver.Gateway, *driver.Gateway]{h, "gateways"}
	h.securityGroups = shelf[driver.SecurityGroup, *driver.SecurityGroup]{h, "security-groups"}
	h.publicIPs = shelf[driver.PublicIP, *driver.PublicIP]{h, "public-ips"}
	h.nics = shelf[driver.NIC, *driver.NIC]{h, "nics"}
	h.images = shelf[driver.Image, *driver.Image]{h, "images"}
	h.volumes = shelf[volume, *volume]{h, "volumes"}
	h.instances = shelf[instance, *instance]{h, "instances"}
	return h
}

// lock waits for the turn to change things on this host: within this process,
// and against another agent that has the same owner, such as one that is about
// to end while its successor starts.
func (h *host) lock(ctx context.Context) (unlock func(), err error) {
	select {
	case <-h.turn:
	case <-ctx.Done():
		return nil, ctx.Err()
	}
	f, err := lockFile(ctx, filepath.Join(h.root, ".lock"))
	if err != nil {
		h.turn <- struct{}{}
		return nil, err
	}
	return func() {
		f.Close()
		h.turn <- struct{}{}
	}, nil
}

// lockFile waits for an exclusive lock on the file at path. The lock lasts until
// the file is closed by each process that has it.
func lockFile(ctx context.Context, path string) (*os.File, error) {
	for {
		f, err := tryLock(path)
		if !errors.Is(err, unix.EWOULDBLOCK) {
			return f, err
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(10 * time.Millisecond):
		}
	}
}

func tryLock(path string) (*os.File, error) {
	f, err := os.OpenFile(path, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, err
	}
	return f, nil
}

// locked reports whether some process holds a lock on the file at path.
func locked(path string) bool {
	f, err := os.Open(path)
	if err != nil {
		return false
	}
	defer f.Close()
	return errors.Is(unix.Flock(int(f.Fd()), unix.LOCK_SH|unix.LOCK_NB), unix.EWOULDBLOCK)
}

// stage makes a directory in which a thing is built or taken apart. Its name
// says which process does so: when that is gone, the directory is rubbish.
func (h *host) stage() (string, error) {
	start, err := startTime(os.Getpid())
	if err != nil {
		return "", err
	}
	dir := filepath.Join(h.root, "tmp", fmt.Sprintf("%d.%s.%d", os.Getpid(), start, h.staged.Add(1)))
	return dir, os.MkdirAll(dir, 0o700)
}

// sweep removes what dead processes have left in the staging directory.
func (h *host) sweep() error {
	tmp := filepath.Join(h.root, "tmp")
	dirs, err := os.ReadDir(tmp)
	if err != nil {
		return err
	}
	for _, d := range dirs {
		part := strings.SplitN(d.Name(), ".", 3)
		pid, _ := strconv.Atoi(part[0])
		if start, err := startTime(pid); err == nil && len(part) == 3 && start == part[1] {
			continue
		}
		err = errors.Join(err, os.RemoveAll(filepath.Join(tmp, d.Name())))
	}
	return err
}

// startTime is when the process began, in ticks since boot, from /proc.
func startTime(pid int) (string, error) {
	text, err := os.ReadFile(fmt.Sprintf("/proc/%d/stat", pid))
	if err != nil {
		return "", err
	}
	// The second field is a name in brackets that may hold anything.
	fields := strings.Fields(string(text[strings.LastIndexByte(string(text), ')')+1:]))
	if len(fields) < 20 {
		return "", fmt.Errorf("/proc/%d/stat is short", pid)
	}
	return fields[19], nil
}

// tasks are the slow jobs of this process, by the id of what they make.
type tasks struct {
	mu   sync.Mutex
	jobs map[string]*task
	wg   sync.WaitGroup
}

// A task is one slow job.
type task struct {
	cancel  context.CancelFunc
	volume  string // must not change meanwhile
	ended   bool
	failure error
}

// run starts do unless it is under way, and reports whether it has ended and how.
// Once an end has been reported, the next call starts afresh.
func (t *tasks) run(id, volume string, do func(context.Context) error) (ended bool, err error) {
	t.mu.Lock()
	defer t.mu.Unlock()
	if job := t.jobs[id]; job != nil {
		if job.ended {
			delete(t.jobs, id)
		}
		return job.ended, job.failure
	}
	ctx, cancel := context.WithCancel(context.Background())
	job := &task{cancel: cancel, volume: volume}
	if t.jobs == nil {
		t.jobs = map[string]*task{}
	}
	t.jobs[id] = job
	t.wg.Go(func() {
		err := do(ctx)
		cancel()
		t.mu.Lock()
		defer t.mu.Unlock()
		job.ended, job.failure = true, err
	})
	return false, nil
}

// busy names the thing whose making reads the volume, or "".
func (t *tasks) busy(volume string) string {
	t.mu.Lock()
	defer t.mu.Unlock()
	for id, job := range t.jobs {
		if !job.ended && job.volume == volume {
			return id
		}
	}
	return ""
}

// stop ends the task that makes id, or all of them if id is "".
func (t *tasks) stop(id string) {
	t.mu.Lock()
	defer t.mu.Unlock()
	for key, job := range t.jobs {
		if id == "" || id == key {
			job.cancel()
			delete(t.jobs, key)
		}
	}
}

// kindOf gives errors of the operating system a class.
func kindOf(err error, what string) error {
	switch {
	case err == nil:
		return nil
	case fault.KindOf(err) != "" || errors.Is(err, context.Canceled) || errors.Is(err, context.DeadlineExceeded):
		return err
	case errors.Is(err, unix.ENOSPC) || errors.Is(err, unix.EDQUOT):
		return fault.Exhausted.Errorf("%s: %w", what, err)
	}
	return fault.Unavailable.Errorf("%s: %w", what, err)
}
