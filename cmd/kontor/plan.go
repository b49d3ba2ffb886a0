package main

import (
	"bytes"
	"context"
	"encoding/json"
	"errors"
	"os"
	"slices"
	"strconv"
	"strings"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
)

// A planner turns a wish into orders.
type planner struct {
	*app
	wish
	place  client.Place
	orders []order
}

// plan lists what an instance needs, containers first.
func (a *app) plan(ctx context.Context, w wish, p client.Place) ([]order, error) {
	pl := &planner{app: a, wish: w, place: p}
	for _, port := range w.ports {
		if port < 1 || port > 65535 {
			return nil, usagef("--port %d is not a port", port)
		}
	}
	have, err := a.workspaces(ctx, p)
	if err != nil {
		return nil, err
	}
	if !slices.Contains(have, p.Workspace) {
		pl.add("workspace", "", p.Workspace, seca.WorkspaceSpec{})
	}
	for _, step := range []func(context.Context) error{pl.bootVolume, pl.dataVolumes, pl.networking, pl.machine} {
		if err := step(ctx); err != nil {
			return nil, err
		}
	}
	return pl.orders, nil
}

// add puts an order for something named in the plan's place.
func (pl *planner) add(kindName, network, name string, spec any) {
	raw, err := json.Marshal(spec)
	if err != nil {
		panic(err) // our own types
	}
	raw = bytes.Replace(raw, []byte(`"zone":"",`), nil, 1) // left to the server
	p := pl.place
	p.Network = network
	m := manifest{Labels: pl.labels, Metadata: seca.Metadata{Name: name}, Spec: raw}
	pl.orders = append(pl.orders, order{m, target{mustKind(kindName), p, name}})
}

func (pl *planner) bootVolume(ctx context.Context) error {
	if err := pl.chooseSKU(ctx, "storage-sku", &pl.storageSKU); err != nil {
		return err
	}
	spec := seca.BlockStorageSpec{SizeGB: pl.sizeGB, SKURef: seca.Ref("skus/" + pl.storageSKU)}
	if pl.image != "" {
		ref, err := pl.imageRef(ctx)
		if err != nil {
			return err
		}
		spec.SourceImageRef = &ref
	}
	pl.add("block-storage", "", pl.name, spec)
	return nil
}

// dataVolumes orders those that come with a size.
func (pl *planner) dataVolumes(context.Context) error {
	for _, v := range pl.volumes {
		name, size, sized := strings.Cut(v, ":")
		if !sized {
			continue
		}
		gb, err := strconv.Atoi(size)
		if err != nil || gb < 1 {
			return usagef("--volume %s: say NAME, or NAME:GB with a number", v)
		}
		pl.add("block-storage", "", name, seca.BlockStorageSpec{SizeGB: gb, SKURef: seca.Ref("skus/" + pl.storageSKU)})
	}
	return nil
}

// chooseSKU takes the smallest of a catalogue where none is named.
func (pl *planner) chooseSKU(ctx context.Context, kindName string, to *string) error {
	items, err := pl.collect(ctx, mustKind(kindName), listing{})
	if err != nil {
		return err
	}
	names := make([]string, len(items))
	for i := range items {
		names[i] = items[i].Metadata.Name
	}
	switch {
	case len(items) == 0:
		return fault.Unsupported.Errorf("region %s has no %s on offer", pl.place.Region, kindName)
	case *to == "":
		*to = smallest(items)
	case !slices.Contains(names, *to):
		return usagef("region %s has no %s %q; it has %s", pl.place.Region, kindName, *to, strings.Join(names, ", "))
	}
	return nil
}

// smallest compares machines by processors, then memory; of other catalogues it
// is the first, as they come.
func smallest(items []client.Item) string {
	best, least := items[0], size(items[0])
	for _, i := range items[1:] {
		if s := size(i); s < least {
			best, least = i, s
		}
	}
	return best.Metadata.Name
}

func size(i client.Item) int {
	var spec seca.InstanceSKUSpec
	_ = json.Unmarshal(i.Spec, &spec) // another catalogue has neither
	return spec.VCPU<<20 + spec.RAM
}

// imageRef finds an image among the tenant's own, then among those on offer.
func (pl *planner) imageRef(ctx context.Context) (seca.Reference, error) {
	own, err := pl.listed(ctx, mustKind("image"), pl.place)
	if err != nil {
		return seca.Reference{}, err
	}
	if slices.Contains(own, pl.image) {
		return seca.Ref("images/" + pl.image), nil
	}
	public := pl.place
	public.Tenant = resource.PublicTenant
	offered, err := pl.listed(ctx, mustKind("image"), public)
	if err != nil {
		return seca.Reference{}, err
	}
	if !slices.Contains(offered, pl.image) {
		return seca.Reference{}, usagef("there is no image %q in region %s; there are %s", pl.image, pl.place.Region, strings.Join(append(own, offered...), ", "))
	}
	return seca.Ref("seca.storage/v1/tenants/" + resource.PublicTenant + "/images/" + pl.image), nil
}

