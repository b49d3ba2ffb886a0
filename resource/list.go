package resource

import (
	"context"
	"strings"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/urn"
)

// Deleted says which resources a list is about.
type Deleted int

// The three lists of SECA.
const (
	Live        Deleted = iota
	WithDeleted         // live and deleted
	OnlyDeleted
)

// A Page is a request for a part of a list. After is where the last one ended.
type Page struct {
	Size    int
	After   string // "urn id" of the last item seen, or ""
	Deleted Deleted
	Match   func(labels map[string]string) bool // nil matches all
	By      *Term                               // what all that match have, if that is known
}

// What a page with Match costs is bounded, however little matches.
const (
	maxExamined = 10_000 // resources looked at
	maxBatch    = 2_000  // of them read at once
)

// List returns the resources of a collection in the order of their names, and
// where the next page starts, "" after the last. The name in u is ignored.
//
// A page has less than its size, and another after it, where much had to be
// looked at for what matches. A whole page's worth of looking that finds nothing
// is Malformed, and says what to add: clients take an empty page for the end.
func (s *Store) List(ctx context.Context, region string, u urn.URN, page Page) ([]*Resource, string, error) {
	sp, err := spanOf(region, u, page)
	if err != nil {
		return nil, "", err
	}
	var out []*Resource
	for n, examined := page.Size+1, 0; examined < maxExamined || examined <= page.Size; n = min(2*n, max(maxBatch, page.Size+1)) {
		batch, err := sp.read(ctx, s.db, n)
		if err != nil {
			return nil, "", err
		}
		for _, r := range batch {
			if page.Match == nil || page.Match(r.Labels) {
				if len(out) == page.Size {
					last := out[len(out)-1]
					return out, last.URN.String() + " " + last.ID, nil
				}
				out = append(out, r)
			}
		}
		if len(batch) < n {
			return out, "", nil
		}
		examined += n
	}
	if len(out) == 0 {
		return nil, "", fault.Parameter(fault.Malformed.Errorf("the selector matches none of the next %d of this collection; add a term of the form key=value, which an index answers", maxExamined), "labels")
	}
	return out, sp.from + " " + sp.id, nil
}

// A span is the part of a collection that a list has yet to read: what comes
// after a URN and an id, and before to.
type span struct {
	region       string
	kind         *Kind
	collection   urn.URN
	from, id, to string
	deleted      Deleted
	by           *Term
}

func spanOf(region string, u urn.URN, page Page) (*span, error) {
	k, ok := KindNamed(u.Collection)
	if !ok {
		return nil, fault.Missing.Errorf("no collection %q", u.Collection)
	}
	sp := &span{region: region, kind: k, collection: u, deleted: page.Deleted}
	sp.from, sp.to = prefix(u)
	if page.By != nil && (page.By.Value == nil || indexable(*page.By.Value)) {
		sp.by = page.By
	}
	if page.After != "" {
		// A token from elsewhere must not widen the range: it comes from the client.
		if !strings.HasPrefix(page.After, sp.from) {
			return nil, fault.Malformed.Errorf("the skip token is of another list; start again without it")
		}
		sp.from, sp.id, _ = strings.Cut(page.After, " ")
	}
	return sp, nil
}

// read gives the next n resources, and moves on.
func (sp *span) read(ctx context.Context, q db.Querier, n int) ([]*Resource, error) {
	where, args := sp.where(n)
	all, err := db.All(ctx, q, scan, `SELECT `+columns+` FROM resource WHERE `+where, args...)
	if len(all) > 0 {
		last := all[len(all)-1]
		sp.from, sp.id = last.URN.String(), last.ID
	}
	return all, err
}

// where is what a span's next n resources are found by. Each follows an index
// in the order of the list, and skips nothing on the way: subnets are named
// below their networks, and are no networks.
func (sp *span) where(n int) (string, []any) {
	args := []any{sp.region, sp.kind.Name, sp.from, sp.to, n}
	switch {
	case sp.deleted != Live:
		gone := ""
		if sp.deleted == OnlyDeleted {
			gone = "gone_at IS NOT NULL AND "
		}
		return gone + `region = $1 AND kind = $2 AND (urn, id) > ($3, $6) AND urn < $4 ORDER BY urn, id LIMIT $5`, append(args, sp.id)
	case sp.by == nil: // one name, one live resource
		return `region = $1 AND tenant = $6 AND workspace = $7 AND kind = $2 AND urn > $3 AND urn < $4 AND gone_at IS NULL ORDER BY urn LIMIT $5`,
			append(args, sp.collection.Tenant, sp.collection.Workspace)
	case sp.by.Value == nil:
		return `id IN (SELECT id FROM label WHERE region = $1 AND kind = $2 AND key = $6 AND urn > $3 AND urn < $4 ORDER BY urn LIMIT $5) ORDER BY urn`,
			append(args, sp.by.Key)
	}
	return `id IN (SELECT id FROM label WHERE region = $1 AND kind = $2 AND key = $6 AND value = $7 AND urn > $3 AND urn < $4 ORDER BY urn LIMIT $5) ORDER BY urn`,
		append(args, sp.by.Key, *sp.by.Value)
}
