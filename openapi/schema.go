// Package openapi makes OpenAPI 3.1 documents out of Go types. What a field may
// hold stands in its tag, beside the field:
//
//	SizeGB int `json:"sizeGB" schema:"required,min=1,max=1000000" doc:"Capacity in GB."`
//
// The words of schema are required, min and max (of a number, of the characters
// of a text, or of the items of a list), enum=a|b (an empty word allows the
// empty text), pattern=… (which comes last) and format=….
package openapi

import (
	"encoding"
	"encoding/json"
	"fmt"
	"path"
	"reflect"
	"strconv"
	"strings"
	"time"
)

// A Schema is one of JSON Schema 2020-12.
type Schema map[string]any

// Ref refers to a named schema.
func Ref(name string) Schema { return Schema{"$ref": "#/components/schemas/" + name} }

// A Describer is a type whose JSON is not that of its fields.
type Describer interface{ Schema() map[string]any }

// Schemas are the named schemas of a document. Types with a name are described
// once, and referred to.
type Schemas struct {
	Named map[string]Schema
	input bool // what is described is sent by clients
	types map[string]reflect.Type
}

// New returns no schemas yet.
func New() *Schemas { return &Schemas{Named: map[string]Schema{}, types: map[string]reflect.Type{}} }

// Input describes what clients send: a field is required only if its tag says so,
// and null is like leaving it out. A type that is both sent and answered is to come here first.
func (s *Schemas) Input(v any) Schema {
	s.input = true
	defer func() { s.input = false }()
	return s.of(reflect.TypeOf(v))
}

// Output describes what is answered: a field is there unless it may be omitted.
func (s *Schemas) Output(v any) Schema { return s.of(reflect.TypeOf(v)) }

// Define names a schema, which is no type's.
func (s *Schemas) Define(name string, schema Schema) Schema {
	if t := s.types[name]; t != nil {
		panic(fmt.Sprintf("a schema is called %s, as the type %s is: give it another name", name, t))
	}
	if other, taken := s.Named[name]; taken && !reflect.DeepEqual(other, schema) {
		panic(fmt.Sprintf("two schemas are called %s: %v and %v", name, other, schema))
	}
	s.Named[name] = schema
	return Ref(name)
}

var (
	timeType      = reflect.TypeFor[time.Time]()
	rawType       = reflect.TypeFor[json.RawMessage]()
	textType      = reflect.TypeFor[encoding.TextMarshaler]()
	describerType = reflect.TypeFor[Describer]()
)

func (s *Schemas) of(t reflect.Type) Schema {
	switch {
	case t == timeType:
		return Schema{"type": "string", "format": "date-time"}
	case t == rawType || t.Kind() == reflect.Interface:
		return Schema{}
	case t.Implements(textType) && !t.Implements(describerType): // an amount, a digest: what is written is a text
		return Schema{"type": "string"}
	case t.Kind() == reflect.Pointer:
		return s.of(t.Elem())
	case NameOf(t) == "":
		return s.shape(t)
	}
	name := NameOf(t)
	if _, taken := s.Named[name]; taken && s.types[name] != t { // by a type of another package, or a document
		name = capital(path.Base(t.PkgPath())) + name
	}
	if s.types[name] == t {
		return Ref(name)
	}
	if other, taken := s.Named[name]; taken {
		panic(fmt.Sprintf("type %s is called %s, as another schema is: give one another name: %v", t, name, other))
	}
	s.types[name] = t
	s.Named[name] = s.shape(t)
	return Ref(name)
}

// NameOf is how the schema of a type is called: like the type, in upper case. It
// is "" for types without a name of their own, which are described where they stand.
func NameOf(t reflect.Type) string {
	if t.PkgPath() == "" || strings.Contains(t.Name(), "[") || t.Name() == "" {
		return ""
	}
	return capital(t.Name())
}

func capital(s string) string { return strings.ToUpper(s[:1]) + s[1:] }

