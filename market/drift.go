package market

import (
	"context"
	"fmt"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/money"
	"github.com/kontor-cloud/kontor/placement"
)

// Placed is a workspace that runs somewhere by a decision, with an order or without.
type Placed struct {
	Tenant    string
	Region    string // virtual one
	Workspace string
	Decision  string // its id
}

// A Drift is what has come to differ from what was decided, of an order or of a workspace
// that was placed without one.
type Drift struct {
	Tenant string    `json:"-"`
	Name   string    `json:"-"` // of the order, or REGION.WORKSPACE
	Since  time.Time `json:"-"` // when it was seen first

	Decision   string   `json:"decision"`
	Order      string   `json:"order,omitempty"`
	Workspaces []string `json:"workspaces,omitempty"` // what is affected, as REGION/WORKSPACE
	Reasons    []Reason `json:"reasons"`
	Plan       Plan     `json:"plan"`
}

// A Reason is one thing that is not any more as it must be, or as it was agreed.
type Reason struct {
	Group     string              `json:"group,omitempty"` // none if it is about everything
	Region    string              `json:"region,omitempty"`
	Provider  string              `json:"provider,omitempty"`
	Dimension placement.Dimension `json:"dimension"`
	Subject   string              `json:"subject"`
	Needed    string              `json:"needed"`
	Had       string              `json:"had"`
}

// OwnerChanged is the dimension of a provider who has another owner than when it was decided.
const OwnerChanged placement.Dimension = "owner"

// String says it in a line.
func (r Reason) String() string {
	text := fmt.Sprintf("%s %s: needed %s, has %s", r.Dimension, r.Subject, r.Needed, r.Had)
	if r.Region == "" {
		return text
	}
	return r.Region + ": " + text
}

// A Plan is what would have to move so that all is again as it was decided, and what that costs. No moves and
// no problem: everything may stay where it is.
type Plan struct {
	Moves   []Move        `json:"moves,omitempty"`
	Hourly  money.Amount  `json:"hourly"`            // of everything, as it is
	After   *money.Amount `json:"after,omitempty"`   // likewise, once it has moved
	Once    *money.Amount `json:"once,omitempty"`    // what leaves the regions, by their prices of egress
	Problem string        `json:"problem,omitempty"` // why there is no place
}

// A Move takes a copy of a group from one region to another.
type Move struct {
	Group    string        `json:"group"`
	Copy     int           `json:"copy"`
	From     string        `json:"from"`
	To       string        `json:"to"`
	Provider string        `json:"provider"` // there
	Before   money.Amount  `json:"before"`   // an hour
	After    money.Amount  `json:"after"`
	GiB      int64         `json:"gib"`              // of volumes
	Egress   *money.Amount `json:"egress,omitempty"` // for them; absent if its price is not known
}

// Summary says in a line why: the dimensions, each once.
func (d *Drift) Summary() string {
	var all []string
	said := map[placement.Dimension]bool{}
	for _, r := range d.Reasons {
		if !said[r.Dimension] {
			said[r.Dimension] = true
			all = append(all, string(r.Dimension))
		}
	}
	return strings.Join(all, ", ")
}

const driftColumns = `SELECT tenant, subject, since, body FROM drift `

func scanDrift(scan func(...any) error) (*Drift, error) {
	var d Drift
	var since int64
	err := scan(&d.Tenant, &d.Name, &since, db.JSON(&d))
	d.Since = db.Time(since)
	return &d, err
}

// Drifts lists what has drifted of a tenant, by name.
func (s *Store) Drifts(ctx context.Context, tenant string) ([]*Drift, error) {
	return db.All(ctx, s.DB, scanDrift, driftColumns+`WHERE tenant = $1 ORDER BY subject`, tenant)
}

// FindDrift returns one, or fault.Missing if it has not drifted.
func (s *Store) FindDrift(ctx context.Context, tenant, name string) (*Drift, error) {
	d, err := db.One(ctx, s.DB, scanDrift, driftColumns+`WHERE tenant = $1 AND subject = $2`, tenant, name)
	return d, notFound(err, "drift of", name)
}
