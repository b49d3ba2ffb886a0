package qemu

import (
	"crypto/ed25519"
	"crypto/rand"
	"net/netip"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"golang.org/x/crypto/ssh"
	"golang.org/x/sys/unix"
	"sigs.k8s.io/yaml"

	"github.com/google/go-cmp/cmp"

	"github.com/kontor-cloud/kontor/driver"
)

func TestSeedIsYAMLWhateverItHolds(t *testing.T) {
	h := hostIn(t, t.TempDir(), driver.Owner{Exchange: "x", Region: `a "b": c`}, `{}`)
	i := instance{Instance: stub("id: 1")}
	i.SSHKeys = []string{"ssh-ed25519 AAAA you@there", `key "two"`}
	s := h.seed(i, machine{cards: []card{{id: "n", mac: "02:00:00:00:00:01"}}})
	var got, network map[string]any
	if err := yaml.Unmarshal([]byte(s.meta), &got); err != nil {
		t.Fatalf("%v:\n%s", err, s.meta)
	}
	want := map[string]any{
		"instance-id": "id: 1", "local-hostname": "id-1", "region": `a "b": c`,
		"public-keys": []any{"ssh-ed25519 AAAA you@there", `key "two"`},
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	if err := yaml.Unmarshal([]byte(s.network), &network); err != nil || network["version"] != 2.0 {
		t.Errorf("the network says %v, %v", network, err)
	}
	if s.user == "" {
		t.Error("no user data at all: cloud-init would take the seed for none")
	}
}

// keyPair makes a key of SSH, and what a guest is told of it.
func keyPair(t *testing.T) (key ssh.Signer, authorized string) {
	t.Helper()
	_, private, err := ed25519.GenerateKey(rand.Reader)
	if err != nil {
		t.Fatal(err)
	}
	key, err = ssh.NewSignerFromKey(private)
	if err != nil {
		t.Fatal(err)
	}
	return key, strings.TrimSpace(string(ssh.MarshalAuthorizedKey(key.PublicKey()))) + " test@kontor"
}

// run runs a command in the guest.
func run(t *testing.T, at netip.AddrPort, key ssh.Signer, command string) string {
	t.Helper()
	var out []byte
	err := poll(t.Context(), 30*time.Second, func() error {
		c, err := ssh.Dial("tcp", at.String(), &ssh.ClientConfig{
			User: "root", Auth: []ssh.AuthMethod{ssh.PublicKeys(key)},
			HostKeyCallback: ssh.InsecureIgnoreHostKey(), Timeout: 20 * time.Second, //nolint:gosec // a guest of our own
			// Some versions of dropbear offer RSA without having such a key.
			HostKeyAlgorithms: []string{ssh.KeyAlgoED25519},
		})
		if err != nil {
			return err
		}
		defer c.Close()
		session, err := c.NewSession()
		if err != nil {
			return err
		}
		out, err = session.Output(command)
		return err
	})
	if err != nil {
		t.Errorf("ssh: %v", err)
	}
	return string(out)
}

// replugCard gives a running machine a second card, and takes it away again.
func replugCard(t *testing.T, c *driver.Cloud, want driver.Instance) {
	t.Helper()
	settle(t, c.NICs, driver.NIC{Meta: meta("nic2"), Subnet: "sub", Addresses: []netip.Addr{netip.IPv4Unspecified()}})
	want.NICs = []string{"nic", "nic2"}
	settle(t, c.Instances, want)
	want.NICs = []string{"nic"}
	settle(t, c.Instances, want)
	if err := c.NICs.Delete(t.Context(), "nic2"); err != nil {
		t.Error(err)
	}
}

// restartNetwork kills the network's process and has the next Ensure bring it back.
func restartNetwork(t *testing.T, dir string, c *driver.Cloud) {
	t.Helper()
	status, err := inspectNetwork(filepath.Join(rootOf(t, dir), "networks", "net", "vnet"))
	if err != nil {
		t.Fatal(err)
	}
	if err := unix.Kill(status.PID, unix.SIGKILL); err != nil {
		t.Fatal(err)
	}
	for n, err := range c.Networks.List(t.Context()) {
		if err != nil || n.State != driver.Building {
			t.Errorf("a network without its process is listed as %s, %v", n.State, err)
		}
		settle(t, c.Networks, driver.Network{Meta: meta("net"), CIDRs: n.CIDRs})
	}
}
