package openstack

import (
	"bytes"
	"cmp"
	"encoding/json"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// A Config says how to reach a project of an OpenStack cloud and what of it is
// on offer. Either Cloud or Auth is needed. Secrets are in files of their own.
type Config struct {
	// Profile names a provider whose particulars are known: ovh, otc, infomaniak
	// or generic, which is the default.
	Profile string `json:"profile,omitempty"`

	// Cloud names an entry of the clouds.yaml at Clouds, "clouds.yaml" in the
	// agent's directory by default. A secure.yaml beside it is read, too.
	Cloud  string `json:"cloud,omitempty"`
	Clouds string `json:"clouds,omitempty"`

	// Auth is the alternative to a clouds.yaml.
	Auth Auth `json:"auth,omitzero"`

	// Region is the cloud's region, where it has more than one.
	Region string `json:"region,omitempty"`

	// CAFile holds certificates, in PEM, that the cloud's endpoints are checked
	// against, beside those of the system. A clouds.yaml may name its own as cacert.
	CAFile string `json:"caFile,omitempty"`

	// ExternalNetwork is the name or id of the network that public addresses and
	// routes to the internet use. It may be left out where there is only one.
	ExternalNetwork string `json:"externalNetwork,omitempty"`

	// Zones are the availability zones on offer; all that Nova has by default.
	Zones []string `json:"zones,omitempty"`

	// Flavors, VolumeTypes and Images are patterns, as in a shell, of what is on
	// offer; all by default. Names are offered in the spelling of SKUs: lower case
	// letters, digits, dots and dashes.
	Flavors     []string `json:"flavors,omitempty"`
	VolumeTypes []string `json:"volumeTypes,omitempty"`
	Images      []string `json:"images,omitempty"`

	// Storage tells of volume types what Cinder does not, by pattern.
	Storage map[string]Storage `json:"storage,omitempty"`

	// GPUs tells of flavors what Nova does not, by pattern.
	GPUs map[string]driver.GPU `json:"gpus,omitempty"`

	// Network is the one network SKU; by default seca.n1k of 1000 Mbit/s.
	Network driver.NetworkSKU `json:"network,omitzero"`

	// DNS are the name servers that guests are told; the cloud's own by default.
	DNS []string `json:"dns,omitempty"`

	// ConfigDrive gives machines their data on a disk, too, so that they need not
	// reach the metadata service; true by default. False where Nova cannot make one.
	ConfigDrive *bool `json:"configDrive,omitempty"`

	// AntiAffinity is "hard", the default: a machine waits rather than share a
	// host with another of its group; or "soft": it shares if it must.
	AntiAffinity string `json:"antiAffinity,omitempty"`

	// ResizeWhileInUse says whether Cinder's backend grows volumes that are
	// attached. It is not to be found out without trying; the profile knows.
	ResizeWhileInUse *bool `json:"resizeWhileInUse,omitempty"`
}

// An Auth is a user with a password, or an application credential.
type Auth struct {
	URL           string `json:"url,omitempty"` // of Keystone, https://HOST/v3
	Username      string `json:"username,omitempty"`
	UserID        string `json:"userID,omitempty"`
	PasswordFile  string `json:"passwordFile,omitempty"`
	UserDomain    string `json:"userDomain,omitempty"` // a name; Default by default
	Project       string `json:"project,omitempty"`    // a name
	ProjectID     string `json:"projectID,omitempty"`
	ProjectDomain string `json:"projectDomain,omitempty"`

	ApplicationCredentialID string `json:"applicationCredentialID,omitempty"`
	SecretFile              string `json:"secretFile,omitempty"`
}

// A Storage is what is known of a class of volumes.
type Storage struct {
	IOPS  int    `json:"iops"`
	MinGB int    `json:"minGB"`
	Type  string `json:"type"` // local-ephemeral, local-durable, remote-durable
}

// decode reads the configuration strictly and fills in what it leaves open.
func decode(text json.RawMessage, dir string) (Config, error) {
	var c Config
	d := json.NewDecoder(bytes.NewReader(text))
	d.DisallowUnknownFields()
	if err := d.Decode(&c); err != nil {
		return c, fault.Invalid.Errorf("configuration of driver openstack: %w", err)
	}
	if (c.Cloud == "") == (c.Auth.URL == "") {
		return c, fault.Invalid.Errorf("configuration of driver openstack: either cloud or auth.url is needed")
	}
	if c.Profile == "" {
		c.Profile = "generic"
	}
	if _, ok := profiles[c.Profile]; !ok {
		return c, fault.Invalid.Errorf("configuration of driver openstack: no profile %q", c.Profile)
	}
	if c.AntiAffinity == "" {
		c.AntiAffinity = "hard"
	}
	if !slices.Contains([]string{"hard", "soft"}, c.AntiAffinity) {
		return c, fault.Invalid.Errorf("configuration of driver openstack: antiAffinity is %q, not hard or soft", c.AntiAffinity)
	}
	if c.ConfigDrive == nil {
		yes := true
		c.ConfigDrive = &yes
	}
	if c.Clouds == "" {
		c.Clouds = "clouds.yaml"
	}
	if c.Network.Name == "" {
		c.Network = driver.NetworkSKU{SKU: driver.SKU{Name: "seca.n1k", Labels: map[string]string{"Provider": "openstack", "Tier": "N1K"}}, Mbps: 1000, Packets: 100_000}
	}
	for _, file := range []*string{&c.Clouds, &c.CAFile, &c.Auth.PasswordFile, &c.Auth.SecretFile} {
		if *file != "" && !filepath.IsAbs(*file) {
			*file = filepath.Join(dir, *file)
		}
	}
	return c, c.checkPatterns()
}

func (c *Config) checkPatterns() error {
	all := slices.Concat(c.Flavors, c.VolumeTypes, c.Images)
	for p := range c.Storage {
		all = append(all, p)
	}
	for p := range c.GPUs {
		all = append(all, p)
	}
	for _, p := range all {
		if _, err := filepath.Match(p, ""); err != nil {
			return fault.Invalid.Errorf("configuration of driver openstack: pattern %q: %w", p, err)
		}
	}
	return nil
}

// secret reads a secret from the file that the configuration names.
func secret(path string) (string, error) {
	if path == "" {
		return "", nil
	}
	b, err := os.ReadFile(path)
	if err != nil {
		return "", fault.Invalid.Errorf("read a secret: %w", err)
	}
	return strings.TrimSpace(string(b)), nil
}

// matches reports whether a name is among patterns; none admit all.
func matches(patterns []string, name string) bool {
	return len(patterns) == 0 || slices.ContainsFunc(patterns, func(p string) bool {
		ok, _ := filepath.Match(p, name) // was checked
		return ok
	})
}

// known finds what a table by pattern tells of a name. Of several patterns the
// longest counts, as it says most.
func known[V any](table map[string]V, name string) (found V, ok bool) {
	best := ""
	for p, v := range table {
		if matches([]string{p}, name) && (!ok || cmp.Or(cmp.Compare(len(p), len(best)), strings.Compare(p, best)) > 0) {
			found, best, ok = v, p, true
		}
	}
	return found, ok
}
