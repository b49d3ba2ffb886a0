package client

import (
	"bufio"
	"context"
	"encoding/json"
	"errors"
	"io"
	"iter"
	"net/http"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/fault"
)

// An Event is one server-sent event.
type Event struct {
	ID   string // where a reader can go on; "" on some
	Name string // state, current (all that was there is told), reset (begin anew)
	Data json.RawMessage
}

const (
	silence     = 45 * time.Second // after which a stream is given up; servers say something every 15 s
	maxLine     = 1 << 20
	longestWait = 10 * time.Second // between tries to go on
)

// Events yields what the stream at an address tells after the event with the id
// "after": "" is from now on, "0" begins with all that is there. A stream that
// breaks off is taken up where it ended, for as long as ctx lives. It ends
// early with the first error if it never began, or with one that no further try
// mends.
func (c *Client) Events(ctx context.Context, at, after string) iter.Seq2[Event, error] {
	return func(yield func(Event, error) bool) {
		began, wait := false, firstPause
		for {
			err := c.stream(ctx, at, after, func(e Event) bool {
				began, wait = true, firstPause
				if e.ID != "" {
					after = e.ID
				}
				return yield(e, nil)
			})
			switch {
			case ctx.Err() != nil || errors.Is(err, errEnough):
				return
			case err != nil && (!began || !errors.Is(err, fault.Unavailable)):
				yield(Event{}, err)
				return
			}
			select {
			case <-ctx.Done():
				return
			case <-time.After(wait):
			}
			wait = min(2*wait, longestWait)
		}
	}
}

var errEnough = errors.New("the reader has enough")

// stream reads one connection to its end.
func (c *Client) stream(ctx context.Context, at, after string, yield func(Event) bool) error {
	ctx, cancel := context.WithCancel(ctx)
	defer cancel()
	call := Call{Method: http.MethodGet, URL: at, Accept: "text/event-stream"}
	target, err := c.target(call)
	if err != nil {
		return err
	}
	r, err := c.request(ctx, call, target, nil)
	if err != nil {
		return err
	}
	if after != "" {
		r.Header.Set("Last-Event-ID", after)
	}
	patient := *c.http
	patient.Timeout = 0
	quiet := time.AfterFunc(silence, cancel)
	defer quiet.Stop()
	resp, err := patient.Do(r)
	if err != nil {
		return c.unreached(context.WithoutCancel(ctx), call, target, err)
	}
	defer resp.Body.Close()
	if resp.StatusCode != http.StatusOK {
		answer, _ := c.read(resp) // then the status has to do
		return problem(call.Method, target.Path, resp, answer)
	}
	return readEvents(resp.Body, func() { quiet.Reset(silence) }, yield)
}

// readEvents splits a stream into its events. alive is called at each line.
func readEvents(body io.Reader, alive func(), yield func(Event) bool) error {
	var e Event
	lines := bufio.NewScanner(body)
	lines.Buffer(nil, maxLine)
	for lines.Scan() {
		alive()
		field, value, _ := strings.Cut(lines.Text(), ":")
		value = strings.TrimPrefix(value, " ")
		switch field {
		case "id":
			e.ID = value
		case "event":
			e.Name = value
		case "data":
			e.Data = append(e.Data, value...)
		}
		if lines.Text() == "" {
			if e.Name != "" && !yield(e) {
				return errEnough
			}
			e = Event{}
		}
	}
	return fault.Unavailable.Errorf("the stream broke off: %w", errors.Join(lines.Err(), io.EOF))
}
