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

// flags are all that is flagged, by tenant and REGION/WORKSPACE.
type flags map[[2]string]*Flag

// maxFlagAge is how old flags in memory may be: so long may a hint of another process take.
const maxFlagAge = db.CatchUp

// Flag gives the flag of a workspace, nil if it has none. Most calls take no statement.
func (s *Store) Flag(ctx context.Context, tenant, region, workspace string) (*Flag, error) {
	all, err := s.flags.recall(time.Now().Add(-maxFlagAge), func(flags) (flags, error) {
		drifts, err := db.All(ctx, s.DB, scanDrift, driftColumns)
		all := flags{}
		for _, d := range drifts {
			f := &Flag{d.Name, d.Since, d.Summary()}
			for _, w := range d.Workspaces {
				all[[2]string{d.Tenant, w}] = f
			}
		}
		return all, err
	})
	return all[[2]string{tenant, region + "/" + workspace}], err
}
