package placement

import (
	"math"

	"github.com/kontor-cloud/kontor/fault"
)

// A Point is a place on Earth, in millionths of a degree.
type Point struct {
	Lat int64 `json:"lat"` // north of the equator, -90,000,000 to 90,000,000
	Lon int64 `json:"lon"` // east of Greenwich, -180,000,000 to 180,000,000
}

func (p Point) check(l *fault.List, at string) {
	if p.Lat < -90_000_000 || p.Lat > 90_000_000 || p.Lon < -180_000_000 || p.Lon > 180_000_000 {
		l.Add(at, "must be in millionths of a degree: lat -90000000 to 90000000, lon -180000000 to 180000000")
	}
}

// one is 1 in fixed point. Sines of different machines differ in their last bit, and a last
// bit can decide; integers are the same everywhere.
const (
	bits   = 30
	one    = int64(1) << bits
	pi     = 3373259426 // π × 2³⁰
	degree = 18740330   // π/180 × 2³⁰
	radius = 6_371_009  // metres
)

// A vector points from the centre of the Earth, its length one.
type vector struct{ x, y, z int64 }

func (p Point) vector() vector {
	sinLat, cosLat := sincos(p.Lat)
	sinLon, cosLon := sincos(p.Lon)
	return vector{cosLat * cosLon >> bits, cosLat * sinLon >> bits, sinLat}
}

// sincos takes millionths of a degree, at most 180 degrees either way.
func sincos(microdegrees int64) (sin, cos int64) {
	x := microdegrees * degree / 1_000_000
	sign, turn := int64(1), int64(1)
	if x < 0 {
		x, sign = -x, -1
	}
	if x > pi/2 {
		x, turn = pi-x, -1
	}
	square := x * x >> bits
	sin, cos = x, one
	for term, n := x, int64(2); n < 16; n += 2 {
		term = -term * square >> bits / (n * (n + 1))
		sin += term
	}
	for term, n := one, int64(1); n < 16; n += 2 {
		term = -term * square >> bits / (n * (n + 1))
		cos += term
	}
	return sign * sin, turn * cos
}

// metres is the length of the great circle between two points, within 0.1 %.
func metres(a, b vector) int64 {
	dx, dy, dz := a.x-b.x, a.y-b.y, a.z-b.z
	half := root(uint64(dx*dx)+uint64(dy*dy)+uint64(dz*dz)) / 2 // of the chord
	return 2 * arcsine(min(half, one)) * radius >> bits
}

// root is the whole part of a square root. The float only guesses.
func root(n uint64) int64 {
	r := uint64(math.Sqrt(float64(n)))
	for r*r > n {
		r--
	}
	for (r+1)*(r+1) <= n {
		r++
	}
	return int64(r)
}

// arcsine of 0 to 1.
func arcsine(x int64) int64 {
	if x > one*7072/10000 { // the square of half and a little: the other leg is shorter
		return pi/2 - arcsine(root(uint64(one*one-x*x)))
	}
	square, power, sum := x*x>>bits, x, x
	for n := int64(1); n < 20; n += 2 {
		power = power * square >> bits * n / (n + 1)
		sum += power / (n + 2)
	}
	return sum
}

// estimate is a round trip in microseconds over a distance: light in glass does
// 200 m in one, cables are half as long again as the great circle, and a millisecond goes in
// the machines between.
func estimate(metres int64) int64 { return 2*metres*3/2/200 + 1000 }
