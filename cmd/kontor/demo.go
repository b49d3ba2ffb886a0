package main

import (
	"cmp"
	"context"
	_ "embed"
	"errors"
	"fmt"
	"io"
	"net/http"
	"os"
	"path/filepath"
	"slices"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/api"
	"github.com/kontor-cloud/kontor/driver/qemu"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/market"
)

//go:embed demo/demo.yaml
var demoManifest string

//go:embed demo/hospital.yaml
var demoPolicy string

// A demo is "kontor up" and a customer in one process. The customer is this
// very command line: what it does can be typed.
type demo struct {
	*app
	exchange *exchange
	order    string
	region   string // where it was placed
	env      map[string]string
}

func demoCommand(a *app) *cobra.Command {
	var flags exchangeFlags
	var image string
	var once bool
	c := &cobra.Command{
		Use:   "demo",
		Short: "Show it: seven providers on this machine, and a virtual machine bought by rule at one of them",
		Long: `Show it: run an exchange and seven providers on this machine, three of them with QEMU
(see "kontor up") and four that only pretend, and buy a virtual machine by rule: by a
hospital's policy, below a price, near to a place. Six providers lack one thing each; the
seventh boots the machine, which serves a web page. Ends with Ctrl-C, which removes what it made.`,
		Args: cobra.NoArgs,
		RunE: func(cmd *cobra.Command, _ []string) error {
			conf := defaultExchange()
			conf.Listen, conf.Agents = []listener{{Address: "127.0.0.1:0", Profile: api.Strict}}, "127.0.0.1:0"
			conf, err := flags.read(conf)
			if err != nil {
				return err
			}
			if flags.data == "" {
				dir, err := os.MkdirTemp("", "kontor-demo-")
				if err != nil {
					return err
				}
				defer func() { // nothing of it may run on, whatever went wrong
					for _, r := range physical {
						_ = qemu.Halt(context.WithoutCancel(cmd.Context()), filepath.Join(dir, "agents", r.Name))
					}
					os.RemoveAll(dir)
				}()
				conf.Data = dir
			}
			d := &demo{app: a}
			return d.run(cmd.Context(), conf, image, once)
		},
	}
	flags.add(a, c)
	c.Flags().StringVar(&image, "image", "", "qcow2 file to boot; it must serve HTTP on port 80")
	c.Flags().BoolVar(&once, "once", false, "remove everything and end when the page was fetched")
	return c
}

// run brings the exchange up, shows what it can, and takes all of it down
// again, also when interrupted.
func (d *demo) run(ctx context.Context, conf exchangeConfig, image string, once bool) error {
	if _, err := os.Stat(image); err != nil {
		return usagef("no image to boot: %v; \"make image\" builds one, --image FILE takes yours", err)
	}
	d.app.env["KONTOR_IMAGES"] = filepath.Dir(image)
	d.app.env["KONTOR_LOG_LEVEL"] = cmp.Or(d.app.env["KONTOR_LOG_LEVEL"], "error")
	up, down := context.WithCancel(context.WithoutCancel(ctx))
	defer down()
	ready, ended := make(chan *exchange, 1), make(chan error, 1)
	go func() { ended <- d.up(up, conf, slices.Concat(physical, pretending), func(x *exchange) { ready <- x }) }()
	began := time.Now()
	select {
	case d.exchange = <-ready:
	case err := <-ended:
		return err
	case <-ctx.Done():
		down()
		return <-ended
	}
	err := d.exchange.sellAll(ctx)
	if err == nil {
		fmt.Fprintf(d.stdout, "exchange and seven providers are up after %.1f s\n", time.Since(began).Seconds())
		err = d.show(ctx, strings.TrimSuffix(filepath.Base(image), ".qcow2"), began)
	}
	if err == nil && !once {
		d.goOn()
		select {
		case <-ctx.Done():
		case err = <-ended:
			return err
		}
	}
	if gone := d.clean(context.WithoutCancel(ctx)); err == nil {
		err = gone
	}
	down()
	if e := <-ended; err == nil {
		err = e
	}
	return err
}

// Where the customer is, and in which region he buys.
const (
	demoPlace  = "45.76,4.84"
	demoRegion = "hospital." + demoTenant
)

