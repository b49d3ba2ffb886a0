package lab

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
)

// uncarried are the kinds that the provider has no resource for.
var uncarried = []string{"security-group-rule"}

// TestLabTerraform promises that the public Terraform provider, unmodified,
// builds a stack of everything it knows in the strict profile, finds nothing to
// change in it, changes it, and takes all of it away again; and that it cannot tell
// the virtual region eu from others.
func TestLabTerraform(t *testing.T) {
	provider := need(t, "KONTOR_LAB_TERRAFORM_PROVIDER", "terraform-provider-seca")
	if _, err := exec.LookPath("terraform"); err != nil {
		t.Skip("put terraform (1.11 or later) into PATH; it is at releases.hashicorp.com")
	}
	kontor := build(t)
	lives := func(region string, stack func(*testing.T, *exchange) *stack) {
		t.Run(region+"fake", func(t *testing.T) {
			s := stack(t, up(t, kontor, nil, "--fake", "1"))
			s.live(t, func() {})
		})
		t.Run(region+"qemu", func(t *testing.T) {
			images := withImage(t)
			s := stack(t, up(t, kontor, []string{"KONTOR_IMAGES=" + images}))
			s.set("base_image", "seca.storage/v1/tenants/public/images/tiny")
			s.live(t, func() { s.boot(t) })
		})
	}
	lives("", func(t *testing.T, x *exchange) *stack { return newStack(t, x, provider) })
	lives("eu-", func(t *testing.T, x *exchange) *stack {
		x.sell(t)
		s := newStack(t, x, provider)
		s.set("wishes", `{"kontor.exchange/max-price": "0.05", "kontor.exchange/needs": "1x seca.dm, 4GiB seca.rd500, 1x public-ip"}`)
		return s
	})
}

// withImage makes a directory with the demo's guest in it, or skips the test.
func withImage(t *testing.T) string {
	t.Helper()
	for _, program := range []string{"qemu-system-x86_64", "qemu-img"} {
		if _, err := exec.LookPath(program); err != nil {
			t.Skipf("no %s here; \"make qemu\" installs it", program)
		}
	}
	path := os.Getenv("KONTOR_TEST_IMAGE")
	if path == "" {
		cache, err := os.UserCacheDir()
		if err != nil {
			t.Skip(err)
		}
		path = filepath.Join(cache, "kontor", "image", "kontor-tiny.qcow2")
	}
	if _, err := os.Stat(path); err != nil {
		t.Skipf("no image: run image/build, or set KONTOR_TEST_IMAGE (%v)", err)
	}
	dir := t.TempDir()
	if err := os.Symlink(path, filepath.Join(dir, "tiny.qcow2")); err != nil {
		t.Fatal(err)
	}
	return dir
}

// A stack is testdata/terraform in a region of an exchange.
type stack struct {
	*exchange
	dir string
	env []string
}

func newStack(t *testing.T, x *exchange, provider string) *stack {
	t.Helper()
	s := &stack{exchange: x, dir: t.TempDir(), env: []string{"TF_IN_AUTOMATION=1", "CHECKPOINT_DISABLE=1"}}
	if err := os.CopyFS(s.dir, os.DirFS("testdata/terraform")); err != nil {
		t.Fatal(err)
	}
	plugins := t.TempDir()
	if err := os.Symlink(provider, filepath.Join(plugins, "terraform-provider-seca")); err != nil {
		t.Fatal(err)
	}
	config := filepath.Join(plugins, "terraform.rc")
	text := fmt.Sprintf("provider_installation {\n  dev_overrides { \"eu-sovereign-cloud/seca\" = %q }\n  direct {}\n}\n", plugins)
	if err := os.WriteFile(config, []byte(text), 0o600); err != nil {
		t.Fatal(err)
	}
	s.env = append(s.env, "TF_CLI_CONFIG_FILE="+config)
	for name, value := range map[string]string{
		"url": x.url, "token": x.token, "tenant": tenant, "region": x.region,
		"instance_sku": x.size(t), "storage_sku": x.sku(t, "seca.storage"), "network_sku": x.sku(t, "seca.network"),
	} {
		s.set(name, value)
	}
	return s
}

