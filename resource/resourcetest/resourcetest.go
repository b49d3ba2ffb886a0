// Package resourcetest fills a database with more resources than a test could
// make one by one.
package resourcetest

import (
	"context"
	"testing"

	"github.com/kontor-cloud/kontor/db"
)

// Copies makes n copies of the live resource with this URN in a region, named
// after it with a number from 1000001 on. Each has the label "rare" with "yes"
// if its number ends with 000, and the label "n" with its number, beside the
// labels of the original.
func Copies(tb testing.TB, d *db.DB, region, urn string, n int) {
	tb.Helper()
	const numbers = `WITH RECURSIVE s(i) AS (SELECT 1000001 UNION ALL SELECT i + 1 FROM s WHERE i < 1000000 + CAST($3 AS BIGINT)) `
	for _, text := range []string{
		numbers + `INSERT INTO resource (id, region, urn, kind, tenant, workspace, labels, annotations, extensions, spec, wanted, sku, power, restarts, status,
			state, conditions, observed, version, generation, revision, wanted_revision, created_at, modified_at, deleted_at, gone_at)
		SELECT id || '-' || CAST(i AS TEXT), region, urn || CAST(i AS TEXT), kind, tenant, workspace,
			CASE WHEN i % 1000 = 0 THEN '{"rare":"yes",' ELSE '{' END || '"n":"' || CAST(i AS TEXT) || '"' || COALESCE(',' || substr(labels, 2), '}'),
			annotations, extensions, spec, wanted, sku, power, restarts, status, state, conditions, observed, version, generation, revision, wanted_revision,
			created_at, modified_at, deleted_at, gone_at FROM resource, s WHERE region = $1 AND urn = $2 AND gone_at IS NULL`,
		numbers + `INSERT INTO label (id, region, kind, urn, key, value)
		SELECT r.id || '-' || CAST(i AS TEXT), r.region, r.kind, r.urn || CAST(i AS TEXT), l.key, l.value FROM s, resource r JOIN label l ON l.id = r.id
			WHERE r.region = $1 AND r.urn = $2 AND r.gone_at IS NULL
		UNION ALL SELECT r.id || '-' || CAST(i AS TEXT), r.region, r.kind, r.urn || CAST(i AS TEXT), 'n', CAST(i AS TEXT) FROM s, resource r
			WHERE r.region = $1 AND r.urn = $2 AND r.gone_at IS NULL
		UNION ALL SELECT r.id || '-' || CAST(i AS TEXT), r.region, r.kind, r.urn || CAST(i AS TEXT), 'rare', 'yes' FROM s, resource r
			WHERE i % 1000 = 0 AND r.region = $1 AND r.urn = $2 AND r.gone_at IS NULL`,
	} {
		if _, err := d.ExecContext(context.Background(), text, region, urn, n); err != nil {
			tb.Fatal("copy ", urn, ": ", err)
		}
	}
	if d.Postgres() {
		if _, err := d.ExecContext(context.Background(), `ANALYZE resource, label`); err != nil {
			tb.Fatal(err)
		}
	}
}
