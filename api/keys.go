package api

import (
	"context"
	"net/http"
	"time"

	"github.com/kontor-cloud/kontor/seca"
)

// A keyStatus says what a key is for. The key itself never leaves the exchange.
type keyStatus struct {
	Use      string `json:"use"`
	SealedBy string `json:"sealedBy,omitempty"` // id of the key in the key file
}

type namedKey struct {
	id     string
	made   time.Time
	status keyStatus
}

// listKeys tells what keys the exchange has.
func (c *call) listKeys() (reply, error) {
	all, err := c.server.keys(c.ctx)
	if err != nil {
		return reply{}, err
	}
	return ownList(c, "keys", all, func(k namedKey) (seca.Document, error) {
		return ownDocument("key", "keys", k.id, k.made, struct{}{}, k.status), nil
	})
}

func (x *Exchange) keys(ctx context.Context) ([]namedKey, error) {
	signing, err := x.Tenants.SigningKeys(ctx)
	if err != nil {
		return nil, err
	}
	data, err := x.Tenants.Box.DataKeys(ctx)
	if err != nil {
		return nil, err
	}
	var all []namedKey
	for i, k := range signing {
		use := "signs tokens"
		if i > 0 {
			use = "verifies tokens"
		}
		all = append(all, namedKey{k.ID, k.CreatedAt, keyStatus{Use: use}})
	}
	for _, k := range data {
		all = append(all, namedKey{k.ID, k.CreatedAt, keyStatus{"seals " + k.Purpose, k.Wrapper}})
	}
	return all, nil
}

type signingKey struct {
	ID string `json:"id"`
}

// rotateKeys signs tokens with a new key from now on.
func (c *call) rotateKeys() (reply, error) {
	id, err := c.server.Tenants.RotateKey(c.ctx)
	return reply{status: http.StatusCreated, body: signingKey{id}}, err
}
