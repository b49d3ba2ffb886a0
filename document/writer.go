package document

import (
	"bytes"
	"encoding"
	"encoding/json"
	"maps"
	"reflect"
	"slices"
	"strconv"
	"strings"

	"go.yaml.in/yaml/v3"

	"github.com/kontor-cloud/kontor/fault"
)

// A writer turns YAML into the JSON that a Go type wants, and notes what does not fit.
type writer struct {
	doc      *Document
	out      bytes.Buffer
	mistakes fault.List
}

var (
	textType  = reflect.TypeFor[encoding.TextUnmarshaler]()
	jsonType  = reflect.TypeFor[json.Unmarshaler]()
	bytesType = reflect.TypeFor[[]byte]() // base64, as encoding/json has it
	anything  = reflect.TypeFor[any]()
)

func typeOf(to any) reflect.Type { return reflect.TypeOf(to).Elem() }

func (w *writer) wrong(at, format string, args ...any) {
	w.mistakes.Add(at, format, args...)
	w.out.WriteString("null")
}

// value writes what stands at a pointer as t.
func (w *writer) value(n *yaml.Node, t reflect.Type, at string) {
	for t.Kind() == reflect.Pointer {
		t = t.Elem()
	}
	own := reflect.PointerTo(t)
	switch {
	case n.Kind == yaml.AliasNode || n.Anchor != "":
		w.wrong(at, "must be written out: anchors and aliases are not read")
	case own.Implements(textType) && !own.Implements(jsonType) || t.Kind() == reflect.String || t == bytesType:
		w.text(n, t, at)
	case own.Implements(jsonType) || t == anything:
		w.untyped(n, at)
	case t.Kind() == reflect.Struct:
		w.object(n, at, membersOf(t), nil)
	case t.Kind() == reflect.Map:
		w.object(n, at, nil, t.Elem())
	case t.Kind() == reflect.Slice:
		w.list(n, t.Elem(), at)
	default:
		w.scalar(n, t, at)
	}
}

// text writes a scalar as it was spelled. UnmarshalText is tried here, where
// the place is known.
func (w *writer) text(n *yaml.Node, t reflect.Type, at string) {
	if n.Kind != yaml.ScalarNode || n.Tag == "!!null" {
		w.wrong(at, "must be a text, not %s", kindOf(n))
		return
	}
	if u, ok := reflect.TypeAssert[encoding.TextUnmarshaler](reflect.New(t)); ok {
		if err := u.UnmarshalText([]byte(n.Value)); err != nil {
			w.wrong(at, "must be right: %v", err)
			return
		}
	}
	w.json(n.Value)
}

func (w *writer) scalar(n *yaml.Node, t reflect.Type, at string) {
	want, tag := "a whole number", "!!int"
	switch t.Kind() {
	case reflect.Bool:
		want, tag = "true or false", "!!bool"
	case reflect.Float64:
		want, tag = "a number", "!!float"
	default: // the integers
	}
	if n.Kind != yaml.ScalarNode || n.Tag != tag && (tag != "!!float" || n.Tag != "!!int") {
		w.wrong(at, "must be %s, not %s", want, kindOf(n))
		return
	}
	v := reflect.New(t)
	if err := n.Decode(v.Interface()); err != nil {
		w.wrong(at, "must be %s that fits, not %s", want, n.Value)
		return
	}
	w.number(v.Interface(), at)
}

// untyped writes a value whose type only its own says.
func (w *writer) untyped(n *yaml.Node, at string) {
	switch n.Kind {
	case yaml.MappingNode:
		w.object(n, at, nil, anything)
	case yaml.SequenceNode:
		w.list(n, anything, at)
	default:
		var v any
		if n.Tag == "!!timestamp" {
			v = n.Value
		} else if err := n.Decode(&v); err != nil {
			w.wrong(at, "cannot be read: %v", err)
			return
		}
		w.number(v, at)
	}
}

// number writes a scalar that may be none that JSON has: .nan, .inf.
func (w *writer) number(v any, at string) {
	b, err := json.Marshal(v)
	if err != nil {
		w.wrong(at, "must be a number that can be written in digits")
		return
	}
	w.out.Write(b)
}

func (w *writer) json(s string) {
	b, _ := json.Marshal(s) // a text
	w.out.Write(b)
}

// object writes a mapping, with known members, or with any if each has type of.
func (w *writer) object(n *yaml.Node, at string, members map[string]reflect.Type, of reflect.Type) {
	if n.Kind != yaml.MappingNode {
		w.wrong(at, "must have members, not be %s", kindOf(n))
		return
	}
	w.out.WriteByte('{')
	seen := map[string]bool{}
	for i := 0; i+1 < len(n.Content); i += 2 {
		key, t := n.Content[i].Value, of
		here := at + "/" + strings.NewReplacer("~", "~0", "/", "~1").Replace(key)
		known := true
		if members != nil {
			t, known = members[key]
		}
		if i > 0 {
			w.out.WriteByte(',')
		}
		w.json(key)
		w.out.WriteByte(':')
		switch {
		case seen[key]:
			w.wrong(here, "stands here twice (line %d, too)", n.Content[i].Line)
		case !known:
			w.wrong(here, "is no member of this%s", fault.DidYouMean(key, names(members)))
		default:
			w.value(n.Content[i+1], t, here)
		}
		seen[key] = true
	}
	w.out.WriteByte('}')
}

func (w *writer) list(n *yaml.Node, of reflect.Type, at string) {
	if n.Kind != yaml.SequenceNode {
		w.wrong(at, "must be a list, not %s", kindOf(n))
		return
	}
	w.out.WriteByte('[')
	for i, item := range n.Content {
		if i > 0 {
			w.out.WriteByte(',')
		}
		w.value(item, of, at+"/"+strconv.Itoa(i))
	}
	w.out.WriteByte(']')
}

// membersOf gives the members of a struct as encoding/json names them.
func membersOf(t reflect.Type) map[string]reflect.Type {
	all := map[string]reflect.Type{}
	for f := range t.Fields() {
		name, _, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case f.Anonymous && name == "":
			maps.Copy(all, membersOf(f.Type))
		case f.IsExported() && name != "-" && name != "":
			all[name] = f.Type
		}
	}
	return all
}

func names(members map[string]reflect.Type) []string { return slices.Sorted(maps.Keys(members)) }

func kindOf(n *yaml.Node) string {
	switch {
	case n.Kind == yaml.MappingNode:
		return "something with members"
	case n.Kind == yaml.SequenceNode:
		return "a list"
	case n.Tag == "!!null":
		return "nothing"
	}
	return strconv.Quote(n.Value)
}
