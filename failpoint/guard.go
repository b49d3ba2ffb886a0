package failpoint

// A Guard is a safeguard that the crucible can do without, to show that it
// notices: a harness that finds nothing wrong in a broken Kontor is broken.
type Guard string

// The safeguards.
const (
	Durable  Guard = "durable"  // the exchange commits before it answers
	Doubt    Guard = "doubt"    // the agent believes no single list that lacks something
	Unknown  Guard = "unknown"  // a list that failed says nothing
	Adoption Guard = "adoption" // a restarted agent looks for what it made before
)
