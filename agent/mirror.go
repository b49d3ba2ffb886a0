package agent

import (
	"slices"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/wire"
)

// A mirror holds what the exchange wants in this region, and what is known of
// it. Agent.mu guards it.
type mirror struct {
	byID    map[string]*entry
	byURN   map[string]*entry
	users   map[string]set // URN → ids of those whose wanted state refers to it
	holders map[string]set // id → ids of those that hold it on the platform
	synced  bool           // all that is wanted has been heard of
	lenient bool
}

type set map[string]struct{}

func newMirror() *mirror {
	return &mirror{byID: map[string]*entry{}, byURN: map[string]*entry{}, users: map[string]set{}, holders: map[string]set{}}
}

// An entry is one resource: what is wanted, what is known, and how far it is.
type entry struct {
	want wire.Resource
	kind *kind
	spec any   // decoded
	bad  error // why it could not be

	// On the platform.
	have    any       // as last seen; nil if it is not there or nobody has looked
	touched time.Time // when it was: a list that began earlier is older
	seen    bool      // a list has had it
	maybe   bool      // a call may have made it
	lived   bool      // it was usable once
	misses  int       // lists in a row that lack it
	lost    bool      // its data is
	leaving time.Time // when the platform took its deletion
	attempt int
	holds   []string // ids that it may keep from being deleted

	// Of the work.
	ready   bool // others may build on it
	done    int64
	last    any  // what Ensure was asked for
	refresh bool // look again although nothing is wanted anew
	virtual bool // stands for something that cannot be yet (lenient)
	busy    bool
	tries   int
	fails   int       // how often the platform has failed since it was ready, or wanted otherwise
	refs    []string  // URNs that it refers to
	news    bool      // somebody wants it otherwise than when the agent started, and waits
	wished  time.Time // when that was heard
	told    int64     // generation of which it was said what came of it
	said    wire.Observation
}

func (e *entry) id() string { return e.want.ID }

// expected reports whether the platform should have the thing by all we know.
func (e *entry) expected() bool {
	return e.have != nil || e.want.Lived || e.lived
}

// doubtful reports whether the thing should be there, and was neither seen nor
// missed for certain.
func (e *entry) doubtful() bool {
	return e.have == nil && e.expected() && !e.lost && !e.virtual && e.misses < 2
}

func (m *mirror) link(index map[string]set, key, id string) {
	s := index[key]
	if s == nil {
		s = set{}
		index[key] = s
	}
	s[id] = struct{}{}
}

func (m *mirror) unlink(index map[string]set, key, id string) {
	if s := index[key]; s != nil {
		delete(s, id)
		if len(s) == 0 {
			delete(index, key)
		}
	}
}

// refers notes which URNs an entry refers to.
func (m *mirror) refers(e *entry, refs []string) (changed bool) {
	slices.Sort(refs)
	refs = slices.Compact(refs)
	if slices.Equal(refs, e.refs) {
		return false
	}
	for _, u := range e.refs {
		m.unlink(m.users, u, e.id())
	}
	for _, u := range refs {
		m.link(m.users, u, e.id())
	}
	e.refs = refs
	return true
}

// hold notes what an entry holds on the platform, and returns what it let go.
func (m *mirror) hold(e *entry, ids []string) (freed []string) {
	for _, id := range e.holds {
		if !slices.Contains(ids, id) {
			m.unlink(m.holders, id, e.id())
			freed = append(freed, id)
		}
	}
	for _, id := range ids {
		m.link(m.holders, id, e.id())
	}
	e.holds = ids
	return freed
}

// holder gives the entry of a kind that holds id on the platform, or nil.
func (m *mirror) holder(id, kind string) *entry {
	for by := range m.holders[id] {
		e := m.byID[by]
		if e != nil && e.kind.name == kind && e.have != nil && slices.Contains(e.kind.uses(e.have), id) {
			return e
		}
	}
	return nil
}

func (e *entry) state() driver.State {
	if e.have == nil {
		return ""
	}
	return e.kind.meta(e.have).State
}
