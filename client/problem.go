package client

import (
	"encoding/json"
	"net/http"
	"strings"

	"github.com/kontor-cloud/kontor/fault"
)

// A Problem is the document with which the API refuses (RFC 7807). It is found
// by errors.As in what a Client returns; its fault.Kind, sources and delay are
// those of the fault.Error around it.
type Problem struct {
	Type     string         `json:"type"`
	Title    string         `json:"title"`
	Status   int            `json:"status"`
	Detail   string         `json:"detail"`
	Instance string         `json:"instance"`
	Sources  []fault.Source `json:"sources"`
	Meta     struct {
		RequestID string `json:"requestId"`
		Reason    string `json:"reason"` // quota: a tenant has all that it may have
	} `json:"meta"`
}

// Error gives the detail, or what else there is to say.
func (p *Problem) Error() string {
	switch {
	case p.Detail != "":
		return p.Detail
	case p.Title != "":
		return p.Title
	}
	return http.StatusText(p.Status)
}

var kindOfStatus = map[int]fault.Kind{
	http.StatusBadRequest:            fault.Malformed,
	http.StatusUnauthorized:          fault.Unauthenticated,
	http.StatusForbidden:             fault.Denied,
	http.StatusNotFound:              fault.Missing,
	http.StatusConflict:              fault.Conflict,
	http.StatusPreconditionFailed:    fault.Stale,
	http.StatusRequestEntityTooLarge: fault.TooLarge,
	http.StatusUnprocessableEntity:   fault.Invalid,
	http.StatusTooManyRequests:       fault.Unavailable,
	http.StatusNotImplemented:        fault.Unsupported,
	http.StatusBadGateway:            fault.Unavailable,
	http.StatusServiceUnavailable:    fault.Unavailable,
	http.StatusGatewayTimeout:        fault.Unavailable,
	http.StatusInsufficientStorage:   fault.Exhausted,
}

// problem turns a refusal into a fault.
func problem(method, at string, r *http.Response, body []byte) error {
	p := &Problem{}
	if json.Unmarshal(body, p) != nil || p.Status == 0 {
		text := strings.TrimSpace(string(body[:min(len(body), 200)]))
		p = &Problem{Title: http.StatusText(r.StatusCode), Detail: strings.TrimSpace(method + " " + at + ": " + r.Status + " " + text)}
	}
	p.Status = r.StatusCode
	after := retryAfter(r.Header)
	kind := kindOfStatus[r.StatusCode]
	if p.Meta.Reason == "quota" || r.StatusCode == http.StatusTooManyRequests && after == 0 {
		kind = fault.Exhausted // which time alone does not refill
	}
	return &fault.Error{Kind: kind, Err: p, Sources: p.Sources, After: after}
}
