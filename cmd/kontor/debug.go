package main

import (
	"archive/tar"
	"bytes"
	"compress/gzip"
	"context"
	"errors"
	"fmt"
	"io"
	"net/url"
	"os"
	"slices"
	"time"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/fault"
)

// bundled says what is collected, and under which name. Stacks come without the values
// of arguments, a profile of the heap holds sizes and no content, and no page
// holds a secret.
var bundled = []struct{ path, name string }{
	{"/debug/about", "about.json"},
	{"/debug/config", "config.json"},
	{"/readyz", "ready.json"},
	{"/metrics", "metrics.txt"},
	{"/debug/log", "log.txt"},
	{"/debug/database", "database.json"},
	{"/debug/regions", "regions.json"},
	{"/debug/jobs", "jobs.json"},
	{"/debug/pprof/goroutine?debug=1", "goroutines.txt"},
	{"/debug/pprof/heap", "heap.pprof"},
	{"/debug/pprof/mutex?debug=1", "mutexes.txt"},
}

func debugCommand(a *app) *cobra.Command {
	var process processFlags
	var out string
	var cpu time.Duration
	c := &cobra.Command{
		Use:   "bundle",
		Short: "Collect what somebody needs who is to find out what is wrong",
		Long: `Collect what somebody needs who is to find out what is wrong with an exchange or an
agent: version, configuration, metrics, the last lines of the log, stacks, memory, the database's
figures, regions. Passwords, tokens and keys are not in it; names of tenants, regions and
resources may be, in the log.`,
		Example: "  kontor debug bundle --data /var/lib/kontor --out bundle.tar.gz",
		Args:    cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			if len(process.privates) > 1 {
				return usagef("a bundle is of one process: give one --private")
			}
			if out == "" {
				out = "kontor-bundle-" + time.Now().UTC().Format("20060102T150405") + ".tar.gz"
			}
			return a.bundle(cmd.Context(), process.addresses()[0], out, cpu)
		},
	}
	process.add(c)
	c.Flags().StringVarP(&out, "out", "o", "", "file to write (default kontor-bundle-TIME.tar.gz)")
	c.Flags().DurationVar(&cpu, "cpu", 0, "also profile the processor for so long")
	return family("debug", "Find out what is wrong with a process", c)
}

// bundle writes the file whole or not at all. What cannot be had is noted in it.
func (a *app) bundle(ctx context.Context, address, out string, cpu time.Duration) error {
	var file bytes.Buffer
	z := gzip.NewWriter(&file)
	t := tar.NewWriter(z)
	parts := bundled
	if cpu > 0 {
		parts = append(slices.Clip(parts), struct{ path, name string }{
			"/debug/pprof/profile?" + url.Values{"seconds": {fmt.Sprint(max(1, int(cpu.Seconds())))}}.Encode(), "cpu.pprof",
		})
	}
	missed := 0
	for _, p := range parts {
		var text []byte
		err := inspect(ctx, address, p.path, func(r io.Reader) (err error) {
			text, err = io.ReadAll(r)
			return err
		})
		if errors.Is(err, fault.Missing) { // an agent has no database
			continue
		}
		name := p.name
		if err != nil {
			if missed++; missed == len(parts) {
				return err
			}
			name, text = name+".missing", []byte(err.Error()+"\n")
		}
		if err := addFile(t, name, text); err != nil {
			return err
		}
	}
	if err := t.Close(); err != nil {
		return err
	}
	if err := z.Close(); err != nil {
		return err
	}
	if err := os.WriteFile(out, file.Bytes(), 0o600); err != nil {
		return fault.Invalid.Errorf("write the bundle: %w", err)
	}
	fmt.Fprintln(a.stdout, out)
	return nil
}

func addFile(t *tar.Writer, name string, text []byte) error {
	if err := t.WriteHeader(&tar.Header{Name: "kontor-bundle/" + name, Mode: 0o600, Size: int64(len(text)), ModTime: time.Now()}); err != nil {
		return err
	}
	_, err := t.Write(text)
	return err
}
