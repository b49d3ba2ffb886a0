package placement

import (
	"math"
	"testing"

	"pgregory.net/rapid"
)

func TestDistances(t *testing.T) {
	for _, c := range []struct {
		name string
		a, b Point
		km   int64
	}{
		{"Lyon to Berlin", Point{45_760_000, 4_840_000}, Point{52_520_000, 13_400_000}, 976},
		{"nowhere", Point{45_760_000, 4_840_000}, Point{45_760_000, 4_840_000}, 0},
		{"pole to pole", Point{90_000_000, 0}, Point{-90_000_000, 0}, 20015},
		{"over the date line", Point{0, 179_500_000}, Point{0, -179_500_000}, 111},
	} {
		if got := metres(c.a.vector(), c.b.vector()); max(got-c.km*1000, c.km*1000-got) > 1500+c.km {
			t.Errorf("%s is %d m, want %d km", c.name, got, c.km)
		}
	}
}

// TestDistancesAreThoseOfTheSphere compares with floating-point trigonometry.
func TestDistancesAreThoseOfTheSphere(t *testing.T) {
	point := rapid.Custom(func(t *rapid.T) Point {
		return Point{rapid.Int64Range(-90_000_000, 90_000_000).Draw(t, "lat"), rapid.Int64Range(-180_000_000, 180_000_000).Draw(t, "lon")}
	})
	rapid.Check(t, func(t *rapid.T) {
		a, b := point.Draw(t, "a"), point.Draw(t, "b")
		rad := func(n int64) float64 { return float64(n) / 1e6 * math.Pi / 180 }
		h := math.Pow(math.Sin(rad(b.Lat-a.Lat)/2), 2) + math.Cos(rad(a.Lat))*math.Cos(rad(b.Lat))*math.Pow(math.Sin(rad(b.Lon-a.Lon)/2), 2)
		want := 2 * radius * math.Asin(math.Min(1, math.Sqrt(h)))
		got := metres(a.vector(), b.vector())
		if math.Abs(float64(got)-want) > 100+want/1000 {
			t.Fatalf("%d m, want %.0f", got, want)
		}
		if back := metres(b.vector(), a.vector()); back != got {
			t.Fatalf("%d m there and %d m back", got, back)
		}
	})
}
