package doctor

import (
	"context"
	"fmt"
	"net/netip"
	"slices"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// The names of the probe's volumes.
const (
	bootVolume = "boot-volume"
	dataVolume = "data-volume"
)

// A probe is a machine with all that belongs to one.
type probe struct {
	*examination
	made     map[string]bool // by what it is
	broken   map[string]bool // could not be made
	instance driver.Instance
	at       netip.AddrPort // where the outside reaches the guest; none without a public address
	boot     string         // of its present start
}

// probe makes a machine, tries it, and removes everything, whatever happens.
func (x *examination) probe(ctx context.Context, n *notes) {
	if err := n.write(x.owner.Region); err != nil {
		x.add(judge("probe", "", fmt.Errorf("note what is about to be made: %w", err)))
		return
	}
	p := &probe{examination: x, made: map[string]bool{}, broken: map[string]bool{}}
	for _, s := range []struct {
		name string
		do   func(context.Context) (string, error)
	}{
		{"make network", p.network},
		{"make gateway", p.gateway},
		{"make route-table", p.routeTable},
		{"make subnet", p.subnet},
		{"make security-group", p.securityGroup},
		{"make public-ip", p.publicIP},
		{"make nic", p.nic},
		{"make boot volume", p.bootVolume},
		{"make data volume", p.dataVolume},
		{"make instance", p.machine},
		{"reach", p.reach},
		{"round trip", p.roundTrip},
		{"measure", p.results},
		{"power cycle", p.cycle},
	} {
		x.check(ctx, s.name, s.do)
	}
	whatever := context.WithoutCancel(ctx)
	x.check(whatever, "clean up", func(ctx context.Context) (string, error) {
		ctx, stop := context.WithTimeout(ctx, x.Patience)
		defer stop()
		s := sweep{region: x.owner.Region, kinds: x.kinds, step: x.Step, limit: x.limit}
		if err := s.run(ctx); err != nil {
			return "", err
		}
		return "nothing is left", n.remove(x.owner.Region)
	})
}

// build makes one thing that needs others, and remembers whether it is there.
func build[T any, P thing[T]](ctx context.Context, p *probe, what string, k driver.Keeper[T], want T, needs ...string) (T, error) {
	if k == nil {
		return want, skip("the platform has no such thing")
	}
	for _, need := range needs {
		if p.broken[need] {
			p.broken[what] = true
			return want, skip("needs the " + need + ", which is not there")
		}
	}
	id := p.id(what)
	*P(&want).Base() = driver.Meta{ID: id, Attempt: 1, Name: id, URN: Exchange + "/" + id}
	have, err := settle[T, P](ctx, p.examination, k, want)
	if err != nil {
		p.broken[what] = true
		return have, fmt.Errorf("make %s %s: %w", what, id, err)
	}
	p.made[what] = true
	return have, nil
}

// ready gives a line of the report.
func ready(m driver.Meta, err error) (string, error) {
	if err != nil {
		return "", err
	}
	return "made as " + m.Native, nil
}

func (p *probe) id(what string) string { return idOf(p.owner.Region, what) }

// given is the id of what there is, and of nothing else.
func (p *probe) given(what string) string {
	if p.made[what] {
		return p.id(what)
	}
	return ""
}

// ids drops those of what there is not.
func ids(all ...string) []string {
	return slices.DeleteFunc(all, func(id string) bool { return id == "" })
}

var (
	networkRange = netip.MustParsePrefix("10.93.0.0/16")
	subnetRange  = netip.MustParsePrefix("10.93.7.0/24")
	everywhere   = netip.MustParsePrefix("0.0.0.0/0")
)

func (p *probe) zone() string {
	if len(p.stock.Zones) == 0 {
		return ""
	}
	return p.stock.Zones[0]
}

func (p *probe) network(ctx context.Context) (string, error) {
	want := driver.Network{CIDRs: []netip.Prefix{networkRange}}
	if len(p.stock.NetworkSKUs) > 0 {
		want.SKU = p.stock.NetworkSKUs[0].Name
	}
	have, err := build(ctx, p, "network", p.cloud.Networks, want)
	return ready(have.Meta, err)
}

func (p *probe) gateway(ctx context.Context) (string, error) {
	have, err := build(ctx, p, "gateway", p.cloud.Gateways, driver.Gateway{})
	return ready(have.Meta, err)
}

func (p *probe) routeTable(ctx context.Context) (string, error) {
	want := driver.RouteTable{Network: p.id("network")}
	if gateway := p.given("gateway"); gateway != "" {
		want.Routes = []driver.Route{{Destination: everywhere, Gateway: gateway}}
	}
	have, err := build(ctx, p, "route-table", p.cloud.RouteTables, want, "network", "gateway")
	return ready(have.Meta, err)
}

func (p *probe) subnet(ctx context.Context) (string, error) {
	have, err := build(ctx, p, "subnet", p.cloud.Subnets, driver.Subnet{
		Network: p.id("network"), CIDRs: []netip.Prefix{subnetRange}, Zone: p.zone(), RouteTable: p.given("route-table"),
	}, "network", "route-table")
	return ready(have.Meta, err)
}

func (p *probe) securityGroup(ctx context.Context) (string, error) {
	have, err := build(ctx, p, "security-group", p.cloud.SecurityGroups, driver.SecurityGroup{Rules: []driver.Rule{
		{Ingress: true, Family: 4, Protocol: driver.TCP, Ports: []driver.PortRange{{From: guestPort, To: guestPort}}},
		{Family: 4},
	}})
	return ready(have.Meta, err)
}

func (p *probe) publicIP(ctx context.Context) (string, error) {
	have, err := build(ctx, p, "public-ip", p.cloud.PublicIPs, driver.PublicIP{Family: 4})
	if err != nil {
		return "", err
	}
	return "made as " + have.Address.String(), nil
}

func (p *probe) nic(ctx context.Context) (string, error) {
	have, err := build(ctx, p, "nic", p.cloud.NICs, driver.NIC{
		Subnet: p.id("subnet"), Addresses: []netip.Addr{netip.IPv4Unspecified()},
		PublicIPs: ids(p.given("public-ip")), SecurityGroups: ids(p.given("security-group")),
	}, "subnet", "security-group")
	return ready(have.Meta, err)
}

func (p *probe) bootVolume(ctx context.Context) (string, error) {
	sku, size, err := p.choice()
	if err != nil {
		p.broken[bootVolume] = true
		return "", err
	}
	image, err := p.image(sku)
	if err != nil {
		return "", err
	}
	return p.volume(ctx, bootVolume, driver.Volume{SizeGB: size, Image: driver.OfferedImage(image.Name)})
}

func (p *probe) dataVolume(ctx context.Context) (string, error) {
	return p.volume(ctx, dataVolume, driver.Volume{SizeGB: p.dataGB()})
}

func (p *probe) volume(ctx context.Context, what string, want driver.Volume) (string, error) {
	sku, err := p.storage()
	if err != nil {
		p.broken[what] = true
		return "", fmt.Errorf("choose a class of storage: %w", err)
	}
	want.SKU = sku.Name
	have, err := build(ctx, p, what, p.cloud.Volumes, want)
	if err != nil {
		return "", err
	}
	return fmt.Sprintf("%d GB of %s made as %s", want.SizeGB, sku.Name, have.Native), nil
}

func (p *probe) machine(ctx context.Context) (string, error) {
	sku, _, err := p.choice()
	if err != nil {
		p.broken["instance"] = true
		return "", err
	}
	began := time.Now()
	p.instance = driver.Instance{
		SKU: sku.Name, VCPU: sku.VCPU, RAMGiB: sku.RAMGiB, Zone: p.zone(),
		BootVolume: p.id(bootVolume), DataVolumes: ids(p.given(dataVolume)), NICs: ids(p.given("nic")),
		UserData: userData(p.owner.Region), On: true,
	}
	have, err := build(ctx, p, "instance", p.cloud.Instances, p.instance, bootVolume, "nic")
	if err != nil {
		return "", err
	}
	p.instance.Meta = driver.Meta{ID: have.ID, Attempt: 1, Name: have.ID, URN: Exchange + "/" + have.ID}
	p.report.measure(MakeTime, seconds(began))
	return fmt.Sprintf("%s made as %s", sku.Name, have.Native), nil
}

func seconds(since time.Time) float64 { return float64(time.Since(since).Milliseconds()) / 1000 }

// guestPort is where the guest answers.
const guestPort = 80

// runs tells why the guest cannot be tried, if so.
func (p *probe) runs() error {
	switch {
	case !p.made["instance"]:
		return skip("there is no instance")
	case p.Hollow:
		return skip("machines of this platform run nothing")
	}
	return nil
}

// reach waits until the guest answers from outside, or on its console where
// there is no way in.
func (p *probe) reach(ctx context.Context) (string, error) {
	if err := p.runs(); err != nil {
		return "", err
	}
	began := time.Now()
	if p.made["public-ip"] && p.made["nic"] {
		at, err := p.outside(ctx)
		if err != nil {
			return "", err
		}
		p.at = at
	} else if p.cloud.Console == nil {
		return "", warn("there is neither a public address nor a console", "nothing, if the platform has none; what runs cannot be seen from here")
	}
	r, err := p.await(ctx, func(r results) bool { return true })
	if err != nil {
		return "", remedied{err, "see what the guest says on its console; whether the security group, the route and the public address pass port 80; and whether the image runs user data (--image takes another)"}
	}
	p.boot = r.Boot
	p.report.measure(BootTime, seconds(began))
	if !p.at.IsValid() {
		return "", warn("the guest writes to its console, but has no public address", "nothing, if the platform has none")
	}
	return fmt.Sprintf("answers at %s after %.1f s", p.at, seconds(began)), nil
}

// outside finds where the platform passes the guest's port.
func (p *probe) outside(ctx context.Context) (netip.AddrPort, error) {
	for ip, err := range p.cloud.PublicIPs.List(ctx) {
		if err != nil {
			return netip.AddrPort{}, fmt.Errorf("look up the public address: %w", err)
		}
		if ip.ID != p.id("public-ip") {
			continue
		}
		for _, f := range ip.Forwards {
			if f.Port == guestPort && f.Protocol == driver.TCP {
				return f.Outside, nil
			}
		}
		return netip.AddrPortFrom(ip.Address, guestPort), nil
	}
	return netip.AddrPort{}, fault.Missing.Errorf("the public address is not in the platform's list")
}

// await looks at the guest's results until they are good.
func (p *probe) await(ctx context.Context, good func(results) bool) (results, error) {
	ctx, stop := context.WithTimeout(ctx, p.Patience)
	defer stop()
	for {
		r, err := p.view(ctx)
		if err == nil && good(r) {
			return r, nil
		}
		if err == nil {
			err = fault.Unavailable.Errorf("the guest is not so far")
		}
		if !pause(ctx, p.Step) {
			return r, fmt.Errorf("gave up waiting for the guest after %v: %w", p.Patience, err)
		}
	}
}

func (p *probe) view(ctx context.Context) (results, error) {
	if p.at.IsValid() {
		return fetch(ctx, p.at, p.owner.Region)
	}
	return onConsole(ctx, p.cloud, p.id("instance"), p.owner.Region)
}

// answered tells why the guest cannot be asked, if so.
func (p *probe) answered() error {
	if err := p.runs(); err != nil {
		return err
	}
	if p.boot == "" {
		return skip("the guest does not answer")
	}
	return nil
}

func (p *probe) roundTrip(ctx context.Context) (string, error) {
	if err := p.answered(); err != nil {
		return "", err
	}
	if !p.at.IsValid() {
		return "", skip("there is no public address")
	}
	rtt, err := roundTrips(ctx, func(ctx context.Context) error { return dial(ctx, p.at) })
	if err != nil {
		return "", fmt.Errorf("connect to the guest: %w", err)
	}
	p.report.measure(RTT, milliseconds(rtt))
	page, err := roundTrips(ctx, func(ctx context.Context) error {
		_, err := fetch(ctx, p.at, p.owner.Region)
		return err
	})
	if err != nil {
		return "", fmt.Errorf("fetch the guest's page: %w", err)
	}
	p.report.measure(HTTPTime, milliseconds(page))
	return fmt.Sprintf("connects in %v, a page takes %v", rtt.Round(time.Microsecond), page.Round(time.Microsecond)), nil
}

func (p *probe) results(ctx context.Context) (string, error) {
	if err := p.answered(); err != nil {
		return "", err
	}
	r, err := p.await(ctx, func(r results) bool { return r.Done })
	if err != nil {
		return "", err
	}
	p.report.measure(VCPU, r.Loops)
	if r.Write == 0 {
		return "", warn(fmt.Sprintf("%.0f loops/s; the guest found no data volume", r.Loops), "see whether the platform attaches volumes to a new machine")
	}
	p.report.measure(DiskWrite, r.Write/1000)
	p.report.measure(DiskRead, r.Read/1000)
	return fmt.Sprintf("%.0f loops/s, writes %.1f MB/s, reads %.1f MB/s", r.Loops, r.Write/1000, r.Read/1000), nil
}

// cycle turns the machine off and on.
func (p *probe) cycle(ctx context.Context) (string, error) {
	if !p.made["instance"] {
		return "", skip("there is no instance")
	}
	began, want := time.Now(), p.instance
	for _, on := range []bool{false, true} {
		want.On = on
		if _, err := settle(ctx, p.examination, p.cloud.Instances, want); err != nil {
			return "", fmt.Errorf("turn the machine %s: %w", map[bool]string{false: "off", true: "on"}[on], err)
		}
	}
	if p.boot != "" {
		if _, err := p.await(ctx, func(r results) bool { return r.Boot != p.boot }); err != nil {
			return "", fmt.Errorf("after off and on: %w", err)
		}
	}
	p.report.measure(CycleTime, seconds(began))
	return fmt.Sprintf("off, on and back after %.1f s", seconds(began)), nil
}
