// Package client speaks to an exchange: the Sovereign European Cloud API and
// Kontor's own provider, for the command line and for tests. Failures come back
// with the kinds of package fault, so that callers need not know HTTP.
package client

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"net/url"
	"strconv"
	"strings"
	"sync"
	"time"

	"github.com/kontor-cloud/kontor/fault"
)

// Options change how a Client works. The zero value is right for most.
type Options struct {
	Transport http.RoundTripper // nil is a private copy of the standard one
	Attempts  int               // tries of a call that may be repeated; 0 is 4
	Timeout   time.Duration     // of one try; 0 is a minute
	MaxBody   int64             // bytes of one answer; 0 is 64 MiB
	Agent     string            // User-Agent; "" is "kontor"
}

// A Client is one account's view of one exchange. It may be used from many
// goroutines.
type Client struct {
	base  *url.URL
	token string
	http  *http.Client
	o     Options

	mu      sync.Mutex
	regions map[string]map[string]string // region → provider → URL without version
}

// New makes a client of the exchange at base, such as https://kontor.example.
// An empty token asks as nobody. A wrong base is Invalid.
func New(base, token string, o Options) (*Client, error) {
	u, err := url.Parse(strings.TrimRight(base, "/"))
	if err != nil || u.Host == "" || u.Scheme != "http" && u.Scheme != "https" {
		return nil, fault.Invalid.Errorf("%q is not the URL of an exchange; it looks like https://kontor.example", base)
	}
	token = strings.TrimSpace(token)
	if strings.ContainsAny(token, " \t\r\n") {
		return nil, fault.Invalid.Errorf("the token has white space inside; it is one word")
	}
	o.fill()
	c := &http.Client{Transport: o.Transport, Timeout: o.Timeout, CheckRedirect: stay}
	return &Client{base: u, token: token, http: c, o: o, regions: map[string]map[string]string{}}, nil
}

func (o *Options) fill() {
	if o.Transport == nil {
		t := http.DefaultTransport.(*http.Transport).Clone()
		t.MaxIdleConnsPerHost = t.MaxIdleConns // there is but one host
		o.Transport = t
	}
	if o.Attempts == 0 {
		o.Attempts = 4
	}
	if o.Timeout == 0 {
		o.Timeout = time.Minute
	}
	if o.MaxBody == 0 {
		o.MaxBody = 64 << 20
	}
	if o.Agent == "" {
		o.Agent = "kontor"
	}
}

// stay keeps the token at the exchange: no part of the API redirects.
func stay(*http.Request, []*http.Request) error { return http.ErrUseLastResponse }

// URL gives the exchange's own address, without a slash at the end.
func (c *Client) URL() string { return c.base.String() }

// A Call is one request.
type Call struct {
	Method  string
	URL     string // absolute, or a path at the exchange
	Query   url.Values
	Accept  string // "" is JSON
	Version int64  // fail as Stale if the resource has another version; 0 does not ask
	In      any    // sent as JSON; nil sends no body
	Out     any    // filled from JSON; a *[]byte takes the body as it is; nil drops it
}

// Do makes the call and returns the status of its answer, which is below 300
// unless there is an error. GET, and PUT and DELETE without a Version, are
// tried again a few times while the exchange cannot be reached, answers 503,
// or asks for patience with 429.
func (c *Client) Do(ctx context.Context, call Call) (int, error) {
	body, err := encode(call.In)
	if err != nil {
		return 0, err
	}
	target, err := c.target(call)
	if err != nil {
		return 0, err
	}
	r, err := c.send(ctx, call, target, body)
	if err != nil {
		return 0, c.unreached(ctx, call, target, err)
	}
	defer r.Body.Close()
	answer, err := c.read(r)
	if err != nil {
		return r.StatusCode, fault.Unavailable.Errorf("read answer of %s %s: %w", call.Method, target.Path, err)
	}
	if r.StatusCode >= 300 {
		return r.StatusCode, problem(call.Method, target.Path, r, answer)
	}
	return r.StatusCode, decode(call, r, answer)
}

// unreached tells why there is no answer: the caller's own end comes first.
func (c *Client) unreached(ctx context.Context, call Call, target *url.URL, err error) error {
	if ctx.Err() != nil {
		return context.Cause(ctx)
	}
	if u, ok := errors.AsType[*url.Error](err); ok {
		err = u.Err
	}
	return fault.Unavailable.Errorf("%s %s://%s: %w", call.Method, target.Scheme, target.Host, err)
}

func encode(in any) ([]byte, error) {
	if in == nil {
		return nil, nil
	}
	b, err := json.Marshal(in)
	if err != nil {
		return nil, fault.Malformed.Errorf("encode request: %w", err)
	}
	return b, nil
}

// target completes the address of a call, and refuses to send the token in the
// clear where the exchange itself is reached by TLS.
func (c *Client) target(call Call) (*url.URL, error) {
	at := call.URL
	if strings.HasPrefix(at, "/") {
		at = c.base.String() + at
	}
	u, err := url.Parse(at)
	if err != nil || u.Host == "" {
		return nil, fault.Invalid.Errorf("%q is not an address", at)
	}
	for segment := range strings.SplitSeq(u.Path, "/") {
		if segment == "." || segment == ".." {
			return nil, fault.Invalid.Errorf("%q cannot be a name", segment)
		}
	}
	if c.base.Scheme == "https" && u.Scheme != "https" {
		return nil, fault.Denied.Errorf("the exchange names %s://%s, which is not encrypted; no token goes there", u.Scheme, u.Host)
	}
	if len(call.Query) > 0 {
		u.RawQuery = call.Query.Encode()
	}
	return u, nil
}

func (c *Client) request(ctx context.Context, call Call, target *url.URL, body []byte) (*http.Request, error) {
	r, err := http.NewRequestWithContext(ctx, call.Method, target.String(), bytes.NewReader(body))
	if err != nil {
		return nil, err
	}
	r.Header.Set("User-Agent", c.o.Agent)
	r.Header.Set("Accept", "application/json")
	if call.Accept != "" {
		r.Header.Set("Accept", call.Accept)
	}
	if body != nil {
		r.Header.Set("Content-Type", "application/json")
	}
	if c.token != "" {
		r.Header.Set("Authorization", "Bearer "+c.token)
	}
	if call.Version != 0 {
		r.Header.Set("If-Unmodified-Since", strconv.FormatInt(call.Version, 10))
	}
	return r, nil
}

func (c *Client) read(r *http.Response) ([]byte, error) {
	b, err := io.ReadAll(io.LimitReader(r.Body, c.o.MaxBody+1))
	if err == nil && int64(len(b)) > c.o.MaxBody {
		return nil, fault.TooLarge.Errorf("more than %d bytes", c.o.MaxBody)
	}
	return b, err
}

func decode(call Call, r *http.Response, answer []byte) error {
	switch out := call.Out.(type) {
	case nil:
		return nil
	case *[]byte:
		*out = answer
		return nil
	}
	if !strings.Contains(r.Header.Get("Content-Type"), "json") {
		return fault.Malformed.Errorf("%s %s answered %q, not JSON: is this an exchange?", call.Method, r.Request.URL.Path, r.Header.Get("Content-Type"))
	}
	if err := json.Unmarshal(answer, call.Out); err != nil {
		return fault.Malformed.Errorf("read answer of %s %s: %w", call.Method, r.Request.URL.Path, err)
	}
	return nil
}