// set gives a variable of the stack its value.
func (s *stack) set(name, value string) { s.env = append(s.env, "TF_VAR_"+name+"="+value) }

// terraform runs a command and gives its exit code. What it says is shown when
// that is not 0.
func (s *stack) terraform(t *testing.T, ctx context.Context, args ...string) int {
	t.Helper()
	c := exec.CommandContext(ctx, "terraform", append(args, "-no-color", "-input=false")...)
	c.Dir, c.Env = s.dir, append(os.Environ(), s.env...)
	out, err := c.CombinedOutput()
	var exit *exec.ExitError
	switch {
	case errors.As(err, &exit):
		t.Logf("terraform %s:\n%s", args[0], out)
	case err != nil:
		t.Fatalf("run terraform: %v", err)
	}
	for line := range strings.Lines(string(out)) {
		if strings.Contains(line, " complete! ") || strings.HasPrefix(line, "No changes.") {
			t.Log(strings.TrimSpace(line))
		}
	}
	return c.ProcessState.ExitCode()
}

// apply makes the stack so, and wants it to be so.
func (s *stack) apply(t *testing.T) {
	t.Helper()
	if code := s.terraform(t, t.Context(), "apply", "-auto-approve"); code != 0 {
		t.Fatalf("terraform apply ends with %d", code)
	}
	s.unchanged(t)
}

// unchanged wants a plan to be empty.
func (s *stack) unchanged(t *testing.T) {
	t.Helper()
	if code := s.terraform(t, t.Context(), "plan", "-detailed-exitcode"); code != 0 {
		t.Fatalf("terraform plan ends with %d; 2 says that it would change something", code)
	}
}

// live is a stack's whole life; use is what a customer does with it that the
// provider cannot.
func (s *stack) live(t *testing.T, use func()) {
	t.Helper()
	before := s.everything(t)
	gone := false
	t.Cleanup(func() {
		if !gone {
			s.terraform(t, context.WithoutCancel(t.Context()), "destroy", "-auto-approve")
		}
	})
	s.apply(t)
	s.complete(t)
	if s.region != s.host {
		s.hidden(t)
	}
	s.set("stage", "production")
	s.set("data_gb", "2")
	s.apply(t)
	use()
	if code := s.terraform(t, t.Context(), "destroy", "-auto-approve"); code != 0 {
		t.Fatalf("terraform destroy ends with %d", code)
	}
	gone = true
	if diff := cmp.Diff(before, s.everything(t)); diff != "" {
		t.Errorf("what there is after destroy (-before +after):\n%s", diff)
	}
	s.agrees(t)
}

// place is where the stack is.
func (s *stack) place() client.Place {
	return client.Place{Tenant: tenant, Region: s.region, Workspace: "shop", Network: "net"}
}

// everything lists the tenant's resources of all kinds, by their names.
func (s *stack) everything(t *testing.T) []string {
	t.Helper()
	var names []string
	for _, k := range resource.Kinds() {
		for _, i := range s.list(t, k) {
			names = append(names, k.Name+" "+i.Metadata.Name)
		}
	}
	return names
}

// list gives what there is of a kind.
func (s *stack) list(t *testing.T, k *resource.Kind) []client.Item {
	t.Helper()
	at, err := s.client.Collection(t.Context(), k, s.place())
	if err != nil {
		t.Fatal(err)
	}
	all, err := client.All(s.client.List(t.Context(), at, client.Query{}))
	if err != nil {
		t.Fatal(err)
	}
	return all
}

// complete wants a resource of every kind that the provider has.
func (s *stack) complete(t *testing.T) {
	t.Helper()
	all := s.everything(t)
	for _, k := range resource.Kinds() {
		there := slices.ContainsFunc(all, func(name string) bool { return strings.HasPrefix(name, k.Name+" ") })
		if there == slices.Contains(uncarried, k.Name) {
			t.Errorf("a %s is there: %t", k.Name, there)
		}
	}
}

