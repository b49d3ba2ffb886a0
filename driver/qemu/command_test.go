package qemu

import (
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

var update = flag.Bool("update", false, "write golden files")

func TestCommandLine(t *testing.T) {
	for _, accel := range []string{"kvm", "tcg"} {
		t.Run(accel, func(t *testing.T) {
			h := hostIn(t, t.TempDir(), us, `{}`)
			h.accel = accel
			m := machine{
				name: "web-1", vcpu: 2, ramMiB: 4096, ports: 3, boot: h.diskOf("boot-volume"),
				data:  []disk{h.diskOf("a-data-volume-with-a-long-id")},
				cards: []card{{id: "nic-1", mac: "52:54:00:00:00:01", network: "net-1"}},
			}
			got := strings.ReplaceAll(strings.Join(m.commandLine(h), "\n")+"\n", "\n-", "\n\n-")
			golden := filepath.Join("testdata", accel+".args")
			if *update {
				if err := os.WriteFile(golden, []byte(got), 0o644); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(golden)
			if err != nil {
				t.Fatal(err)
			}
			if diff := cmp.Diff(string(want), got); diff != "" {
				t.Error(diff)
			}
		})
	}
}

func TestParseOption(t *testing.T) {
	got := parseOption("dgram,id=n1,local.type=unix,local.path=a/b.sock,remote.type=unix")
	want := object{"type": "dgram", "id": "n1", "local": object{"type": "unix", "path": "a/b.sock"}, "remote": object{"type": "unix"}}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

func TestHostname(t *testing.T) {
	for name, want := range map[string]string{"web-1": "web-1", "Über Web": "ber-web", "-x-": "x", "": "i-" + digest("id", 4), strings.Repeat("a", 99): strings.Repeat("a", 63)} {
		i := instance{}
		i.ID, i.Name = "id", name
		if got := i.hostname(); got != want {
			t.Errorf("hostname of %q is %q, want %q", name, got, want)
		}
	}
}

func TestConsoleIsBoundedAndGivesItsTail(t *testing.T) {
	h := hostIn(t, t.TempDir(), us, `{}`)
	if err := h.instances.create(instance{Instance: stub("web")}, nil); err != nil {
		t.Fatal(err)
	}
	dir := h.instances.dir("web")
	var text strings.Builder
	for n := range 3000 {
		text.WriteString(strings.Repeat("x", 1000) + string(rune('a'+n%26)) + "\n")
	}
	if err := keepBoth(dir, strings.NewReader(text.String()), strings.NewReader("from qemu\n")); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(filepath.Join(dir, "console.log*"))
	if err != nil || len(files) != 2 {
		t.Errorf("files are %v, %v, want two", files, err)
	}
	for _, f := range files {
		if info, err := os.Stat(f); err != nil || info.Size() > consoleBytes {
			t.Errorf("%s: %v, %v", f, info.Size(), err)
		}
	}
	for _, tail := range []int{0, 5, 1 << 20} {
		got, err := h.console(t.Context(), "web", tail)
		if err != nil || string(got) != text.String()[text.Len()-tail:] {
			t.Errorf("console(%d) gives %d other bytes, %v", tail, len(got), err)
		}
	}
	if got := lastLine(filepath.Join(dir, "qemu.log")); got != "from qemu" {
		t.Errorf("qemu.log says %q", got)
	}
}
