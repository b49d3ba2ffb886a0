package crash

import (
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
)

// A postgres is a server of our own, to do under everybody's feet what servers
// suffer.
type postgres struct {
	t   *testing.T
	dir string
	url string
}

// ownPostgres starts one. It skips the test where there is none.
func ownPostgres(t *testing.T) *postgres {
	t.Helper()
	p := &postgres{t: t, dir: postgresDir(t)}
	out, err := p.run("start")
	if err != nil {
		t.Skipf("no PostgreSQL here: %v", err)
	}
	p.url = out
	return p
}

func postgresDir(t *testing.T) string {
	t.Helper()
	dir, err := os.MkdirTemp("", "kontor-crash-")
	if err != nil {
		t.Fatal(err)
	}
	if err := os.Chmod(dir, 0o711); err != nil { //nolint:gosec // PostgreSQL may run as another user
		t.Fatal(err)
	}
	pg := filepath.Join(dir, "pg")
	t.Cleanup(func() {
		exec.Command("../hack/postgres", "stop", pg).Run() //nolint:errcheck // it ends with the machine at the latest
		os.RemoveAll(dir)
	})
	return pg
}

func (p *postgres) run(verb string, more ...string) (string, error) {
	out, err := exec.Command("../hack/postgres", append([]string{verb, p.dir}, more...)...).Output()
	return strings.TrimSpace(string(out)), err
}

func (p *postgres) do(verb string, more ...string) string {
	p.t.Helper()
	out, err := p.run(verb, more...)
	if err != nil {
		p.t.Fatalf("hack/postgres %s: %v", verb, err)
	}
	return out
}

func (p *postgres) restart() { p.t.Helper(); p.do("restart") }

// standby starts a server that follows p, for which p waits at each commit. Its
// URL names both, whichever is the primary.
func (p *postgres) standby() *postgres {
	p.t.Helper()
	s := &postgres{t: p.t, dir: postgresDir(p.t)}
	s.url = s.do("standby", p.dir)
	return s
}
