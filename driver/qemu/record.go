package qemu

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"path/filepath"
	"reflect"
	"regexp"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// A kept is a pointer to a thing that is kept in a record.
type kept[T any] interface {
	*T
	Base() *driver.Meta
}

// A record is what a directory says about the thing in it: the platform's tag.
type record[T any] struct {
	Owner   driver.Owner `json:"owner"`
	Kind    string       `json:"kind"`
	Written time.Time    `json:"written"`
	Thing   T            `json:"thing"`
}

// A shelf holds the things of one kind, each in a directory of its own: its
// record, and whatever files the thing consists of. A directory appears whole,
// by one rename, and vanishes likewise; so what a crash leaves is either a thing
// or rubbish in the staging directory.
type shelf[T any, P kept[T]] struct {
	host *host
	kind string
}

func (s shelf[T, P]) dir(id string) string {
	return filepath.Join(s.host.root, s.kind, fileName(id))
}

// get returns the thing with this id; fault.Missing if there is none.
func (s shelf[T, P]) get(id string) (T, error) {
	thing, err := s.read(s.dir(id))
	if errors.Is(err, fs.ErrNotExist) {
		return thing, fault.Missing.Errorf("no %s %s", s.kind, id)
	}
	return thing, err
}

func (s shelf[T, P]) read(dir string) (T, error) {
	var r record[T]
	text, err := os.ReadFile(filepath.Join(dir, "record.json"))
	if err != nil {
		return r.Thing, err
	}
	if err := json.Unmarshal(text, &r); err != nil {
		return r.Thing, fmt.Errorf("record in %s: %w", dir, err)
	}
	if r.Owner != s.host.owner {
		return r.Thing, fmt.Errorf("record in %s: %w", dir, fs.ErrNotExist)
	}
	meta := P(&r.Thing).Base()
	meta.State, meta.Detail, meta.Native = driver.Ready, "", filepath.Base(dir)
	return r.Thing, nil
}

// has reports whether there is a thing with this id.
func (s shelf[T, P]) has(id string) bool {
	_, err := s.get(id)
	return err == nil
}

// need returns a thing on which another one depends. If there is none, that is
// a fault.Conflict, which passes when it is made.
func (s shelf[T, P]) need(id string) (T, error) {
	thing, err := s.get(id)
	if errors.Is(err, fault.Missing) {
		return thing, fault.Conflict.Errorf("there is no %s %s yet", strings.ReplaceAll(strings.TrimSuffix(s.kind, "s"), "-", " "), id)
	}
	return thing, err
}

// all returns every thing, in the order of their directories' names.
func (s shelf[T, P]) all() ([]T, error) {
	dirs, err := os.ReadDir(filepath.Join(s.host.root, s.kind))
	if err != nil && !errors.Is(err, fs.ErrNotExist) {
		return nil, err
	}
	var things []T
	for _, d := range dirs {
		thing, err := s.read(filepath.Join(s.host.root, s.kind, d.Name()))
		if errors.Is(err, fs.ErrNotExist) {
			continue // deleted since the directory was read
		}
		if err != nil {
			return nil, err
		}
		things = append(things, thing)
	}
	return things, nil
}

// create makes the directory of a new thing. fill, if there is one, adds files
// to it before it becomes visible.
func (s shelf[T, P]) create(thing T, fill func(dir string) error) error {
	stage, err := s.host.stage()
	if err != nil {
		return err
	}
	defer os.RemoveAll(stage)
	if fill != nil {
		if err := fill(stage); err != nil {
			return err
		}
	}
	if err := s.write(stage, thing); err != nil {
		return err
	}
	return s.publish(stage, P(&thing).Base().ID)
}

// publish moves a staged directory to its place.
func (s shelf[T, P]) publish(stage, id string) error {
	parent := filepath.Join(s.host.root, s.kind)
	if err := errors.Join(syncFiles(stage), os.MkdirAll(parent, 0o700)); err != nil {
		return err
	}
	if err := os.Rename(stage, s.dir(id)); err != nil {
		return err
	}
	return syncDir(parent)
}

// put replaces the record of a thing that is there, if it says anything else.
func (s shelf[T, P]) put(thing T) error {
	meta := P(&thing).Base()
	meta.Lived = false
	dir := s.dir(meta.ID)
	if have, err := s.read(dir); err == nil && reflect.DeepEqual(have, thing) {
		return nil
	}
	return s.write(dir, thing)
}

// write leaves out what is observed, and what concerns one call.
func (s shelf[T, P]) write(dir string, thing T) error {
	meta := P(&thing).Base()
	meta.State, meta.Detail, meta.Native, meta.Lived = "", "", "", false
	text, err := json.MarshalIndent(record[T]{Owner: s.host.owner, Kind: s.kind, Written: time.Now().UTC(), Thing: thing}, "", "\t")
	if err != nil {
		return err
	}
	return writeFile(filepath.Join(dir, "record.json"), append(text, '\n'))
}

// remove makes the thing vanish, then deletes its files.
func (s shelf[T, P]) remove(id string) error {
	stage, err := s.host.stage()
	if err != nil {
		return err
	}
	defer os.RemoveAll(stage)
	if err := os.Rename(s.dir(id), filepath.Join(stage, "gone")); err != nil && !errors.Is(err, fs.ErrNotExist) {
		return err
	}
	return syncDir(filepath.Join(s.host.root, s.kind))
}

var plainName = regexp.MustCompile(`^[A-Za-z0-9][A-Za-z0-9._-]{0,63}$`)

// fileName is the id itself where that is safe as a name, else a digest of it.
func fileName(id string) string {
	if plainName.MatchString(id) {
		return id
	}
	return "x-" + digest(id, 16)
}

// digest is n bytes of a hash of s, in hexadecimal digits.
func digest(s string, n int) string {
	sum := sha256.Sum256([]byte(s))
	return hex.EncodeToString(sum[:n])
}

// writeFile replaces a file so that a crash leaves either the old or the new one.
func writeFile(path string, text []byte) error {
	f, err := os.CreateTemp(filepath.Dir(path), ".new-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	_, err = f.Write(text)
	if err = errors.Join(err, f.Sync(), f.Close()); err != nil {
		return err
	}
	if err := os.Rename(f.Name(), path); err != nil {
		return err
	}
	return syncDir(filepath.Dir(path))
}

// syncFiles makes the files in a directory durable.
func syncFiles(dir string) error {
	files, err := os.ReadDir(dir)
	for _, f := range files {
		err = errors.Join(err, syncPath(filepath.Join(dir, f.Name())))
	}
	return err
}

// syncDir makes the names in a directory durable. One that is not there has none.
func syncDir(dir string) error { return ignore(syncPath(dir), fs.ErrNotExist) }

func syncPath(path string) error {
	f, err := os.Open(path)
	if err != nil {
		return err
	}
	return errors.Join(f.Sync(), f.Close())
}
