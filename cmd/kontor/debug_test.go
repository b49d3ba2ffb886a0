package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"encoding/base64"
	"encoding/hex"
	"encoding/pem"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/certificate"
	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/seca"
)

// unpacked reads a bundle: names and contents.
func unpacked(t *testing.T, file string) map[string]string {
	t.Helper()
	b, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	z, err := gzip.NewReader(bytes.NewReader(b))
	if err != nil {
		t.Fatal(err)
	}
	all := map[string]string{}
	for r := tar.NewReader(z); ; {
		h, err := r.Next()
		if errors.Is(err, io.EOF) {
			return all
		}
		if err != nil {
			t.Fatal(err)
		}
		text, err := io.ReadAll(r)
		if err != nil {
			t.Fatal(err)
		}
		all[h.Name] = string(text)
		if strings.HasSuffix(h.Name, ".pprof") { // which is compressed
			if z, err := gzip.NewReader(bytes.NewReader(text)); err == nil {
				plain, _ := io.ReadAll(z)
				all[h.Name] = string(plain)
			}
		}
	}
}

// secrets gathers all that must not leave an exchange, in the forms in which it
// might.
func secrets(t *testing.T, x *exchange) map[string]string {
	t.Helper()
	found := map[string]string{}
	note := func(what string, b []byte) {
		found[what] = string(b)
		found[what+", base64"] = base64.StdEncoding.EncodeToString(b)
		found[what+", base64url"] = base64.RawURLEncoding.EncodeToString(b)
		found[what+", hex"] = hex.EncodeToString(b)
	}
	token, err := os.ReadFile(filepath.Join(x.config.Data, "admin.token"))
	if err != nil {
		t.Fatal(err)
	}
	parts := strings.Split(strings.TrimSpace(string(token)), ".")
	note("the first token", []byte(parts[len(parts)-1])) // its signature: the rest is no secret
	_, another, err := x.Tenants.NewToken(t.Context(), alice, "test", time.Hour, seca.Scope{})
	if err != nil {
		t.Fatal(err)
	}
	note("another token", []byte(another))
	join, err := x.JoinToken(t.Context(), "fake-1", time.Hour)
	if err != nil {
		t.Fatal(err)
	}
	note("a join token", []byte(join))
	keepCertificate(t, x)
	for _, c := range secretColumns {
		type row struct {
			id     string
			sealed []byte
		}
		keys, err := db.All(t.Context(), x.db, func(scan func(...any) error) (r row, err error) {
			return r, scan(&r.id, &r.sealed)
		}, `SELECT id, `+c.Name+` FROM `+c.Table)
		if err != nil || len(keys) == 0 {
			t.Fatal(c.Table, len(keys), err)
		}
		for _, k := range keys {
			plain, err := x.Tenants.Box.Open(t.Context(), c.Row(k.id), k.sealed)
			if err != nil {
				t.Fatal(err)
			}
			note("a key of "+c.Table, plain)
		}
	}
	keyFile, err := os.ReadFile(string(x.config.keys()))
	if err != nil {
		t.Fatal(err)
	}
	note("the envelope key's file", bytes.TrimSpace(keyFile))
	text, err := os.ReadFile(filepath.Join(x.config.Data, "agents", "fake-1", "key.pem"))
	if err != nil {
		t.Fatal(err)
	}
	block, _ := pem.Decode(text)
	note("the agent's key", block.Bytes)
	found["the agent's key, PEM"] = strings.Split(string(text), "\n")[1]
	return found
}

// keepCertificate keeps what an authority for public names would have issued.
func keepCertificate(t *testing.T, x *exchange) {
	t.Helper()
	const name = "acme_account+key"
	sealed, err := x.Tenants.Box.Seal(t.Context(), certificate.Secret.Row(name), []byte("the key of the account"))
	if err != nil {
		t.Fatal(err)
	}
	if _, err := x.db.ExecContext(t.Context(), `INSERT INTO certificate (id, sealed, changed_at) VALUES ($1, $2, 0)`, name, sealed); err != nil {
		t.Fatal(err)
	}
}

func TestBundleHoldsNoSecret(t *testing.T) {
	t.Setenv("PGPASSWORD", "s3cret-of-the-environment")
	x := used(t, "")
	a := &app{stdout: io.Discard, stderr: io.Discard}
	known := secrets(t, x)
	known["a password of the environment"] = "s3cret-of-the-environment"
	file := filepath.Join(t.TempDir(), "b.tar.gz")
	if err := a.bundle(t.Context(), privateDefault(x.config.Data), file, 0); err != nil {
		t.Fatal(err)
	}
	all := unpacked(t, file)
	for name, holds := range map[string]string{
		"about.json": `"version"`, "config.json": `"data"`, "ready.json": `"ready": true`, "metrics.txt": "kontor_build_info", "database.json": `"Statements"`,
		"regions.json": `"fake-1"`, "jobs.json": "prune", "goroutines.txt": "goroutine profile", "heap.pprof": "", "log.txt": "msg=",
	} {
		text, there := all["kontor-bundle/"+name]
		if !there || !strings.Contains(text, holds) {
			t.Errorf("%s: %t %.200s", name, there, text)
		}
	}
	for name, text := range all {
		for what, secret := range known {
			if len(secret) < 8 {
				t.Errorf("%s is %q: too short to look for", what, secret)
			}
			if strings.Contains(text, secret) {
				t.Errorf("%s holds %s", name, what)
			}
		}
	}
}

// TestConfigurationIsShownWithoutPasswords also of a process that has one.
func TestConfigurationIsShownWithoutPasswords(t *testing.T) {
	c := defaultExchange()
	c.DB = "postgres://kontor:s3cret-1@db/kontor?sslpassword=s3cret-2"
	c.URL = "https://u:s3cret-3@exchange.example"
	var b bytes.Buffer
	if err := writeJSON(&b, c.shown()); err != nil {
		t.Fatal(err)
	}
	if strings.Contains(b.String(), "s3cret") || !strings.Contains(b.String(), "db/kontor") {
		t.Error(b.String())
	}
}
