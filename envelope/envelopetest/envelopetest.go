// Package envelopetest gives tests a box.
package envelopetest

import (
	"context"
	"strings"
	"testing"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/envelope"
)

// Box opens the box of a database by a key that is the same for all tests.
func Box(tb testing.TB, d *db.DB) *envelope.Box {
	tb.Helper()
	b, err := envelope.Open(context.Background(), d, known{})
	if err != nil {
		tb.Fatal(err)
	}
	return b
}

// known has a key that everybody knows.
type known struct{}

// Make does nothing.
func (known) Make(context.Context) error { return nil }

// String is for messages.
func (known) String() string { return "the memory of a test" }

// Keys is that one.
func (known) Keys(context.Context) ([]envelope.Key, error) {
	k, err := envelope.ParseKey(envelope.KeyWord + " " + strings.Repeat("A", 43) + "=")
	return []envelope.Key{k}, err
}
