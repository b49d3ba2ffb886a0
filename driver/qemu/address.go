package qemu

import (
	"encoding/hex"
	"encoding/json"
	"errors"
	"io/fs"
	"net"
	"net/netip"
	"os"
	"path/filepath"
	"slices"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/driver/qemu/vnet"
	"github.com/kontor-cloud/kontor/fault"
)

// admitNIC assigns what want leaves open. What has been assigned stays.
func (h *host) admitNIC(have *driver.NIC, want driver.NIC) (driver.NIC, error) {
	subnet, err := h.subnets.need(want.Subnet)
	if err != nil {
		return want, err
	}
	if have != nil && have.Subnet != want.Subnet {
		return want, fault.Unsupported.Errorf("a card does not move to another subnet")
	}
	if err := h.admitReferences(want); err != nil {
		return want, err
	}
	others, err := where(h.nics, func(n driver.NIC) bool { return n.Subnet == want.Subnet && n.ID != want.ID })
	if err != nil {
		return want, err
	}
	taken := map[netip.Addr]bool{}
	for _, n := range others {
		for _, a := range n.Addresses {
			taken[a] = true
		}
	}
	want.MAC = macOf(h.owner, want.ID)
	want.Addresses = slices.Clone(want.Addresses)
	for i, a := range want.Addresses {
		if have != nil && i < len(have.Addresses) && a.IsUnspecified() {
			a = have.Addresses[i]
		}
		if want.Addresses[i], err = assign(subnet, a, taken); err != nil {
			return want, err
		}
		taken[want.Addresses[i]] = true
	}
	return want, nil
}

func (h *host) admitReferences(want driver.NIC) error {
	for _, id := range want.SecurityGroups {
		if _, err := h.securityGroups.need(id); err != nil {
			return err
		}
	}
	for _, id := range want.PublicIPs {
		if _, err := h.publicIPs.need(id); err != nil {
			return err
		}
		users, err := which(h.nics, func(n driver.NIC) bool { return n.ID != want.ID && slices.Contains(n.PublicIPs, id) })
		if err != nil {
			return err
		}
		if len(users) > 0 {
			return fault.Conflict.Errorf("public address %s is attached to card %s", id, users[0])
		}
	}
	return nil
}

// assign returns the address that was asked for if the subnet has it to give,
// or the first free one if it is unspecified.
func assign(subnet driver.Subnet, asked netip.Addr, taken map[netip.Addr]bool) (netip.Addr, error) {
	if !asked.Is4() {
		return asked, fault.Unsupported.Errorf("address %s: this platform has IPv4 only", asked)
	}
	for _, cidr := range subnet.CIDRs {
		if asked.IsUnspecified() {
			for a := vnet.Gateway(cidr).Next(); cidr.Contains(a.Next()); a = a.Next() {
				if !taken[a] {
					return a, nil
				}
			}
			continue
		}
		if !cidr.Contains(asked) {
			continue
		}
		if asked == cidr.Masked().Addr() || asked == vnet.Gateway(cidr) || !cidr.Contains(asked.Next()) {
			return asked, fault.Invalid.Errorf("address %s is reserved in %s", asked, cidr)
		}
		if taken[asked] {
			return asked, fault.Conflict.Errorf("address %s is taken", asked)
		}
		return asked, nil
	}
	if asked.IsUnspecified() {
		return asked, fault.Exhausted.Errorf("subnet %s has no free address", subnet.ID)
	}
	return asked, fault.Invalid.Errorf("address %s is not in subnet %s", asked, subnet.ID)
}

// macOf derives a locally administered unicast address from who has the card.
func macOf(owner driver.Owner, id string) string {
	mac, _ := hex.DecodeString(digest(owner.Exchange+"\x00"+owner.Region+"\x00"+id, 6))
	mac[0] = mac[0]&^1 | 2
	return net.HardwareAddr(mac).String()
}

// A claim says who has a public address. Regions that share a directory share
// the claims in it, and so never give one address twice.
type claim struct {
	Owner driver.Owner `json:"owner"`
	ID    string       `json:"id"`
}

func (h *host) claimPath(a netip.Addr) string {
	return filepath.Join(h.shared, "addresses", a.String())
}

