package openstack_test

import (
	"encoding/json"
	"errors"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/driver/drivertest"
	"github.com/kontor-cloud/kontor/driver/openstack"
	"github.com/kontor-cloud/kontor/fault"
)

// open connects to a made up cloud with a password in a file.
func (s *stack) open(t *testing.T, owner driver.Owner) *driver.Cloud {
	t.Helper()
	dir := t.TempDir()
	if err := os.WriteFile(filepath.Join(dir, "password"), []byte("s3cret\n"), 0o600); err != nil {
		t.Fatal(err)
	}
	config := `{"auth": {"url": "` + s.URL + `/v3/", "username": "u", "passwordFile": "password", "project": "p"}}`
	c, err := openstack.Open(t.Context(), owner, dir, json.RawMessage(config), slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { c.Close() }) //nolint:errcheck // nothing hangs on it
	c.Subnets, c.NICs = nil, nil    // the made up Neutron has none
	return c
}

func TestConformanceOfNetworksAndGroups(t *testing.T) {
	s := newStack(t)
	drivertest.Run(t, drivertest.Platform{
		Open:    func(t *testing.T) *driver.Cloud { return s.open(t, us) },
		Foreign: func(t *testing.T) *driver.Cloud { return s.open(t, them) },
	})
}

func TestServicesThatAreMissingAreMissingKeepers(t *testing.T) {
	c := newStack(t).open(t, us)
	if c.Volumes != nil || c.Images != nil || c.Instances != nil || c.Console != nil {
		t.Error("without Cinder and Glance there are volumes, images or machines")
	}
	if c.PublicIPs != nil || c.RouteTables != nil || c.Gateways != nil {
		t.Error("without routers there are public addresses, route tables or gateways")
	}
}

func TestInventoryTellsGPUsAndWhatQuotasLeave(t *testing.T) {
	s := newStack(t)
	c := s.open(t, us)
	inv, err := c.Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	if s := inv.InstanceSKUs[0]; s.Name != "small-1" || s.RAMGiB != 2 || s.GPU == nil || s.GPU.Count != 2 || s.GPU.Model != "a100" {
		t.Errorf("the flavor Small_1 is offered as %+v", s)
	}
	if f := inv.Free; f.VCPU == nil || *f.VCPU != 17 || f.RAMGiB != nil {
		t.Errorf("free is %+v, want 17 processors and memory without limit", f)
	}
	s.machines = 10
	full, err := c.Inventory(t.Context())
	if err != nil || full.Free.VCPU == nil || *full.Free.VCPU != 0 || full.Free.RAMGiB == nil || *full.Free.RAMGiB != 0 {
		t.Errorf("with as many machines as are allowed, free is %+v, %v", full.Free, err)
	}
	if !strings.Contains(inv.Platform, "2.61") {
		t.Errorf("the microversion is that of %q, want the ceiling of the profile", inv.Platform)
	}
}

func TestAnswerLostAfterCreateLeavesOneThing(t *testing.T) {
	s := newStack(t)
	c := s.open(t, us)
	lost := false
	s.trouble = func(r *http.Request) *trouble {
		if r.Method != http.MethodPost || lost {
			return nil
		}
		lost = true
		return &trouble{status: http.StatusGatewayTimeout, done: true}
	}
	want := driver.Network{Meta: meta("n1")}
	if _, err := c.Networks.Ensure(t.Context(), want); !errors.Is(err, fault.Unavailable) {
		t.Fatalf("Ensure: %v, want unavailable", err)
	}
	settle(t, c.Networks, want)
	if n := s.posts["networks"]; n != 1 {
		t.Errorf("%d networks were made", n)
	}
}

func TestTheYoungerOfTwoGoes(t *testing.T) {
	s := newStack(t)
	c := s.open(t, us)
	elder := settle(t, c.Networks, driver.Network{Meta: meta("n1")})
	twin := row{"id": "~", "project_id": theProject, "tags": []string{}, "created_at": time.Now().Add(time.Minute).UTC().Format(time.RFC3339)}
	twin["description"] = s.rows["networks"][0]["description"]
	s.rows["networks"] = append([]row{twin}, s.rows["networks"]...)
	for n, err := range c.Networks.List(t.Context()) {
		if err != nil || n.Native != elder.Native || n.State != driver.Building {
			t.Errorf("of two, %s is listed as %s, %v; want the elder, as one that needs work", n.Native, n.State, err)
		}
	}
	settle(t, c.Networks, driver.Network{Meta: meta("n1")})
	if left := s.rows["networks"]; len(left) != 1 || left[0]["id"] != elder.Native {
		t.Errorf("left are %v", left)
	}
}

