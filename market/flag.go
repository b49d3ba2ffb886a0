package market

import (
	"context"
	"time"

	"github.com/kontor-cloud/kontor/db"
)

// A Flag marks a workspace of which something has drifted.
type Flag struct {
	Drift string    `json:"drift" doc:"Its name; it says more."`
	Since time.Time `json:"since"`
	Why   string    `json:"why" doc:"The dimensions, each once."`
}

// flags are all that is flagged, as last read.
type flags struct {
	read time.Time
	by   map[[2]string]*Flag // by tenant and REGION/WORKSPACE
}

// maxFlagAge is how old flags in memory may be: so long may a hint of another process take.
const maxFlagAge = db.CatchUp

// Flag gives the flag of a workspace, nil if it has none. Most calls take no statement.
func (s *Store) Flag(ctx context.Context, tenant, region, workspace string) (*Flag, error) {
	s.flagging.Lock()
	defer s.flagging.Unlock()
	if !s.reflag.Swap(false) && time.Since(s.flags.read) < maxFlagAge {
		return s.flags.by[[2]string{tenant, region + "/" + workspace}], nil
	}
	next := flags{time.Now(), map[[2]string]*Flag{}}
	all, err := db.All(ctx, s.DB, scanDrift, driftColumns)
	if err != nil {
		s.reflag.Store(true)
		return nil, err
	}
	for _, d := range all {
		f := &Flag{d.Name, d.Since, d.Summary()}
		for _, w := range d.Workspaces {
			next.by[[2]string{d.Tenant, w}] = f
		}
	}
	s.flags = next
	return next.by[[2]string{tenant, region + "/" + workspace}], nil
}