// admitPublicIP claims an address of the pool for a new thing.
func (h *host) admitPublicIP(have *driver.PublicIP, want driver.PublicIP) (driver.PublicIP, error) {
	if want.Family != 4 {
		return want, fault.Unsupported.Errorf("public addresses of IPv%d: this platform has IPv4 only", want.Family)
	}
	if have != nil {
		if want.Address.IsValid() && want.Address != have.Address {
			return want, fault.Unsupported.Errorf("a public address does not change")
		}
		want.Address, want.AttachedTo, want.Forwards = have.Address, have.AttachedTo, have.Forwards
		return want, nil
	}
	if want.Address.IsValid() {
		return want, fault.Unsupported.Errorf("public address %s: this platform takes no addresses of its tenants", want.Address)
	}
	pool, err := h.config.pool()
	if err != nil {
		return want, err
	}
	if err := os.MkdirAll(filepath.Join(h.shared, "addresses"), 0o700); err != nil {
		return want, err
	}
	for _, a := range pool {
		ok, err := h.take(a, want.ID)
		if err != nil {
			return want, err
		}
		if ok {
			want.Address = a
			return want, nil
		}
	}
	return want, fault.Exhausted.Errorf("all %d public addresses are taken", len(pool))
}

// take tries to claim an address: the link to a whole file is the test and the
// claim in one step.
func (h *host) take(a netip.Addr, id string) (bool, error) {
	if h.stale(a) {
		if err := os.Remove(h.claimPath(a)); err != nil && !errors.Is(err, fs.ErrNotExist) {
			return false, err
		}
	}
	text, err := json.Marshal(claim{h.owner, id})
	if err != nil {
		return false, err
	}
	stage, err := h.stage()
	if err != nil {
		return false, err
	}
	defer os.RemoveAll(stage)
	whole := filepath.Join(stage, "claim")
	if err := writeFile(whole, text); err != nil {
		return false, err
	}
	err = os.Link(whole, h.claimPath(a))
	if errors.Is(err, fs.ErrExist) {
		return false, nil
	}
	return err == nil, err
}

// stale reports whether a claim has outlived its thing, or never had one
// because its agent died in between. Another region's claim is left alone until
// it is older than any step takes.
func (h *host) stale(a netip.Addr) bool {
	text, err := os.ReadFile(h.claimPath(a))
	if err != nil {
		return false
	}
	var c claim
	if err := json.Unmarshal(text, &c); err != nil {
		return false
	}
	if c.Owner == h.owner {
		have, err := h.publicIPs.get(c.ID)
		return errors.Is(err, fault.Missing) || err == nil && have.Address != a
	}
	other := newHost(c.Owner, h.shared, h.config, h.log)
	info, err := os.Stat(h.claimPath(a))
	return err == nil && time.Since(info.ModTime()) > time.Minute && !other.publicIPs.has(c.ID)
}

// unclaimed reports whether an address could be taken.
func (h *host) unclaimed(a netip.Addr) (bool, error) {
	_, err := os.Stat(h.claimPath(a))
	if errors.Is(err, fs.ErrNotExist) {
		return true, nil
	}
	return err == nil && h.stale(a), err
}

// release gives an address back, if it is still claimed for this thing.
func (h *host) release(a netip.Addr, id string) error {
	text, err := os.ReadFile(h.claimPath(a))
	if errors.Is(err, fs.ErrNotExist) {
		return nil
	}
	if err != nil {
		return err
	}
	var c claim
	if err := json.Unmarshal(text, &c); err != nil || c != (claim{h.owner, id}) {
		return err
	}
	return os.Remove(h.claimPath(a))
}

// lookAtPublicIP adds which card has the address, and which ports reach it.
func (h *host) lookAtPublicIP(p driver.PublicIP) driver.PublicIP {
	p.AttachedTo, p.Forwards = "", nil
	users, err := where(h.nics, func(n driver.NIC) bool { return slices.Contains(n.PublicIPs, p.ID) })
	if err != nil || len(users) == 0 {
		return p
	}
	p.AttachedTo = users[0].ID
	p.Forwards, p.Detail = h.forwards(users[0], p.Address)
	return p
}
