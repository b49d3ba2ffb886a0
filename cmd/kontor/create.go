package main

import (
	"context"
	"fmt"
	"os"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"
	"golang.org/x/crypto/ssh"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
)

// A wish is an instance in the words of somebody who wants a machine, not its
// parts. plan.go makes the parts of it.
type wish struct {
	name                        string
	sku, storageSKU, networkSKU string
	image, zone, network        string
	sizeGB                      int
	public, stopped, show       bool
	ports                       []int
	keyFiles, volumes           []string
	userDataFile                string
	antiAffinity                string
	labels                      map[string]string
	timeout                     time.Duration
}

func createCommand(a *app) *cobra.Command {
	return family("create", "Make an instance with all that it needs", a.createInstance())
}

func (a *app) createInstance() *cobra.Command {
	var w wish
	c := &cobra.Command{
		Use:     "instance NAME",
		Aliases: []string{"vm", "server"},
		Short:   "Make an instance with all that it needs, start it and wait until it is on",
		Long: `Make an instance and what it needs, all named after it: the workspace, a boot
volume, and, unless the workspace has a network, a network with subnet, routing table and gateway;
a security group, a NIC, and with --public a public address. What is there already is used as it is,
so the same command may be given again. For anything else: --print shows the documents to edit and apply.`,
		Example: `  kontor create instance web --image tiny --public --port 80 --ssh-key ~/.ssh/id_ed25519.pub -w shop
  kontor create instance db --sku seca.ds --image debian-13 --size 20 --volume data:100 --print > db.yaml`,
		Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			w.name = args[0]
			return a.create(c.Context(), w)
		},
	}
	w.flags(a, c)
	return c
}

func (w *wish) flags(a *app, c *cobra.Command) {
	f := c.Flags()
	f.StringVar(&w.sku, "sku", "", "size of the machine (default the smallest; see kontor get skus compute)")
	f.StringVar(&w.image, "image", "", "image to boot from: the tenant's own or one on offer (see kontor get images -t public)")
	f.IntVar(&w.sizeGB, "size", 10, "size of the boot volume in GB")
	f.StringVar(&w.storageSKU, "storage-sku", "", "class of its volumes (default the first)")
	f.StringVar(&w.networkSKU, "network-sku", "", "class of a new network (default the first)")
	f.StringVar(&w.zone, "zone", "", "zone (default the first)")
	f.StringVar(&w.network, "network", "", "network to be in (default the only one, or a new one)")
	f.BoolVar(&w.public, "public", false, "give it a public address")
	f.IntSliceVar(&w.ports, "port", nil, "TCP ports to let in, such as 22,80 (with --ssh-key: 22)")
	f.StringArrayVar(&w.keyFiles, "ssh-key", nil, "file of public keys that may log in (may be given several times)")
	f.StringVar(&w.userDataFile, "user-data", "", "file of cloud-init user data")
	f.StringArrayVar(&w.volumes, "volume", nil, "data volume NAME, or NAME:GB to make it (may be given several times)")
	f.StringVar(&w.antiAffinity, "anti-affinity", "", "instances with the same text run on different hosts")
	f.StringToStringVar(&w.labels, "label", nil, "key=value for what is made (may be given several times)")
	f.BoolVar(&w.stopped, "stopped", false, "do not start it")
	f.BoolVar(&w.show, "print", false, "show the documents as YAML instead of making anything")
	f.DurationVar(&w.timeout, "timeout", defaultTimeout, "how long to wait")
	for flag, kind := range map[string]string{"sku": "instance-sku", "storage-sku": "storage-sku", "network-sku": "network-sku", "network": "network"} {
		_ = c.RegisterFlagCompletionFunc(flag, a.completes(a.namesOf(kind))) // the flags are there
	}
}

