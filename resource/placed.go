package resource

import (
	"context"

	"github.com/kontor-cloud/kontor/db"
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
