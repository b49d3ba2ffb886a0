package qemu

import (
	"bufio"
	"errors"
	"fmt"
	"net"
	"strings"
	"testing"

	"github.com/kontor-cloud/kontor/fault"
)

// script is a monitor that expects lines which contain one text, and answers each with another.
func script(t *testing.T, greeting string, steps ...[2]string) net.Conn {
	t.Helper()
	ours, theirs := net.Pipe()
	done := make(chan struct{})
	go func() {
		defer close(done)
		defer theirs.Close()
		fmt.Fprintln(theirs, greeting)
		in := bufio.NewScanner(theirs)
		for _, step := range steps {
			if !in.Scan() || !strings.Contains(in.Text(), step[0]) {
				t.Errorf("got %q, want %q", in.Text(), step[0])
				return
			}
			fmt.Fprintln(theirs, step[1])
		}
	}()
	t.Cleanup(func() {
		ours.Close()
		<-done
	})
	return ours
}

const hello = `{"QMP": {"version": {}, "capabilities": []}}`

var capable = [2]string{`{"execute":"qmp_capabilities"}`, `{"return": {}}`}

func TestMonitorSkipsEventsAndReadsAnswers(t *testing.T) {
	conn := script(t, hello, capable,
		[2]string{`{"execute":"query-status"}`, "{\"event\": \"RESUME\", \"timestamp\": {}}\n{\"return\": {\"status\": \"paused\"}}"},
		[2]string{`"arguments":{"id":"d1"}`, `{"error": {"class": "DeviceNotFound", "desc": "Device 'd1' not found"}}`},
		[2]string{`blockdev-add`, `{"error": {"class": "GenericError", "desc": "Failed to get \"write\" lock"}}`},
		[2]string{`device_del`, `{"error": {"class": "GenericError", "desc": "no luck"}}`},
	)
	m, err := newMonitor(t.Context(), conn)
	if err != nil {
		t.Fatal(err)
	}
	var run struct{ Status string }
	if err := m.do("query-status", nil, &run); err != nil || run.Status != "paused" {
		t.Errorf("query-status = %+v, %v", run, err)
	}
	if err := m.do("device_del", object{"id": "d1"}, nil); !errors.Is(err, fault.Missing) {
		t.Errorf("device_del of nothing: %v, want missing", err)
	}
	if err := m.do("blockdev-add", object{}, nil); !errors.Is(err, fault.Conflict) {
		t.Errorf("blockdev-add of a locked file: %v, want a conflict", err)
	}
	if err := m.do("device_del", object{}, nil); !errors.Is(err, fault.Unavailable) || !strings.Contains(err.Error(), "no luck") {
		t.Errorf("device_del: %v, want unavailable, with QEMU's words", err)
	}
	if err := m.do("cont", nil, nil); !errors.Is(err, fault.Unavailable) {
		t.Errorf("after the end of the connection: %v, want unavailable", err)
	}
}

func TestMonitorRefusesStrangers(t *testing.T) {
	if _, err := newMonitor(t.Context(), script(t, `{"hello": "world"}`)); err == nil {
		t.Error("a greeting of something else was accepted")
	}
}