func (a *app) create(ctx context.Context, w wish) error {
	if a.flags.Workspace == "" {
		if s, err := a.resolve(); err != nil || s.Workspace == "" {
			return usagef("which workspace? Give --workspace NAME; it is made if it is not there")
		}
	}
	p, err := a.complete(ctx, needWorkspace, client.Place{})
	if err != nil {
		return err
	}
	orders, err := a.plan(ctx, w, p)
	if err != nil {
		return err
	}
	if w.show {
		return a.showOrders(orders)
	}
	if err := a.makeMissing(ctx, orders, w.timeout); err != nil {
		return err
	}
	return a.launch(ctx, target{mustKind("instance"), p, w.name}, w)
}

// makeMissing makes what is not there, leaves the rest as it is, and waits for all.
func (a *app) makeMissing(ctx context.Context, orders []order, timeout time.Duration) error {
	items := make([]client.Item, len(orders))
	p := a.progress()
	for n, o := range orders {
		var err error
		if items[n], err = a.applyOne(ctx, o, keepExisting, p); err != nil {
			return partly(o, len(orders)-n-1, err)
		}
	}
	return a.settled(ctx, orders, items, timeout)
}

// launch starts the instance, waits, and says where it is reached.
func (a *app) launch(ctx context.Context, t target, w wish) error {
	if !w.stopped {
		if _, err := a.act(ctx, t, "start", "on"); err != nil {
			return fmt.Errorf("%s: %w", t, err)
		}
		if err := a.awaitAll(ctx, []target{t}, goal{state: seca.Active, power: "on"}, w.timeout); err != nil {
			return err
		}
	}
	if a.structured() {
		i, err := a.read(ctx, t)
		if err != nil {
			return err
		}
		return a.write(i)
	}
	if w.stopped {
		return nil
	}
	a.tell(t, "is on")
	for _, port := range w.openPorts() {
		if !w.public {
			break
		}
		at, err := a.outside(ctx, t.name, port)
		if err != nil {
			return err
		}
		fmt.Fprintf(a.stdout, "port %d is reached at %s\n", port, at)
	}
	return nil
}

// openPorts are those asked for, and that of ssh if a key was given.
func (w wish) openPorts() []uint16 {
	var open []uint16
	for _, p := range w.ports {
		open = append(open, uint16(p))
	}
	if len(w.keyFiles) > 0 && !slices.Contains(open, 22) {
		open = append(open, 22)
	}
	return open
}

// keys reads public keys, one a line.
func keys(files []string) ([]string, error) {
	var all []string
	for _, name := range files {
		b, err := os.ReadFile(name)
		if err != nil {
			return nil, fault.Invalid.Errorf("read ssh key: %w", err)
		}
		if strings.Contains(string(b), "PRIVATE KEY") {
			return nil, usagef("%s is a private key, which must stay with you; give %s.pub", name, name)
		}
		for line := range strings.Lines(string(b)) {
			if line = strings.TrimSpace(line); line == "" || line[0] == '#' {
				continue
			}
			if _, _, _, _, err := ssh.ParseAuthorizedKey([]byte(line)); err != nil {
				return nil, usagef("%s holds something else than public keys: %.20q", name, line)
			}
			all = append(all, line)
		}
	}
	return all, nil
}

// showOrders prints what apply -f reads.
func (a *app) showOrders(orders []order) error {
	if a.output != "json" {
		a.output = "yaml"
	}
	for _, o := range orders {
		if a.output == "yaml" {
			fmt.Fprintln(a.stdout, "---")
		}
		if err := a.write(o.written()); err != nil {
			return err
		}
	}
	return nil
}

// written is an order with its kind and place, as its author would write it.
func (o order) written() any {
	type place struct {
		Name      string `json:"name"`
		Tenant    string `json:"tenant,omitempty"`
		Region    string `json:"region,omitempty"`
		Workspace string `json:"workspace,omitempty"`
		Network   string `json:"network,omitempty"`
	}
	at := place{o.name, o.place.Tenant, o.place.Region, o.place.Workspace, o.place.Network}
	if o.kind.need < needWorkspace {
		at.Workspace = ""
	}
	return struct {
		Kind     string            `json:"kind"`
		Labels   map[string]string `json:"labels,omitempty"`
		Metadata place             `json:"metadata"`
		Spec     any               `json:"spec"`
	}{o.kind.name, o.Labels, at, o.Spec}
}
