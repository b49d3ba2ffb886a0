package doctor

import (
	"context"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// questions is how often the platform is asked for its inventory.
const questions = 5

// answers asks the platform a few times what it offers, and how long that takes.
func (x *examination) answers(ctx context.Context) (string, error) {
	var took []time.Duration
	for range questions {
		began := time.Now()
		inv, err := x.ask(ctx)
		if err != nil {
			return "", fmt.Errorf("ask for the inventory: %w", err)
		}
		x.stock = inv
		took = append(took, time.Since(began))
	}
	x.report.Platform = x.stock.Platform
	m := median(took)
	x.report.measure(APILatency, milliseconds(m))
	if m > 5*time.Second {
		return "", warn(fmt.Sprintf("answers, but takes %v", m.Round(time.Millisecond)), "run the agent nearer to the platform, or see what slows it down")
	}
	return fmt.Sprintf("answers in %v", m.Round(10*time.Microsecond)), nil
}

func (x *examination) ask(ctx context.Context) (*driver.Inventory, error) {
	ctx, stop := context.WithTimeout(ctx, x.Patience/5)
	defer stop()
	if err := x.limit.Wait(ctx); err != nil {
		return nil, err
	}
	return x.cloud.Inventory(ctx)
}

func median(all []time.Duration) time.Duration {
	slices.Sort(all)
	return all[len(all)/2]
}

func milliseconds(d time.Duration) float64 { return float64(d.Microseconds()) / 1000 }

// look checks what can be checked without making anything.
func (x *examination) look(ctx context.Context) {
	if x.stock != nil {
		x.check(ctx, "offer", x.offer)
		x.check(ctx, "capacity", x.capacity)
	}
	x.check(ctx, "kinds", x.kept)
	if x.stock != nil {
		x.check(ctx, "features", x.features)
	}
	for _, k := range x.kinds {
		if k.list != nil {
			x.check(ctx, "list "+k.name, func(ctx context.Context) (string, error) { return x.listed(ctx, k) })
		}
	}
}

// offer checks that there is something to order.
func (x *examination) offer(context.Context) (string, error) {
	var lacks []string
	for what, n := range map[string]int{
		"zones": len(x.stock.Zones), "sizes of machines": len(x.stock.InstanceSKUs),
		"classes of storage": len(x.stock.StorageSKUs), "classes of network": len(x.stock.NetworkSKUs), "images": len(x.stock.Images),
	} {
		if n == 0 {
			lacks = append(lacks, what)
		}
	}
	if len(lacks) > 0 {
		slices.Sort(lacks)
		return "", remedied{fault.Missing.Errorf("the platform offers no %s", strings.Join(lacks, ", ")), "offer some, or see whether the account may see them"}
	}
	return fmt.Sprintf("zones %s; %d sizes, %d storage, %d network, %d images", strings.Join(x.stock.Zones, ", "),
		len(x.stock.InstanceSKUs), len(x.stock.StorageSKUs), len(x.stock.NetworkSKUs), len(x.stock.Images)), nil
}

// capacity checks that what is free is enough for the probe.
func (x *examination) capacity(context.Context) (string, error) {
	sku, boot, err := x.choice()
	if err != nil {
		return "", err
	}
	free := x.stock.Free
	var says, short []string
	for _, q := range []struct {
		name string
		left *int
		need int
	}{
		{"vcpu", free.VCPU, sku.VCPU},
		{"GiB of memory", free.RAMGiB, sku.RAMGiB},
		{"GB of disk", free.DiskGB, boot + x.dataGB()},
		{"public addresses", free.PublicIPs, 1},
	} {
		if q.left == nil {
			continue
		}
		says = append(says, fmt.Sprintf("%d %s", *q.left, q.name))
		if *q.left < q.need {
			short = append(short, fmt.Sprintf("%d of %d %s", *q.left, q.need, q.name))
		}
	}
	switch {
	case len(short) > 0:
		return "", fault.Exhausted.Errorf("there is less free than a probe needs: %s", strings.Join(short, ", "))
	case len(says) == 0:
		return "", warn("the platform does not say what is free", "nothing, if you look after that yourself: orders beyond it fail when they are made")
	}
	return "free: " + strings.Join(says, ", "), nil
}

// kept tells which kinds of things the platform has.
func (x *examination) kept(context.Context) (string, error) {
	var has, lacks []string
	for _, k := range x.kinds {
		if k.list == nil {
			lacks = append(lacks, k.name)
		} else {
			has = append(has, k.name)
		}
	}
	if x.cloud.Console == nil {
		lacks = append(lacks, "console")
	}
	if len(lacks) > 0 {
		return "", warn("the platform has no "+strings.Join(lacks, ", "), "nothing, if it cannot; orders for them are refused")
	}
	return strings.Join(has, ", "), nil
}

// features tells which features the platform has. To lack some is no fault.
func (x *examination) features(context.Context) (string, error) {
	var has, lacks []string
	for _, f := range []driver.Feature{
		driver.AntiAffinity, driver.IPv6, driver.ImageFromVolume, driver.BringYourOwnIP,
		driver.RouteToInstance, driver.MoreThanOneNIC, driver.ResizeWhileInUse,
	} {
		if slices.Contains(x.stock.Features, f) {
			has = append(has, string(f))
		} else {
			lacks = append(lacks, string(f))
		}
	}
	text := "has " + strings.Join(has, ", ")
	if len(has) == 0 {
		text = "has none"
	}
	if len(lacks) > 0 {
		text += "; not " + strings.Join(lacks, ", ")
	}
	return text, nil
}

// listed checks the right to look, and that nothing is there under our name.
func (x *examination) listed(ctx context.Context, k kind) (string, error) {
	ctx, stop := context.WithTimeout(ctx, x.Patience/5)
	defer stop()
	if err := x.limit.Wait(ctx); err != nil {
		return "", err
	}
	things, err := k.list(ctx)
	if err != nil {
		return "", fmt.Errorf("list %ss: %w", k.name, err)
	}
	if len(things) > 0 {
		return "", remedied{
			fault.Conflict.Errorf("the list has %d %ss under a name that nobody has used before", len(things), k.name),
			"do not use this driver here: it does not tell its own things from those of others",
		}
	}
	return "may be listed", nil
}

// choice picks the size and the size of the boot volume, in GB, for the probe.
func (x *examination) choice() (driver.InstanceSKU, int, error) {
	sku, err := pick(x.stock.InstanceSKUs, x.SKU, func(s driver.InstanceSKU) string { return s.Name },
		func(s driver.InstanceSKU) int { return 1000*s.RAMGiB + s.VCPU + gpus(s) })
	if err != nil {
		return sku, 0, fmt.Errorf("choose a size of machine: %w", err)
	}
	image, err := x.image(sku)
	if err != nil {
		return sku, 0, err
	}
	return sku, max(x.dataGB(), (image.SizeMB+999)/1000), nil
}

// gpus makes machines with accelerators the last choice.
func gpus(s driver.InstanceSKU) int {
	if s.GPU != nil {
		return 1 << 30
	}
	return 0
}

// image picks an image that fits the machine, if it can be told.
func (x *examination) image(sku driver.InstanceSKU) (driver.OfferImage, error) {
	arch := sku.Labels["Architecture"]
	images := slices.DeleteFunc(slices.Clone(x.stock.Images), func(i driver.OfferImage) bool {
		return arch != "" && i.Arch != arch && x.Image == ""
	})
	image, err := pick(images, x.Image, func(i driver.OfferImage) string { return i.Name }, func(i driver.OfferImage) int {
		if i.Initializer == "" || i.Initializer == "none" {
			return i.SizeMB + 1<<30
		}
		return i.SizeMB
	})
	if err != nil {
		return image, fmt.Errorf("choose an image: %w", err)
	}
	return image, nil
}

// storage picks the class of the probe's volumes.
func (x *examination) storage() (driver.StorageSKU, error) {
	return pick(x.stock.StorageSKUs, x.StorageSKU, func(s driver.StorageSKU) string { return s.Name }, func(s driver.StorageSKU) int { return s.MinGB })
}

// dataGB is the size of the data volume.
func (x *examination) dataGB() int {
	s, err := x.storage()
	if err != nil {
		return 1
	}
	return max(1, s.MinGB)
}

// pick finds what was asked for by name, or the smallest.
func pick[S any](all []S, asked string, name func(S) string, size func(S) int) (found S, err error) {
	for i, s := range all {
		switch {
		case asked != "" && name(s) == asked:
			return s, nil
		case asked == "" && (i == 0 || size(s) < size(found)):
			found = s
		}
	}
	if asked != "" {
		return found, remedied{fault.Missing.Errorf("%q is not on offer", asked), "name one that is"}
	}
	if len(all) == 0 {
		return found, remedied{fault.Missing.Errorf("none is on offer"), "offer one"}
	}
	return found, nil
}
