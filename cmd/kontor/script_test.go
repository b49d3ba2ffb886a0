package main

import (
	"bufio"
	"compress/gzip"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"github.com/rogpeppe/go-internal/testscript"

	"github.com/kontor-cloud/kontor/db/dbtest"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"kontor": main})
}

// The scripts are the specification of the command line. Beside testscript's
// own commands they have
//
//	up [ARG…]            start an exchange with one fake region, and use it as its administrator
//	down                 end it; up starts it again
//	code N COMMAND…      run, and want this exit code
//	soon PATTERN COMMAND…  run again, for at most half a minute, until its output has this text
//	mode NNN FILE        want these permissions
//	await FILE           wait until it is there
//	byhand               make a machine, its disk and its network at the platform of the fake region itself
//	postgres             name an empty PostgreSQL in $POSTGRES, where the condition [postgres] holds
//	certificate NAME     write NAME.pem and NAME.key for 127.0.0.1, by an authority of its own in NAME.ca
//	old NNNN DIR         put the database of an older version there: tenant demo, region fake-1, workspace shop
//	issuer               start an OpenID Connect provider in whose browser everybody says yes, trusted by oidc.yaml
//	seller NAME REGION NORTH,EAST EUR/HOUR [ATTRIBUTE=VALUE@LEVEL]…  have a participant sell what a fake region has
//	excluded QUOTE [REGION/DIMENSION]…  want a decision to have excluded these, for these reasons
//	field VAR PATH       put a member of the JSON on standard output of the last command into a variable
//	capture VAR          put standard output of the last command into a variable
func TestScripts(t *testing.T) { testscript.Run(t, scripts()) }

func scripts() testscript.Params {
	return testscript.Params{
		Dir: "testdata",
		Setup: func(e *testscript.Env) error {
			home := filepath.Join(e.WorkDir, "home")
			e.Values[testKey{}] = e.T()
			e.Values[upKey{}] = new(*exec.Cmd)
			old, err := filepath.Abs("testdata/old")
			if err != nil {
				return err
			}
			e.Vars = append(e.Vars, "OLD="+old, "HOME="+home, "XDG_CONFIG_HOME=", "KONTOR_LOG_LEVEL=")
			return os.Mkdir(home, 0o700)
		},
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"up": scriptUp, "down": scriptDown, "code": scriptCode, "soon": scriptSoon, "postgres": scriptPostgres,
			"mode": scriptMode, "await": scriptAwait, "capture": scriptCapture, "old": scriptOld, "certificate": scriptCertificate, "byhand": scriptByHand, "issuer": scriptIssuer,
			"seller": scriptSeller, "field": scriptField, "excluded": scriptExcluded,
		},
		Condition: func(c string) (bool, error) {
			if c != "postgres" {
				return false, fmt.Errorf("unknown condition %s", c)
			}
			return os.Getenv(dbtest.Environment) != "", nil
		},
		RequireUniqueNames: true,
	}
}

// scriptUp starts an exchange in a process of its own, which ends with the script.
func scriptUp(ts *testscript.TestScript, neg bool, args []string) {
	data := ts.MkAbs("data")
	c := exec.Command("kontor", append([]string{"up", "--fake", "1", "--data", data, "--listen", "127.0.0.1:0"}, args...)...)
	c.Dir = ts.MkAbs(".")
	log, err := os.Create(ts.MkAbs("up.log"))
	ts.Check(err)
	c.Stderr = log
	out, err := c.StdoutPipe()
	ts.Check(err)
	ts.Check(c.Start())
	*ts.Value(upKey{}).(**exec.Cmd) = c
	ts.Defer(func() {
		if *ts.Value(upKey{}).(**exec.Cmd) == c {
			stop(ts, c)
		}
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

// upKey is where a script keeps the exchange that it runs.
type upKey struct{}

func scriptDown(ts *testscript.TestScript, neg bool, args []string) {
	up := ts.Value(upKey{}).(**exec.Cmd)
	if neg || len(args) != 0 || *up == nil {
		ts.Fatalf("usage: down, after up")
	}
	stop(ts, *up)
	*up = nil
}

// testKey is where a script keeps the test that it is.
type testKey struct{}

func scriptPostgres(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 0 {
		ts.Fatalf("usage: postgres")
	}
	ts.Setenv("POSTGRES", dbtest.PostgresURL(ts.Value(testKey{}).(testing.TB)))
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

func scriptSoon(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: soon TEXT COMMAND…")
	}
	for range 300 {
		if ts.Exec(args[1], args[2:]...) == nil && strings.Contains(ts.ReadFile("stdout"), args[0]) {
			return
		}
		time.Sleep(100 * time.Millisecond)
	}
	ts.Fatalf("%s never says %q", strings.Join(args[1:], " "), args[0])
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

// scriptOld unpacks a database as the version with that newest migration left it.
func scriptOld(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) != 2 {
		ts.Fatalf("usage: old NNNN DIR")
	}
	f, err := os.Open(filepath.Join(ts.Getenv("OLD"), args[0]+".db.gz"))
	ts.Check(err)
	defer f.Close()
	unpacked, err := gzip.NewReader(f)
	ts.Check(err)
	b, err := io.ReadAll(unpacked)
	ts.Check(err)
	ts.Check(os.MkdirAll(ts.MkAbs(args[1]), 0o700))
	ts.Check(os.WriteFile(ts.MkAbs(filepath.Join(args[1], "kontor.db")), b, 0o600))
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
