package qemu

import (
	"context"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"sync"
	"time"

	"github.com/kontor-cloud/kontor/fault"
)

// A version is QEMU's, major and minor.
type version struct{ major, minor int }

func (v version) String() string { return fmt.Sprintf("%d.%d", v.major, v.minor) }

// oldest is the first version that has sockets of datagrams as network devices
// and takes its options as JSON.
var oldest = version{7, 2}

// versionOf asks the program.
func versionOf(ctx context.Context, program string) (version, error) {
	var v version
	out, err := exec.CommandContext(ctx, program, "--version").Output()
	if errors.Is(err, exec.ErrNotFound) {
		return v, fault.Unsupported.Errorf("%w; install the package qemu-system-x86", err)
	}
	if err != nil {
		return v, fmt.Errorf("%s --version: %w", program, err)
	}
	if _, err := fmt.Sscanf(string(out), "QEMU emulator version %d.%d", &v.major, &v.minor); err != nil {
		return v, fault.Unsupported.Errorf("%s is no QEMU: %w", program, err)
	}
	if v.major < oldest.major || v.major == oldest.major && v.minor < oldest.minor {
		return v, fault.Unsupported.Errorf("QEMU %s is too old, %s is needed", v, oldest)
	}
	return v, nil
}

// probes remembers by program whether KVM works, for the life of the process: a
// probe that hangs costs its whole time.
var probes struct {
	sync.Mutex
	kvm map[string]bool
}

// probeTime is ample: the probe takes a tenth of a second, emulated too. Where
// it takes seconds, a guest would not boot in an hour.
const probeTime = 3 * time.Second

// processor gives the options that decide how guests' instructions run.
func processor(accel string) []string {
	if accel == "kvm" {
		return []string{"-accel", "kvm", "-cpu", "host"}
	}
	// Without a bound, translated code takes up to 1 GiB of the host's memory.
	return []string{"-accel", "tcg,tb-size=256", "-cpu", "max"}
}

// kvmWorks reports whether a guest really runs under KVM. That /dev/kvm answers
// does not say so: inside some virtual machines QEMU aborts, or guests crawl.
func kvmWorks(ctx context.Context, program string) bool {
	probes.Lock()
	defer probes.Unlock()
	works, known := probes.kvm[program]
	if known {
		return works
	}
	works = probe(ctx, program, "kvm", probeTime)
	if ctx.Err() != nil {
		return false // nothing was learned
	}
	if probes.kvm == nil {
		probes.kvm = map[string]bool{}
	}
	probes.kvm[program] = works
	return works
}

// proof is what the probe guest writes to the port by which it ends QEMU, whose
// exit status becomes twice that and one.
const proof = 42

// bootDisk is the probe guest, in the first sector of a disk that is large
// enough for the BIOS: mov al, proof; out 0xf4, al; hlt; jmp $-1.
func bootDisk() []byte {
	disk := make([]byte, 1<<20)
	copy(disk, []byte{0xb0, proof, 0xe6, 0xf4, 0xf4, 0xeb, 0xfd})
	disk[510], disk[511] = 0x55, 0xaa
	return disk
}

// probe boots the guest and reports whether it came to its end in time.
func probe(ctx context.Context, program, accel string, limit time.Duration) bool {
	if accel == "kvm" {
		f, err := os.OpenFile("/dev/kvm", os.O_RDWR, 0)
		if err != nil {
			return false
		}
		f.Close()
	}
	dir, err := os.MkdirTemp("", "kontor-probe-")
	if err != nil {
		return false
	}
	defer os.RemoveAll(dir)
	disk := filepath.Join(dir, "disk")
	if err := os.WriteFile(disk, bootDisk(), 0o600); err != nil {
		return false
	}
	ctx, stop := context.WithTimeout(ctx, limit)
	defer stop()
	args := arguments(strings.Fields("-nodefaults -no-user-config -display none -machine q35 -m 16"))
	args.add(processor(accel)...)
	args.json("-blockdev", object{"driver": "raw", "node-name": "disk", "read-only": true, "file": object{"driver": "file", "filename": disk}})
	args.add("-device", "virtio-blk-pci,drive=disk", "-device", "isa-debug-exit,iobase=0xf4,iosize=4")
	cmd := exec.CommandContext(ctx, program, args...)
	var exit *exec.ExitError
	return errors.As(cmd.Run(), &exit) && exit.ExitCode() == 2*proof+1
}

// accelerate decides between KVM and emulation.
func (h *host) accelerate(ctx context.Context) error {
	switch h.accel = h.config.Accel; h.accel {
	case "auto":
		h.accel = "tcg"
		if kvmWorks(ctx, h.config.QEMU) {
			h.accel = "kvm"
		}
	case "kvm":
		if !kvmWorks(ctx, h.config.QEMU) {
			return fault.Unsupported.Errorf("accel is kvm, but no guest runs under it on this host")
		}
	}
	return ctx.Err()
}
