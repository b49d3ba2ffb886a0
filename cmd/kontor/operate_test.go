package main

import (
	"bufio"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strconv"
	"strings"
	"syscall"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/kontor-cloud/kontor/certificate/certificatetest"
	"github.com/kontor-cloud/kontor/db/dbtest"
)

// The operators' page is a script: each block of it that is marked "sh" is run by one shell, in the
// page's order, with the real binary, and a block marked "text" right after it is all that it shows, where
// … stands for anything. A comment "not run: WHY" before a block says that it needs what no test has.

const operatorsPage = "../../docs/operate.md"

// A step is a block of the page.
type step struct {
	section string
	line    int
	script  string
	shows   *string // nil if the page does not say
	notRun  string
}

var notRun = regexp.MustCompile(`^<!-- not run: (.+) -->$`)

// steps reads the page; a block of another kind is an error, as nobody would know whether it is right.
func steps(t *testing.T) (all []step) {
	t.Helper()
	page, err := os.ReadFile(operatorsPage)
	must(t, err)
	section, why, adjacent := "", "", false
	lines := strings.Split(string(page), "\n")
	for i := 0; i < len(lines); i++ {
		l := lines[i]
		switch m := notRun.FindStringSubmatch(l); {
		case m != nil:
			why = m[1]
			continue
		case strings.HasPrefix(l, "## "):
			section = l[3:]
		case strings.HasPrefix(l, "```"):
			start := i
			for i++; lines[i] != "```"; i++ {
			}
			body := strings.Join(lines[start+1:i], "\n")
			switch {
			case l == "```sh":
				all = append(all, step{section: section, line: start + 1, script: body, notRun: why})
				why, adjacent = "", true
				continue
			case l == "```text" && adjacent:
				all[len(all)-1].shows = &body
			default:
				t.Errorf("%s:%d: %s is neither a step (sh) nor what the step before it shows (text)", operatorsPage, start+1, l)
			}
		case l == "":
			continue
		}
		if why != "" {
			t.Errorf("%s:%d: what is not run?", operatorsPage, i)
		}
		why, adjacent = "", false
	}
	return all
}

// A stranger tries the page: a directory in place of the root of a machine, and free ports.
type stranger struct {
	t      *testing.T
	root   string
	places []string // what the page says, and what it is here, in turn
	bash   *exec.Cmd
	in     io.WriteCloser
	out    *bufio.Reader
}

// TestOperatorsPageRuns does what docs/operate.md says.
func TestOperatorsPageRuns(t *testing.T) {
	t.Parallel()
	postgres := dbtest.PostgresURL(t)
	g, err := newGiver()
	must(t, err)
	t.Cleanup(g.Close)
	g.client, g.groups = "kontor-cli", []string{"kontor-acme"}
	all := steps(t)
	if len(all) < 28 {
		t.Fatalf("the page has only %d steps", len(all))
	}
	r := newStranger(t, "postgres://kontor@db.example.eu/kontor", postgres, "https://login.clinic.example", g.URL)
	for i, s := range all {
		if s.notRun != "" {
			t.Logf("%s:%d: not run: %s", operatorsPage, s.line, s.notRun)
			continue
		}
		r.run(i, s)
	}
}

func newStranger(t *testing.T, places ...string) *stranger {
	t.Helper()
	r := &stranger{t: t, root: t.TempDir(), places: places}
	for _, dir := range []string{"/var/lib/", "/etc/kontor/", "/srv/"} {
		must(t, os.MkdirAll(r.root+filepath.Dir(dir), 0o755))
		r.places = append(r.places, dir, r.root+dir)
	}
	must(t, os.MkdirAll(r.root+"/root", 0o700))
	for _, port := range []string{"8080", "8443", "9464"} {
		r.places = append(r.places, "127.0.0.1:"+port, fmt.Sprintf("127.0.0.1:%d", certificatetest.FreePort(t)))
	}
	var sed strings.Builder
	for i := 0; i < len(r.places); i += 2 {
		fmt.Fprintf(&sed, "s|%s|%s|g\n", r.places[i], strings.ReplaceAll(r.places[i+1], "&", `\&`))
	}
	must(t, os.WriteFile(r.root+"/places.sed", []byte(sed.String()), 0o600))
	tree := r.packaged()
	standIns, err := filepath.Abs("testdata/operate")
	must(t, err)
	r.bash = exec.CommandContext(t.Context(), "bash", "--norc", "--noprofile")
	r.bash.Dir = r.root + "/root"
	r.bash.Env = []string{
		"PATH=" + standIns + ":" + r.root + "/usr/bin:" + r.root + "/tools:" + os.Getenv("PATH"), "HOME=" + r.bash.Dir,
		"SCRATCH=" + r.root, "PACKAGE_TREE=" + tree, "PACKAGE_FILE=" + os.Getenv("KONTOR_TEST_PACKAGE"),
	}
	r.in, err = r.bash.StdinPipe()
	must(t, err)
	out, err := r.bash.StdoutPipe()
	must(t, err)
	r.bash.Stderr = r.bash.Stdout
	r.out = bufio.NewReader(out)
	must(t, r.bash.Start())
	t.Cleanup(r.close)
	_, err = io.WriteString(r.in, "set -eEuo pipefail; trap 'echo \"failed with $?: $BASH_COMMAND\" >&2' ERR\n")
	must(t, err)
	return r
}

