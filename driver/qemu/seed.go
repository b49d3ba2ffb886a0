package qemu

import (
	"encoding/json"
	"errors"
	"os"
	"path/filepath"
	"strings"

	"github.com/kdomanski/iso9660"
)

// A seed is the disk from which cloud-init in a guest learns who it is (NoCloud).
type seed struct {
	meta    string
	user    string
	network string
}

// seed says what the guest is to know. JSON is YAML, so nothing needs quoting.
func (h *host) seed(i instance, m machine) seed {
	keys := i.SSHKeys
	if keys == nil {
		keys = []string{}
	}
	// Each on a line of its own: small guests read them with sed.
	s := seed{
		meta: "instance-id: " + quote(i.ID) + "\nlocal-hostname: " + quote(i.hostname()) +
			"\nregion: " + quote(h.owner.Region) + "\npublic-keys: " + quote(keys) + "\n",
		user: i.UserData,
	}
	if s.user == "" {
		s.user = "#cloud-config\n{}\n"
	}
	cards := object{}
	for _, c := range m.cards {
		cards[netdevName(c.id)] = object{"match": object{"macaddress": c.mac}, "dhcp4": true}
	}
	network, _ := json.MarshalIndent(object{"version": 2, "ethernets": cards}, "", " ")
	s.network = string(network) + "\n"
	return s
}

func quote(value any) string {
	text, _ := json.Marshal(value) // of strings
	return string(text)
}

// writeSeed makes the ISO 9660 image. It may hold secrets in its user data, so
// that only this user can read it.
func writeSeed(path string, s seed) error {
	w, err := iso9660.NewWriter()
	if err != nil {
		return err
	}
	defer w.Cleanup() //nolint:errcheck // removes temporary files
	for name, text := range map[string]string{"meta-data": s.meta, "user-data": s.user, "network-config": s.network} {
		if err := w.AddFile(strings.NewReader(text), name); err != nil {
			return err
		}
	}
	f, err := os.CreateTemp(filepath.Dir(path), ".seed-*")
	if err != nil {
		return err
	}
	defer os.Remove(f.Name())
	err = w.WriteTo(f, "cidata")
	// Busybox finds no label on a disk that is smaller than what it reads for it.
	if err := errors.Join(err, padTo(f, 1<<20), f.Close()); err != nil {
		return err
	}
	return os.Rename(f.Name(), path)
}

// padTo makes a file at least this long, without writing.
func padTo(f *os.File, size int64) error {
	info, err := f.Stat()
	if err != nil || info.Size() >= size {
		return err
	}
	return f.Truncate(size)
}