// show is the customer.
func (d *demo) show(ctx context.Context, image string, began time.Time) error {
	d.env = map[string]string{
		"KONTOR_URL": d.exchange.publicURL(), "KONTOR_TOKEN_FILE": filepath.Join(d.exchange.config.Data, "admin.token"),
		"KONTOR_TENANT": demoTenant, "KONTOR_REGION": demoRegion, "KONTOR_WORKSPACE": "hello",
	}
	manifest, rule, err := d.write(image)
	if err != nil {
		return err
	}
	for _, words := range [][]string{
		{"policy", "save", rule},
		{"get", "regions"},
		{"quote", "-f", manifest, "--in", demoRegion, "--max-price", "0.05", "--near", demoPlace, "--max-rtt", "20ms"},
	} {
		if err := d.enter(ctx, words...); err != nil {
			return err
		}
	}
	quotes, err := d.exchange.Market.Quotes(ctx, demoTenant)
	if err != nil || len(quotes) == 0 {
		return cmp.Or(err, error(fault.Missing.Errorf("there is no quote")))
	}
	q := slices.MaxFunc(quotes, func(a, b *market.Quote) int { return a.CreatedAt.Compare(b.CreatedAt) })
	d.region = q.Chosen[0].Region
	if err := errors.Join(d.enter(ctx, "why", q.ID), d.enter(ctx, "order", q.ID, "--wait")); err != nil {
		return err
	}
	if q, err = d.exchange.Market.FindQuote(ctx, demoTenant, q.ID); err != nil {
		return err
	}
	d.order = q.Order
	if err := d.enter(ctx, "start", "hello", "--wait"); err != nil {
		return err
	}
	at, page, err := d.fetch(ctx)
	if err != nil {
		return err
	}
	fmt.Fprintf(d.stdout, "\n$ curl %s   # %.0f s after the start of everything\n%s\n", at, time.Since(began).Seconds(), strings.TrimSpace(page))
	return d.enter(ctx, "console", "log", "hello", "--tail", "600")
}

// write puts what the customer wants into files.
func (d *demo) write(image string) (manifest, rule string, err error) {
	manifest, rule = filepath.Join(d.exchange.config.Data, "demo.yaml"), filepath.Join(d.exchange.config.Data, "hospital.yaml")
	filled := strings.NewReplacer("IMAGE", image, "REGION", demoRegion).Replace(demoManifest)
	return manifest, rule, errors.Join(os.WriteFile(manifest, []byte(filled), 0o600), os.WriteFile(rule, []byte(demoPolicy), 0o600))
}

// enter runs a command as a person would, and shows it.
func (d *demo) enter(ctx context.Context, words ...string) error {
	fmt.Fprintln(d.stdout, "\n$ kontor", strings.Join(words, " "))
	if code := run(ctx, words, d.env, d.stdin, d.stdout, d.stderr); code != 0 {
		return fault.Unavailable.Errorf("kontor %s ended with %d", strings.Join(words, " "), code)
	}
	return nil
}

const bootTime = 2 * time.Minute

// fetch gets the guest's page from outside, as soon as it is there.
func (d *demo) fetch(ctx context.Context) (at, page string, err error) {
	ctx, cancel := context.WithTimeout(ctx, bootTime)
	defer cancel()
	customer := &app{env: d.env, stdin: d.stdin, stdout: io.Discard, stderr: d.stderr}
	p := d.progress()
	for began := time.Now(); ; {
		p.say("waiting for the guest to answer", fmt.Sprintf(" %.0f s", time.Since(began).Seconds()))
		where, err := customer.outside(ctx, "hello", 80)
		if err == nil {
			at = "http://" + where.String() + "/"
			if page, err = get(ctx, at); err == nil {
				p.clear()
				return at, page, nil
			}
		}
		select {
		case <-time.After(250 * time.Millisecond):
		case <-ctx.Done():
			return "", "", fmt.Errorf("the guest did not answer within %s: %w", bootTime, err)
		}
	}
}

func get(ctx context.Context, at string) (string, error) {
	ctx, cancel := context.WithTimeout(ctx, 3*time.Second)
	defer cancel()
	r, err := http.NewRequestWithContext(ctx, http.MethodGet, at, nil)
	if err != nil {
		return "", err
	}
	resp, err := http.DefaultClient.Do(r)
	if err != nil {
		return "", err
	}
	defer resp.Body.Close()
	b, err := io.ReadAll(io.LimitReader(resp.Body, 64<<10))
	if err == nil && resp.StatusCode != http.StatusOK {
		err = fault.Unavailable.Errorf("%s answers %s", at, resp.Status)
	}
	return string(b), err
}

// goOn tells how to go on by hand.
func (d *demo) goOn() {
	fmt.Fprintln(d.stdout, "\nGo on by hand in another terminal:")
	for _, name := range []string{"KONTOR_URL", "KONTOR_TOKEN_FILE", "KONTOR_TENANT", "KONTOR_REGION", "KONTOR_WORKSPACE"} {
		fmt.Fprintf(d.stdout, "  export %s=%s\n", name, d.env[name])
	}
	fmt.Fprintln(d.stdout, "  kontor get instances; kontor describe instance hello; kontor console log hello --follow")
	fmt.Fprintln(d.stdout, "Ctrl-C removes the machine and stops.")
}

const cleanTime = time.Minute

// clean ends the order, and asks the platform whether anything is left.
func (d *demo) clean(ctx context.Context) error {
	if d.order == "" {
		return nil
	}
	ctx, cancel := context.WithTimeout(ctx, cleanTime)
	defer cancel()
	if err := d.enter(ctx, "delete", "order", d.order, "--yes", "--wait"); err != nil {
		return err
	}
	if err := d.enter(ctx, "region", "resync", d.region); err != nil {
		return err
	}
	return d.enter(ctx, "region", "orphans", d.region)
}
