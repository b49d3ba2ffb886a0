package main

import (
	"fmt"
	"os"
	"path/filepath"

	"github.com/kontor-cloud/kontor/fault"
)

// secret hands a secret to its file, or alone to standard output.
func (a *app) secret(text, file string) error {
	if file == "" {
		_, err := fmt.Fprintln(a.stdout, text)
		return err
	}
	if err := writePrivate(file, []byte(text+"\n")); err != nil {
		return fault.Invalid.Errorf("write secret: %w", err)
	}
	fmt.Fprintf(a.stderr, "written to %s\n", file)
	return nil
}

// writePrivate puts a file in place whole, readable by its owner alone.
func writePrivate(name string, b []byte) error {
	f, err := os.CreateTemp(filepath.Dir(name), ".kontor-*") // mode 0600
	if err != nil {
		return err
	}
	defer os.Remove(f.Name()) // fails when all went well
	_, err = f.Write(b)
	if closed := f.Close(); err == nil {
		err = closed
	}
	if err == nil {
		err = os.Rename(f.Name(), name)
	}
	return err
}
