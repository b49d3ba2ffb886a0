package failpoint

// The points of an import, which few runs of a crucible come to.
const (
	ImportWritten Point = "exchange: import is written, not committed"
	ImportDone    Point = "exchange: import is committed, not answered"
	AdoptWritten  Point = "agent: adoption is written, platform not called"
	AdoptCalled   Point = "agent: platform has adopted, nothing is recorded"
)

// Import lists the points of an import.
func Import() []Point { return []Point{ImportWritten, ImportDone, AdoptWritten, AdoptCalled} }
