package openstack

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"strconv"
	"strings"
	"time"

	"github.com/gophercloud/gophercloud/v2"

	"github.com/kontor-cloud/kontor/fault"
)

// kindOf gives what the SDK or the platform says a kind of package fault. It
// is the only place that does.
func kindOf(err error, doing string) error {
	var code gophercloud.ErrUnexpectedResponseCode
	switch {
	case err == nil:
		return nil
	case fault.KindOf(err) != "", errors.Is(err, context.Canceled), errors.Is(err, context.DeadlineExceeded):
		return err
	case !errors.As(err, &code):
		return fault.Unavailable.Errorf("%s: %w", doing, err)
	}
	said := words(code.Body)
	text := strings.ToLower(said)
	has := func(phrases ...string) bool {
		for _, p := range phrases {
			if strings.Contains(text, p) {
				return true
			}
		}
		return false
	}
	short := func(k fault.Kind) error { return k.Errorf("%s: %d %s", doing, code.Actual, said) }
	switch {
	case code.Actual < 500 && has("quota", "no more ip addresses", "no ip addresses available", "limit exceeded", "exceeds allowed"):
		return short(fault.Exhausted)
	case code.Actual == http.StatusTooManyRequests, code.Actual == http.StatusRequestEntityTooLarge, code.Actual == http.StatusServiceUnavailable:
		return fault.RetryAfter(short(fault.Unavailable), retryAfter(code.ResponseHeader))
	case code.Actual >= 500, code.Actual == http.StatusRequestTimeout:
		return short(fault.Unavailable)
	case code.Actual == http.StatusUnauthorized:
		return fault.Denied.Errorf("%s: the credentials are not accepted: %s", doing, said)
	case code.Actual == http.StatusForbidden:
		return fault.Denied.Errorf("%s: the account lacks the right to %s: %s", doing, right(code), said)
	case code.Actual == http.StatusConflict, code.Actual == http.StatusPreconditionFailed, has(passing...):
		return short(fault.Conflict)
	case code.Actual == http.StatusNotFound:
		return short(fault.Missing)
	}
	return short(fault.Invalid)
}

// passing are phrases of refusals that come as 400 or 404 and will not last:
// another thing is in the way, or not there yet.
var passing = []string{
	"status must be", "invalid volume", "not reachable from subnet", "is in use", "in-use",
	"already attached", "already has a port on subnet", "does not contain", "while it is in",
}

// right says what was not allowed: the policy's own name if the platform tells
// it, else the request.
func right(code gophercloud.ErrUnexpectedResponseCode) string {
	path := code.URL
	if _, rest, ok := strings.Cut(path, "://"); ok {
		_, path, _ = strings.Cut(rest, "/")
	}
	path, _, _ = strings.Cut(path, "?")
	return code.Method + " /" + path
}

// words finds the sentence in a body; each service wraps it differently.
func words(body []byte) string {
	var wrapped map[string]json.RawMessage
	if json.Unmarshal(body, &wrapped) == nil {
		for key, inner := range wrapped {
			var in struct{ Message, Detail string }
			if json.Unmarshal(inner, &in) == nil && in.Message != "" {
				return strings.TrimSpace(in.Message + " " + in.Detail)
			}
			var text string
			if key == "message" && json.Unmarshal(inner, &text) == nil {
				return text
			}
		}
	}
	text := strings.Join(strings.Fields(string(body)), " ")
	return text[:min(len(text), 300)]
}

// retryAfter is how long the platform asks to wait, in either form that HTTP has.
func retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil {
		return time.Duration(max(seconds, 0)) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(time.Until(at), 0)
	}
	return 0
}

// isCode reports whether the platform answered with this status.
func isCode(err error, code int) bool { return gophercloud.ResponseCodeIs(err, code) }

// unlessGone takes a thing that is already gone for success.
func unlessGone(err error) error {
	if isCode(err, http.StatusNotFound) {
		return nil
	}
	return err
}
