package resource

import (
	"encoding/json"
	"fmt"
	"slices"

	"github.com/kontor-cloud/kontor/seca"
)

// A Log is the transitions of a resource, newest first, in the form in which it
// was read: most of what is read is only shown. It is not for many goroutines.
type Log struct {
	text    json.RawMessage // nil if entries are all there is
	entries []seca.Condition
	broken  error // what was read is no log, so nothing must be written in its place
}

// LogOf makes a log of entries.
func LogOf(entries ...seca.Condition) Log { return Log{entries: entries} }

// Entries are the transitions. They must not be changed.
func (l *Log) Entries() ([]seca.Condition, error) {
	if l.entries == nil && l.text != nil && l.broken == nil {
		if err := json.Unmarshal(l.text, &l.entries); err != nil {
			l.broken = fmt.Errorf("its log of transitions cannot be read: %w", err)
		}
	}
	return l.entries, l.broken
}

// JSON is the log as an array.
func (l *Log) JSON() json.RawMessage {
	if l.text == nil {
		l.text = json.RawMessage(text(l.entries).(string))
	}
	return l.text
}

// push adds an entry and drops the oldest if there are too many. Times never run
// backwards. A broken log takes none, and is not written (see sound).
func (l *Log) push(c seca.Condition) {
	before, err := l.Entries()
	if err != nil {
		return
	}
	if len(before) > 0 && c.LastTransitionAt.Before(before[0].LastTransitionAt) {
		c.LastTransitionAt = before[0].LastTransitionAt
	}
	l.entries, l.text = slices.Insert(slices.Clone(before[:min(len(before), maxConditions-1)]), 0, c), nil
}
