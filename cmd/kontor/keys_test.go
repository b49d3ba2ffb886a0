package main

import (
	"bytes"
	"compress/gzip"
	"context"
	"database/sql"
	"encoding/base64"
	"encoding/hex"
	"io"
	"log/slog"
	"net/url"
	"os"
	"os/exec"
	"path/filepath"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/backup"
	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/db/dbtest"
)

func no(tb testing.TB, err error) {
	tb.Helper()
	if err != nil {
		tb.Fatal(err)
	}
}

// The first start of this version seals the secrets of an older one. Then neither
// the files of the database, nor a dump, nor a backup has a byte of them, and the
// exchange goes on with them.
func TestSecretsOfAnOlderVersionAreSealed(t *testing.T) {
	dbtest.EachURL(t, func(t *testing.T, url string) {
		data := t.TempDir()
		old := oldDatabase(t, filepath.Join(t.TempDir(), "old.db"))
		secrets := plainSecrets(t, old)
		whole := backupOf(t, old)
		if len(traces(gunzip(t, whole), secrets)) == 0 {
			t.Fatal("the test does not find secrets that are there")
		}
		if filepath.IsAbs(url) {
			url = "" // the file that the old version left
			no(t, os.Rename(old, filepath.Join(data, "kontor.db")))
		} else {
			restoreInto(t, url, whole)
		}
		no(t, os.WriteFile(filepath.Join(data, "admin.token.due"), nil, 0o600))
		x, stop := start(t, data, url, 1)
		c := customer(t, x)
		if _, err := c.Do(t.Context(), client.Call{Method: "GET", URL: c.Exchange("whoami")}); err != nil {
			t.Error("the exchange does not know the token that it has just made: ", err)
		}
		name := x.config.database()
		if left := traces(onDisk(t, data, url), secrets); len(left) > 0 {
			t.Errorf("while it runs: %x", left)
		}
		stop()
		if left := traces(onDisk(t, data, url), secrets); len(left) > 0 {
			t.Errorf("on the disk: %x", left)
		}
		if left := traces(gunzip(t, backupOf(t, name)), secrets); len(left) > 0 {
			t.Errorf("in a backup: %x", left)
		}
		_, stop = start(t, data, url, 1)
		stop()
	})
}

// oldDatabase puts the database of an older version there.
func oldDatabase(t *testing.T, file string) string {
	t.Helper()
	f, err := os.Open("testdata/old/0009.db.gz")
	no(t, err)
	defer f.Close()
	z, err := gzip.NewReader(f)
	no(t, err)
	b, err := io.ReadAll(z)
	no(t, err)
	no(t, os.WriteFile(file, b, 0o600))
	return file
}

// plainSecrets are those that an older version kept in the open.
func plainSecrets(t *testing.T, file string) (all [][]byte) {
	t.Helper()
	d, err := sql.Open("sqlite", file)
	no(t, err)
	defer d.Close()
	for _, query := range []string{`SELECT private FROM signing_key`, `SELECT private FROM authority`} {
		var secret []byte
		no(t, d.QueryRow(query).Scan(&secret))
		all = append(all, secret)
	}
	return all
}

func backupOf(t *testing.T, url string) []byte {
	t.Helper()
	d, err := db.OpenToRead(t.Context(), url, slog.New(slog.DiscardHandler))
	no(t, err)
	defer d.Close()
	var b bytes.Buffer
	no(t, d.Snapshot(t.Context(), func(s *db.Snapshot) error {
		_, err := backup.Write(t.Context(), &b, s, backup.Head{Exchange: "x", At: time.Now()}, func(string, int64) {})
		return err
	}))
	return b.Bytes()
}

func gunzip(t *testing.T, b []byte) []byte {
	t.Helper()
	z, err := gzip.NewReader(bytes.NewReader(b))
	no(t, err)
	text, err := io.ReadAll(z)
	no(t, err)
	return text
}

func restoreInto(t *testing.T, url string, b []byte) {
	t.Helper()
	r, err := backup.NewReader(bytes.NewReader(b), func(string, int64) {})
	no(t, err)
	no(t, db.Restore(t.Context(), url, slog.New(slog.DiscardHandler), r.Source, func(ctx context.Context, tx *db.Tx) error {
		_, err := r.Load(ctx, tx)
		return err
	}, func(context.Context, *db.Tx) error { return nil }))
}

// onDisk is every byte that the exchange keeps, and a dump of PostgreSQL if it can
// be had.
func onDisk(t *testing.T, data, from string) (all []byte) {
	t.Helper()
	no(t, filepath.WalkDir(data, func(name string, e os.DirEntry, err error) error {
		if err != nil || !e.Type().IsRegular() {
			return err
		}
		b, err := os.ReadFile(name)
		all = append(all, b...)
		return err
	}))
	if from == "" {
		return all
	}
	dump, err := exec.LookPath("pg_dump")
	if found, _ := filepath.Glob("/usr/lib/postgresql/*/bin/pg_dump"); err != nil && len(found) > 0 {
		dump = found[0]
	}
	if dump == "" {
		t.Log("there is no pg_dump here")
		return all
	}
	server, err := url.Parse(from)
	no(t, err)
	q := server.Query()
	schema := q.Get("search_path")
	q.Del("search_path") // which only Go's driver knows
	server.RawQuery = q.Encode()
	b, err := exec.CommandContext(t.Context(), dump, "--dbname", server.String(), "--schema", schema).Output()
	no(t, err)
	if !bytes.Contains(b, []byte("signing_key")) {
		t.Error("the dump is not of this exchange")
	}
	return append(all, b...)
}

// traces finds secrets, as they are and as dumps and backups write bytes.
func traces(in []byte, secrets [][]byte) (found [][]byte) {
	for _, s := range secrets {
		for _, form := range [][]byte{s, []byte(hex.EncodeToString(s)), []byte(base64.StdEncoding.EncodeToString(s))} {
			if bytes.Contains(in, form) {
				found = append(found, form)
			}
		}
	}
	return found
}
