// Package provider knows where: the exchange itself, its regions, the agents
// that serve them and how each proves who it is, and what lies about on
// platforms that nobody ordered.
package provider

import (
	"context"
	"maps"
	"regexp"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/wire"
)

// A Region is where a provider runs capacity.
type Region struct {
	Name        string            `json:"name"`
	Display     string            `json:"display,omitempty"`
	Country     string            `json:"country,omitempty"` // ISO 3166-1, two letters
	City        string            `json:"city,omitempty"`
	Provider    string            `json:"provider,omitempty"` // whose it is: a participant; "" for the operator's own
	Labels      map[string]string `json:"labels,omitempty"`
	Annotations map[string]string `json:"annotations,omitempty"`
	CreatedAt   time.Time         `json:"createdAt"`

	// What its agent has told last. All empty before the first report.
	Driver       string           `json:"driver,omitempty"`
	Kinds        []string         `json:"kinds,omitempty"` // SECA kinds that the platform can keep
	Console      bool             `json:"console,omitempty"`
	Inventory    driver.Inventory `json:"inventory"`
	AgentVersion string           `json:"agentVersion,omitempty"`
	Trouble      string           `json:"trouble,omitempty"`    // why the platform does not answer, if so
	InventoryAt  time.Time        `json:"inventoryAt,omitzero"` // of the last change of all this
}

var (
	nameRule    = regexp.MustCompile(`^[a-z0-9]([-a-z0-9]*[a-z0-9])?(\.[a-z0-9]([-a-z0-9]*[a-z0-9])?)*$`)
	countryRule = regexp.MustCompile(`^[A-Z]{2}$`)
)

const (
	maxName = 64
	maxText = 256
)

// Validate reports what is wrong with what the operator chooses.
func (r Region) Validate() error {
	var l fault.List
	if len(r.Name) > maxName || !nameRule.MatchString(r.Name) {
		l.Add("/name", "must be 1 to %d lower-case letters, digits, dots and hyphens, each part beginning and ending with a letter or digit", maxName)
	}
	if r.Country != "" && !countryRule.MatchString(r.Country) {
		l.Add("/country", "must be two capital letters, as in ISO 3166-1")
	}
	for pointer, text := range map[string]string{"/display": r.Display, "/city": r.City} {
		if len(text) > maxText {
			l.Add(pointer, "must not be longer than %d bytes", maxText)
		}
	}
	return l.Err()
}

// report gives back what the agent told.
func (r *Region) report() wire.Inventory {
	return wire.Inventory{Driver: r.Driver, Kinds: r.Kinds, Console: r.Console, Inventory: r.Inventory, Version: r.AgentVersion, Trouble: r.Trouble}
}

const regionColumns = `SELECT name, display, country, city, provider, driver, labels, annotations, created_at, inventory, inventory_at FROM region `

func scanRegion(scan func(...any) error) (*Region, error) {
	var r Region
	var told wire.Inventory
	var created, toldAt int64
	err := scan(&r.Name, &r.Display, &r.Country, &r.City, &r.Provider, &r.Driver, db.JSON(&r.Labels), db.JSON(&r.Annotations), &created, db.JSON(&told), &toldAt)
	r.CreatedAt, r.InventoryAt = db.Time(created), db.Time(toldAt)
	r.Kinds, r.Console, r.Inventory, r.AgentVersion, r.Trouble = told.Kinds, told.Console, told.Inventory, told.Version, told.Trouble
	return &r, err
}

// AgentVersions tells of each region that has ever reported which version its
// agent had then. The database may be older than this program.
func AgentVersions(ctx context.Context, q db.Querier) (map[string]string, error) {
	versions := map[string]string{}
	_, err := db.All(ctx, q, func(scan func(...any) error) (struct{}, error) {
		var name string
		var told wire.Inventory
		err := scan(&name, db.JSON(&told))
		versions[name] = told.Version
		return struct{}{}, err
	}, `SELECT name, inventory FROM region WHERE inventory_at > 0`)
	return versions, err
}

// A Snapshot is all regions at one moment. It never changes, and neither must
// the regions in it.
type Snapshot struct {
	all []*Region
	by  map[string]*Region
}

func newSnapshot(all []*Region) *Snapshot {
	s := &Snapshot{all, make(map[string]*Region, len(all))}
	for _, r := range all {
		s.by[r.Name] = r
	}
	return s
}

// All returns the regions in the order of their creation.
func (s *Snapshot) All() []*Region { return s.all }

// Region returns the region, or fault.Missing.
func (s *Snapshot) Region(name string) (*Region, error) {
	if r := s.by[name]; r != nil {
		return r, nil
	}
	return nil, fault.Missing.Errorf("there is no region %s", name)
}

// with returns a snapshot in which r has its place; without is one that lacks it.
func (s *Snapshot) with(r *Region) *Snapshot {
	n := &Snapshot{make([]*Region, 0, len(s.all)+1), maps.Clone(s.by)}
	n.by[r.Name] = r
	for _, old := range s.all {
		n.all = append(n.all, n.by[old.Name])
	}
	if s.by[r.Name] == nil {
		n.all = append(n.all, r)
	}
	return n
}

// emptyMap keeps null out of JSON columns.
func emptyMap(m map[string]string) map[string]string {
	if m == nil {
		return map[string]string{}
	}
	return m
}
