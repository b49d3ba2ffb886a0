package telemetry

import (
	"bufio"
	"cmp"
	"fmt"
	"io"
	"maps"
	"math"
	"slices"
	"strconv"
	"strings"
)

// A Sample is one value of a metric, as it is written for Prometheus.
type Sample struct {
	Name   string
	Labels map[string]string
	Value  float64
}

// Samples are all values of one process, or of several, at a moment.
type Samples []Sample

// maxSampleLine is how long a line may be.
const maxSampleLine = 64 << 10

// ReadSamples reads the text form of metrics, as this program writes it.
func ReadSamples(r io.Reader) (all Samples, err error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxSampleLine)
	for lines.Scan() {
		line := lines.Text()
		if line == "" || line[0] == '#' {
			continue
		}
		s, err := parseSample(line)
		if err != nil {
			return nil, err
		}
		all = append(all, s)
	}
	return all, lines.Err()
}

func parseSample(line string) (s Sample, err error) {
	rest := line
	end := strings.IndexAny(rest, "{ ")
	if end < 0 {
		return s, fmt.Errorf("not a metric: %q", line)
	}
	s.Name, rest = rest[:end], rest[end:]
	if rest[0] == '{' {
		s.Labels = map[string]string{}
		rest = rest[1:]
		for rest != "" && rest[0] != '}' {
			name, more, _ := strings.Cut(rest, "=")
			quoted, err := strconv.QuotedPrefix(more)
			if err != nil {
				return s, fmt.Errorf("not a metric: %q", line)
			}
			if s.Labels[name], err = strconv.Unquote(quoted); err != nil {
				return s, fmt.Errorf("not a metric: %q", line)
			}
			rest = strings.TrimPrefix(more[len(quoted):], ",")
		}
		rest = strings.TrimPrefix(rest, "}")
	}
	value, _, _ := strings.Cut(strings.TrimSpace(rest), " ")
	if s.Value, err = strconv.ParseFloat(value, 64); err != nil {
		return s, fmt.Errorf("not a metric: %q", line)
	}
	return s, nil
}

// Of gives the samples of a metric with these labels: pairs of a name and a value.
func (all Samples) Of(name string, labels ...string) (some Samples) {
	for _, s := range all {
		if s.Name != name {
			continue
		}
		fits := true
		for i := 0; i+1 < len(labels); i += 2 {
			fits = fits && s.Labels[labels[i]] == labels[i+1]
		}
		if fits {
			some = append(some, s)
		}
	}
	return some
}

// Sum adds all values.
func (all Samples) Sum() (sum float64) {
	for _, s := range all {
		sum += s.Value
	}
	return sum
}

// Values gives the different values of a label, sorted.
func (all Samples) Values(label string) []string {
	found := map[string]bool{}
	for _, s := range all {
		found[s.Labels[label]] = true
	}
	return slices.Sorted(maps.Keys(found))
}

// Since gives by how much each value is larger than before, for counters and
// histograms. A value that was not there before was 0; one that is smaller began
// anew.
func (all Samples) Since(before Samples) Samples {
	was := make(map[string]float64, len(before))
	for _, s := range before {
		was[s.key()] = s.Value
	}
	grown := slices.Clone(all)
	for i, s := range grown {
		if old := was[s.key()]; old <= s.Value {
			grown[i].Value -= old
		}
	}
	return grown
}

func (s Sample) key() string {
	var b strings.Builder
	b.WriteString(s.Name)
	for _, name := range slices.Sorted(maps.Keys(s.Labels)) {
		fmt.Fprintf(&b, "\xff%s\xff%s", name, s.Labels[name])
	}
	return b.String()
}

// Quantile estimates a quantile out of the buckets of a histogram, of all its
// label sets together. It is NaN if nothing was counted.
func (all Samples) Quantile(q float64) float64 {
	sum := map[float64]float64{}
	for _, s := range all {
		if bound, err := strconv.ParseFloat(s.Labels["le"], 64); err == nil {
			sum[bound] += s.Value
		}
	}
	bounds := slices.SortedFunc(maps.Keys(sum), cmp.Compare[float64])
	if len(bounds) == 0 || sum[bounds[len(bounds)-1]] == 0 {
		return math.NaN()
	}
	rank := q * sum[bounds[len(bounds)-1]]
	lower, below := 0.0, 0.0
	for _, b := range bounds {
		switch n := sum[b]; {
		case n < rank:
			lower, below = b, n
		case math.IsInf(b, 1):
			return lower
		default:
			return lower + (b-lower)*(rank-below)/(n-below)
		}
	}
	return lower
}
