package main

import (
	"bufio"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kontor": main})
}

// The scripts are the specification of the command line. Beside testscript's
// own commands they have
//
//	up [ARG…]            start an exchange with one fake region, and use it as its administrator
//	code N COMMAND…      run, and want this exit code
//	mode NNN FILE        want these permissions
//	await FILE           wait until it is there
//	byhand               make a machine, its disk and its network at the platform of the fake region itself
//	capture VAR          put standard output of the last command into a variable
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			home := filepath.Join(e.WorkDir, "home")
			e.Vars = append(e.Vars, "HOME="+home, "XDG_CONFIG_HOME=", "KONTOR_LOG_LEVEL=")
			return os.Mkdir(home, 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"up": scriptUp, "code": scriptCode, "mode": scriptMode, "await": scriptAwait, "capture": scriptCapture, "byhand": scriptByHand,
		},
		RequireUniqueNames: true,
	})
}

// scriptUp starts an exchange in a process of its own, which ends with the script.
func scriptUp(ts *testscript.TestScript, neg bool, args []string) {
	data := ts.MkAbs("data")
	c := exec.Command("kontor", append([]string{"up", "--fake", "1", "--data", data, "--listen", "127.0.0.1:0"}, args...)...)
	log, err := os.Create(ts.MkAbs("up.log"))
	ts.Check(err)
	c.Stderr = log
	out, err := c.StdoutPipe()
	ts.Check(err)
	ts.Check(c.Start())
	ts.Defer(func() {
		stop(ts, c)
		ts.Check(log.Close())
	})
	ready := make(chan string, 1)
	go func() {
		defer close(ready)
		for lines := bufio.NewScanner(out); lines.Scan(); {
			if url, ok := strings.CutPrefix(lines.Text(), "ready "); ok {
				ready <- url
			}
		}
	}()
	select {
	case url := <-ready:
		if url == "" {
			b, _ := os.ReadFile(log.Name())
			ts.Fatalf("the exchange ended before it was ready:\n%s", b)
		}
		ts.Setenv("KONTOR_URL", url)
	case <-time.After(30 * time.Second):
		ts.Fatalf("the exchange is not ready in 30 s")
	}
	ts.Setenv("KONTOR_TOKEN_FILE", filepath.Join(data, "admin.token"))
	ts.Setenv("KONTOR_TENANT", "demo")
}

// stop ends an exchange and wants it to go in peace.
func stop(ts *testscript.TestScript, c *exec.Cmd) {
	ts.Check(c.Process.Signal(syscall.SIGTERM))
	ended := make(chan error, 1)
	go func() { ended <- c.Wait() }()
	select {
	case err := <-ended:
		ts.Check(err)
	case <-time.After(30 * time.Second):
		ts.Check(c.Process.Kill())
		ts.Fatalf("the exchange does not stop")
	}
}

func scriptCode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: code N COMMAND…")
	}
	want, err := strconv.Atoi(args[0])
	ts.Check(err)
	err = ts.Exec(args[1], args[2:]...)
	got := 0
	if exit, ok := errors.AsType[*exec.ExitError](err); ok {
		got = exit.ExitCode()
	} else {
		ts.Check(err)
	}
	if got != want {
		ts.Fatalf("%s ends with %d, want %d", strings.Join(args[1:], " "), got, want)
	}
}

func scriptAwait(ts *testscript.TestScript, _ bool, args []string) {
	deadline := time.Now().Add(time.Minute)
	for {
		_, err := os.Stat(ts.MkAbs(args[0]))
		if err == nil {
			return
		}
		if time.Now().After(deadline) {
			ts.Fatalf("%v", err)
		}
		time.Sleep(20 * time.Millisecond)
	}
}

func scriptMode(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: mode NNN FILE")
	}
	i, err := os.Stat(ts.MkAbs(args[1]))
	ts.Check(err)
	if got := fmt.Sprintf("%o", i.Mode().Perm()); got != args[0] {
		ts.Fatalf("%s has mode %s, want %s", args[1], got, args[0])
	}
}

// scriptByHand makes things without an owner, before the region runs.
func scriptByHand(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: byhand")
	}
	ts.Check(makeByHand(ts.MkAbs("data")))
}

func scriptCapture(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 1 {
		ts.Fatalf("usage: capture VAR")
	}
	ts.Setenv(args[0], strings.TrimSpace(ts.ReadFile("stdout")))
}
