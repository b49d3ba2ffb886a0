package vnet

import (
	"context"
	"errors"
	"fmt"
	"log/slog"
	"net"
	"os"
	"path/filepath"
	"strconv"
	"time"

	"github.com/kontor-cloud/kontor/fault"
	"golang.org/x/sync/errgroup"
	"golang.org/x/sys/unix"
)

const sweepEvery = 30 * time.Second

// Run is the process of one network. It serves what config.json in dir says
// until the context ends or Stop asks it to, and then removes its sockets. If
// another process serves dir already, the error is of kind Conflict.
func Run(ctx context.Context, dir string, log *slog.Logger) error {
	if err := os.MkdirAll(dir, 0o700); err != nil {
		return fmt.Errorf("make the network's directory: %w", err)
	}
	unlock, err := lock(dir)
	if err != nil {
		return err
	}
	defer unlock()
	if err := os.WriteFile(pidPath(dir), []byte(strconv.Itoa(os.Getpid())+"\n"), 0o600); err != nil {
		return fmt.Errorf("write the process id: %w", err)
	}
	n, err := newNetwork(dir, log)
	if err != nil {
		return err
	}
	defer n.close()
	if err := n.reload(); err != nil {
		return err
	}
	return n.serve(ctx)
}

// reload applies what config.json says now.
func (n *network) reload() error {
	n.reloading.Lock()
	defer n.reloading.Unlock()
	cfg, err := load(n.dir)
	if err != nil {
		return err
	}
	return n.apply(cfg)
}

// serve takes orders until the end.
func (n *network) serve(ctx context.Context) error {
	ctx, stop := context.WithCancel(ctx)
	defer stop()
	path := ctlPath(n.dir)
	if err := checkPath(path); err != nil {
		return err
	}
	os.Remove(path) // of a process that was killed: we hold the lock
	l, err := net.ListenUnix("unix", &net.UnixAddr{Name: path, Net: "unix"})
	if err != nil {
		return fmt.Errorf("listen for orders: %w", err)
	}
	if err := os.Chmod(path, 0o600); err != nil {
		return errors.Join(err, l.Close())
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { <-ctx.Done(); return l.Close() })
	g.Go(func() error { return n.takeOrders(l, stop) })
	g.Go(func() error { n.sweepUntil(ctx); return nil })
	return g.Wait()
}

func (n *network) sweepUntil(ctx context.Context) {
	tick := time.NewTicker(sweepEvery)
	defer tick.Stop()
	for {
		select {
		case <-ctx.Done():
			return
		case <-tick.C:
			n.sweep()
		}
	}
}

func pidPath(dir string) string { return filepath.Join(dir, "vnet.pid") }

// lock makes the caller the only process of dir.
func lock(dir string) (unlock func(), err error) {
	path := pidPath(dir)
	f, err := os.OpenFile(path, os.O_RDWR|os.O_CREATE, 0o600)
	if err != nil {
		return nil, fmt.Errorf("open the lock: %w", err)
	}
	err = unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB)
	if errors.Is(err, unix.EWOULDBLOCK) {
		f.Close()
		return nil, fault.Conflict.Errorf("lock %s: another process serves this network", path)
	}
	if err != nil {
		return nil, errors.Join(fmt.Errorf("lock %s: %w", path, err), f.Close())
	}
	return func() { f.Close() }, nil // the file stays: removing it would let two hold it
}
