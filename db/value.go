package db

import (
	"database/sql/driver"
	"encoding/json"
	"fmt"
	"strings"
	"time"
)

// Micros is how a time is stored: microseconds since 1970. The zero time is 0.
func Micros(t time.Time) int64 {
	if t.IsZero() {
		return 0
	}
	return t.UnixMicro()
}

// Time reads what Micros wrote. It is in UTC.
func Time(micros int64) time.Time {
	if micros == 0 {
		return time.Time{}
	}
	return time.UnixMicro(micros).UTC()
}

// Legible is s as a column of text takes it: what is no text, or a zero, which PostgreSQL
// refuses, becomes a question mark.
func Legible(s string) string {
	return strings.ToValidUTF8(strings.ReplaceAll(s, "\x00", "?"), "?")
}

// JSON makes v an argument for a JSON column, or, given a pointer, a
// destination to scan one into. NULL leaves the destination as it is, and a nil
// v is NULL.
func JSON(v any) *Document { return &Document{v} }

// A Document is a value on its way to or from a JSON column.
type Document struct{ v any }

// Value gives the JSON as text, which is what both databases take.
func (d *Document) Value() (driver.Value, error) {
	if raw, ok := d.v.(json.RawMessage); ok {
		if raw == nil {
			return nil, nil
		}
		return string(raw), nil
	}
	if d.v == nil {
		return nil, nil
	}
	b, err := json.Marshal(d.v)
	return string(b), err
}

// Scan decodes the column.
func (d *Document) Scan(src any) error {
	var b []byte
	switch src := src.(type) {
	case nil:
		return nil
	case string:
		b = []byte(src)
	case []byte:
		b = src
	default:
		return fmt.Errorf("a JSON column holds %T", src)
	}
	if raw, ok := d.v.(*json.RawMessage); ok {
		*raw = append(json.RawMessage{}, b...)
		return nil
	}
	return json.Unmarshal(b, d.v)
}
