package api

import (
	"sync"
	"time"

	"golang.org/x/time/rate"

	"github.com/kontor-cloud/kontor/fault"
)

// A Rate bounds requests: so many a second in the long run, and so many at once.
// Without a number a second there is no bound.
type Rate struct {
	PerSecond float64 `json:"perSecond"`
	Burst     int     `json:"burst"`
}

// Limits bound what one process takes from one caller, so that nobody's loop is
// everybody's outage. With n processes there is n times as much.
type Limits struct {
	Account Rate `json:"account"` // of one account, whatever token it shows
	Tenant  Rate `json:"tenant"`  // about one tenant, of all its members
	Nobody  Rate `json:"nobody"`  // of one address, what needs no token and changes something

	// Connections is how many one address may have at a time: 0 means 1000, and as many as it likes for this
	// machine itself, where a proxy may be; another number holds for all; below 0 there is no bound, as there
	// is none without a number where a proxy ends TLS (plainHTTP).
	Connections int `json:"connections"`
}

// A limiter keeps a bucket for each of those who have called lately.
type limiter struct {
	what string
	rate Rate

	mu          sync.Mutex
	now, before map[string]*rate.Limiter // two generations; the older one is dropped when the newer is full
}

// maxBuckets is how many a generation holds, about 200 bytes each.
const maxBuckets = 10_000

func newLimiter(what string, r Rate) *limiter {
	return &limiter{what: what, rate: r, now: map[string]*rate.Limiter{}}
}

// take is Exhausted, with the time after which to try again, if a caller has
// asked too often.
func (l *limiter) take(caller string) error {
	if l.rate.PerSecond <= 0 || caller == "" {
		return nil
	}
	r := l.bucket(caller).Reserve()
	wait := r.Delay()
	if wait == 0 {
		return nil
	}
	r.Cancel()
	return &fault.Error{
		Kind: fault.Exhausted, After: max(wait, time.Second),
		Err: fault.Exhausted.Errorf("%s %s may make %g requests a second, and %d at once; wait and ask less often", l.what, clip(caller, 128), l.rate.PerSecond, l.rate.Burst),
	}
}

func (l *limiter) bucket(caller string) *rate.Limiter {
	l.mu.Lock()
	defer l.mu.Unlock()
	b := l.now[caller]
	if b != nil {
		return b
	}
	if b = l.before[caller]; b == nil {
		b = rate.NewLimiter(rate.Limit(l.rate.PerSecond), max(l.rate.Burst, 1))
	}
	if len(l.now) >= maxBuckets {
		l.before, l.now = l.now, map[string]*rate.Limiter{}
	}
	l.now[caller] = b
	return b
}
