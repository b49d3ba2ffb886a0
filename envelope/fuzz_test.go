package envelope

import (
	"bytes"
	"strings"
	"testing"

	"github.com/kontor-cloud/kontor/db/dbtest"
)

// FuzzOpen: whatever stands in the database is refused, unless it was sealed, to
// the bit.
func FuzzOpen(f *testing.F) {
	b := box(f, dbtest.SQLite(f), newFile(f))
	at := signing.Row("1")
	good, err := b.Seal(f.Context(), at, []byte("secret"))
	no(f, err)
	for _, seed := range [][]byte{nil, {1}, {1, 0}, {2, 1, 'a'}, {1, 255, 'a'}, good, good[:30], append(good, 0), make([]byte, 32)} {
		f.Add(seed)
	}
	f.Fuzz(func(t *testing.T, sealed []byte) {
		plain, err := b.Open(t.Context(), at, sealed)
		if err == nil && !bytes.Equal(sealed, good) {
			t.Errorf("%x opens as %q", sealed, plain)
		}
		forged := append(append([]byte(nil), good[:28]...), sealed...)
		if plain, err := b.Open(t.Context(), at, forged); err == nil && !bytes.Equal(forged, good) {
			t.Errorf("%x opens as %q", forged, plain)
		}
	})
}

// FuzzParseKey: a line of a key file is a key of 32 bytes, nothing, or refused.
func FuzzParseKey(f *testing.F) {
	for _, line := range []string{"", "# x", KeyWord, KeyWord + " AAAA", newLine(), "kontor-key-2 " + strings.Repeat("A", 43) + "="} {
		f.Add(line)
	}
	f.Fuzz(func(t *testing.T, line string) {
		k, err := ParseKey(line)
		if k == nil {
			return
		}
		if err != nil || len(k.ID()) != 16 {
			t.Fatalf("%q: %v, %v", line, k.ID(), err)
		}
		wrapped, err := k.Wrap(t.Context(), []byte("data key"), []byte("about"))
		if err != nil {
			t.Fatal(err)
		}
		if _, err := k.Unwrap(t.Context(), append(wrapped, line...), []byte("about")); err == nil && line != "" {
			t.Errorf("%q: more unwraps, too", line)
		}
		if plain, err := k.Unwrap(t.Context(), wrapped, []byte("about")); err != nil || string(plain) != "data key" {
			t.Errorf("%q: %q, %v", line, plain, err)
		}
	})
}