// networking orders what connects the instance, where the region can.
func (pl *planner) networking(ctx context.Context) error {
	c, err := pl.connect()
	if err != nil {
		return err
	}
	_, err = c.Regional(ctx, pl.place.Region, "seca.network")
	if errors.Is(err, fault.Unsupported) && !pl.public {
		pl.network = ""
		return nil
	}
	if err != nil {
		return err
	}
	subnet, err := pl.chooseNetwork(ctx)
	if err != nil {
		return err
	}
	nic := seca.NICSpec{
		SubnetRef: seca.Ref("networks/" + pl.network + "/subnets/" + subnet), Addresses: []string{"0.0.0.0"},
		SecurityGroupRefs: []seca.Reference{seca.Ref("security-groups/" + pl.name)},
	}
	pl.add("security-group", "", pl.name, seca.SecurityGroupSpec{Rules: pl.rules()})
	if pl.public {
		pl.add("public-ip", "", pl.name, seca.PublicIPSpec{Version: "IPv4"})
		nic.PublicIPRefs = []seca.Reference{seca.Ref("public-ips/" + pl.name)}
	}
	pl.add("nic", "", pl.name, nic)
	return nil
}

// chooseNetwork settles the network and returns the subnet: that of the wish,
// the one made by an earlier try, the only one, or a new one.
func (pl *planner) chooseNetwork(ctx context.Context) (subnet string, err error) {
	have, err := pl.networks(ctx, pl.place)
	if err != nil && !errors.Is(err, fault.Missing) { // the workspace may be new
		return "", err
	}
	switch {
	case pl.network != "" && !slices.Contains(have, pl.network):
		return "", usagef("there is no network %q in workspace %s%s", pl.network, pl.place.Workspace, fault.DidYouMean(pl.network, have))
	case pl.network == "" && (len(have) == 0 || slices.Contains(have, pl.name)):
		return pl.name, pl.newNetwork(ctx)
	case pl.network == "" && len(have) > 1:
		return "", unclear("network", have)
	case pl.network == "":
		pl.network = have[0]
	}
	p := pl.place
	p.Network = pl.network
	subnets, err := pl.listed(ctx, mustKind("subnet"), p)
	if err == nil && len(subnets) == 0 {
		err = fault.Conflict.Errorf("network %s has no subnet; make one, or name another --network", pl.network)
	}
	if err != nil {
		return "", err
	}
	return subnets[0], nil
}

// newNetwork orders a network with a way out.
func (pl *planner) newNetwork(ctx context.Context) error {
	pl.network = pl.name
	if err := pl.chooseSKU(ctx, "network-sku", &pl.networkSKU); err != nil {
		return err
	}
	pl.add("network", "", pl.name, seca.NetworkSpec{CIDR: seca.CIDR{IPv4: "10.0.0.0/16"}, SKURef: seca.Ref("skus/" + pl.networkSKU)})
	pl.add("internet-gateway", "", pl.name, seca.InternetGatewaySpec{})
	pl.add("routing-table", pl.name, pl.name, seca.RouteTableSpec{Routes: []seca.Route{
		{DestinationCIDRBlock: "0.0.0.0/0", TargetRef: seca.Ref("internet-gateways/" + pl.name)},
	}})
	pl.add("subnet", pl.name, pl.name, seca.SubnetSpec{
		CIDR: seca.CIDR{IPv4: "10.0.0.0/24"}, Zone: pl.zone, RouteTableRef: seca.Ref("networks/" + pl.name + "/route-tables/" + pl.name),
	})
	return nil
}

// rules let everything out and only the wanted ports in.
func (pl *planner) rules() []seca.SecurityGroupRuleSpec {
	rules := []seca.SecurityGroupRuleSpec{{Direction: "egress"}}
	var list []int
	for _, p := range pl.openPorts() {
		list = append(list, int(p))
	}
	if len(list) > 0 {
		rules = append(rules, seca.SecurityGroupRuleSpec{Direction: "ingress", Protocol: "tcp", Ports: &seca.Ports{List: list}})
	}
	return rules
}

func (pl *planner) machine(ctx context.Context) error {
	if err := pl.chooseSKU(ctx, "instance-sku", &pl.sku); err != nil {
		return err
	}
	spec := seca.InstanceSpec{
		SKURef: seca.Ref("skus/" + pl.sku), Zone: pl.zone, AntiAffinityGroup: pl.antiAffinity,
		BootVolume: seca.VolumeReference{DeviceRef: seca.Ref("block-storages/" + pl.name)},
	}
	for _, v := range pl.volumes {
		name, _, _ := strings.Cut(v, ":")
		spec.DataVolumes = append(spec.DataVolumes, seca.VolumeReference{DeviceRef: seca.Ref("block-storages/" + name)})
	}
	if pl.network != "" {
		nic := seca.Ref("nics/" + pl.name)
		spec.PrimaryNICRef = &nic
	}
	if err := pl.inside(&spec); err != nil {
		return err
	}
	pl.add("instance", "", pl.name, spec)
	return nil
}

// inside fills what the guest's own system gets.
func (pl *planner) inside(spec *seca.InstanceSpec) (err error) {
	if spec.SSHKeys, err = keys(pl.keyFiles); err != nil || pl.userDataFile == "" {
		return err
	}
	b, err := os.ReadFile(pl.userDataFile)
	if err != nil {
		return fault.Invalid.Errorf("read user data: %w", err)
	}
	spec.UserData = string(b)
	return nil
}
