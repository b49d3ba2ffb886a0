package main

import (
	"io"
	"io/fs"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
)

// TestOperatorsPageNamesWhatThereIs reads, as the binary would, each command of the page that TestOperatorsPageRuns
// cannot run, and finds each script and test which the page says executes a step.
func TestOperatorsPageNamesWhatThereIs(t *testing.T) {
	b, err := os.ReadFile(operatorsPage)
	must(t, err)
	page := string(b)
	for _, s := range steps(t) {
		if s.notRun == "" {
			continue
		}
		page += s.notRun
		for line := range strings.Lines(s.script) {
			if args, ok := strings.CutPrefix(line, "kontor "); ok {
				if err := understood(args); err != nil {
					t.Errorf("kontor %s: %v", strings.TrimSpace(args), err)
				}
			}
		}
	}
	tests := testNames(t)
	for _, name := range regexp.MustCompile(`\b(Test[A-Z]\w+)`).FindAllStringSubmatch(page, -1) {
		if !tests[name[1]] {
			t.Errorf("there is no %s", name[1])
		}
	}
	for _, name := range regexp.MustCompile(`[a-z]+\.txtar`).FindAllString(page, -1) {
		if _, err := os.Stat(filepath.Join("testdata", name)); err != nil {
			t.Error(err)
		}
	}
}

// understood finds the command of a line, and reads its flags.
func understood(line string) error {
	line = regexp.MustCompile(`\s#.*|[|>&].*|…`).ReplaceAllString(line, "")
	root := rootCommand(&app{stdin: strings.NewReader(""), stdout: io.Discard, stderr: io.Discard})
	c, args, err := root.Find(strings.Fields(line))
	if err != nil {
		return err
	}
	if c == root || !c.Runnable() && c.HasSubCommands() {
		return usagef("%q is no command", line)
	}
	if err := c.ParseFlags(args); err != nil {
		return err
	}
	return c.ValidateArgs(c.Flags().Args())
}

// testNames are those of all tests.
func testNames(t *testing.T) map[string]bool {
	t.Helper()
	found := map[string]bool{}
	one := regexp.MustCompile(`(?m)^func (Test\w+)\(`)
	must(t, filepath.WalkDir("../..", func(path string, d fs.DirEntry, err error) error {
		if err != nil || d.IsDir() || !strings.HasSuffix(path, "_test.go") {
			return err
		}
		b, err := os.ReadFile(path)
		for _, m := range one.FindAllSubmatch(b, -1) {
			found[string(m[1])] = true
		}
		return err
	}))
	return found
}
