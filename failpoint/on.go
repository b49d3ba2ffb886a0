//go:build crucible

package failpoint

import (
	"slices"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"
)

type armed struct {
	point  Point
	left   atomic.Int64
	off    []Guard
	twists []Twist
}

var now atomic.Pointer[armed]

// Arm takes what is to go wrong, separated by semicolons: "agent: thing is
// ready, not reported#3" has the process die when it comes to that point for
// the third time, "off intent" switches a safeguard off, "on hurry" switches a
// twist on, "clock FILE" has the wall clock be wrong by what the file says, such
// as -1h. It is called once, by main.
func Arm(text string) bool {
	a := &armed{}
	for part := range strings.SplitSeq(text, ";") {
		if guard, ok := strings.CutPrefix(part, "off "); ok {
			a.off = append(a.off, Guard(guard))
		} else if twist, ok := strings.CutPrefix(part, "on "); ok {
			a.twists = append(a.twists, Twist(twist))
		} else if file, ok := strings.CutPrefix(part, "clock "); ok {
			obey(file)
		} else {
			a.die(part)
		}
	}
	now.Store(a)
	return true
}

func (a *armed) die(at string) {
	name, n, _ := strings.Cut(at, "#")
	times, err := strconv.ParseInt(n, 10, 64)
	if err != nil {
		times = 1
	}
	a.point = Point(name)
	a.left.Store(times)
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
	return a != nil && slices.Contains(a.off, g)
}

// On reports whether a twist is switched on.
func On(t Twist) bool {
	a := now.Load()
	return a != nil && slices.Contains(a.twists, t)
}
