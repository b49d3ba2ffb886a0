package resource

import (
	"context"
	"maps"
	"strings"

	"github.com/kontor-cloud/kontor/db"
)

// The table label is an index of what the rows of live resources say: a list by
// label then reads what it shows, however much else there is.

// A Term is what the index can answer of a selector: a label that is there, with
// this value unless it is nil.
type Term struct {
	Key   string
	Value *string
}

// indexable: PostgreSQL has no text with a zero byte.
func indexable(s string) bool { return !strings.Contains(s, "\x00") }

// relabel writes the labels of r into the index, where before was.
func relabel(ctx context.Context, tx *db.Tx, r *Resource, before map[string]string) error {
	if maps.Equal(before, r.Labels) {
		return nil
	}
	if len(before) > 0 {
		if err := unlabel(ctx, tx, []string{r.ID}); err != nil {
			return err
		}
	}
	type pair struct {
		Key   string `json:"key"`
		Value string `json:"value"`
	}
	var pairs []pair
	for k, v := range r.Labels {
		if indexable(v) {
			pairs = append(pairs, pair{k, v})
		}
	}
	if len(pairs) == 0 {
		return nil
	}
	_, err := db.Exec(ctx, tx, `INSERT INTO label (id, region, kind, urn, key, value)
		SELECT CAST($1 AS TEXT), CAST($2 AS TEXT), CAST($3 AS TEXT), CAST($4 AS TEXT), e.value->>'key', e.value->>'value' FROM `+tx.Elements("$5")+` e`,
		r.ID, r.Region, r.Kind.Name, r.URN.String(), db.JSON(pairs))
	return err
}

// unlabel takes what is gone out of the index.
func unlabel(ctx context.Context, tx *db.Tx, ids []string) error {
	_, err := db.Exec(ctx, tx, `DELETE FROM label WHERE id IN (`+db.In(1, padded(len(ids)))+`)`, padding("", ids)[1:]...)
	return err
}
