package crash

import (
	"fmt"
	"net"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"syscall"
	"testing"
	"time"
)

// A process is a program that is killed and started again. All its lives write
// to one log.
type process struct {
	name  string
	fails string // what goes wrong in the next life, for KONTOR_FAILPOINT
	clock string // the file that says by how much its clock is wrong, if any
	args  []string
	log   string
	cmd   *exec.Cmd
	ended chan error
}

// start begins the next life.
func (p *process) start() error {
	f, err := os.OpenFile(p.log, os.O_CREATE|os.O_APPEND|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	p.cmd = exec.Command(p.args[0], p.args[1:]...)
	p.cmd.Stdout, p.cmd.Stderr = f, f
	fails := p.fails
	if p.clock != "" {
		fails = "clock " + p.clock + ";" + fails
	}
	if fails != "" {
		p.cmd.Env = append(os.Environ(), "KONTOR_FAILPOINT="+fails)
	}
	p.cmd.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGKILL}
	if err := p.cmd.Start(); err != nil {
		return fmt.Errorf("start %s: %w", p.name, err)
	}
	p.ended = make(chan error, 1)
	go func(cmd *exec.Cmd, ended chan error) { ended <- cmd.Wait() }(p.cmd, p.ended)
	return nil
}

// end sends a signal and waits. A process that has ended by itself is an error.
func (p *process) end(s syscall.Signal) error {
	select {
	case err := <-p.ended:
		return fmt.Errorf("%s ended by itself: %w", p.name, err)
	default:
	}
	if err := p.cmd.Process.Signal(s); err != nil {
		return fmt.Errorf("signal %s: %w", p.name, err)
	}
	err := <-p.ended
	if s == syscall.SIGTERM && err != nil {
		return fmt.Errorf("%s did not stop well: %w", p.name, err)
	}
	return nil
}

// dies waits until the process has ended by itself.
func (p *process) dies(within time.Duration) bool {
	select {
	case <-p.ended:
		return true
	case <-time.After(within):
		return false
	}
}

// fail begins a life in which something goes wrong, in place of the present one.
func (p *process) fail(what string) error {
	p.end(syscall.SIGKILL) //nolint:errcheck // it may have ended
	p.fails = what
	return p.start()
}

// tail gives the last lines of the log.
func (p *process) tail(lines int) string {
	b, err := os.ReadFile(p.log)
	if err != nil {
		return err.Error()
	}
	all := strings.Split(strings.TrimRight(string(b), "\n"), "\n")
	return strings.Join(all[max(0, len(all)-lines):], "\n")
}

// build makes the binary under test, as users have it.
func build(t *testing.T, flags ...string) string {
	t.Helper()
	bin := filepath.Join(t.TempDir(), "kontor")
	out, err := exec.CommandContext(t.Context(), "go", slices.Concat([]string{"build", "-o", bin}, flags, []string{"github.com/kontor-cloud/kontor/cmd/kontor"})...).CombinedOutput()
	if err != nil {
		t.Fatalf("build the binary: %v\n%s", err, out)
	}
	return bin
}

// freePorts gives addresses at which nobody listens now. They must be the same
// in every life of the exchange.
func freePorts(t *testing.T, n int) []string {
	t.Helper()
	addresses := make([]string, n)
	for i := range addresses {
		l, err := net.Listen("tcp", "127.0.0.1:0")
		if err != nil {
			t.Fatal(err)
		}
		defer l.Close()
		addresses[i] = l.Addr().String()
	}
	return addresses
}
