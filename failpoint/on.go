//go:build crucible

package failpoint

import (
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

type armed struct {
	point Point
	left  atomic.Int64
	off   Guard
}

var now atomic.Pointer[armed]

// Arm makes the process die when it comes to a point for the n-th time:
// "agent: thing is ready, not reported#3"; or switches a safeguard off:
// "off intent". It is called once, by main.
func Arm(text string) bool {
	a := &armed{}
	if guard, ok := strings.CutPrefix(text, "off "); ok {
		a.off = Guard(guard)
		now.Store(a)
		return true
	}
	name, n, _ := strings.Cut(text, "#")
	times, err := strconv.ParseInt(n, 10, 64)
	if err != nil {
		times = 1
	}
	a.point = Point(name)
	a.left.Store(times)
	now.Store(a)
	return true
}

// Here ends the process, as kill -9 does, if this is the armed point and its
// time has come.
func Here(p Point) {
	if a := now.Load(); a != nil && a.point == p && a.left.Add(-1) == 0 {
		_ = syscall.Kill(syscall.Getpid(), syscall.SIGKILL)
		select {} // dead, or about to be
	}
}

// Off reports whether a safeguard is switched off.
func Off(g Guard) bool {
	a := now.Load()
	return a != nil && a.off != "" && a.off == g
}
