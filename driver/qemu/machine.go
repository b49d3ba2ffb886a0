package qemu

import (
	"bytes"
	"context"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strconv"
	"time"

	"golang.org/x/sys/unix"

	"github.com/kontor-cloud/kontor/fault"
)

// running reports whether the machine's QEMU is there. It inherits a lock from
// whoever starts it, and the kernel drops that when it ends, however it ends: no
// crash on either side and no reuse of a process id can make this wrong.
func (h *host) running(id string) bool { return runsIn(h.instances.dir(id)) }

func runsIn(dir string) bool { return locked(filepath.Join(dir, "run.lock")) }

// start boots a machine that is off, and waits until its monitor answers, a
// fraction of a second.
func (h *host) start(ctx context.Context, i instance) error {
	if err := h.free(i); err != nil {
		return err
	}
	if err := h.applyNetworks(ctx, h.networksOf(i)); err != nil {
		return err
	}
	dir := h.instances.dir(i.ID)
	m, err := h.machine(i)
	if err != nil {
		return err
	}
	if err := h.prepare(ctx, dir, i, m); err != nil {
		return err
	}
	if err := h.spawn(ctx, dir, m.commandLine(h)); err != nil {
		return err
	}
	err = poll(ctx, 20*time.Second, func() error {
		if !h.running(i.ID) {
			return nil
		}
		return do(ctx, dir, "query-status", nil, nil)
	})
	if err != nil {
		return err
	}
	if !h.running(i.ID) {
		return fault.Unavailable.Errorf("qemu ended at once: %s", lastLine(filepath.Join(dir, "qemu.log")))
	}
	return h.restrain(dir, m)
}

// free checks that nobody else works on the volumes of a machine to be started.
func (h *host) free(i instance) error {
	others, err := where(h.instances, func(o instance) bool { return o.ID != i.ID && h.running(o.ID) })
	if err != nil {
		return err
	}
	for _, v := range append([]string{i.BootVolume}, i.DataVolumes...) {
		for _, o := range others {
			if o.uses(v) {
				return fault.Conflict.Errorf("volume %s is in use by instance %s, which is on", v, o.ID)
			}
		}
		if making := h.tasks.busy(v); making != "" {
			return fault.Unavailable.Errorf("volume %s is being copied for %s", v, making)
		}
	}
	return nil
}

// prepare lays out what QEMU finds in its working directory.
func (h *host) prepare(ctx context.Context, dir string, i instance, m machine) error {
	for _, stale := range []string{"qmp.sock", "qemu.pid", "off"} {
		if err := os.Remove(filepath.Join(dir, stale)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return err
		}
	}
	for _, c := range m.cards {
		if err := h.linkNetwork(dir, c.network); err != nil {
			return err
		}
	}
	return writeSeed(filepath.Join(dir, "seed.iso"), h.seed(i, m))
}

// linkNetwork gives the directory of a network a short name in a machine's: a
// socket's whole path may have 107 bytes only.
func (h *host) linkNetwork(dir, network string) error {
	err := os.Symlink(filepath.Join("../../networks", fileName(network), "vnet"), filepath.Join(dir, networkLink(network)))
	return ignore(err, fs.ErrExist)
}

func networkLink(network string) string { return "net-" + digest(network, 4) }

// spawn starts QEMU, and before it the process that keeps what it writes.
func (h *host) spawn(ctx context.Context, dir string, args []string) error {
	// The machine is off; but whoever looks whether it is holds the lock for a moment.
	soon, stop := context.WithTimeout(ctx, time.Second)
	defer stop()
	lock, err := lockFile(soon, filepath.Join(dir, "run.lock"))
	if err != nil {
		return err
	}
	defer lock.Close()
	serialOut, serialIn, err := pipe()
	if err != nil {
		return err
	}
	defer serialOut.Close()
	defer serialIn.Close()
	errorOut, errorIn, err := pipe()
	if err != nil {
		return err
	}
	defer errorOut.Close()
	defer errorIn.Close()

	if err := detach(ctx, dir, h.helper("qemu-console"), nil, serialOut, errorOut); err != nil {
		return err
	}
	command := append([]string{"nice", "-n", strconv.Itoa(h.config.Nice), h.config.QEMU}, args...)
	return detach(ctx, dir, command, errorIn, lock, serialIn)
}

