package client

import (
	"context"
	"errors"
	"io"
	"math/rand/v2"
	"net"
	"net/http"
	"net/url"
	"strconv"
	"syscall"
	"time"
)

const (
	firstPause   = 200 * time.Millisecond // doubles with each try
	longestPause = 30 * time.Second       // a server that asks for more gets its error shown
)

// send tries the call until there is an answer worth reading.
func (c *Client) send(ctx context.Context, call Call, target *url.URL, body []byte) (*http.Response, error) {
	for attempt := 1; ; attempt++ {
		request, err := c.request(ctx, call, target, body)
		if err != nil {
			return nil, err
		}
		r, err := c.http.Do(request)
		wait, again := pause(attempt, r, err)
		if !again || attempt >= c.o.Attempts || !repeatable(call, err) {
			return r, err
		}
		if r != nil {
			_, _ = io.CopyN(io.Discard, r.Body, 64<<10) // only to use the connection again
			_ = r.Body.Close()
		}
		select {
		case <-ctx.Done():
			return nil, ctx.Err()
		case <-time.After(wait):
		}
	}
}

// repeatable reports whether a second call does no harm. A conditional write
// whose answer got lost would fail on its own success.
func repeatable(call Call, err error) bool {
	if errors.Is(err, syscall.ECONNREFUSED) {
		return true
	}
	switch call.Method {
	case http.MethodGet:
		return true
	case http.MethodPut, http.MethodDelete:
		return call.Version == 0
	}
	return false
}

// pause says whether, and after how long, another try may help.
func pause(attempt int, r *http.Response, err error) (time.Duration, bool) {
	wait := firstPause << (attempt - 1)
	wait = wait/2 + rand.N(wait/2+1) // spread those who were thrown out together
	if err != nil {
		var op *net.OpError
		broken := errors.As(err, &op) || errors.Is(err, io.EOF) || errors.Is(err, io.ErrUnexpectedEOF)
		return wait, broken && !errors.Is(err, context.Canceled)
	}
	after := retryAfter(r.Header)
	busy := r.StatusCode == http.StatusTooManyRequests && after > 0 // without a time it is a quota
	if !busy && r.StatusCode != http.StatusServiceUnavailable {
		return 0, false
	}
	wait = max(wait, after)
	return wait, wait <= longestPause
}

// retryAfter reads the header in both of its forms; zero if it is not there.
func retryAfter(h http.Header) time.Duration {
	text := h.Get("Retry-After")
	if seconds, err := strconv.Atoi(text); err == nil && seconds > 0 {
		return time.Duration(seconds) * time.Second
	}
	if at, err := http.ParseTime(text); err == nil {
		return max(0, time.Until(at))
	}
	return 0
}
