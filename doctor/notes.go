package doctor

import (
	"context"
	"crypto/rand"
	"fmt"
	"os"
	"path/filepath"
	"strings"

	"golang.org/x/sys/unix"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// Notes are files, one a run, named by the region of its owner. One is written
// before the run makes anything and removed when nothing is left.
type notes struct {
	dir  string
	lock *os.File
}

// newRegion names the owner of a run; its things have names that begin so.
func newRegion() string { return "probe-" + strings.ToLower(rand.Text()[:10]) }

// openNotes keeps others from examining in the same directory.
func openNotes(dir string) (*notes, error) {
	at := filepath.Join(dir, "doctor")
	if err := os.MkdirAll(at, 0o700); err != nil {
		return nil, err
	}
	f, err := os.OpenFile(filepath.Join(at, "lock"), os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX|unix.LOCK_NB); err != nil {
		f.Close()
		return nil, fault.Conflict.Errorf("another examination runs there: %w", err)
	}
	return &notes{at, f}, nil
}

func (n *notes) close() { n.lock.Close() }

func (n *notes) write(region string) error {
	f, err := os.OpenFile(filepath.Join(n.dir, region), os.O_CREATE|os.O_WRONLY, 0o600)
	if err != nil {
		return err
	}
	defer f.Close()
	return f.Sync()
}

func (n *notes) remove(region string) error { return os.Remove(filepath.Join(n.dir, region)) }

// regions are those of runs that may have left something.
func (n *notes) regions() ([]string, error) {
	all, err := filepath.Glob(filepath.Join(n.dir, "probe-*"))
	for i := range all {
		all[i] = filepath.Base(all[i])
	}
	return all, err
}

// leftovers removes what earlier runs have left.
func (x *examination) leftovers(ctx context.Context, n *notes) (string, error) {
	regions, err := n.regions()
	if err != nil {
		return "", err
	}
	for _, region := range regions {
		if err := x.removeAll(ctx, region); err != nil {
			return "", fmt.Errorf("remove what run %s has left: %w", region, err)
		}
		if err := n.remove(region); err != nil {
			return "", err
		}
	}
	if len(regions) == 0 {
		return "earlier runs have left nothing", nil
	}
	return fmt.Sprintf("removed what %d earlier runs may have left", len(regions)), nil
}

func (x *examination) removeAll(ctx context.Context, region string) error {
	cloud, err := x.connect(ctx, driver.Owner{Exchange: Exchange, Region: region})
	if err != nil {
		return err
	}
	defer cloud.Close() //nolint:errcheck // the sweep has told
	s := sweep{region: region, kinds: kindsOf(cloud), step: x.Step, limit: limiter(cloud.Limits)}
	ctx, stop := context.WithTimeout(ctx, x.Patience)
	defer stop()
	return s.run(ctx)
}
