package backup

import (
	"bufio"
	"bytes"
	"io"
	"os"
	"strings"

	"filippo.io/age"

	"github.com/kontor-cloud/kontor/fault"
)

// A Seal says how a backup is encrypted; the zero value does not.
type Seal struct {
	Recipients []string // public keys of age, as age-keygen prints them: who may read it
	Identity   string   // file with secret keys of age, to read it
	Passphrase string   // file that has a passphrase in its first line, for both
}

// work is how many doublings of work a guess at a passphrase costs: 18 take
// about a second.
var work = 18

// Writer encrypts what is written to it. Close ends the encryption, and leaves
// w open.
func (s Seal) Writer(w io.Writer) (io.WriteCloser, error) {
	var to []age.Recipient
	for _, key := range s.Recipients {
		r, err := age.ParseRecipients(strings.NewReader(key))
		if err != nil {
			return nil, fault.Invalid.Errorf("%q is no recipient of age: %w", key, err)
		}
		to = append(to, r...)
	}
	if s.Passphrase != "" {
		if len(to) > 0 {
			return nil, fault.Invalid.Errorf("a backup is for recipients or has a passphrase, not both")
		}
		passphrase, err := firstLine(s.Passphrase)
		if err != nil {
			return nil, err
		}
		r, err := age.NewScryptRecipient(passphrase)
		if err != nil {
			return nil, err
		}
		r.SetWorkFactor(work)
		to = append(to, r)
	}
	if len(to) == 0 {
		return plain{w}, nil
	}
	return age.Encrypt(w, to...)
}

type plain struct{ io.Writer }

// Close leaves what is below open.
func (plain) Close() error { return nil }

func firstLine(file string) (string, error) {
	b, err := os.ReadFile(file)
	if err != nil {
		return "", fault.Invalid.Errorf("read the passphrase: %w", err)
	}
	line, _, _ := strings.Cut(string(b), "\n")
	if line = strings.TrimRight(line, "\r"); line == "" {
		return "", fault.Invalid.Errorf("the first line of %s is empty; it must be the passphrase", file)
	}
	return line, nil
}

const sealed = "age-encryption.org/"

// Reader decrypts what a Writer has encrypted. What is not encrypted is read as
// it is. An error is Denied if the keys are not those.
func (s Seal) Reader(r io.Reader) (io.Reader, error) {
	b := bufio.NewReaderSize(r, 64<<10)
	start, err := b.Peek(len(sealed))
	if err != nil || !bytes.Equal(start, []byte(sealed)) {
		return b, nil //nolint:nilerr // what is too short is no backup, and will be found to be none
	}
	with, err := s.identities()
	if err != nil {
		return nil, err
	}
	if len(with) == 0 {
		return nil, fault.Denied.Errorf("the backup is encrypted, and no key was given")
	}
	open, err := age.Decrypt(b, with...)
	if err != nil {
		return nil, fault.Denied.Errorf("decrypt the backup: %w", err)
	}
	return open, nil
}

func (s Seal) identities() ([]age.Identity, error) {
	var all []age.Identity
	if s.Identity != "" {
		b, err := os.ReadFile(s.Identity)
		if err != nil {
			return nil, fault.Invalid.Errorf("read the identity: %w", err)
		}
		if all, err = age.ParseIdentities(bytes.NewReader(b)); err != nil {
			return nil, fault.Invalid.Errorf("%s is no identity file of age: %w", s.Identity, err)
		}
	}
	if s.Passphrase != "" {
		passphrase, err := firstLine(s.Passphrase)
		if err != nil {
			return nil, err
		}
		i, err := age.NewScryptIdentity(passphrase)
		if err != nil {
			return nil, err
		}
		all = append(all, i)
	}
	return all, nil
}