// packaged lays out what the Debian package would, with a binary of now, and age-keygen beside it.
func (r *stranger) packaged() string {
	r.t.Helper()
	tree := r.root + "/package"
	for out, of := range map[string]string{tree + "/usr/bin/kontor": ".", r.root + "/tools/age-keygen": "filippo.io/age/cmd/age-keygen"} {
		if b, err := exec.CommandContext(r.t.Context(), "go", "build", "-buildvcs=false", "-o", out, of).CombinedOutput(); err != nil {
			r.t.Fatalf("build %s: %v\n%s", of, err, b)
		}
	}
	var conf struct {
		Contents []struct{ Src, Dst string }
	}
	b, err := os.ReadFile("../../deploy/debian/nfpm.yaml")
	must(r.t, err)
	must(r.t, yaml.Unmarshal(b, &conf))
	for _, c := range conf.Contents {
		if strings.Contains(c.Src, "${") {
			continue // made by hack/release
		}
		b, err := os.ReadFile(filepath.Join("../..", c.Src))
		must(r.t, err)
		must(r.t, os.MkdirAll(filepath.Dir(tree+c.Dst), 0o755))
		must(r.t, os.WriteFile(tree+c.Dst, b, 0o644))
	}
	return tree
}

// run does a step, and compares what it shows.
func (r *stranger) run(i int, s step) {
	r.t.Helper()
	file, end := fmt.Sprintf("%s/step-%d.sh", r.root, i), fmt.Sprintf("the end of step %d", i)
	must(r.t, os.WriteFile(file, []byte(strings.NewReplacer(r.places...).Replace(s.script)), 0o600))
	began := time.Now()
	late := time.AfterFunc(3*time.Minute, func() { _ = r.bash.Process.Kill() })
	defer late.Stop()
	if _, err := fmt.Fprintf(r.in, ". %s </dev/null; echo; echo %s\n", file, end); err != nil {
		r.t.Fatal(err)
	}
	var shown strings.Builder
	for {
		l, err := r.out.ReadString('\n')
		if strings.TrimSpace(l) == end {
			break
		}
		shown.WriteString(l)
		if err != nil {
			r.t.Fatalf("%s:%d (%s), after %s:\n%s\n%s", operatorsPage, s.line, s.section, time.Since(began).Round(time.Millisecond), s.script, r.said(shown.String()))
		}
	}
	said := r.said(shown.String())
	r.t.Logf("%s:%d (%s): %s\n%s", operatorsPage, s.line, s.section, time.Since(began).Round(time.Millisecond), said)
	if s.shows != nil && !asShown(*s.shows, said) {
		r.t.Errorf("%s:%d (%s):\n%s\nshows\n%s\nwhere the page has\n%s", operatorsPage, s.line, s.section, s.script, said, *s.shows)
	}
}

// said gives an output with the places of the page.
func (r *stranger) said(text string) string {
	var back []string
	for i := 0; i < len(r.places); i += 2 {
		back = append(back, r.places[i+1], r.places[i])
	}
	return strings.TrimSpace(strings.NewReplacer(back...).Replace(text))
}

var (
	spaces   = regexp.MustCompile(`[ \t]+`)
	anyLines = regexp.MustCompile(`(?m)\n?^…$\n?`)
)

// asShown compares an output with that of the page, in which … is anything, and as a line any number of lines. How
// wide columns are does not matter.
func asShown(page, said string) bool {
	one := func(s string) string { return strings.TrimSpace(spaces.ReplaceAllString(s, " ")) }
	parts := strings.Split(anyLines.ReplaceAllString(one(page), "…"), "…")
	for i := range parts {
		parts[i] = regexp.QuoteMeta(parts[i])
	}
	return regexp.MustCompile(`(?s)^` + strings.Join(parts, `.*`) + `$`).MatchString(one(said))
}

// close ends the shell and what it has started.
func (r *stranger) close() {
	r.in.Close()
	_ = r.bash.Wait() // a step that failed has been told of
	files, err := filepath.Glob(r.root + "/run/*.pid")
	must(r.t, err)
	for _, f := range files {
		b, err := os.ReadFile(f)
		must(r.t, err)
		pid, err := strconv.Atoi(strings.TrimSpace(string(b)))
		must(r.t, err)
		_ = syscall.Kill(pid, syscall.SIGKILL)
	}
	if !r.t.Failed() {
		return
	}
	for _, f := range files {
		log, err := exec.Command("tail", "-n", "20", strings.TrimSuffix(f, ".pid")+".log").CombinedOutput()
		r.t.Logf("%s: %v\n%s", filepath.Base(f), err, log)
	}
}

func TestAsShown(t *testing.T) {
	for _, c := range []struct {
		page, said string
		want       bool
	}{
		{"a  b", "a b\n", true}, {"a b", "a b c", false}, {"a …", "a b\nc", true}, {"…\nb …\n…", "a\nb c\nd", true}, {"…\nb", "b", true}, {"b\n…", "b", true}, {"b …\nc", "b c", false}, {"(a)", "a", false}, {"a … c", "a b", false},
	} {
		if got := asShown(c.page, c.said); got != c.want {
			t.Errorf("%q for %q: %v", c.said, c.page, got)
		}
	}
}
