package api

import (
	"time"

	"github.com/kontor-cloud/kontor/blueprint"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/policy"
	"github.com/kontor-cloud/kontor/seca"
)

// blueprintStatus names the content of a blueprint.
type blueprintStatus struct {
	Digest policy.Digest `json:"digest"`
}

func blueprintDocument(b *blueprint.Blueprint) (seca.Document, error) {
	d := ownDocument("blueprint", "blueprints", b.Name, time.Time{}, b, blueprintStatus{b.Digest()})
	d.Metadata.ResourceVersion = int64(b.Version)
	return d, nil
}

func (c *call) listBlueprints() (reply, error) {
	all, err := blueprint.Shipped()
	if err != nil {
		return reply{}, err
	}
	return ownList(c, "blueprints", all, blueprintDocument)
}

func (c *call) oneBlueprint() (reply, error) {
	b, err := blueprint.Named(c.at.Name)
	if err != nil {
		return reply{}, fault.Missing.Errorf("%w", err)
	}
	return ok(blueprintDocument(b))
}
