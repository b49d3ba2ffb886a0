package failpoint

// A Guard is a safeguard that the crucible can do without, to show that it
// notices: a harness that finds nothing wrong in a broken Kontor is broken.
type Guard string

// The safeguards.
const (
	Durable Guard = "durable" // the exchange commits before it answers
	Intent  Guard = "intent"  // a call is announced on the disk before it is made
	Doubt   Guard = "doubt"   // the agent believes no single list that lacks something
	Unknown Guard = "unknown" // a list that failed says nothing
	Resend  Guard = "resend"  // what was not acknowledged is said again
	Order   Guard = "order"   // what was said before is no news after what was said later
)

// A Twist is something unlikely that the crucible makes likely.
type Twist string

// The twists.
const (
	Hurry   Twist = "hurry"   // an agent renews its certificate every second
	Stutter Twist = "stutter" // an agent says things again, some after what it says next
)
