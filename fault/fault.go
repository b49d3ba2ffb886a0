// Package fault sorts failures into the few classes that callers act on: a
// driver says that a quota is used up, and the agent, the API and the CLI each
// know what that means to them without knowing the platform.
package fault

import (
	"errors"
	"fmt"
	"strings"
	"time"
)

// A Kind is a class of failure. It is itself an error, so that
// errors.Is(err, fault.Missing) asks in the usual way.
type Kind string

// The classes. An error without one of them is a defect of ours.
const (
	Malformed       Kind = "malformed"       // cannot be read at all: broken JSON, a bad parameter
	Invalid         Kind = "invalid"         // well formed, but breaks a rule of the field it names
	Unauthenticated Kind = "unauthenticated" // no credential, or one that does not verify
	Denied          Kind = "denied"          // known, and not allowed
	Missing         Kind = "missing"         // no such thing, or not visible to the caller
	Conflict        Kind = "conflict"        // clashes with the state of another thing
	Stale           Kind = "stale"           // the thing has changed since the caller read it
	TooLarge        Kind = "too large"       // over a limit on size
	Exhausted       Kind = "exhausted"       // quota, capacity or budget is used up
	Unavailable     Kind = "unavailable"     // worth trying again
	Unsupported     Kind = "unsupported"     // this platform cannot do that
)

// Error makes a Kind usable as a target of errors.Is.
func (k Kind) Error() string { return string(k) }

// Errorf makes an error of this kind. The format may wrap another with %w.
func (k Kind) Errorf(format string, args ...any) error {
	return &Error{Kind: k, Err: fmt.Errorf(format, args...)}
}

// A Source names the part of a request that an error is about: a JSON pointer
// into its body, or a parameter of its path or query.
type Source struct {
	Pointer   string `json:"pointer"`
	Parameter string `json:"parameter"`
}

// An Error is a failure with its class.
type Error struct {
	Kind    Kind
	Err     error
	Sources []Source      // what in the request is at fault
	After   time.Duration // when a retry may help; zero if nobody knows
}

// Error gives the text of the wrapped error.
func (e *Error) Error() string { return e.Err.Error() }

// Unwrap makes both the kind and the cause visible to errors.Is and errors.As.
func (e *Error) Unwrap() []error { return []error{e.Kind, e.Err} }

// At adds a JSON pointer to the field that the error is about.
func At(err error, pointer string) error { return source(err, Source{Pointer: pointer}) }

// Parameter adds the name of the query or path parameter, or of the header, that the error is about.
func Parameter(err error, name string) error { return source(err, Source{Parameter: name}) }

func source(err error, s Source) error {
	if err == nil {
		return nil
	}
	return &Error{Kind: KindOf(err), Err: err, Sources: append(SourcesOf(err), s), After: After(err)}
}

// RetryAfter marks an error as Unavailable until d has passed.
func RetryAfter(err error, d time.Duration) error {
	return &Error{Kind: Unavailable, Err: err, After: d}
}

// KindOf returns the class of err, or "" if it has none.
func KindOf(err error) Kind {
	if f, ok := errors.AsType[*Error](err); ok {
		return f.Kind
	}
	if k, ok := errors.AsType[Kind](err); ok {
		return k
	}
	return ""
}

// SourcesOf returns the parts of the request that err is about.
func SourcesOf(err error) []Source {
	if f, ok := errors.AsType[*Error](err); ok {
		return f.Sources
	}
	return nil
}

// After returns how long to wait before a retry, zero if err does not say.
func After(err error) time.Duration {
	if f, ok := errors.AsType[*Error](err); ok {
		return f.After
	}
	return 0
}

// maxViolations is how many are worth reading. A document can have more of them
// than bytes are good for.
const maxViolations = 100

// A List collects the violations of one document, so that its author sees all
// of them at once, or the first hundred. The zero value is ready for use.
type List struct {
	texts   []string
	sources []Source
}

// Add notes that the field at pointer breaks a rule.
func (l *List) Add(pointer, format string, args ...any) {
	if len(l.texts) == maxViolations {
		return
	}
	l.texts = append(l.texts, strings.TrimLeft(strings.ReplaceAll(pointer, "/", ".")+" ", ". ")+fmt.Sprintf(format, args...))
	l.sources = append(l.sources, Source{Pointer: pointer})
}

// Err returns an Invalid error that names every violation, or nil.
func (l *List) Err() error { return l.ErrAt(nil) }

// ErrAt is Err with the place of each violation before it, as place gives it
// for the pointer: "sheet.yaml:12".
func (l *List) ErrAt(place func(pointer string) string) error {
	if len(l.texts) == 0 {
		return nil
	}
	if place == nil {
		return &Error{Kind: Invalid, Err: errors.New(strings.Join(l.texts, "; ")), Sources: l.sources}
	}
	lines := make([]string, len(l.texts))
	for i, text := range l.texts {
		lines[i] = place(l.sources[i].Pointer) + ": " + text
	}
	return &Error{Kind: Invalid, Err: errors.New(strings.Join(lines, "\n")), Sources: l.sources}
}

// Within puts what an error is about below a JSON pointer: /name of a part is /spec/name of the whole.
func Within(err error, pointer string) error {
	return Moved(err, func(at string) string { return pointer + at })
}

// Moved changes the JSON pointers of an error to where its reader finds the fields.
func Moved(err error, to func(pointer string) string) error {
	f, ok := errors.AsType[*Error](err)
	if !ok {
		return err
	}
	moved := Error{Kind: f.Kind, Err: err, Sources: f.Sources, After: f.After}
	moved.Sources = make([]Source, len(f.Sources))
	for i, s := range f.Sources {
		if s.Parameter == "" {
			s.Pointer = to(s.Pointer)
		}
		moved.Sources[i] = s
	}
	return &moved
}
