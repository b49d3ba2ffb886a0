package openstack_test

import (
	"context"
	"encoding/json"
	"encoding/pem"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/gophercloud/gophercloud/v2"
	services "github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/config"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/applicationcredentials"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/driver/openstack"
	"github.com/kontor-cloud/kontor/fault"
)

func TestCloudsYAMLNamesItsAuthority(t *testing.T) {
	s := &stack{rows: map[string][]row{}, posts: map[string]int{}}
	s.Server = httptest.NewTLSServer(http.HandlerFunc(s.serve))
	s.Config.ErrorLog = slog.NewLogLogger(slog.DiscardHandler, 0) // of handshakes that are to fail
	t.Cleanup(s.Close)
	dir := t.TempDir()
	authority := filepath.Join(dir, "authority.pem")
	write(t, authority, string(pem.EncodeToMemory(&pem.Block{Type: "CERTIFICATE", Bytes: s.Certificate().Raw})))
	for _, row := range []struct {
		trust string
		kind  fault.Kind
		says  string
	}{
		{"cacert: " + authority, "", ""},
		{"region_name: ''", fault.Unavailable, "certificate"},
		{"verify: false", fault.Invalid, "cacert"},
	} {
		write(t, filepath.Join(dir, "clouds.yaml"), fmt.Sprintf(
			"clouds:\n  acme:\n    auth: {auth_url: %s/v3, username: u, password: s3cret, project_name: p, user_domain_name: Default, project_domain_name: Default}\n    %s\n", s.URL, row.trust))
		c, err := openstack.Open(t.Context(), us, dir, json.RawMessage(`{"cloud": "acme"}`), slog.Default())
		if fault.KindOf(err) != row.kind || err != nil && !strings.Contains(err.Error(), row.says) {
			t.Errorf("%s: %v, want %q with %q", row.trust, err, row.kind, row.says)
		}
		if err == nil {
			c.Close() //nolint:errcheck // nothing hangs on it
		}
	}
}

func write(t *testing.T, path, text string) {
	t.Helper()
	if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
}

// TestLabLoginOnOpenStack: whichever way somebody logs in, he finds the same
// project, until his credential is taken away.
func TestLabLoginOnOpenStack(t *testing.T) {
	l := needLab(t)
	want, err := l.open(t, us).Inventory(t.Context())
	if err != nil {
		t.Fatal(err)
	}
	in, where, trust, err := clouds.Parse(clouds.WithCloudName(l.cloud), clouds.WithLocations(l.clouds))
	if err != nil {
		t.Fatal(err)
	}
	p, err := config.NewProviderClient(t.Context(), in, config.WithTLSConfig(trust))
	if err != nil {
		t.Fatal(err)
	}
	id, secret, revoke := applicationCredential(t, p)
	dir := t.TempDir()
	write(t, filepath.Join(dir, "password"), in.Password+"\n")
	write(t, filepath.Join(dir, "secret"), secret+"\n")
	byPassword := openstack.Auth{
		URL: in.IdentityEndpoint, Username: in.Username, PasswordFile: "password", UserDomain: in.DomainName,
		Project: in.Scope.ProjectName, ProjectID: in.Scope.ProjectID, ProjectDomain: in.Scope.DomainName,
	}
	byCredential := openstack.Auth{URL: in.IdentityEndpoint, ApplicationCredentialID: id, SecretFile: "secret"}
	for _, auth := range []openstack.Auth{byPassword, byCredential} {
		have, err := logIn(t, dir, openstack.Config{Auth: auth, Region: where.Region})
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(want, have); d != "" {
			t.Errorf("by clouds.yaml (-), by %+v:\n%s", auth, d)
		}
	}
	revoke()
	if _, err := logIn(t, dir, openstack.Config{Auth: byCredential, Region: where.Region}); !errors.Is(err, fault.Denied) {
		t.Errorf("with an application credential that was taken away: %v", err)
	}
	write(t, filepath.Join(dir, "password"), "wrong")
	if _, err := logIn(t, dir, openstack.Config{Auth: byPassword, Region: where.Region}); !errors.Is(err, fault.Denied) {
		t.Errorf("with a wrong password: %v", err)
	}
}

// logIn reads what a project has to offer.
func logIn(t *testing.T, dir string, c openstack.Config) (*driver.Inventory, error) {
	t.Helper()
	b, err := json.Marshal(c)
	if err != nil {
		t.Fatal(err)
	}
	cloud, err := openstack.Open(t.Context(), us, dir, b, slog.New(slog.NewTextHandler(t.Output(), nil)))
	if err != nil {
		return nil, err
	}
	t.Cleanup(func() { cloud.Close() }) //nolint:errcheck // nothing hangs on it
	return cloud.Inventory(t.Context())
}

// applicationCredential has Keystone make one, with the rights of its maker.
func applicationCredential(t *testing.T, p *gophercloud.ProviderClient) (id, secret string, revoke func()) {
	t.Helper()
	keystone, err := services.NewIdentityV3(p, gophercloud.EndpointOpts{})
	if err != nil {
		t.Fatal(err)
	}
	token, _ := p.GetAuthResult().(tokens.CreateResult)
	user, err := token.ExtractUser()
	if err != nil {
		t.Fatal(err)
	}
	made, err := applicationcredentials.Create(t.Context(), keystone, user.ID, applicationcredentials.CreateOpts{Name: "kontor-lab-" + t.Name()}).Extract()
	if err != nil {
		t.Fatal(err)
	}
	gone := false
	revoke = func() {
		if gone {
			return
		}
		gone = true
		if err := applicationcredentials.Delete(context.WithoutCancel(t.Context()), keystone, user.ID, made.ID).ExtractErr(); err != nil {
			t.Error(err)
		}
	}
	t.Cleanup(revoke)
	return made.ID, made.Secret, revoke
}
