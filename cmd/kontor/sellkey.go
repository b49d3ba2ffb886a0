package main

import (
	"crypto/ed25519"
	"crypto/rand"
	"crypto/x509"
	"encoding/pem"
	"errors"
	"fmt"
	"io/fs"
	"os"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/participant"
)

// openKey reads a participant's key, or makes it if the file is not there.
func openKey(file string) (key ed25519.PrivateKey, made bool, err error) {
	if key, err = readKey(file); !errors.Is(err, fs.ErrNotExist) {
		return key, false, err
	}
	if _, key, err = ed25519.GenerateKey(rand.Reader); err != nil {
		return nil, false, err
	}
	der, err := x509.MarshalPKCS8PrivateKey(key)
	if err != nil {
		return nil, false, err
	}
	if err := writeNew(file, pem.EncodeToMemory(&pem.Block{Type: "PRIVATE KEY", Bytes: der})); err != nil {
		return nil, false, fault.Invalid.Errorf("make key: %w", err)
	}
	return key, true, nil
}

// writeNew makes a file readable by its owner alone, and never takes the place of one: a
// key that is lost cannot be had again.
func writeNew(name string, b []byte) error {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_EXCL|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	_, err = f.Write(b)
	return errors.Join(err, f.Sync(), f.Close())
}

func readKey(file string) (ed25519.PrivateKey, error) {
	text, err := os.ReadFile(file)
	if err != nil {
		return nil, fault.Invalid.Errorf("read key: %w", err)
	}
	block, _ := pem.Decode(text)
	if block == nil || block.Type != "PRIVATE KEY" {
		return nil, fault.Invalid.Errorf("%s holds no private key in PEM", file)
	}
	parsed, err := x509.ParsePKCS8PrivateKey(block.Bytes)
	key, fits := parsed.(ed25519.PrivateKey)
	if err != nil || !fits {
		return nil, fault.Invalid.Errorf("%s holds no Ed25519 key in PKCS #8", file)
	}
	return key, nil
}

// signerKind is the keys of the participant that is named.
func signerKind(name string) kind {
	return ofParticipant("participant-key", "keys", name)
}

func (a *app) providerKeys() *cobra.Command {
	return family("keys", "Manage the keys by which a participant signs", a.signerList(), a.signerAdd(), a.signerRevoke())
}

func (a *app) signerList() *cobra.Command {
	return &cobra.Command{
		Use: "list NAME", Aliases: []string{"ls"}, Short: "List the keys of a participant, those that were revoked, too", Args: cobra.ExactArgs(1),
		ValidArgsFunction: a.completes(a.namesOf("participant")),
		RunE: func(c *cobra.Command, args []string) error {
			items, err := a.collect(c.Context(), signerKind(args[0]), listing{})
			if err != nil {
				return err
			}
			if a.structured() {
				return a.writeItems(items, false)
			}
			t := a.table("KEY", "ADDED", "REVOKED")
			for _, i := range items {
				k, err := specOf[participant.Key](i)
				if err != nil {
					return err
				}
				t.row(k.ID, day(k.CreatedAt), day(k.RevokedAt))
			}
			return t.flush()
		},
	}
}

func (a *app) signerAdd() *cobra.Command {
	var file string
	c := &cobra.Command{
		Use: "add NAME --key FILE", Short: "Sign with another key from now on, too; it is made if there is none", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			x, err := a.connect()
			if err != nil {
				return err
			}
			key, _, err := openKey(file)
			if err != nil {
				return err
			}
			var k participant.Key
			if err := x.Post(c.Context(), party(x, args[0], "keys"), map[string]any{"key": key.Public()}, &k); err != nil {
				return err
			}
			if a.structured() {
				return a.write(k)
			}
			fmt.Fprintf(a.stdout, "key %s of %s added\n", clean(k.ID), args[0])
			return nil
		},
	}
	keyFlag(c, &file)
	return c
}

func (a *app) signerRevoke() *cobra.Command {
	return &cobra.Command{
		Use: "revoke NAME KEY", Short: "End a key: nothing new is signed by it; what it signed stays good", Args: cobra.ExactArgs(2),
		RunE: func(c *cobra.Command, args []string) error {
			x, err := a.connect()
			if err != nil {
				return err
			}
			if _, err := x.Do(c.Context(), client.Call{Method: "DELETE", URL: party(x, args[0], "keys", args[1])}); err != nil {
				return err
			}
			fmt.Fprintf(a.stdout, "key %s of %s revoked\n", args[1], args[0])
			return nil
		},
	}
}

// day words a moment as people want it in a table.
func day(t time.Time) string {
	if t.IsZero() {
		return ""
	}
	return strings.TrimSuffix(t.UTC().Format("2006-01-02T15:04Z"), "T00:00Z")
}