func TestListThatBreaksOffIsAnError(t *testing.T) {
	s := newStack(t)
	c := s.open(t, us)
	for _, id := range []string{"a", "b", "c"} {
		settle(t, c.Networks, driver.Network{Meta: meta(id)})
	}
	s.trouble = func(r *http.Request) *trouble {
		if r.URL.Query().Get("marker") == "" {
			return nil
		}
		return &trouble{status: http.StatusInternalServerError}
	}
	var last error
	for _, err := range c.Networks.List(t.Context()) {
		last = err
	}
	if !errors.Is(last, fault.Unavailable) {
		t.Errorf("the second page failed, and the list says %v", last)
	}
}

func TestRefusalsHaveKinds(t *testing.T) {
	s := newStack(t)
	c := s.open(t, us)
	for _, row := range []struct {
		trouble
		kind  fault.Kind
		after time.Duration
		says  string
	}{
		{trouble{status: 429, header: http.Header{"Retry-After": {"7"}}}, fault.Unavailable, 7 * time.Second, "429"},
		{trouble{status: 413, header: http.Header{"Retry-After": {"3"}}}, fault.Unavailable, 3 * time.Second, "413"},
		{trouble{status: 503}, fault.Unavailable, 0, "503"},
		{trouble{status: 409, body: `{"NeutronError":{"type":"OverQuota","message":"Quota exceeded for resources: ['network'].","detail":""}}`}, fault.Exhausted, 0, "Quota exceeded"},
		{trouble{status: 403, body: `{"forbidden":{"code":403,"message":"Quota exceeded for cores"}}`}, fault.Exhausted, 0, "cores"},
		{trouble{status: 403, body: `{"NeutronError":{"type":"PolicyNotAuthorized","message":"rule:create_network is disallowed by policy","detail":""}}`}, fault.Denied, 0, "rule:create_network"},
		{trouble{status: 403}, fault.Denied, 0, "POST /network/v2.0/networks"},
		{trouble{status: 409, body: `{"NeutronError":{"type":"X","message":"in use","detail":""}}`}, fault.Conflict, 0, "in use"},
		{trouble{status: 404}, fault.Conflict, 0, "gone"},
		{trouble{status: 400, body: `{"NeutronError":{"type":"X","message":"no such thing","detail":""}}`}, fault.Invalid, 0, "no such thing"},
	} {
		s.trouble = func(r *http.Request) *trouble {
			if r.Method == http.MethodPost && strings.Contains(r.URL.Path, "networks") {
				return &row.trouble
			}
			return nil
		}
		_, err := c.Networks.Ensure(t.Context(), driver.Network{Meta: meta("n1")})
		if fault.KindOf(err) != row.kind || fault.After(err) != row.after || err == nil || !strings.Contains(err.Error(), row.says) {
			t.Errorf("%d %s: %v (%s, after %v), want %s after %v with %q", row.status, row.body, err, fault.KindOf(err), fault.After(err), row.kind, row.after, row.says)
		}
	}
}

func TestBadConfigurationIsRefused(t *testing.T) {
	for _, text := range []string{
		`{}`, `{"cloud": "a", "auth": {"url": "http://x"}}`, `{"cluod": "a"}`, `{"cloud": "a", "profile": "aws"}`,
		`{"cloud": "a", "flavors": ["["]}`, `{"cloud": "a", "antiAffinity": "maybe"}`, `{"cloud": "a"}`,
	} {
		_, err := openstack.Open(t.Context(), us, t.TempDir(), json.RawMessage(text), slog.Default())
		if !errors.Is(err, fault.Invalid) {
			t.Errorf("%s: %v, want invalid", text, err)
		}
	}
}
