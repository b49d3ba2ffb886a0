package openstack_test

import (
	"encoding/json"
	"fmt"
	"log/slog"
	"os"
	"testing"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/driver/drivertest"
	"github.com/kontor-cloud/kontor/driver/openstack"
)

var (
	us   = driver.Owner{Exchange: "x1exchange000001", Region: "lab-1"}
	them = driver.Owner{Exchange: "x2exchange000002", Region: "lab-1"}
)

// lab is where the real OpenStack is, or a reason to skip the test. The
// environment has its clouds.yaml, and may name the cloud, image and flavor.
type lab struct{ clouds, cloud, image, sku string }

func needLab(t *testing.T) lab {
	t.Helper()
	l := lab{os.Getenv("KONTOR_LAB_OPENSTACK_CLOUDS"), "demo", "testbed", "t1.nano"}
	switch {
	case os.Getenv("KONTOR_LAB") == "":
		t.Skip("set KONTOR_LAB=1 to run against a real OpenStack")
	case l.clouds == "":
		t.Skip("set KONTOR_LAB_OPENSTACK_CLOUDS to the path of a clouds.yaml")
	}
	for name, field := range map[string]*string{"CLOUD": &l.cloud, "IMAGE": &l.image, "SKU": &l.sku} {
		if v := os.Getenv("KONTOR_LAB_OPENSTACK_" + name); v != "" {
			*field = v
		}
	}
	return l
}

func (l lab) open(t *testing.T, owner driver.Owner) *driver.Cloud {
	t.Helper()
	config := fmt.Sprintf(`{"cloud": %q, "clouds": %q, "configDrive": false}`, l.cloud, l.clouds)
	c, err := openstack.Open(t.Context(), owner, t.TempDir(), json.RawMessage(config), slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() }) //nolint:errcheck // nothing is to be lost
	return c
}

// TestLabOpenStack runs against a real cloud, whose project it leaves as it
// found it; what a run that was killed has left goes first.
func TestLabOpenStack(t *testing.T) {
	l := needLab(t)
	for _, owner := range []driver.Owner{us, them} {
		sweep(t, l.open(t, owner))
	}
	t.Run("GuestServesHTTP", func(t *testing.T) { guestServes(t, l) })
	t.Run("conformance", func(t *testing.T) {
		drivertest.Run(t, drivertest.Platform{
			Open:    func(t *testing.T) *driver.Cloud { return l.open(t, us) },
			Foreign: func(t *testing.T) *driver.Cloud { return l.open(t, them) },
			Image:   l.image, InstanceSKU: l.sku, Slow: true,
		})
	})
}
