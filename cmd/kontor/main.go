// Command kontor is the whole of Kontor in one binary: the exchange, the agent
// at a provider, and the command line of customers and operators. It has one
// file a command.
package main

import (
	"context"
	"fmt"
	"io"
	"os"
	"os/signal"
	"strings"
	"syscall"

	"github.com/kontor-cloud/kontor/failpoint"
)

func main() {
	if f := os.Getenv("KONTOR_FAILPOINT"); f != "" && !failpoint.Arm(f) {
		fmt.Fprintln(os.Stderr, "kontor: KONTOR_FAILPOINT is set, and this build has no points of failure (they come with the build tag crucible)")
		os.Exit(2)
	}
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	context.AfterFunc(ctx, stop) // a second Ctrl-C ends at once
	os.Exit(run(ctx, os.Args[1:], environment(os.Environ()), os.Stdin, os.Stdout, os.Stderr))
}

// run is the command line without the process around it. It returns the exit
// code: 0 is well, 1 failed, 2 was asked wrongly.
func run(ctx context.Context, args []string, env map[string]string, stdin io.Reader, stdout, stderr io.Writer) int {
	a := &app{env: env, stdin: stdin, stdout: stdout, stderr: stderr}
	root := rootCommand(a)
	root.SetArgs(args)
	root.SetIn(stdin)
	root.SetOut(stdout)
	root.SetErr(stderr)
	c, err := root.ExecuteContextC(ctx)
	return a.exit(ctx, c, err)
}

func environment(pairs []string) map[string]string {
	env := make(map[string]string, len(pairs))
	for _, p := range pairs {
		k, v, _ := strings.Cut(p, "=")
		env[k] = v
	}
	return env
}
