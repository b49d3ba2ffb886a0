package resource

import (
	"context"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/seca"
)

// Placed returns the live workspaces that were placed by a decision.
func (s *Store) Placed(ctx context.Context) ([]*Resource, error) {
	return db.All(ctx, s.db, scan, `SELECT `+columns+` FROM resource WHERE workspace = '' AND kind = 'workspace' AND decision IS NOT NULL AND gone_at IS NULL`)
}

// Decided returns the live workspaces of a tenant that were placed by one decision.
func (s *Store) Decided(ctx context.Context, tenant, decision string) ([]*Resource, error) {
	return db.All(ctx, s.db, scan, `SELECT `+columns+` FROM resource
		WHERE workspace = '' AND kind = 'workspace' AND tenant = $1 AND decision = $2 AND gone_at IS NULL ORDER BY urn`, tenant, decision)
}

// Within returns the live resources in a workspace, by URN.
func (s *Store) Within(ctx context.Context, workspace *Resource) ([]*Resource, error) {
	return db.All(ctx, s.db, scan, `SELECT `+columns+` FROM resource
		WHERE region = $1 AND tenant = $2 AND workspace = $3 AND gone_at IS NULL ORDER BY urn`, workspace.Region, workspace.URN.Tenant, workspace.URN.Name)
}

// States returns the states of what a tenant has in workspaces that were placed by decisions, and of
// these themselves, by decision.
func (s *Store) States(ctx context.Context, tenant string) (map[string][]seca.State, error) {
	all := map[string][]seca.State{}
	_, err := db.All(ctx, s.db, func(scan func(...any) error) (struct{}, error) {
		var decision string
		var state seca.State
		err := scan(&decision, &state)
		all[decision] = append(all[decision], state)
		return struct{}{}, err
	}, `SELECT w.decision, w.state FROM resource w
			WHERE w.workspace = '' AND w.kind = 'workspace' AND w.tenant = $1 AND w.decision IS NOT NULL AND w.gone_at IS NULL
		UNION ALL SELECT w.decision, r.state FROM resource w JOIN resource r
			ON r.region = w.region AND r.tenant = w.tenant AND r.workspace = substr(w.urn, $2) AND r.gone_at IS NULL
			WHERE w.workspace = '' AND w.kind = 'workspace' AND w.tenant = $1 AND w.decision IS NOT NULL AND w.gone_at IS NULL`,
		tenant, len("seca.workspace/v1/tenants/"+tenant+"/workspaces/")+1)
	return all, err
}
