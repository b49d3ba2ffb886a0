package envelope

import (
	"bufio"
	"bytes"
	"context"
	"crypto/cipher"
	"crypto/hmac"
	"crypto/rand"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"syscall"

	"github.com/kontor-cloud/kontor/fault"
)

// FileKeys names a file that holds Keys, a line each: the word kontor-key-1 and
// 32 random bytes in base64. Lines with # in front, and empty ones, say nothing.
// The file is for its owner alone, or root's and for a group.
type FileKeys string

// KeyWord begins a line with a key.
const KeyWord = "kontor-key-1"

const comment = "# Opens the secrets in the database of a Kontor exchange. Keep a copy, apart from the backups of the database.\n"

// String is the name of the file.
func (f FileKeys) String() string { return string(f) }

// Make makes the file with a new key in it, unless there is a file. Of two
// processes that do so at once, one makes it.
func (f FileKeys) Make(context.Context) error {
	if _, err := os.Lstat(string(f)); err == nil {
		return nil
	}
	if err := os.MkdirAll(filepath.Dir(string(f)), 0o700); err != nil {
		return fault.Invalid.Errorf("make a key: %w", err)
	}
	err := f.put([]byte(comment+newLine()), func(temp string) error { return os.Link(temp, string(f)) })
	if err != nil && !errors.Is(err, fs.ErrExist) {
		return fault.Invalid.Errorf("make a key: %w", err)
	}
	return nil
}

// Keys reads the file. One that others can read is refused.
func (f FileKeys) Keys(context.Context) ([]Key, error) {
	text, err := f.read()
	if err != nil {
		return nil, err
	}
	var all []Key
	lines := bufio.NewScanner(bytes.NewReader(text))
	for n := 1; lines.Scan(); n++ {
		k, err := ParseKey(lines.Text())
		if err != nil {
			return nil, fault.Invalid.Errorf("line %d of key file %s: %w", n, f, err)
		}
		if k != nil {
			all = append(all, k)
		}
	}
	if len(all) == 0 {
		return nil, fault.Invalid.Errorf("key file %s holds no key", f)
	}
	return all, lines.Err()
}

func (f FileKeys) read() ([]byte, error) {
	i, err := os.Stat(string(f))
	if err != nil {
		return nil, fault.Missing.Errorf("read the key file: %w", err)
	}
	if i.Mode().Perm()&^widest(i) != 0 {
		return nil, fault.Invalid.Errorf("key file %s is not for its owner alone (mode %04o); say: chmod 600 %s", f, i.Mode().Perm(), f)
	}
	text, err := os.ReadFile(string(f))
	if err != nil {
		return nil, fault.Invalid.Errorf("read the key file: %w", err)
	}
	return text, nil
}

// widest is the most that others may do with a key file: nothing, or read it as
// its group if root gave it to that, as Kubernetes mounts secrets.
func widest(i fs.FileInfo) fs.FileMode {
	if s, ok := i.Sys().(*syscall.Stat_t); ok && s.Uid == 0 && os.Getuid() != 0 {
		return 0o640
	}
	return 0o600
}

// Add puts the keys of another file behind those that are here.
func (f FileKeys) Add(ctx context.Context, from FileKeys) error {
	have, err := f.Keys(ctx)
	if err != nil {
		return err
	}
	more, err := from.Keys(ctx)
	if err != nil {
		return err
	}
	text, err := f.read()
	if err != nil {
		return err
	}
	if len(text) > 0 && text[len(text)-1] != '\n' {
		text = append(text, '\n')
	}
	before := len(text)
	for _, k := range more {
		if !slices.ContainsFunc(have, func(h Key) bool { return h.ID() == k.ID() }) {
			text = append(text, k.(*fileKey).line()...)
		}
	}
	if len(text) == before {
		return nil
	}
	return f.replace(text)
}

// Remove takes a key out of the file for good.
func (f FileKeys) Remove(_ context.Context, id string) error {
	text, err := f.read()
	if err != nil {
		return err
	}
	var kept []byte
	for line := range strings.Lines(string(text)) {
		if k, err := ParseKey(strings.TrimSuffix(line, "\n")); err == nil && k != nil && k.ID() == id {
			continue
		}
		kept = append(kept, line...)
	}
	if len(kept) == len(text) {
		return fault.Missing.Errorf("key file %s holds no key %s", f, id)
	}
	return f.replace(kept)
}

func (f FileKeys) replace(text []byte) error {
	if err := f.put(text, func(temp string) error { return os.Rename(temp, string(f)) }); err != nil {
		return fault.Invalid.Errorf("write the key file: %w", err)
	}
	return nil
}

// put writes the whole text to a file beside this one, and has it take its place.
func (f FileKeys) put(text []byte, place func(temp string) error) error {
	dir := filepath.Dir(string(f))
	temp, err := os.CreateTemp(dir, ".kontor-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(temp.Name()) // fails after a rename
	if _, err = temp.Write(text); err == nil {
		err = temp.Sync()
	}
	if err := errors.Join(err, temp.Close()); err != nil {
		return err
	}
	if err := place(temp.Name()); err != nil {
		return err
	}
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	return errors.Join(d.Sync(), d.Close())
}

// A fileKey is one line of a file.
type fileKey struct {
	id     string
	secret []byte
	aead   cipher.AEAD
}

func newLine() string {
	secret := make([]byte, keyBytes)
	rand.Read(secret) // never fails
	return (&fileKey{secret: secret}).line()
}

func (k *fileKey) line() string {
	return KeyWord + " " + base64.StdEncoding.EncodeToString(k.secret) + "\n"
}

// ParseKey reads a line of a key file. It returns nil for one that says nothing, and
// its errors do not show the line.
func ParseKey(line string) (Key, error) {
	line = strings.TrimSpace(line)
	if line == "" || line[0] == '#' {
		return nil, nil
	}
	word, text, _ := strings.Cut(line, " ")
	secret, err := base64.StdEncoding.DecodeString(strings.TrimSpace(text))
	if word != KeyWord || err != nil || len(secret) != keyBytes {
		return nil, fmt.Errorf("must be %s and %d bytes in base64", KeyWord, keyBytes)
	}
	aead, err := gcm(secret)
	if err != nil {
		return nil, err
	}
	mac := hmac.New(sha256.New, secret)
	mac.Write([]byte("kontor key id"))
	return &fileKey{id: hex.EncodeToString(mac.Sum(nil)[:8]), secret: secret, aead: aead}, nil
}

// ID is 16 hex digits that follow from the key.
func (k *fileKey) ID() string { return k.id }

// Wrap is that of Key.
func (k *fileKey) Wrap(_ context.Context, dataKey, about []byte) ([]byte, error) {
	return k.aead.Seal([]byte{version}, nil, dataKey, about), nil
}

// Unwrap is that of Key.
func (k *fileKey) Unwrap(_ context.Context, wrapped, about []byte) ([]byte, error) {
	if len(wrapped) == 0 || wrapped[0] != version {
		return nil, fault.Unsupported.Errorf("it is wrapped in a way that this program does not know")
	}
	return k.aead.Open(nil, nil, wrapped[1:], about)
}
