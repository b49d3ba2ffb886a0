package telemetry

import (
	"bytes"
	"sync"
)

// maxRecent is how many bytes of log lines are kept.
const maxRecent = 256 << 10

// Recent keeps the last lines of a log. It is an io.Writer for the log's
// handler, which writes a line at a time.
type Recent struct {
	mu   sync.Mutex
	text []byte
}

// Write keeps a line.
func (r *Recent) Write(line []byte) (int, error) {
	r.mu.Lock()
	defer r.mu.Unlock()
	r.text = append(r.text, line...)
	if len(r.text) > 2*maxRecent {
		r.text = append(r.text[:0], tail(r.text)...)
	}
	return len(line), nil
}

// Text returns whole lines, the oldest first.
func (r *Recent) Text() []byte {
	r.mu.Lock()
	defer r.mu.Unlock()
	return bytes.Clone(tail(r.text))
}

func tail(text []byte) []byte {
	if len(text) <= maxRecent {
		return text
	}
	text = text[len(text)-maxRecent:]
	return text[bytes.IndexByte(text, '\n')+1:]
}
