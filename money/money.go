// Package money holds exact amounts. A price per second is about a millionth
// of a euro, so an amount counts billionths (nano), and nothing here is a
// floating-point number: what is computed again gives the same cent.
package money

import (
	"cmp"
	"math"
	"math/bits"

	"github.com/kontor-cloud/kontor/fault"
)

// A Currency is a code of ISO 4217 in capital letters.
type Currency string

// EUR is what the exchange trades in.
const EUR Currency = "EUR"

// nano is how many of the units of an Amount make one of its currency.
const nano = 1_000_000_000

// An Amount is an exact sum in one currency, between -9,223,372,036.854775808
// and 9,223,372,036.854775807. The zero Amount is nothing in no currency: it
// may be added to anything, and what is summed up starts from it.
type Amount struct {
	Nano     int64 // billionths of the currency's unit
	Currency Currency
}

// Cents makes an amount from hundredths of the currency's unit.
func Cents(n int64, c Currency) Amount { return Amount{n * (nano / 100), c} }

// common is the currency of a and b, which must agree unless one is the zero Amount.
func (a Amount) common(b Amount) (Currency, error) {
	switch {
	case a.Currency == b.Currency || b == Amount{}:
		return a.Currency, nil
	case a == Amount{}:
		return b.Currency, nil
	}
	return "", fault.Invalid.Errorf("%s and %s are of different currencies", a, b)
}

// Add returns a + b, or an error if the currencies differ or the sum is too large.
func (a Amount) Add(b Amount) (Amount, error) {
	c, err := a.common(b)
	if err != nil {
		return Amount{}, err
	}
	sum := a.Nano + b.Nano
	if (sum > a.Nano) != (b.Nano > 0) && b.Nano != 0 {
		return Amount{}, tooLarge(a)
	}
	return Amount{sum, c}, nil
}

// Sub returns a - b, with the errors of Add.
func (a Amount) Sub(b Amount) (Amount, error) {
	if b.Nano == math.MinInt64 {
		return Amount{}, tooLarge(b)
	}
	b.Nano = -b.Nano
	return a.Add(b)
}

// Compare returns -1, 0 or 1 as a is less than, equal to or more than b.
func (a Amount) Compare(b Amount) (int, error) {
	if _, err := a.common(b); err != nil {
		return 0, err
	}
	return cmp.Compare(a.Nano, b.Nano), nil
}

// Times returns a × num ÷ den, with 128 bits between, rounded half to even to
// a billionth: a price per hour for n seconds is Times(n, 3600). Den must be
// positive. The error is about a result that is too large.
func (a Amount) Times(num, den int64) (Amount, error) {
	n, ok := muldiv(a.Nano, num, den)
	if !ok {
		return Amount{}, tooLarge(a)
	}
	return Amount{n, a.Currency}, nil
}

// Round returns the amount to so many decimals (0 to 9), half to even: an
// invoice line is rounded once, to 2.
func (a Amount) Round(decimals int) Amount {
	unit := int64(1)
	for range 9 - decimals {
		unit *= 10
	}
	whole, _ := muldiv(a.Nano, 1, unit)
	n, ok := muldiv(whole, unit, 1)
	if !ok { // the largest amounts have nothing above them to round to
		return a
	}
	return Amount{n, a.Currency}
}

func tooLarge(a Amount) error {
	return fault.Invalid.Errorf("more than an amount of %s can hold", cmp.Or(a.Currency, "money"))
}

// muldiv returns a × b ÷ d, half to even, and whether it fits.
func muldiv(a, b, d int64) (int64, bool) {
	if d <= 0 {
		panic("money: division by zero or less")
	}
	negative := (a < 0) != (b < 0)
	hi, lo := bits.Mul64(magnitude(a), magnitude(b))
	if hi >= uint64(d) {
		return 0, false
	}
	q, r := bits.Div64(hi, lo, uint64(d))
	if half := uint64(d) - r; r > half || r == half && q%2 == 1 { // r more than d-r is more than half
		q++
	}
	switch {
	case negative && q <= 1<<63:
		return -int64(q), true // -(1<<63) is its own negative
	case q <= math.MaxInt64:
		return int64(q), true
	}
	return 0, false
}

func magnitude(n int64) uint64 {
	if n < 0 {
		return -uint64(n)
	}
	return uint64(n)
}
