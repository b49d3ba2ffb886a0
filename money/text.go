package money

import (
	"strconv"
	"strings"

	"github.com/kontor-cloud/kontor/fault"
)

// Parse reads a decimal number like "0.0432", with at most nine decimals and no
// exponent, as an amount of c. "0.0432 EUR" and "EUR 0.0432" are fine, too, and name
// the currency themselves; it must be c unless c is empty.
func Parse(s string, c Currency) (Amount, error) {
	number, named := splitCurrency(strings.TrimSpace(s))
	switch {
	case named != "" && c != "" && named != c:
		return Amount{}, fault.Invalid.Errorf("%q is not an amount of %s", s, c)
	case named == "" && c == "":
		return Amount{}, fault.Invalid.Errorf("%q names no currency", s)
	case named != "":
		c = named
	}
	n, err := parseDecimal(number)
	if err != nil {
		return Amount{}, fault.Invalid.Errorf("%q is no amount: %w", s, err)
	}
	return Amount{n, c}, nil
}

// splitCurrency takes a currency off either end.
func splitCurrency(s string) (number string, c Currency) {
	before, after, ok := strings.Cut(s, " ")
	switch {
	case ok && isCurrency(after):
		return before, Currency(after)
	case ok && isCurrency(before):
		return after, Currency(before)
	}
	return s, ""
}

func isCurrency(s string) bool {
	return len(s) == 3 && strings.Trim(s, "ABCDEFGHIJKLMNOPQRSTUVWXYZ") == ""
}

func parseDecimal(s string) (int64, error) {
	digits, negative := strings.CutPrefix(s, "-")
	whole, part, point := strings.Cut(digits, ".")
	switch {
	case whole == "" || point && part == "" || strings.Trim(whole+part, "0123456789") != "":
		return 0, fault.Invalid.Errorf("write it like 12 or 0.0432")
	case len(part) > 9:
		return 0, fault.Invalid.Errorf("at most nine decimals")
	}
	n := whole + part + strings.Repeat("0", 9-len(part))
	if negative {
		n = "-" + n
	}
	nano, err := strconv.ParseInt(n, 10, 64)
	if err != nil {
		return 0, fault.Invalid.Errorf("too large")
	}
	return nano, nil
}

// Decimal gives the exact number without its currency, with two decimals or as many
// as there are: "0.0432", "12.00".
func (a Amount) Decimal() string { return string(a.AppendDecimal(nil)) }

// AppendDecimal appends what Decimal gives to b.
func (a Amount) AppendDecimal(b []byte) []byte {
	m := magnitude(a.Nano)
	if a.Nano < 0 {
		b = append(b, '-')
	}
	b = strconv.AppendUint(b, m/nano, 10)
	b = append(b, '.')
	start := len(b)
	for rest, unit := m%nano, uint64(nano/10); unit > 0; unit /= 10 {
		b = append(b, byte('0'+rest/unit%10))
	}
	for len(b) > start+2 && b[len(b)-1] == '0' {
		b = b[:len(b)-1]
	}
	return b
}

// String gives the exact amount, as in "0.0432 EUR".
func (a Amount) String() string {
	if a.Currency == "" {
		return a.Decimal()
	}
	return a.Decimal() + " " + string(a.Currency)
}

// MarshalText writes what String gives. The zero Amount is empty.
func (a Amount) MarshalText() ([]byte, error) {
	if a == (Amount{}) {
		return nil, nil
	}
	return []byte(a.String()), nil
}

// UnmarshalText reads what MarshalText writes.
func (a *Amount) UnmarshalText(text []byte) (err error) {
	*a = Amount{}
	if len(text) > 0 {
		*a, err = Parse(string(text), "")
	}
	return err
}

// A Decimal is an exact number, in billionths, of a currency that is said elsewhere: in a
// price sheet once for all its prices.
type Decimal int64

// In makes an amount of it.
func (d Decimal) In(c Currency) Amount { return Amount{int64(d), c} }

// String gives the number with two decimals or as many as there are.
func (d Decimal) String() string { return Amount{Nano: int64(d)}.Decimal() }

// MarshalText writes what String gives.
func (d Decimal) MarshalText() ([]byte, error) { return []byte(d.String()), nil }

// UnmarshalText reads a number like 0.0432.
func (d *Decimal) UnmarshalText(text []byte) error {
	n, err := parseDecimal(string(text))
	if err != nil {
		return fault.Invalid.Errorf("%q is no price: %w", text, err)
	}
	*d = Decimal(n)
	return nil
}
