package doctor

import (
	"bytes"
	"context"
	_ "embed"
	"encoding/json"
	"fmt"
	"io"
	"net"
	"net/http"
	"net/netip"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

//go:embed guest.sh
var script string

// userData is what the probe runs. The run tells its answers from those of
// whatever else may have the address.
func userData(run string) string { return strings.ReplaceAll(script, "@RUN@", run) }

// Results are what the guest shows.
type results struct {
	Run   string  `json:"run"`
	Boot  string  `json:"boot"` // different after each start
	Done  bool    `json:"done"`
	Loops float64 `json:"loops"`
	Write float64 `json:"write"` // kB/s; 0: no disk was found
	Read  float64 `json:"read"`
}

// browser follows nothing, keeps nothing open and asks no proxy.
var browser = &http.Client{
	Timeout:       5 * time.Second,
	Transport:     &http.Transport{DisableKeepAlives: true},
	CheckRedirect: func(*http.Request, []*http.Request) error { return http.ErrUseLastResponse },
}

// fetch gets the results from outside.
func fetch(ctx context.Context, at netip.AddrPort, run string) (r results, err error) {
	q, err := http.NewRequestWithContext(ctx, http.MethodGet, "http://"+at.String()+"/kontor-doctor.json", nil)
	if err != nil {
		return r, err
	}
	resp, err := browser.Do(q)
	if err != nil {
		return r, fault.Unavailable.Errorf("%w", err)
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err != nil {
		return r, fault.Unavailable.Errorf("%w", err)
	}
	if resp.StatusCode != http.StatusOK {
		return r, fault.Unavailable.Errorf("%s answers %s", at, resp.Status)
	}
	return parse(b, run)
}

// onConsole gets the results from what the guest wrote to its console.
func onConsole(ctx context.Context, c *driver.Cloud, id, run string) (results, error) {
	text, err := c.Console(ctx, id, 64<<10)
	if err != nil {
		return results{}, fmt.Errorf("read the console: %w", err)
	}
	at := bytes.LastIndex(text, []byte(`kontor-doctor: {`))
	if at < 0 {
		return results{}, fault.Unavailable.Errorf("the console shows no results yet")
	}
	line, _, _ := bytes.Cut(text[at+len("kontor-doctor: "):], []byte("\n"))
	return parse(bytes.TrimSpace(line), run)
}

func parse(b []byte, run string) (r results, err error) {
	if err := json.Unmarshal(b, &r); err != nil {
		return r, fault.Unavailable.Errorf("read the guest's results: %w", err)
	}
	if r.Run != run {
		return r, fault.Unavailable.Errorf("another guest than ours answers")
	}
	return r, nil
}

// samples is how often a round trip is measured.
const samples = 10

// roundTrips measures something a few times and gives the median.
func roundTrips(ctx context.Context, once func(context.Context) error) (time.Duration, error) {
	var took []time.Duration
	for range samples {
		began := time.Now()
		if err := once(ctx); err != nil {
			return 0, err
		}
		took = append(took, time.Since(began))
	}
	return median(took), nil
}

func dial(ctx context.Context, at netip.AddrPort) error {
	d := net.Dialer{Timeout: 5 * time.Second}
	c, err := d.DialContext(ctx, "tcp", at.String())
	if err != nil {
		return fault.Unavailable.Errorf("%w", err)
	}
	return c.Close()
}
