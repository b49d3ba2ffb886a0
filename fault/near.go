package fault

import (
	"slices"
	"strings"
)

// DidYouMean ends a message about an unknown word with what is spelled nearly
// like it, as in "; did you mean region?", or is empty.
func DidYouMean(word string, names []string) string {
	far := min(2, len(word)/2) // short words have everything near
	var near []string
	for _, n := range names {
		if word != "" && (len(word) > 2 && strings.HasPrefix(n, word) || distance(word, n) <= far) {
			near = append(near, n)
		}
	}
	if len(near) == 0 {
		return ""
	}
	slices.Sort(near)
	near = slices.Compact(near)
	return "; did you mean " + strings.Join(near[:min(len(near), 4)], " or ") + "?"
}

// distance counts the letters to insert, drop, change or swap (optimal string
// alignment).
func distance(a, b string) int {
	d := make([][]int, len(a)+1)
	for i := range d {
		d[i] = make([]int, len(b)+1)
		d[i][0] = i
	}
	for j := range d[0] {
		d[0][j] = j
	}
	for i := 1; i <= len(a); i++ {
		for j := 1; j <= len(b); j++ {
			cost := 1
			if a[i-1] == b[j-1] {
				cost = 0
			}
			d[i][j] = min(d[i-1][j]+1, d[i][j-1]+1, d[i-1][j-1]+cost)
			if i > 1 && j > 1 && a[i-1] == b[j-2] && a[i-2] == b[j-1] {
				d[i][j] = min(d[i][j], d[i-2][j-2]+1)
			}
		}
	}
	return d[len(a)][len(b)]
}
