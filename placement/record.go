package placement

import (
	"encoding/json"
	"strconv"
	"unicode/utf8"

	"github.com/kontor-cloud/kontor/fault"
)

// Append appends the record of the decision: JSON in one line, members in the order of
// the type, nothing that could be written in two ways. These bytes are what is
// stored, signed and compared.
func (d *Decision) Append(b []byte) []byte {
	head := *d
	head.Allowed, head.Excluded = nil, nil
	h, err := json.Marshal(head)
	if err != nil {
		panic(err) // numbers and texts
	}
	b = append(b, h[:len(h)-1]...) // without its closing brace
	if len(d.Allowed) > 0 {
		b = append(b, `,"allowed":[`...)
		for i := range d.Allowed {
			b = d.Allowed[i].append(separated(b, i))
		}
		b = append(b, ']')
	}
	if len(d.Excluded) > 0 {
		b = append(b, `,"excluded":[`...)
		for i := range d.Excluded {
			b = d.Excluded[i].append(separated(b, i))
		}
		b = append(b, ']')
	}
	return append(b, '}')
}

// Parse reads a record. One that is not as Append writes it is refused.
func Parse(record []byte) (*Decision, error) {
	var d Decision
	if err := json.Unmarshal(record, &d); err != nil {
		return nil, fault.Malformed.Errorf("read decision: %w", err)
	}
	if string(d.Append(nil)) != string(record) {
		return nil, fault.Malformed.Errorf("read decision: it is not in canonical form")
	}
	return &d, nil
}

func separated(b []byte, i int) []byte {
	if i > 0 {
		return append(b, ',')
	}
	return b
}

func (a *Allowed) append(b []byte) []byte {
	b = appendText(append(b, `{"group":`...), a.Group)
	b = appendText(append(b, `,"region":`...), a.Region)
	b = strconv.AppendInt(append(b, `,"hourly":`...), a.Hourly, 10)
	b = appendNumber(b, `,"rtt":`, a.RTT)
	if a.Measured {
		b = append(b, `,"measured":true`...)
	}
	s := &a.Score
	b = strconv.AppendInt(append(b, `,"score":{"total":`...), s.Total, 10)
	b = appendNumber(b, `,"price":`, s.Price)
	b = appendNumber(b, `,"latency":`, s.Latency)
	b = appendNumber(b, `,"carbon":`, s.Carbon)
	b = appendNumber(b, `,"seal":`, s.SEAL)
	b = appendNumber(b, `,"reliability":`, s.Reliability)
	b = appendNumber(b, `,"stay":`, s.Stay)
	return append(b, `}}`...)
}

func (x *Exclusion) append(b []byte) []byte {
	b = appendText(append(b, `{"group":`...), x.Group)
	b = appendText(append(b, `,"region":`...), x.Region)
	b = appendText(append(b, `,"provider":`...), x.Provider)
	b = append(b, `,"misses":[`...)
	for i := range x.Misses {
		m := &x.Misses[i]
		b = m.appendDemand(append(separated(b, i), '{'))
		b = m.Had.appendText(append(b, `,"had":`...))
		b = append(appendNumber(b, `,"over":`, m.Over), '}')
	}
	return append(b, `]}`...)
}

func (d *Demand) appendDemand(b []byte) []byte {
	if d.record != nil {
		return append(b, d.record...)
	}
	b = appendText(append(b, `"dimension":`...), string(d.Dimension))
	b = appendText(append(b, `,"subject":`...), d.Subject)
	return d.Needed.appendText(append(b, `,"needed":`...))
}

// appendNumber leaves zero out.
func appendNumber(b []byte, name string, n int64) []byte {
	if n == 0 {
		return b
	}
	return strconv.AppendInt(append(b, name...), n, 10)
}

// appendText writes the quantity as a text of JSON. What follows its words needs no escape.
func (q Quantity) appendText(b []byte) []byte {
	b = append(b, '"')
	b = appendEscaped(b, q.text)
	q.text = ""
	return append(q.append(b), '"')
}

func appendText(b []byte, s string) []byte { return append(appendEscaped(append(b, '"'), s), '"') }

// appendEscaped escapes what JSON demands and nothing else.
func appendEscaped(b []byte, s string) []byte {
	start := 0
	for i := 0; i < len(s); {
		c := s[i]
		if c < utf8.RuneSelf && c >= ' ' && c != '"' && c != '\\' {
			i++
			continue
		}
		r, size := utf8.DecodeRuneInString(s[i:])
		if c >= utf8.RuneSelf && (r != utf8.RuneError || size > 1) {
			i += size
			continue
		}
		b = append(b, s[start:i]...)
		switch {
		case c == '"' || c == '\\':
			b = append(b, '\\', c)
		case c < ' ':
			const digits = "0123456789abcdef"
			b = append(b, '\\', 'u', '0', '0', digits[c>>4], digits[c&15])
		default:
			b = append(b, "\ufffd"...) // no UTF-8
		}
		i += size
		start = i
	}
	return append(b, s[start:]...)
}
