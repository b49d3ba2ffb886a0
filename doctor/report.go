package doctor

import (
	"errors"
	"slices"
	"time"

	"github.com/kontor-cloud/kontor/fault"
)

// A Report is what an examination found. Its JSON form is what may be kept as
// evidence (Read): each measurement says when it was taken.
type Report struct {
	Driver   string        `json:"driver"`
	Platform string        `json:"platform,omitempty"` // in its own words
	Region   string        `json:"region"`             // the owner's, under which everything was made
	Began    time.Time     `json:"began"`
	Ended    time.Time     `json:"ended"`
	Checks   []Check       `json:"checks"`
	Measured []Measurement `json:"measured"`
}

// A Check is one line of a report.
type Check struct {
	Name    string  `json:"name"`
	Status  Status  `json:"status"`
	Detail  string  `json:"detail,omitempty"`
	Try     string  `json:"try,omitempty"` // what to do about it
	Seconds float64 `json:"seconds"`       // that it took
}

// A Status is how a check went.
type Status string

// The ways a check may go.
const (
	OK   Status = "ok"
	Warn Status = "warn" // works, with less than there could be
	Fail Status = "fail"
	Skip Status = "skip" // not tried; Detail says why
)

// A Measurement is one figure.
type Measurement struct {
	Name  string    `json:"name"`
	Unit  string    `json:"unit"`
	Value float64   `json:"value"`
	At    time.Time `json:"at"`
}

// The names of measurements.
const (
	APILatency = "api-latency"    // the median of five questions for the inventory
	MakeTime   = "make-instance"  // from the order until the platform calls the machine ready
	BootTime   = "boot-to-answer" // from then until it answers from outside
	CycleTime  = "power-cycle"    // off, on, and answering again
	RTT        = "rtt"            // the median of ten TCP connections to the public address
	HTTPTime   = "http-get"       // the median of ten small pages fetched from there
	VCPU       = "vcpu-loops"     // an empty loop of the guest's shell
	DiskWrite  = "disk-write"     // 64 MiB to the data volume, flushed each 4 MiB
	DiskRead   = "disk-read"      // the same, read back
)

// Units has the unit of each measurement.
var Units = map[string]string{
	APILatency: "ms", MakeTime: "s", BootTime: "s", CycleTime: "s", RTT: "ms", HTTPTime: "ms", VCPU: "loops/s", DiskWrite: "MB/s", DiskRead: "MB/s",
}

// Failed reports whether any check failed.
func (r *Report) Failed() bool {
	return slices.ContainsFunc(r.Checks, func(c Check) bool { return c.Status == Fail })
}

func (r *Report) measure(name string, value float64) {
	r.Measured = append(r.Measured, Measurement{name, Units[name], value, time.Now().UTC()})
}

// A note is the end of a check that neither passed nor failed.
type note struct {
	status      Status
	detail, try string
}

func (n note) Error() string { return n.detail }

func skip(detail string) error      { return note{status: Skip, detail: detail} }
func warn(detail, try string) error { return note{Warn, detail, try} }

// judge makes a line of what a check returned.
func judge(name, detail string, err error) Check {
	if n, ok := errors.AsType[note](err); ok {
		return Check{Name: name, Status: n.status, Detail: n.detail, Try: n.try}
	}
	if err != nil {
		return Check{Name: name, Status: Fail, Detail: err.Error(), Try: advice(err)}
	}
	return Check{Name: name, Status: OK, Detail: detail}
}

// A remedied error knows what to do about it.
type remedied struct {
	error
	try string
}

func (r remedied) Unwrap() error { return r.error }

// advice says what to do about an error, by its class.
func advice(err error) string {
	if r, ok := errors.AsType[remedied](err); ok {
		return r.try
	}
	switch fault.KindOf(err) {
	case fault.Unauthenticated:
		return "check the credentials in the driver's configuration"
	case fault.Denied:
		return "give the platform's account the right that is named here"
	case fault.Exhausted:
		return "raise the quota of the account, or free some of it"
	case fault.Invalid, fault.Malformed:
		return "correct the driver's configuration"
	case fault.Unsupported:
		return "choose another size or image (--sku, --image), or do without"
	case fault.Missing:
		return "see whether somebody else removes things there"
	case fault.Conflict:
		return "see at the platform's console what is in the way"
	default:
		return "see whether the platform is well and can be reached from here, then run this again"
	}
}
