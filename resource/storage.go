package resource

import (
	"fmt"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/seca"
)

type blockStorage struct {
	none
	seca.BlockStorageSpec
}

func (b *blockStorage) check(_ Env, l *fault.List) {
	between(l, "/spec/sizeGB", b.SizeGB, 1, 1_000_000)
}

func (b *blockStorage) keep(was spec, l *fault.List) {
	old := was.(*blockStorage)
	same(l, "/spec/skuRef", b.SKURef == old.SKURef)
	same(l, "/spec/sourceImageRef", equal(b.SourceImageRef, old.SourceImageRef))
	if b.SizeGB < old.SizeGB {
		l.Add("/spec/sizeGB", "cannot shrink from %d to %d", old.SizeGB, b.SizeGB)
	}
}

func (b *blockStorage) links() []link {
	ls := []link{skuLink("/spec/skuRef", &b.SKURef, "seca.storage")}
	if b.SourceImageRef != nil {
		ls = append(ls, link{at: "/spec/sourceImageRef", ref: b.SourceImageRef, to: "images", in: "seca.storage"})
	}
	return ls
}

func (b *blockStorage) status() any { return seca.BlockStorageStatus{} }

type image struct {
	none
	seca.ImageSpec
}

func (i *image) check(e Env, l *fault.List) {
	oneOf(l, "/spec/cpuArchitecture", i.CPUArchitecture, "amd64", "arm64")
	oneOf(l, "/spec/boot", i.Boot, "", "UEFI", "BIOS")
	oneOf(l, "/spec/initializer", i.Initializer, "", "none", "cloudinit-22")
	if e.Inventory != nil && !e.Has(driver.ImageFromVolume) {
		l.Add("/spec/blockStorageRef", "region %s cannot make images from volumes", e.host())
	}
}

func (i *image) links() []link {
	return []link{{at: "/spec/blockStorageRef", ref: &i.BlockStorageRef, to: "block-storages", in: "seca.storage", when: later}}
}

func (i *image) status() any { return seca.ImageStatus{} }

func skuLink(at string, ref *seca.Reference, provider string) link {
	return link{at: at, ref: ref, to: "skus", in: provider}
}

// equal compares optional references.
func equal(a, b *seca.Reference) bool {
	return (a == nil) == (b == nil) && (a == nil || *a == *b)
}

// index gives the pointer of an item.
func index(at string, i int) string { return fmt.Sprintf("%s/%d", at, i) }
