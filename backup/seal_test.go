package backup

import (
	"bytes"
	"errors"
	"io"
	"os"
	"path/filepath"
	"testing"

	"filippo.io/age"

	"github.com/kontor-cloud/kontor/fault"
)

func TestSeal(t *testing.T) {
	defer func(w int) { work = w }(work)
	work = 10
	key, err := age.GenerateX25519Identity()
	check(t, err)
	dir := t.TempDir()
	write := func(name, text string) string {
		file := filepath.Join(dir, name)
		check(t, os.WriteFile(file, []byte(text), 0o600))
		return file
	}
	identity, phrase := write("key", key.String()+"\n"), write("phrase", "correct horse\n# a note\n")
	for name, c := range map[string]struct {
		seal, open Seal
		fails      error
	}{
		"open":            {},
		"recipient":       {seal: Seal{Recipients: []string{key.Recipient().String()}}, open: Seal{Identity: identity}},
		"passphrase":      {seal: Seal{Passphrase: phrase}, open: Seal{Passphrase: phrase}},
		"no key":          {seal: Seal{Passphrase: phrase}, fails: fault.Denied},
		"wrong key":       {seal: Seal{Recipients: []string{key.Recipient().String()}}, open: Seal{Passphrase: phrase}, fails: fault.Denied},
		"wrong phrase":    {seal: Seal{Passphrase: phrase}, open: Seal{Passphrase: write("other", "wrong\n")}, fails: fault.Denied},
		"key that is not": {seal: Seal{Passphrase: phrase}, open: Seal{Identity: phrase}, fails: fault.Invalid},
	} {
		t.Run(name, func(t *testing.T) {
			var b bytes.Buffer
			w, err := c.seal.Writer(&b)
			check(t, err)
			_, err = io.WriteString(w, "what is secret stays it")
			check(t, errors.Join(err, w.Close()))
			if sealed := !bytes.Contains(b.Bytes(), []byte("secret")); sealed == (name == "open") {
				t.Errorf("sealed: %v", sealed)
			}
			r, err := c.open.Reader(&b)
			if !errors.Is(err, c.fails) {
				t.Fatalf("%v, want %v", err, c.fails)
			}
			if err != nil {
				return
			}
			if got, err := io.ReadAll(r); err != nil || string(got) != "what is secret stays it" {
				t.Errorf("%q, %v", got, err)
			}
		})
	}
	for _, bad := range []Seal{{Recipients: []string{"age1"}}, {Passphrase: write("empty", "\n")}, {Passphrase: phrase, Recipients: []string{key.Recipient().String()}}} {
		if _, err := bad.Writer(io.Discard); !errors.Is(err, fault.Invalid) {
			t.Errorf("%+v: %v", bad, err)
		}
	}
}
