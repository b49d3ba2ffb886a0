package openstack

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"log/slog"
	"net/http"
	"os"
	"path/filepath"
	"time"

	"github.com/gophercloud/gophercloud/v2"
	"github.com/gophercloud/gophercloud/v2/openstack"
	"github.com/gophercloud/gophercloud/v2/openstack/config/clouds"
	"github.com/gophercloud/gophercloud/v2/openstack/identity/v3/tokens"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/extensions/external"
	"github.com/gophercloud/gophercloud/v2/openstack/networking/v2/networks"
	"github.com/gophercloud/gophercloud/v2/openstack/utils"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// pageSize is how many things one page of a list has.
const pageSize = 500

// An account is a project of a cloud, with a client for each service.
type account struct {
	owner   driver.Owner
	config  Config
	profile profile
	log     *slog.Logger
	http    *http.Client
	project string // its id

	compute, network *gophercloud.ServiceClient
	volume, image    *gophercloud.ServiceClient // nil where there is no such service

	extensions map[string]bool // of Neutron
	external   string          // id of the network with public addresses; "" if there is none
	locks      locks
	goods      goods
}

// connect logs in and finds out what there is.
func connect(ctx context.Context, owner driver.Owner, c Config, log *slog.Logger) (*account, error) {
	a := &account{owner: owner, config: c, profile: profiles[c.Profile], log: log}
	auth, where, trust, err := c.credentials()
	if err != nil {
		return nil, err
	}
	if a.http, err = c.client(trust); err != nil {
		return nil, err
	}
	provider, err := openstack.NewClient(auth.IdentityEndpoint)
	if err != nil {
		return nil, fault.Invalid.Errorf("configuration of driver openstack: %w", err)
	}
	provider.HTTPClient = *a.http
	provider.UserAgent.Prepend("kontor")
	if err := openstack.Authenticate(ctx, provider, auth); isCode(err, http.StatusNotFound) && auth.ApplicationCredentialID != "" {
		return nil, fault.Denied.Errorf("log in at %s: there is no such application credential, or no Keystone: %w", auth.IdentityEndpoint, err)
	} else if err != nil {
		return nil, kindOf(err, "log in at "+auth.IdentityEndpoint)
	}
	if a.project, err = projectOf(provider); err != nil {
		return nil, err
	}
	if err := a.services(ctx, provider, where); err != nil {
		return nil, err
	}
	return a, a.discover(ctx)
}

// credentials gives what is needed to log in, and whose certificates to trust.
// The SDK would look into the environment for all of it by itself; it is let do
// so for certificates alone.
func (c *Config) credentials() (gophercloud.AuthOptions, gophercloud.EndpointOpts, *tls.Config, error) {
	where := gophercloud.EndpointOpts{Region: c.Region}
	if c.Cloud == "" {
		auth, err := c.Auth.options()
		return auth, where, new(tls.Config), err
	}
	auth, where, trust, err := clouds.Parse(clouds.WithCloudName(c.Cloud), clouds.WithLocations(c.Clouds),
		clouds.WithPublicLocations(filepath.Join(filepath.Dir(c.Clouds), "clouds-public.yaml")),
		clouds.WithRegion(c.Region), clouds.WithEndpointType(""))
	switch {
	case err != nil:
		return auth, where, trust, fault.Invalid.Errorf("read %s: %w", c.Clouds, err)
	case trust.InsecureSkipVerify:
		return auth, where, trust, fault.Invalid.Errorf("%s: cloud %q says verify: false, which would give its credentials to anybody; name the certificate of its authority as cacert", c.Clouds, c.Cloud)
	}
	auth.AllowReauth = true
	return auth, where, trust, nil
}

func (a Auth) options() (gophercloud.AuthOptions, error) {
	password, err1 := secret(a.PasswordFile)
	key, err2 := secret(a.SecretFile)
	o := gophercloud.AuthOptions{
		IdentityEndpoint: a.URL, AllowReauth: true,
		ApplicationCredentialID: a.ApplicationCredentialID, ApplicationCredentialSecret: key,
	}
	if a.ApplicationCredentialID != "" {
		return o, errors.Join(err1, err2) // it has its user and its project in it
	}
	domain := a.UserDomain
	if domain == "" {
		domain = "Default"
	}
	o.Username, o.UserID, o.Password = a.Username, a.UserID, password
	if a.UserID == "" {
		o.DomainName = domain
	}
	o.Scope = &gophercloud.AuthScope{ProjectID: a.ProjectID, ProjectName: a.Project}
	if a.ProjectID == "" {
		if o.Scope.DomainName = a.ProjectDomain; a.ProjectDomain == "" {
			o.Scope.DomainName = domain
		}
	}
	return o, errors.Join(err1, err2)
}

// client makes an HTTP client that trusts what the clouds.yaml says, or the
// certificates of CAFile, and waits a minute at most for any answer.
func (c *Config) client(trust *tls.Config) (*http.Client, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	t.Proxy = nil // that would come from the environment
	t.MaxIdleConnsPerHost = 16
	t.TLSClientConfig = trust
	trust.MinVersion = tls.VersionTLS12
	if c.CAFile != "" {
		pool, err := x509.SystemCertPool()
		if err != nil {
			return nil, err
		}
		pem, err := os.ReadFile(c.CAFile)
		if err != nil || !pool.AppendCertsFromPEM(pem) {
			return nil, fault.Invalid.Errorf("read certificates from %s: %v", c.CAFile, err)
		}
		trust.RootCAs = pool
	}
	return &http.Client{Transport: t, Timeout: time.Minute}, nil
}

