//go:build !crucible

package failpoint

// Here does nothing.
func Here(Point) {}

// Off reports whether a safeguard is switched off, to see that tests notice.
func Off(Guard) bool { return false }

// On reports whether a twist is switched on.
func On(Twist) bool { return false }

// Arm does nothing in this build, and says so.
func Arm(string) bool { return false }
