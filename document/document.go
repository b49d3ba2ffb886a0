// Package document reads the YAML files that people write: policies, price
// sheets, orders. It is strict, and its messages point at the line: a word that
// means nothing, a word said twice, or a number where a text belongs is a
// mistake, and a mistake in a price sheet costs money.
//
// The types that it fills have json tags alone, so that a file and the API mean
// the same. What has UnmarshalText gets a value just as it was written: a price
// like 0.0432 never passes through a floating-point number, a country like NO
// never becomes false.
package document

import (
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/kontor-cloud/kontor/fault"
)

// maxSize bounds what is read: aliases are refused, so this bounds memory, too.
const maxSize = 4 << 20 // bytes

// A Document is a file that was read, so that mistakes found later can still be
// pointed at.
type Document struct {
	name string
	text []byte
	root *yaml.Node
}

// Decode reads the one YAML (or JSON) document in text into to, a pointer. Name is
// that of the file, for messages. All mistakes are reported at once.
func Decode(name string, text []byte, to any) (*Document, error) {
	if len(text) > maxSize {
		return nil, fault.TooLarge.Errorf("%s has more than %d MiB", name, maxSize>>20)
	}
	root, err := parse(name, text)
	if err != nil {
		return nil, err
	}
	return decode(&Document{name, text, root}, to)
}

func parse(name string, text []byte) (*yaml.Node, error) {
	var root, more yaml.Node
	d := yaml.NewDecoder(bytes.NewReader(text))
	if err := d.Decode(&root); errors.Is(err, io.EOF) {
		return nil, fault.Malformed.Errorf("%s is empty", name)
	} else if err != nil {
		return nil, notYAML(name, err)
	}
	if err := d.Decode(&more); err == nil {
		return nil, fault.Malformed.Errorf("%s:%d: a second document begins here, and one is wanted", name, more.Line)
	} else if !errors.Is(err, io.EOF) {
		return nil, notYAML(name, err)
	}
	return root.Content[0], nil
}

func notYAML(name string, err error) error {
	return fault.Malformed.Errorf("%s: %s", name, strings.TrimPrefix(err.Error(), "yaml: "))
}

// Place gives "FILE:LINE" of what the JSON pointer names, or of the nearest thing
// around it.
func (d *Document) Place(pointer string) string {
	return fmt.Sprintf("%s:%d", d.name, d.find(pointer).Line)
}

// Err ends the check of what the document said: it gives every violation in the list
// its place, or nil if there is none.
func (d *Document) Err(l *fault.List) error { return l.ErrAt(d.Place) }

// Within gives the place of a line and column (from 1) of the text at pointer in
// terms of the file.
func (d *Document) Within(pointer string, line, column int) string {
	n := d.find(pointer)
	if n.Style != yaml.LiteralStyle {
		if n.Style&(yaml.DoubleQuotedStyle|yaml.SingleQuotedStyle) != 0 {
			column++
		}
		return fmt.Sprintf("%s:%d:%d", d.name, n.Line+line-1, n.Column+column-1)
	}
	return fmt.Sprintf("%s:%d:%d", d.name, n.Line+line, d.indent(n.Line)+column)
}

// indent is how far a block of text is indented that begins after a line.
func (d *Document) indent(line int) int {
	for n, text := range bytes.Split(d.text, []byte("\n")) {
		if body := bytes.TrimLeft(text, " "); n >= line && len(body) > 0 {
			return len(text) - len(body)
		}
	}
	return 0
}

func (d *Document) find(pointer string) *yaml.Node {
	n := d.root
	for name := range strings.SplitSeq(strings.TrimPrefix(pointer, "/"), "/") {
		next := child(n, strings.NewReplacer("~1", "/", "~0", "~").Replace(name))
		if next == nil {
			return n
		}
		n = next
	}
	return n
}

func child(n *yaml.Node, name string) *yaml.Node {
	switch n.Kind {
	case yaml.MappingNode:
		for i := 0; i+1 < len(n.Content); i += 2 {
			if n.Content[i].Value == name {
				return n.Content[i+1]
			}
		}
	case yaml.SequenceNode:
		if i, err := strconv.Atoi(name); err == nil && i >= 0 && i < len(n.Content) {
			return n.Content[i]
		}
	default: // nothing stands within
	}
	return nil
}

func decode(d *Document, to any) (*Document, error) {
	w := writer{doc: d}
	w.value(d.root, typeOf(to), "")
	if err := d.Err(&w.mistakes); err != nil {
		return nil, err
	}
	if err := json.Unmarshal(w.out.Bytes(), to); err != nil { // what UnmarshalText of some type says
		if fault.KindOf(err) != "" {
			return nil, fmt.Errorf("%s: %w", d.name, err)
		}
		return nil, fault.Invalid.Errorf("%s: %w", d.name, err)
	}
	return d, nil
}
