// Package fake is a cloud in memory that does to its callers what real clouds
// do: it is slow, it runs out, it throttles, it loses its answers after having
// done the work, its lists lag, and things disappear behind one's back. All of
// it is on demand; without a script it is quick and friendly.
package fake

import (
	"bytes"
	"context"
	"encoding/json"
	"log/slog"
	"net/netip"
	"path/filepath"
	"sync"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// The kinds, as Config and the scripts of faults name them.
const (
	Networks       = "network"
	Subnets        = "subnet"
	RouteTables    = "route-table"
	Gateways       = "gateway"
	SecurityGroups = "security-group"
	PublicIPs      = "public-ip"
	NICs           = "nic"
	Images         = "image"
	Volumes        = "volume"
	Instances      = "instance"
)

// A Config describes a fake platform. Its zero value is a friendly cloud with
// one zone and the standard sizes.
type Config struct {
	Zones        []string             `json:"zones,omitempty"` // default: a
	InstanceSKUs []driver.InstanceSKU `json:"instanceSkus,omitempty"`
	StorageSKUs  []driver.StorageSKU  `json:"storageSkus,omitempty"`
	NetworkSKUs  []driver.NetworkSKU  `json:"networkSkus,omitempty"`
	Images       []driver.OfferImage  `json:"images,omitempty"`

	Delays   map[string]Delay `json:"delays,omitempty"`   // by kind
	Quota    map[string]int   `json:"quota,omitempty"`    // by kind, how many of all owners together
	Late     Duration         `json:"late,omitempty"`     // a new thing is missing from lists for so long
	PageSize int              `json:"pageSize,omitempty"` // of lists; default 1000
	Pool     netip.Prefix     `json:"pool,omitzero"`      // public IPv4 addresses; default 198.18.0.0/15

	Limits driver.Limits `json:"limits,omitzero"` // declared, not enforced; default: none to speak of

	// Persist keeps what runs in a journal in the agent's directory, so that it
	// outlives a process that is killed, as machines in a cloud do.
	Persist bool `json:"persist,omitempty"`

	// Dir is where the journal and the script are, if not in the agent's directory.
	Dir string `json:"dir,omitempty"`

	// Script makes the platform do what the file faults.json in the agent's
	// directory says at each moment: see Script.
	Script bool `json:"script,omitempty"`
}

// A Delay is how long the platform takes over one kind of thing.
type Delay struct {
	Make   Duration `json:"make,omitempty"`
	Change Duration `json:"change,omitempty"`
	Leave  Duration `json:"leave,omitempty"`
}

// A Duration is written as in "1m30s".
type Duration time.Duration

// UnmarshalText reads the form of time.ParseDuration.
func (d *Duration) UnmarshalText(b []byte) error {
	v, err := time.ParseDuration(string(b))
	*d = Duration(v)
	return err
}

// MarshalText writes the form of time.Duration.String.
func (d Duration) MarshalText() ([]byte, error) { return []byte(time.Duration(d).String()), nil }

// A Platform is one fake cloud. It outlives the connections to it, so that an
// agent that is started anew finds what it has made.
type Platform struct {
	config Config

	mu       sync.Mutex
	accounts map[driver.Owner]*account
	pool     *pool
	faults   []*Fault
	calls    map[string]int // "ensure instance"
	made     map[string]int // by kind, ever
	count    map[string]int // by kind, now
	outage   bool
	leaving  []leaver
	journal  *journal
	prompter *prompter
}

// New makes an empty platform.
func New(c Config) *Platform {
	c = c.withDefaults()
	return &Platform{
		config: c, accounts: map[driver.Owner]*account{}, pool: newPool(),
		calls: map[string]int{}, made: map[string]int{}, count: map[string]int{},
	}
}

// Open is a driver.Opener whose platform lives as long as the connection, or
// in dir if the configuration says persist.
func Open(ctx context.Context, owner driver.Owner, dir string, config json.RawMessage, log *slog.Logger) (*driver.Cloud, error) {
	var c Config
	if len(config) > 0 {
		d := json.NewDecoder(bytes.NewReader(config))
		d.DisallowUnknownFields()
		if err := d.Decode(&c); err != nil {
			return nil, fault.Invalid.Errorf("configuration of the fake platform: %w", err)
		}
	}
	p := New(c)
	if c.Dir != "" {
		dir = c.Dir
	}
	if c.Persist {
		if err := p.load(dir); err != nil {
			return nil, err
		}
	}
	if c.Script {
		p.prompter = &prompter{path: filepath.Join(dir, scriptFile)}
	}
	cloud, err := p.Open(ctx, owner, dir, nil, log)
	if err != nil {
		return nil, err
	}
	cloud.Close = p.close
	return cloud, nil
}

// ByHand gives the platform as people use it at its own console: what is made
// here carries no owner, and its id is its native one.
func (p *Platform) ByHand() *driver.Cloud {
	c, _ := p.Open(context.Background(), nobody, "", nil, nil) // never fails
	return c
}

// Open connects to the platform. It is a driver.Opener; all its arguments but
// the owner are ignored.
func (p *Platform) Open(_ context.Context, owner driver.Owner, _ string, _ json.RawMessage, _ *slog.Logger) (*driver.Cloud, error) {
	p.mu.Lock()
	defer p.mu.Unlock()
	a := p.account(owner)
	return &driver.Cloud{
		Inventory:      p.inventory,
		Networks:       keeper[driver.Network, *driver.Network]{a, a.networks},
		Subnets:        keeper[driver.Subnet, *driver.Subnet]{a, a.subnets},
		RouteTables:    keeper[driver.RouteTable, *driver.RouteTable]{a, a.routeTables},
		Gateways:       keeper[driver.Gateway, *driver.Gateway]{a, a.gateways},
		SecurityGroups: keeper[driver.SecurityGroup, *driver.SecurityGroup]{a, a.securityGroups},
		PublicIPs:      keeper[driver.PublicIP, *driver.PublicIP]{a, a.publicIPs},
		NICs:           keeper[driver.NIC, *driver.NIC]{a, a.nics},
		Images:         keeper[driver.Image, *driver.Image]{a, a.images},
		Volumes:        keeper[driver.Volume, *driver.Volume]{a, a.volumes},
		Instances:      keeper[driver.Instance, *driver.Instance]{a, a.instances},
		Console:        a.console,
		Foreign:        &driver.Foreign{List: p.strays, Adopt: a.takeOver},
		Limits:         p.config.Limits,
		Close:          func() error { return nil },
	}, nil
}

// nobody owns what was made by hand.
var nobody driver.Owner

func (p *Platform) account(owner driver.Owner) *account {
	a := p.accounts[owner]
	if a == nil {
		a = newAccount(p, owner)
		p.accounts[owner] = a
	}
	return a
}
