package qemu

import (
	"context"
	"encoding/json"
	"errors"
	"net"
	"path/filepath"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/fault"
)

// A monitor is a connection to a guest's QEMU. QEMU speaks with one client at a
// time, so each connection is short, and a second one waits for the first.
type monitor struct {
	conn net.Conn
	in   *json.Decoder
}

// A qmpError is what QEMU answers to a command that it refuses.
type qmpError struct {
	Class string `json:"class"`
	Desc  string `json:"desc"`
}

func (e *qmpError) Error() string { return e.Desc }

// A qmpReply is one line of QEMU's: a greeting, an answer, or an event.
type qmpReply struct {
	Greeting json.RawMessage `json:"QMP"`
	Return   json.RawMessage `json:"return"`
	Error    *qmpError       `json:"error"`
	Event    string          `json:"event"`
	ID       int             `json:"id"`
}

// monitorTime bounds a connection, which is a few commands that QEMU answers at once.
const monitorTime = 5 * time.Second

// dialMonitor connects to the socket in a guest's directory.
func dialMonitor(ctx context.Context, dir string) (*monitor, error) {
	var conn net.Conn
	err := inside(dir, func(dir string) (err error) {
		conn, err = new(net.Dialer).DialContext(ctx, "unix", filepath.Join(dir, "qmp.sock"))
		return err
	})
	if err != nil {
		return nil, fault.Unavailable.Errorf("connect to the monitor: %w", err)
	}
	m, err := newMonitor(ctx, conn)
	if err != nil {
		conn.Close()
		return nil, fault.Unavailable.Errorf("greet the monitor: %w", err)
	}
	return m, nil
}

// newMonitor waits for the greeting and enters the command mode.
func newMonitor(ctx context.Context, conn net.Conn) (*monitor, error) {
	deadline := time.Now().Add(monitorTime)
	if d, ok := ctx.Deadline(); ok && d.Before(deadline) {
		deadline = d
	}
	if err := conn.SetDeadline(deadline); err != nil {
		return nil, err
	}
	m := &monitor{conn: conn, in: json.NewDecoder(conn)}
	var hello qmpReply
	if err := m.in.Decode(&hello); err != nil {
		return nil, err
	}
	if hello.Greeting == nil {
		return nil, errors.New("what answers is not QEMU")
	}
	return m, m.do("qmp_capabilities", nil, nil)
}

func (m *monitor) close() error { return m.conn.Close() }

// do runs a command and decodes what it returns into out, unless that is nil.
// Events that come in between are dropped.
func (m *monitor) do(command string, arguments, out any) error {
	request := map[string]any{"execute": command}
	if arguments != nil {
		request["arguments"] = arguments
	}
	if err := json.NewEncoder(m.conn).Encode(request); err != nil {
		return fault.Unavailable.Errorf("monitor: %s: %w", command, err)
	}
	for {
		var reply qmpReply
		if err := m.in.Decode(&reply); err != nil {
			return fault.Unavailable.Errorf("monitor: %s: %w", command, err)
		}
		switch {
		case reply.Event != "":
			continue
		case reply.Error != nil:
			return monitorFault(command, reply.Error)
		case out == nil:
			return nil
		}
		return json.Unmarshal(reply.Return, out)
	}
}

func monitorFault(command string, err *qmpError) error {
	kind := fault.Unavailable
	switch {
	case err.Class == "DeviceNotFound" || strings.Contains(err.Desc, "not found"):
		kind = fault.Missing
	case strings.Contains(err.Desc, "Failed to get"): // the lock on a disk
		kind = fault.Conflict
	}
	return kind.Errorf("monitor: %s: %w", command, err)
}

// do is one command on a connection of its own.
func do(ctx context.Context, dir, command string, arguments, out any) error {
	m, err := dialMonitor(ctx, dir)
	if err != nil {
		return err
	}
	defer m.close()
	return m.do(command, arguments, out)
}
