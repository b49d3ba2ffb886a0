package money_test

import (
	"encoding/json"
	"errors"
	"math"
	"math/big"
	"testing"

	"pgregory.net/rapid"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/money"
)

func eur(t testing.TB, s string) money.Amount {
	t.Helper()
	a, err := money.Parse(s, money.EUR)
	if err != nil {
		t.Fatal(err)
	}
	return a
}

func TestParse(t *testing.T) {
	for _, c := range []struct {
		in, currency string
		nano         int64
		text         string
	}{
		{"0.0432", "EUR", 43_200_000, "0.0432 EUR"},
		{"12", "EUR", 12_000_000_000, "12.00 EUR"},
		{"-0.5", "EUR", -500_000_000, "-0.50 EUR"},
		{"0.000000001", "EUR", 1, "0.000000001 EUR"},
		{"00.10", "EUR", 100_000_000, "0.10 EUR"},
		{"1 EUR", "", 1_000_000_000, "1.00 EUR"},
		{"EUR 1.5", "EUR", 1_500_000_000, "1.50 EUR"},
		{"3 SEK", "", 3_000_000_000, "3.00 SEK"},
		{"9223372036.854775807", "EUR", math.MaxInt64, "9223372036.854775807 EUR"},
		{"-9223372036.854775808", "EUR", math.MinInt64, "-9223372036.854775808 EUR"},
	} {
		a, err := money.Parse(c.in, money.Currency(c.currency))
		if err != nil || a.Nano != c.nano || a.String() != c.text {
			t.Errorf("Parse(%q) = %d, %s, %v; want %d, %s", c.in, a.Nano, a, err, c.nano, c.text)
		}
	}
	for _, bad := range []string{"", "-", ".", ".5", "5.", "1e3", "+1", "0x1", "1,5", "1.0000000001", "9223372036.854775808", "١", "1 eur", "NaN", "1 SEK", "1  EUR", "- 1"} {
		if a, err := money.Parse(bad, money.EUR); !errors.Is(err, fault.Invalid) {
			t.Errorf("Parse(%q) = %s, %v; want an error", bad, a, err)
		}
	}
	if _, err := money.Parse("1", ""); err == nil {
		t.Error("an amount of no currency was accepted")
	}
}

func TestCurrenciesDoNotMix(t *testing.T) {
	e, s := money.Cents(100, "EUR"), money.Cents(100, "SEK")
	_, add := e.Add(s)
	_, sub := e.Sub(s)
	_, compare := e.Compare(s)
	_, nothing := e.Sub(money.Cents(0, "SEK"))
	for _, err := range []error{add, sub, compare, nothing} {
		if !errors.Is(err, fault.Invalid) {
			t.Errorf("mixing currencies: %v", err)
		}
	}
	if sum, err := (money.Amount{}).Add(s); err != nil || sum != s {
		t.Errorf("a sum does not start from nothing: %s, %v", sum, err)
	}
}

func TestTimesRoundsHalfToEven(t *testing.T) {
	for _, c := range []struct{ nano, num, den, want int64 }{
		{1, 1, 2, 0},
		{3, 1, 2, 2},
		{5, 1, 2, 2},
		{-1, 1, 2, 0},
		{-3, 1, 2, -2},
		{2, 1, 3, 1},
		{1, 1, 3, 0},
		{43_200_000, 1, 3600, 12_000},
		{43_200_000, 730, 1, 31_536_000_000},
		{math.MaxInt64, math.MaxInt64, math.MaxInt64, math.MaxInt64},
		{math.MinInt64, 1, 1, math.MinInt64},
		{math.MinInt64, 3, 3, math.MinInt64},
	} {
		got, err := money.Amount{Nano: c.nano, Currency: money.EUR}.Times(c.num, c.den)
		if err != nil || got.Nano != c.want {
			t.Errorf("%d × %d ÷ %d = %d, %v; want %d", c.nano, c.num, c.den, got.Nano, err, c.want)
		}
	}
	if _, err := (money.Amount{Nano: math.MaxInt64}).Times(2, 1); err == nil {
		t.Error("an overflow went unseen")
	}
	if got := eur(t, "0.125").Round(2); got != eur(t, "0.12") {
		t.Errorf("0.125 rounds to %s", got)
	}
	if got := eur(t, "-0.135").Round(2); got != eur(t, "-0.14") {
		t.Errorf("-0.135 rounds to %s", got)
	}
	if got := (money.Amount{Nano: math.MaxInt64, Currency: money.EUR}).Round(2); got.Nano != math.MaxInt64-4_775_807 {
		t.Errorf("the largest amount rounds to %s", got)
	}
}