func (s *Schemas) shape(t reflect.Type) Schema {
	if t.Implements(describerType) {
		return reflect.Zero(t).Interface().(Describer).Schema() //nolint:forcetypeassert // it was just asked
	}
	switch t.Kind() {
	case reflect.Bool:
		return Schema{"type": "boolean"}
	case reflect.String:
		return Schema{"type": "string"}
	case reflect.Float32, reflect.Float64:
		return Schema{"type": "number"}
	case reflect.Int64, reflect.Uint64:
		return Schema{"type": "integer", "format": "int64"}
	case reflect.Int, reflect.Int8, reflect.Int16, reflect.Int32, reflect.Uint, reflect.Uint8, reflect.Uint16, reflect.Uint32:
		return Schema{"type": "integer"}
	case reflect.Slice, reflect.Array:
		if t.Elem().Kind() == reflect.Uint8 {
			return Schema{"type": "string", "contentEncoding": "base64"}
		}
		return Schema{"type": "array", "items": s.of(t.Elem())}
	case reflect.Map:
		return Schema{"type": "object", "additionalProperties": s.of(t.Elem())}
	case reflect.Struct:
		return s.object(t)
	default:
		panic(fmt.Sprintf("no JSON is made of %s", t))
	}
}

// object describes the fields of a struct; those of structs within, without a name of their own, are its own.
func (s *Schemas) object(t reflect.Type) Schema {
	properties, required := map[string]any{}, []string{}
	s.fields(t, properties, &required)
	o := Schema{"type": "object", "properties": properties}
	if len(required) > 0 {
		o["required"] = required
	}
	return o
}

func (s *Schemas) fields(t reflect.Type, properties map[string]any, required *[]string) {
	for f := range t.Fields() {
		name, options, _ := strings.Cut(f.Tag.Get("json"), ",")
		switch {
		case name == "-" || !f.IsExported() && !f.Anonymous:
			continue
		case f.Anonymous && name == "":
			if f.Type.Kind() == reflect.Struct {
				s.fields(f.Type, properties, required)
			}
			continue
		case name == "":
			name = f.Name
		}
		facts := parse(f.Tag)
		must := facts.required || !s.input && !strings.Contains(options, "omit")
		schema := facts.on(s.of(f.Type))
		if s.input && !must {
			schema = orNull(schema)
		}
		properties[name] = schema
		if must {
			*required = append(*required, name)
		}
	}
}

// orNull also allows null.
func orNull(s Schema) Schema {
	t, plain := s["type"].(string)
	switch {
	case len(s) == 0:
		return s
	case !plain:
		return Schema{"anyOf": []any{s, Schema{"type": "null"}}}
	}
	s["type"] = []string{t, "null"}
	if words, ok := s["enum"].([]any); ok {
		s["enum"] = append(words, nil)
	}
	return s
}

// facts are what the tags of a field say.
type facts struct {
	required bool
	words    [][2]string
	doc      string
}

func parse(tag reflect.StructTag) (f facts) {
	f.doc = tag.Get("doc")
	for rest := tag.Get("schema"); rest != ""; {
		var word string
		if strings.HasPrefix(rest, "pattern=") { // it may hold commas
			word, rest = rest, ""
		} else {
			word, rest, _ = strings.Cut(rest, ",")
		}
		key, value, _ := strings.Cut(word, "=")
		if key == "required" {
			f.required = true
			continue
		}
		f.words = append(f.words, [2]string{key, value})
	}
	return f
}

// bounds names the keywords of min and max by what is bounded.
var bounds = map[any][2]string{
	"string": {"minLength", "maxLength"}, "array": {"minItems", "maxItems"},
	"integer": {"minimum", "maximum"}, "number": {"minimum", "maximum"}, "object": {"minProperties", "maxProperties"},
}

// on adds what is said to a schema of the field's type.
func (f facts) on(s Schema) Schema {
	for _, w := range f.words {
		key, value := w[0], w[1]
		switch key {
		case "min", "max":
			n, err := strconv.Atoi(value)
			names, ok := bounds[s["type"]]
			if err != nil || !ok {
				panic(fmt.Sprintf("%s=%s is no bound of %v", key, value, s))
			}
			s[names[map[string]int{"min": 0, "max": 1}[key]]] = n
		case "enum":
			words := []any{}
			for one := range strings.SplitSeq(value, "|") {
				words = append(words, one)
			}
			s["enum"] = words
		case "pattern", "format":
			s[key] = value
		default:
			panic(fmt.Sprintf("a tag says %q", key))
		}
	}
	if f.doc != "" {
		s["description"] = f.doc
	}
	return s
}
