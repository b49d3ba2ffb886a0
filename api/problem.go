package api

import (
	"context"
	"encoding/json"
	"errors"
	"log/slog"
	"maps"
	"net/http"
	"strconv"
	"sync"
	"time"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
)

// A Profile says how rejections are answered. Nothing else depends on it, but
// for the few rules of the public conformance suite that contradict the
// specification (resource.Env.Suite).
type Profile string

// The profiles. Strict answers as the specification says; Suite answers 412 to
// all of 404 (parents), 409 and 422, as the public suite wants.
const (
	Strict Profile = "strict"
	Suite  Profile = "suite"
)

// A problem is an error document (RFC 7807) with the fields of SECA.
type problem struct {
	Type     string         `json:"type"`
	Title    string         `json:"title"`
	Status   int            `json:"status"`
	Detail   string         `json:"detail"`
	Instance string         `json:"instance"`
	Sources  []fault.Source `json:"sources"`
	Meta     map[string]any `json:"meta,omitempty"`
}

const errorTypes = "http://secapi.cloud/errors/"

// problems is the one table from kinds of failure to what a client sees.
var problems = map[fault.Kind]struct {
	status int
	name   string
}{
	fault.Malformed:       {http.StatusBadRequest, "invalid-request"},
	fault.Unauthenticated: {http.StatusUnauthorized, "unauthorized"},
	fault.Denied:          {http.StatusForbidden, "forbidden"},
	fault.Missing:         {http.StatusNotFound, "resource-not-found"},
	fault.Conflict:        {http.StatusConflict, "resource-conflict"},
	fault.Stale:           {http.StatusPreconditionFailed, "precondition-failed"},
	fault.Invalid:         {http.StatusUnprocessableEntity, "validation-error"},
	fault.Unsupported:     {http.StatusUnprocessableEntity, "validation-error"},
	fault.TooLarge:        {http.StatusRequestEntityTooLarge, "invalid-request"},
	fault.Exhausted:       {http.StatusTooManyRequests, "too-many-requests"},
	fault.Unavailable:     {http.StatusServiceUnavailable, "internal-server-error"},
}

// writeProblem answers with err. An error without a kind is a defect: it is
// logged, and the client sees no text of it.
func (s *server) writeProblem(w http.ResponseWriter, r *http.Request, err error) {
	id := requestID(r.Context())
	p := problem{
		Title: "", Detail: err.Error(), Instance: clip(r.URL.Path, 256), Sources: fault.SourcesOf(err),
		Meta: map[string]any{"requestId": id},
	}
	row, ok := problems[fault.KindOf(err)]
	switch {
	case errors.Is(err, context.Canceled):
		row.status, row.name, p.Detail = http.StatusServiceUnavailable, "internal-server-error", "the request was given up"
	case !ok:
		s.log.ErrorContext(r.Context(), "request failed", "method", r.Method, "path", r.URL.Path, "request", id, "error", err)
		row.status, row.name = http.StatusInternalServerError, "internal-server-error"
		p.Detail = "something is broken here; the operator finds the cause under the request id"
	}
	var cause slog.LogValuer
	if errors.As(err, &cause) && r.Context().Err() == nil { // what the client is not told
		s.log.WarnContext(r.Context(), "request not served", "path", r.URL.Path, "request", id, "error", cause)
	}
	if s.profile == Suite && suiteRejects(r.Method, row.status) {
		row.status, row.name = http.StatusPreconditionFailed, "precondition-failed"
	}
	p.Type, p.Status, p.Title = errorTypes+row.name, row.status, http.StatusText(row.status)
	var more interface{ Meta() map[string]any } // what a kind of failure has for programs
	if errors.As(err, &more) {
		maps.Copy(p.Meta, more.Meta())
	}
	if p.Sources == nil {
		p.Sources = []fault.Source{}
	}
	if after := fault.After(err); after > 0 {
		w.Header().Set("Retry-After", strconv.Itoa(int((after+time.Second-1)/time.Second)))
	}
	if row.status == http.StatusUnauthorized {
		w.Header().Set("WWW-Authenticate", `Bearer realm="kontor"`)
	}
	s.writeJSON(w, r, row.status, p)
}

// suiteRejects: a read or a delete of what is missing stays 404 in the suite, too.
func suiteRejects(method string, status int) bool {
	switch status {
	case http.StatusConflict, http.StatusUnprocessableEntity:
		return true
	case http.StatusNotFound:
		return method == http.MethodPut
	}
	return false
}

func (s *server) writeJSON(w http.ResponseWriter, r *http.Request, status int, body any) {
	room := replies.Get().(*[]byte)
	b, err := encode((*room)[:0], body)
	if err != nil {
		s.log.ErrorContext(r.Context(), "reply not encoded", "path", r.URL.Path, "error", err)
		http.Error(w, `{"status":500}`, http.StatusInternalServerError)
		return
	}
	w.Header().Set("Content-Type", "application/json")
	w.Header().Set("Content-Length", strconv.Itoa(len(b)))
	w.WriteHeader(status)
	if _, err := w.Write(b); err != nil {
		s.log.DebugContext(r.Context(), "client went away", "error", err, "status", status)
	}
	if cap(b) <= maxReply {
		*room = b
		replies.Put(room)
	}
}

// replies has memory in which they are written; what is larger than maxReply is not kept.
var replies = sync.Pool{New: func() any { return new([]byte) }}

const maxReply = 1 << 18

func encode(to []byte, body any) ([]byte, error) {
	if a, ok := body.(seca.Appender); ok {
		return a.AppendJSON(to), nil
	}
	return json.Marshal(body)
}

func clip(s string, n int) string {
	if len(s) > n {
		return s[:n]
	}
	return s
}
