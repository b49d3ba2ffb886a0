package main

import (
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"
	"text/tabwriter"
	"time"
	"unicode"

	"sigs.k8s.io/yaml"

	"github.com/kontor-cloud/kontor/client"
)

// The forms of output that programs and people may ask for.
var formats = []string{"json", "yaml", "wide", "name"}

// A table is output for people.
type table struct {
	w       *tabwriter.Writer
	started bool
	titles  []string
}

func (a *app) table(titles ...string) *table {
	return &table{w: tabwriter.NewWriter(a.stdout, 0, 8, 3, ' ', 0), titles: titles}
}

// row adds a line, after the titles if it is the first.
func (t *table) row(cells ...string) {
	if !t.started {
		t.started = true
		fmt.Fprintln(t.w, strings.Join(t.titles, "\t"))
	}
	for i, c := range cells {
		if cells[i] = clean(c); c == "" {
			cells[i] = "-"
		}
	}
	fmt.Fprintln(t.w, strings.Join(cells, "\t"))
}

func (t *table) flush() error { return t.w.Flush() }

// clean makes text from afar fit for a terminal: it cannot move the cursor or
// forge lines.
func clean(s string) string {
	return strings.Map(func(r rune) rune {
		if unicode.IsControl(r) || r == unicode.ReplacementChar {
			return ' '
		}
		return r
	}, s)
}

// structured reports whether the output is for programs.
func (a *app) structured() bool { return a.output == "json" || a.output == "yaml" }

func (a *app) checkOutput() error {
	if slices.Contains(append([]string{""}, formats...), a.output) {
		return nil
	}
	return usagef("unknown output %q: choose %s", a.output, strings.Join(formats, ", "))
}

// write puts v out in the form for programs that was asked for.
func (a *app) write(v any) error {
	if a.output == "yaml" {
		b, err := yaml.Marshal(v)
		if err != nil {
			return fmt.Errorf("write yaml: %w", err)
		}
		_, err = a.stdout.Write(b)
		return err
	}
	return writeJSON(a.stdout, v)
}

func writeJSON(w io.Writer, v any) error {
	e := json.NewEncoder(w)
	e.SetIndent("", "  ")
	e.SetEscapeHTML(false)
	return e.Encode(v)
}

// writeItems puts out one document as it is, and several as a list.
func (a *app) writeItems(items []client.Item, single bool) error {
	if single && len(items) == 1 {
		return a.write(items[0])
	}
	return a.write(map[string]any{"items": items})
}

// age words a duration as kubectl does: coarser the longer.
func age(since, now time.Time) string {
	if since.IsZero() {
		return ""
	}
	d := max(0, now.Sub(since))
	switch {
	case d < 2*time.Minute:
		return fmt.Sprintf("%ds", int(d.Seconds()))
	case d < 10*time.Minute:
		return fmt.Sprintf("%dm%ds", int(d.Minutes()), int(d.Seconds())%60)
	case d < 3*time.Hour:
		return fmt.Sprintf("%dm", int(d.Minutes()))
	case d < 48*time.Hour:
		return fmt.Sprintf("%dh", int(d.Hours()))
	}
	return fmt.Sprintf("%dd", int(d.Hours()/24))
}
