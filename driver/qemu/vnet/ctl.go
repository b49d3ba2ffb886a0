package vnet

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"net"
	"path/filepath"
	"sync"
	"syscall"
	"time"

	"github.com/kontor-cloud/kontor/fault"
)

const (
	orderTimeout = 10 * time.Second
	maxOrders    = 16 // at once
)

// An order is what Apply, Inspect and Stop ask of the process: one JSON object
// on a connection, answered by another.
type order struct {
	Do string `json:"do"`
}

// The orders.
const (
	doReload  = "reload"
	doInspect = "inspect"
	doStop    = "stop"
)

type answer struct {
	Status Status     `json:"status"`
	Kind   fault.Kind `json:"kind,omitempty"`
	Error  string     `json:"error,omitempty"`
}

func ctlPath(dir string) string { return filepath.Join(dir, "ctl.sock") }

// Apply writes the configuration and waits until the running process has
// taken it. The Status tells what came of it, also for ports that could not be
// bound. An error of kind Unavailable means that no process is running: it
// will find the configuration when it starts. One of kind Invalid means that
// nothing was written.
func Apply(ctx context.Context, dir string, c Config) (Status, error) {
	if err := c.Validate(); err != nil {
		return Status{}, err
	}
	if err := store(dir, c); err != nil {
		return Status{}, fmt.Errorf("write the configuration: %w", err)
	}
	return call(ctx, dir, doReload)
}

// Inspect asks the running process how it does. An error of kind Unavailable
// means that there is none.
func Inspect(ctx context.Context, dir string) (Status, error) { return call(ctx, dir, doInspect) }

// Stop ends the process and returns when it is gone. If none is running, that
// is no error.
func Stop(ctx context.Context, dir string) error {
	if _, err := call(ctx, dir, doStop); err != nil && fault.KindOf(err) != fault.Unavailable {
		return err
	}
	for {
		unlock, err := lock(dir)
		if err == nil {
			unlock()
			return nil
		}
		if errors.Is(err, fs.ErrNotExist) {
			return nil
		}
		if fault.KindOf(err) != fault.Conflict {
			return err
		}
		select {
		case <-ctx.Done():
			return fmt.Errorf("wait for the network's process to end: %w", ctx.Err())
		case <-time.After(20 * time.Millisecond):
		}
	}
}

func call(ctx context.Context, dir, do string) (Status, error) {
	var d net.Dialer
	conn, err := d.DialContext(ctx, "unix", ctlPath(dir))
	if errors.Is(err, fs.ErrNotExist) || errors.Is(err, syscall.ECONNREFUSED) {
		return Status{}, fault.Unavailable.Errorf("the process of network %s is not running: %w", dir, err)
	}
	if err != nil {
		return Status{}, fmt.Errorf("call the network's process: %w", err)
	}
	defer conn.Close()
	defer context.AfterFunc(ctx, func() { conn.SetDeadline(time.Unix(1, 0)) })()
	var a answer
	if err := errors.Join(json.NewEncoder(conn).Encode(order{do}), json.NewDecoder(conn).Decode(&a)); err != nil {
		return Status{}, fault.Unavailable.Errorf("call the network's process: %w", errors.Join(ctx.Err(), err))
	}
	if a.Error != "" {
		return a.Status, a.err()
	}
	return a.Status, nil
}

func (a *answer) err() error {
	if a.Kind == "" {
		return errors.New(a.Error)
	}
	return a.Kind.Errorf("%s", a.Error)
}

// takeOrders answers until the listener is closed.
func (n *network) takeOrders(l net.Listener, stop func()) error {
	var work sync.WaitGroup
	defer work.Wait()
	slots := make(chan struct{}, maxOrders)
	for {
		conn, err := l.Accept()
		if errors.Is(err, net.ErrClosed) {
			return nil
		}
		if err != nil {
			n.pause(err)
			continue
		}
		slots <- struct{}{}
		work.Go(func() {
			defer func() { <-slots }()
			defer conn.Close()
			n.takeOrder(conn, stop)
		})
	}
}

func (n *network) takeOrder(conn net.Conn, stop func()) {
	conn.SetDeadline(time.Now().Add(orderTimeout))
	var o order
	if err := json.NewDecoder(conn).Decode(&o); err != nil {
		return
	}
	var a answer
	if err := n.obey(o, stop); err != nil {
		a.Kind, a.Error = fault.KindOf(err), err.Error()
	}
	a.Status = n.status()
	if err := json.NewEncoder(conn).Encode(a); err != nil {
		n.log.Warn("answering an order", "error", err)
	}
}

func (n *network) obey(o order, stop func()) error {
	switch o.Do {
	case doInspect:
		return nil
	case doStop:
		stop()
		return nil
	case doReload:
		return n.reload()
	}
	return fault.Unsupported.Errorf("no such order: %q", o.Do)
}