// TestTimesIsExact compares with arithmetic that has no bounds.
func TestTimesIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		n, num := rapid.Int64().Draw(t, "nano"), rapid.Int64().Draw(t, "num")
		den := rapid.Int64Range(1, math.MaxInt64).Draw(t, "den")
		want := halfToEven(new(big.Int).Mul(big.NewInt(n), big.NewInt(num)), big.NewInt(den))
		got, err := money.Amount{Nano: n, Currency: money.EUR}.Times(num, den)
		if (err == nil) != want.IsInt64() || err == nil && got.Nano != want.Int64() {
			t.Fatalf("%d × %d ÷ %d = %d, %v; want %s", n, num, den, got.Nano, err, want)
		}
	})
}

// halfToEven is the definition: the nearest integer, the even one of two.
func halfToEven(n, d *big.Int) *big.Int {
	twice := new(big.Int).Lsh(n, 1)
	floor := new(big.Int).Div(new(big.Int).Add(twice, d), new(big.Int).Lsh(d, 1)) // ⌊n/d + ½⌋
	exact := new(big.Int).Sub(new(big.Int).Mul(floor, new(big.Int).Lsh(d, 1)), d)
	if exact.Cmp(twice) == 0 && floor.Bit(0) == 1 {
		floor.Sub(floor, big.NewInt(1))
	}
	return floor
}

func TestAddIsExact(t *testing.T) {
	rapid.Check(t, func(t *rapid.T) {
		a, b := rapid.Int64().Draw(t, "a"), rapid.Int64().Draw(t, "b")
		x, y := money.Amount{Nano: a, Currency: money.EUR}, money.Amount{Nano: b, Currency: money.EUR}
		want := new(big.Int).Add(big.NewInt(a), big.NewInt(b))
		sum, err := x.Add(y)
		if (err == nil) != want.IsInt64() || err == nil && sum.Nano != want.Int64() {
			t.Fatalf("%s + %s = %s, %v; want %s", x, y, sum, err, want)
		}
		if err != nil {
			return
		}
		if back, err := sum.Sub(y); err != nil && b != math.MinInt64 || err == nil && back != x {
			t.Fatalf("%s + %s - %s = %s, %v", x, y, y, back, err)
		}
	})
}

func TestTextComesBack(t *testing.T) {
	type line struct {
		Price money.Amount `json:"price"`
	}
	rapid.Check(t, func(t *rapid.T) {
		in := line{money.Amount{Nano: rapid.Int64().Draw(t, "nano"), Currency: rapid.SampledFrom([]money.Currency{"EUR", "SEK"}).Draw(t, "currency")}}
		b, err := json.Marshal(in)
		var out line
		if err != nil || json.Unmarshal(b, &out) != nil || in != out {
			t.Fatalf("%v became %s, %v and %v", in, b, err, out)
		}
	})
}

func FuzzParse(f *testing.F) {
	for _, s := range []string{"0.0432", "12 EUR", "-9223372036.854775808", "EUR 1", "1.0000000000", " 7 "} {
		f.Add(s)
	}
	f.Fuzz(func(t *testing.T, s string) {
		a, err := money.Parse(s, money.EUR)
		if err != nil {
			return
		}
		if again, err := money.Parse(a.String(), ""); err != nil || again != a {
			t.Fatalf("%q is %s, which is %s, %v", s, a, again, err)
		}
	})
}

func BenchmarkTimes(b *testing.B) {
	price := eur(b, "0.0432")
	b.ReportAllocs()
	for b.Loop() {
		if _, err := price.Times(12345, 3600); err != nil {
			b.Fatal(err)
		}
	}
}