// helper is the command that starts a process of this very program, in the
// directory that it works in.
func (h *host) helper(name string) []string {
	return append(slices.Clone(h.config.Command), name, ".")
}

// detach starts a process that outlives this one: in a session of its own, and
// as no child of ours. Its standard output and error are output, or nothing;
// files arrive as descriptors 3, 4 and so on.
func detach(ctx context.Context, dir string, command []string, output *os.File, files ...*os.File) error {
	cmd := exec.CommandContext(ctx, "setsid", append([]string{"--fork"}, command...)...)
	cmd.Dir = dir
	cmd.Env = []string{"PATH=" + os.Getenv("PATH")}
	if output != nil {
		cmd.Stdout, cmd.Stderr = output, output
	}
	cmd.ExtraFiles = files
	if err := cmd.Run(); err != nil {
		return fmt.Errorf("start %s: %w", command[0], err)
	}
	return nil
}

// pipe makes a blocking pipe whose ends only a child gets that is given them.
func pipe() (out, in *os.File, err error) {
	var fds [2]int
	if err := unix.Pipe2(fds[:], unix.O_CLOEXEC); err != nil {
		return nil, nil, err
	}
	return os.NewFile(uintptr(fds[0]), "pipe"), os.NewFile(uintptr(fds[1]), "pipe"), nil
}

// restrain sees to it that the host survives its guest: no core dumps, a bound
// on what QEMU may allocate besides the guest's memory, and the first place in
// line when memory runs out all the same.
func (h *host) restrain(dir string, m machine) error {
	pid, err := pidOf(dir)
	if err != nil {
		return err
	}
	space := uint64(m.ramMiB)<<20 + 4<<30
	limits := map[int]uint64{unix.RLIMIT_CORE: 0, unix.RLIMIT_AS: space}
	for resource, limit := range limits {
		if err := unix.Prlimit(pid, resource, &unix.Rlimit{Cur: limit, Max: limit}, nil); err != nil {
			return fmt.Errorf("limit process %d: %w", pid, err)
		}
	}
	return os.WriteFile(fmt.Sprintf("/proc/%d/oom_score_adj", pid), []byte("500"), 0o600)
}

// pidOf reads the process id that QEMU wrote. It is right while the lock is held.
func pidOf(dir string) (int, error) {
	text, err := os.ReadFile(filepath.Join(dir, "qemu.pid"))
	if err != nil {
		return 0, err
	}
	return strconv.Atoi(string(bytes.TrimSpace(text)))
}

// kill ends the QEMU of the machine in dir: by its monitor, so that it can close
// its files, or by a signal if it does not listen. One that is off is no error.
func kill(ctx context.Context, dir string) error {
	over := func() error {
		if runsIn(dir) {
			return fault.Unavailable.Errorf("its process is still there")
		}
		return nil
	}
	if over() == nil {
		return nil
	}
	if do(ctx, dir, "quit", nil, nil) == nil && poll(ctx, 3*time.Second, over) == nil {
		return nil
	}
	pid, err := pidOf(dir)
	if err != nil {
		return err
	}
	if !runsIn(dir) {
		return nil
	}
	if err := unix.Kill(pid, unix.SIGKILL); err != nil && !errors.Is(err, unix.ESRCH) {
		return err
	}
	return poll(ctx, 5*time.Second, over)
}

// lastLine is the last line of a file, for an error message.
func lastLine(path string) string {
	text, _ := os.ReadFile(path)
	text = bytes.TrimSpace(text)
	return string(text[bytes.LastIndexByte(text, '\n')+1:])
}