// projectOf returns the id of the project that the token is for.
func projectOf(p *gophercloud.ProviderClient) (string, error) {
	r, ok := p.GetAuthResult().(tokens.CreateResult)
	if !ok {
		return "", fault.Unsupported.Errorf("this cloud's Keystone is older than v3")
	}
	project, err := r.ExtractProject()
	if err != nil || project == nil {
		return "", fault.Denied.Errorf("log in: the credentials are for no project")
	}
	return project.ID, nil
}

// services finds the services in the catalogue. Compute and network must be
// there; one that does not answer is not taken for one that is missing.
func (a *account) services(ctx context.Context, p *gophercloud.ProviderClient, where gophercloud.EndpointOpts) error {
	for _, s := range []struct {
		name     string
		needed   bool
		client   **gophercloud.ServiceClient
		make     func(*gophercloud.ProviderClient, gophercloud.EndpointOpts) (*gophercloud.ServiceClient, error)
		versions string // the highest to ask for
	}{
		{"Nova", true, &a.compute, openstack.NewComputeV2, a.profile.Compute},
		{"Neutron", true, &a.network, openstack.NewNetworkV2, ""},
		{"Cinder", false, &a.volume, openstack.NewBlockStorageV3, a.profile.Volume},
		{"Glance", false, &a.image, openstack.NewImageV2, ""},
	} {
		c, err := s.make(p, where)
		absent := errors.As(err, new(gophercloud.ErrEndpointNotFound)) || errors.As(err, new(*gophercloud.ErrEndpointNotFound))
		switch {
		case absent && s.needed:
			return fault.Unsupported.Errorf("this cloud's catalogue has no %s: %w", s.name, err)
		case absent:
			continue
		case err != nil:
			return kindOf(err, "find "+s.name)
		}
		if s.versions != "" {
			if err := negotiate(ctx, c, s.versions); err != nil {
				return kindOf(err, "ask "+s.name+" for its version")
			}
		}
		*s.client = c
	}
	return nil
}

// negotiate sets the highest microversion that both sides know.
func negotiate(ctx context.Context, c *gophercloud.ServiceClient, highest string) error {
	root := *c
	var err error
	if root.Endpoint, err = utils.BaseVersionedEndpoint(c.Endpoint); err != nil { // Cinder's has the project in it
		return err
	}
	s, err := utils.GetSupportedMicroversions(ctx, &root)
	if err != nil {
		return err
	}
	c.Microversion = highest
	if ok, err := s.IsSupported(highest); err != nil || !ok {
		c.Microversion = fmt.Sprintf("%d.%d", s.MaxMajor, s.MaxMinor)
	}
	return nil
}

// speaks reports whether a service's version is at least this one.
func speaks(c *gophercloud.ServiceClient, version string) bool {
	var a, b, x, y int
	fmt.Sscanf(c.Microversion, "%d.%d", &a, &b) //nolint:errcheck // 0.0 is too old for anything
	fmt.Sscanf(version, "%d.%d", &x, &y)        //nolint:errcheck // a constant of ours
	return a > x || a == x && b >= y
}

// discover finds out what Neutron can do, and the network with public addresses.
func (a *account) discover(ctx context.Context) error {
	var have struct{ Extensions []struct{ Alias string } }
	r, err := a.network.Get(ctx, a.network.ServiceURL("extensions"), &have, nil) //nolint:bodyclose // the SDK has read and closed it
	if _, _, err = gophercloud.ParseResponse(r, err); err != nil {
		return kindOf(err, "ask Neutron for its extensions")
	}
	a.extensions = map[string]bool{}
	for _, e := range have.Extensions {
		a.extensions[e.Alias] = true
	}
	for _, need := range []string{"security-group", "standard-attr-description", "standard-attr-tag"} {
		if !a.extensions[need] {
			return fault.Unsupported.Errorf("this cloud's Neutron lacks the extension %s", need)
		}
	}
	return a.findExternal(ctx)
}

// findExternal looks for the network that the configuration or the profile
// names, or else the only one that is external.
func (a *account) findExternal(ctx context.Context) error {
	name, yes := a.config.ExternalNetwork, true
	if name == "" {
		name = a.profile.ExternalNetwork
	}
	all, err := pages(ctx, networks.List(a.network, external.ListOptsExt{ListOptsBuilder: networks.ListOpts{Limit: pageSize}, External: &yes}), networks.ExtractNetworks)
	if err != nil {
		return kindOf(err, "list external networks")
	}
	for _, n := range all {
		if n.ID == name || n.Name == name || name == "" && len(all) == 1 {
			a.external = n.ID
		}
	}
	switch {
	case a.external != "":
	case a.config.ExternalNetwork != "":
		return fault.Invalid.Errorf("configuration of driver openstack: no external network %q", name)
	case len(all) > 1:
		return fault.Invalid.Errorf("configuration of driver openstack: externalNetwork must name one of %d networks", len(all))
	}
	return nil
}
