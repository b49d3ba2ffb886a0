package seca

import (
	"encoding/json"
	"maps"
	"slices"
	"strconv"
	"time"
	"unicode/utf8"
)

// An Appender writes itself as JSON. What Documents hold as JSON already is
// copied, where json.Marshal would read it once more.
type Appender interface {
	AppendJSON(b []byte) []byte
}

// AppendJSON appends the document, byte for byte as json.Marshal writes it if
// what it holds is compact.
func (d Document) AppendJSON(b []byte) []byte {
	b = append(slices.Grow(b, 1024+len(d.Spec)+len(d.Status)+len(d.Kontor)), '{')
	b = appendMap(b, "labels", d.Labels)
	b = appendMap(b, "annotations", d.Annotations)
	b = appendMap(b, "extensions", d.Extensions)
	b = d.Metadata.append(append(b, `"metadata":`...))
	b = append(b, `,"spec":`...)
	if d.Spec == nil {
		b = append(b, "null"...)
	}
	b = append(b, d.Spec...)
	if len(d.Status) > 0 {
		b = append(append(b, `,"status":`...), d.Status...)
	}
	if len(d.Kontor) > 0 {
		b = append(append(b, `,"kontor":`...), d.Kontor...)
	}
	return append(b, '}')
}

// AppendJSON appends the page.
func (l List[T]) AppendJSON(b []byte) []byte {
	b = append(slices.Grow(b, 1024*(len(l.Items)+1)), `{"items":[`...) // a document is about as long
	for i := range l.Items {
		if i > 0 {
			b = append(b, ',')
		}
		if a, ok := any(&l.Items[i]).(Appender); ok {
			b = a.AppendJSON(b)
		} else {
			b = appendValue(b, &l.Items[i])
		}
	}
	return append(appendValue(append(b, `],"metadata":`...), l.Metadata), '}')
}

func (m *Metadata) append(b []byte) []byte {
	b = appendString(append(b, `{"name":`...), m.Name)
	for _, f := range []struct {
		name, value string
		always      bool
	}{
		{`,"provider":`, m.Provider, true},
		{`,"resource":`, m.Resource, true},
		{`,"ref":`, m.Ref, true},
		{`,"verb":`, m.Verb, true},
		{`,"apiVersion":`, m.APIVersion, true},
		{`,"kind":`, m.Kind, true},
		{`,"tenant":`, m.Tenant, false},
		{`,"workspace":`, m.Workspace, false},
		{`,"network":`, m.Network, false},
		{`,"region":`, m.Region, false},
	} {
		if f.always || f.value != "" {
			b = appendString(append(b, f.name...), f.value)
		}
	}
	b = appendTime(b, `,"createdAt":"`, m.CreatedAt)
	b = appendTime(b, `,"lastModifiedAt":"`, m.LastModifiedAt)
	b = appendTime(b, `,"deletedAt":"`, m.DeletedAt)
	if m.ResourceVersion != 0 {
		b = strconv.AppendInt(append(b, `,"resourceVersion":`...), m.ResourceVersion, 10)
	}
	return append(b, '}')
}

func appendTime(b []byte, name string, t *time.Time) []byte {
	if t == nil {
		return b
	}
	return append(t.AppendFormat(append(b, name...), time.RFC3339Nano), '"')
}

// appendMap appends a member, with a comma behind it, unless it is empty.
func appendMap(b []byte, name string, m map[string]string) []byte {
	if len(m) == 0 {
		return b
	}
	b = append(appendString(b, name), ':', '{')
	for i, k := range slices.Sorted(maps.Keys(m)) {
		if i > 0 {
			b = append(b, ',')
		}
		b = appendString(append(appendString(b, k), ':'), m[k])
	}
	return append(b, '}', ',')
}

func appendString(b []byte, s string) []byte {
	for i := range len(s) {
		if c := s[i]; c < ' ' || c >= utf8.RuneSelf || c == '"' || c == '\\' || c == '<' || c == '>' || c == '&' {
			return appendValue(b, s)
		}
	}
	return append(append(append(b, '"'), s...), '"')
}

// appendValue appends what only json knows how to write: strings and structs
// of them, which cannot fail.
func appendValue(b []byte, v any) []byte {
	text, err := json.Marshal(v)
	if err != nil {
		panic(err)
	}
	return append(b, text...)
}
