package audit

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"fmt"
	"strconv"
	"strings"

	"github.com/kontor-cloud/kontor/fault"
)

// A Mark is a place in a chain: a number, and the hash of everything up to it.
// Who remembers one can tell later whether all that is still there.
type Mark struct {
	Seq  int64  `json:"seq"`
	Hash string `json:"hash"` // SHA-256, in hex
}

// String is the form that ParseMark reads: SEQ:HASH.
func (m Mark) String() string { return strconv.FormatInt(m.Seq, 10) + ":" + m.Hash }

// ParseMark reads SEQ:HASH.
func ParseMark(s string) (Mark, error) {
	number, hash, _ := strings.Cut(s, ":")
	seq, err := strconv.ParseInt(number, 10, 64)
	if raw, bad := hex.DecodeString(hash); err != nil || seq < 0 || bad != nil || len(raw) != sha256.Size || hash != strings.ToLower(hash) {
		return Mark{}, fault.Invalid.Errorf("%q is no SEQ:HASH as \"kontor audit verify\" prints it", clip(s, maxText))
	}
	return Mark{seq, hash}, nil
}

// Genesis is the mark before a chain's first entry. It has the chain's name, so
// no chain can stand in for another.
func Genesis(chain string) Mark {
	return Mark{0, digestText(sha256.Sum256([]byte("kontor audit v1\n" + chain)))}
}

// Next is the mark of an entry that follows m: the hash is over that of m, the
// number in 8 bytes, high first, and the entry's text.
func (m Mark) Next(body []byte) Mark {
	next := Mark{Seq: m.Seq + 1}
	h := sha256.New()
	prev, _ := hex.DecodeString(m.Hash)
	h.Write(prev)
	var n [8]byte
	binary.BigEndian.PutUint64(n[:], uint64(next.Seq)) //nolint:gosec // never negative
	h.Write(n[:])
	h.Write(body)
	next.Hash = hex.EncodeToString(h.Sum(nil))
	return next
}

func digest(document []byte) string {
	if document == nil {
		return ""
	}
	return digestText(sha256.Sum256(document))
}

// A Sealed entry is one that has its place in a chain.
type Sealed struct {
	Mark
	Body []byte `json:"-"` // the entry as it was hashed
}

// A Check follows a chain from its beginning and finds the first entry that is
// not as it was written.
type Check struct {
	at         Mark
	remembered Mark // what the caller knows; zero if nothing
}

// NewCheck begins at base, which is Genesis unless earlier entries were removed
// as too old. remembered is a mark that the caller knows from before, or zero.
func NewCheck(chain string, base, remembered Mark) (*Check, error) {
	if base.Seq == 0 && base != Genesis(chain) {
		return nil, fault.Invalid.Errorf("the chain does not begin as that of %s does", Named(chain))
	}
	if remembered.Hash != "" && remembered.Seq < base.Seq {
		return nil, fault.Invalid.Errorf("entry %d, which you remember, is past its time and removed; what is left begins after %s, so remember a newer one", remembered.Seq, base)
	}
	c := &Check{at: base, remembered: remembered}
	return c, c.compare()
}

// compare holds what is remembered against where the check is.
func (c *Check) compare() error {
	if c.remembered.Seq == c.at.Seq && c.remembered.Hash != "" && c.remembered.Hash != c.at.Hash {
		return fault.Invalid.Errorf("entry %d is not the one that you remember: the chain up to it was written anew", c.at.Seq)
	}
	return nil
}

// Next takes the next entry.
func (c *Check) Next(s Sealed) error {
	want := c.at.Next(s.Body)
	switch {
	case s.Seq > want.Seq:
		return fault.Invalid.Errorf("entry %d is missing: after %d comes %d", want.Seq, c.at.Seq, s.Seq)
	case s.Seq < want.Seq:
		return fault.Invalid.Errorf("entry %d comes again, or out of its order: after %d comes %d", s.Seq, c.at.Seq, s.Seq)
	case s.Hash != want.Hash:
		return fault.Invalid.Errorf("entry %d was changed, put in, or moved: its hash is %s and should be %s", s.Seq, clip(s.Hash, 64), want.Hash)
	}
	c.at = want
	return c.compare()
}

// Done ends the check. head is where the chain says that it ends.
func (c *Check) Done(head Mark) (Mark, error) {
	switch {
	case head.Seq > c.at.Seq:
		return c.at, fault.Invalid.Errorf("entry %d is missing, and what follows up to %d: the end was cut off", c.at.Seq+1, head.Seq)
	case head != c.at:
		return c.at, fault.Invalid.Errorf("the chain ends with entry %d, but says that it ends with %d: entries were added, or its end was changed", c.at.Seq, head.Seq)
	case c.remembered.Seq > c.at.Seq:
		return c.at, fault.Invalid.Errorf("entry %d is missing, and what follows up to the %d that you remember: the end was cut off", c.at.Seq+1, c.remembered.Seq)
	}
	return c.at, nil
}

// Named is how people are told of a chain.
func Named(chain string) string {
	if chain == "" {
		return "the exchange"
	}
	return fmt.Sprintf("tenant %s", chain)
}