// agrees asks the platform itself, through its agent, whether it differs.
func (s *stack) agrees(t *testing.T) {
	t.Helper()
	var answer struct {
		Differences []any `json:"differences"`
	}
	at := s.client.Exchange("regions", s.host, "resync")
	if err := s.client.Post(t.Context(), at, map[string]bool{"apply": false}, &answer); err != nil {
		t.Fatal(err)
	}
	if len(answer.Differences) > 0 {
		t.Errorf("the platform still has: %v", answer.Differences)
	}
}

// hidden wants all of a stack in a virtual region to be kept by the first one, and nothing of
// its documents but the member kontor to say so.
func (s *stack) hidden(t *testing.T) {
	t.Helper()
	for _, k := range resource.Kinds() {
		if k.Global {
			continue
		}
		for _, i := range s.list(t, k) {
			at := member[struct{ Placement struct{ Region string } }](t, i.Kontor).Placement.Region
			doc := i.Document
			doc.Kontor = nil
			text, err := json.Marshal(doc)
			if err != nil {
				t.Fatal(err)
			}
			if at != s.host || doc.Metadata.Region != s.region || strings.Contains(string(text), s.host) {
				t.Errorf("%s %s lies in %q, want %s, and says of it: %s", k.Name, i.Metadata.Name, at, s.host, text)
			}
		}
	}
}

// boot does by hand what the provider cannot carry: it gives the network card
// its public address and turns the machine on. The page that the guest then
// serves is the one the stack asked for, and Terraform still sees no change.
func (s *stack) boot(t *testing.T) {
	t.Helper()
	s.attach(t, seca.Reference{Resource: "public-ips/address"})
	if err := s.client.Post(t.Context(), client.Under(s.at(t, "instance", "web"), "start"), nil, nil); err != nil {
		t.Fatal(err)
	}
	began := time.Now()
	poll(t, 2*time.Minute, "the guest's page", func(ctx context.Context) bool {
		page := fetch(ctx, s.outside(t, 80))
		return strings.Contains(page, "made by Terraform")
	})
	t.Logf("the guest served its page %s after it was started", time.Since(began).Round(time.Second))
	s.unchanged(t)
	s.attach(t)
}

// attach gives the card these public addresses and no others.
func (s *stack) attach(t *testing.T, addresses ...seca.Reference) {
	t.Helper()
	at := s.at(t, "nic", "card")
	card := s.get(t, at)
	spec := member[seca.NICSpec](t, card.Spec)
	spec.PublicIPRefs = addresses
	if _, _, err := s.client.Put(t.Context(), at, map[string]any{"spec": spec}, card.Metadata.ResourceVersion); err != nil {
		t.Fatal(err)
	}
	poll(t, time.Minute, "the card with its addresses", func(context.Context) bool {
		return s.get(t, at).State() == seca.Active
	})
}

// outside tells where a port of the guest is reached; "" when it is not yet.
func (s *stack) outside(t *testing.T, port int) string {
	t.Helper()
	ip := s.get(t, s.at(t, "public-ip", "address"))
	for _, f := range member[struct {
		Forwards []struct {
			Outside string
			Port    int
		}
	}](t, ip.Kontor).Forwards {
		if f.Port == port {
			return f.Outside
		}
	}
	return ""
}

// at gives the address of a resource of the stack.
func (s *stack) at(t *testing.T, kind, name string) string {
	t.Helper()
	k, ok := resource.KindNamed(kind)
	if !ok {
		t.Fatalf("no kind %s", kind)
	}
	at, err := s.client.Resource(t.Context(), k, s.place(), name)
	if err != nil {
		t.Fatal(err)
	}
	return at
}

func (s *stack) get(t *testing.T, at string) client.Item {
	t.Helper()
	i, err := s.client.Get(t.Context(), at)
	if err != nil {
		t.Fatal(err)
	}
	return i
}
