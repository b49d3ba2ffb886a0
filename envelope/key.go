package envelope

import (
	"context"
	"strings"

	"github.com/kontor-cloud/kontor/fault"
)

// A Key wraps data keys. It is kept outside of the database: in a file, by
// FileKeys. A key that never leaves a KMS or a token would be another one.
type Key interface {
	// ID names the key for ever and tells nothing of it.
	ID() string

	// Wrap encrypts a data key; about is authenticated along with it.
	Wrap(ctx context.Context, dataKey, about []byte) ([]byte, error)

	// Unwrap is the reverse of Wrap with the same about.
	Unwrap(ctx context.Context, wrapped, about []byte) ([]byte, error)
}

// A Source has Keys. It is asked again whenever one is needed, so that what was
// added meanwhile is found by who runs.
type Source interface {
	// Make makes the first Key, unless there is one. It is called for an exchange
	// that has never sealed anything, and for no other.
	Make(ctx context.Context) error

	// Keys lists the Keys. A new exchange uses the first.
	Keys(ctx context.Context) ([]Key, error)

	// String says where they are, for people.
	String() string
}

// Has is Denied if the Key of that id is not there.
func Has(ctx context.Context, from Source, id string) error {
	_, err := keyOf(ctx, from, id)
	return err
}

// keyOf finds a Key by its id. One that is not there is Denied.
func keyOf(ctx context.Context, from Source, id string) (Key, error) {
	all, err := from.Keys(ctx)
	if err != nil {
		return nil, lost(from, id, err)
	}
	for _, k := range all {
		if k.ID() == id {
			return k, nil
		}
	}
	return nil, lost(from, id, fault.Denied.Errorf("it holds %s", names(all)))
}

// lost says which key is looked for.
func lost(from Source, id string, why error) error {
	return fault.Denied.Errorf("the secrets of this exchange are sealed by key %s, which is not in %s: %w", id, from, why)
}

func names(all []Key) string {
	var ids []string
	for _, k := range all {
		ids = append(ids, k.ID())
	}
	if len(ids) == 0 {
		return "no key"
	}
	return strings.Join(ids, ", ")
}
