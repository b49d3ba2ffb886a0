package fake

import (
	"fmt"
	"hash/fnv"
	"net/netip"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
)

// A pool hands out addresses. One that was asked for by name may be in use
// more than once: telling its owners is not this platform's business.
type pool struct {
	used map[netip.Addr]int
	last map[netip.Prefix]netip.Addr
}

func newPool() *pool { return &pool{map[netip.Addr]int{}, map[netip.Prefix]netip.Addr{}} }

func (p *pool) take(a netip.Addr) { p.used[a]++ }

func (p *pool) put(a netip.Addr) {
	if p.used[a]--; p.used[a] <= 0 {
		delete(p.used, a)
	}
}

// next finds a free address: neither the first two of the range, which are the
// network's and the gateway's, nor the last one.
func (p *pool) next(in netip.Prefix) (netip.Addr, error) {
	first := in.Masked().Addr().Next().Next()
	at, wrapped := p.last[in], false
	if !at.IsValid() {
		at = first.Prev()
	}
	for {
		at = at.Next()
		if !at.IsValid() || !in.Contains(at) || at.Is4() && !in.Contains(at.Next()) {
			if wrapped {
				return at, fault.Exhausted.Errorf("no address is left in %s", in)
			}
			at, wrapped = first.Prev(), true
			continue
		}
		if p.used[at] == 0 {
			p.last[in] = at
			return at, nil
		}
	}
}

// assign gives a card the addresses that it wants, keeping those that it has
// where any will do.
func (a *account) assign(n *driver.NIC, want, have []netip.Addr) error {
	p := a.subnetPool(n.Subnet)
	got := make([]netip.Addr, len(want))
	for i, w := range want {
		switch {
		case !w.IsUnspecified():
			got[i] = w
		case i < len(have) && have[i].Is4() == w.Is4():
			got[i] = have[i]
		default:
			in, err := a.rangeOf(n.Subnet, w.Is4())
			if err == nil {
				got[i], err = p.next(in)
			}
			if err != nil {
				return err
			}
		}
	}
	for _, x := range got {
		p.take(x)
	}
	for _, x := range have {
		p.put(x)
	}
	n.Addresses = got
	return nil
}

func (a *account) subnetPool(subnet string) *pool {
	p := a.addresses[subnet]
	if p == nil {
		p = newPool()
		a.addresses[subnet] = p
	}
	return p
}

func (a *account) rangeOf(subnet string, v4 bool) (netip.Prefix, error) {
	for _, c := range a.subnets.rows[subnet].Have.CIDRs {
		if c.Addr().Is4() == v4 {
			return c, nil
		}
	}
	return netip.Prefix{}, fault.Invalid.Errorf("subnet %s has no range of that family", subnet)
}

// mac makes a locally administered address that stays with its card.
func mac(id string) string {
	h := fnv.New64a()
	h.Write([]byte(id))
	b := h.Sum(nil)
	return fmt.Sprintf("02:%02x:%02x:%02x:%02x:%02x", b[0], b[1], b[2], b[3], b[4])
}
