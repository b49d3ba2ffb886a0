package market

import (
	"cmp"
	"fmt"
	"regexp"
	"slices"
	"strings"
	"time"

	"github.com/kontor-cloud/kontor/placement"
	"github.com/kontor-cloud/kontor/policy"
)

// byScore is the dimension of regions that lacked nothing and were not the best.
const byScore placement.Dimension = "score"

// minCustomers is of how many customers there must be figures before their median is told. A provider knows
// what he had, so by how much he missed it is what a customer would have paid. Nothing is therefore told of one
// decision, or of the many of one customer, who counts once, by his own median. The ends, where single ones
// would stand out, are left out, and what is told is in whole units. What remains: who has nearly
// all of these customers in his hand can narrow down the one that he has not, and tenants are made by operators.
const minCustomers = 5

// A reckoning counts the losses of a provider.
type reckoning struct {
	Losses
	provider string
	own      map[string]bool // his regions of now: records do not say whose an allowed region was
	data     *policy.Data
	rows     map[reason]*tally // by region, and over all of his under ""
}

// A reason is what is counted together.
type reason struct {
	region          string
	dimension       placement.Dimension
	subject, needed string
	had             string // "" over all regions
	unit            string
}

// A tally is how often, and by how much for each tenant, in thousandths of the unit.
type tally struct {
	decisions, alone int
	gaps             map[string][]int64
}

// A find is a reason within one decision.
type find struct {
	gap     int64
	measure bool // gap says something
	alone   bool
}

func (s *Store) reckon(provider string) *reckoning {
	r := &reckoning{provider: provider, data: s.Data, own: map[string]bool{}, rows: map[reason]*tally{}}
	for _, one := range s.Providers.Snapshot().All() {
		r.own[one.Name] = one.Provider == provider
	}
	return r
}

// add counts a decision of a tenant, once for each region and reason, in however many groups it was.
func (r *reckoning) add(tenant string, d *placement.Decision) {
	r.Decisions++
	if slices.ContainsFunc(d.Chosen, func(p placement.Placement) bool { return p.Provider == r.provider }) {
		r.Chosen++
		return
	}
	outscored, lacked := r.outscored(d), r.lacked(d)
	r.count(tenant, outscored)
	r.count(tenant, lacked)
	switch {
	case len(outscored) > 0:
		r.Outscored++
		r.count(tenant, overall(outscored))
	case len(lacked) > 0:
		r.Excluded++
		r.count(tenant, overall(lacked))
	}
}

func (r *reckoning) count(tenant string, finds map[reason]find) {
	for why, f := range finds {
		t := r.rows[why]
		if t == nil {
			t = &tally{gaps: map[string][]int64{}}
			r.rows[why] = t
		}
		t.decisions++
		if f.alone {
			t.alone++
		}
		if f.measure {
			t.gaps[tenant] = append(t.gaps[tenant], f.gap)
		}
	}
}

// lacked finds what each of his regions lacked, by the worst of its groups.
func (r *reckoning) lacked(d *placement.Decision) map[reason]find {
	all, each := map[reason]find{}, map[string]int{}
	for _, x := range d.Excluded {
		if x.Provider != r.provider {
			continue
		}
		for _, m := range x.Misses {
			why := r.reason(m)
			why.region = x.Region
			gap, unit := gapOf(m)
			why.unit = unit
			old, again := all[why]
			if !again {
				each[x.Region]++
			}
			all[why] = find{gap: max(gap, old.gap), measure: unit != ""}
		}
	}
	for why, f := range all {
		f.alone = each[why.region] == 1
		all[why] = f
	}
	return all
}

// outscored finds those of his regions that could have been chosen, and how much dearer they were than what was.
func (r *reckoning) outscored(d *placement.Decision) map[reason]find {
	all := map[reason]find{}
	if len(d.Chosen) == 0 {
		return all
	}
	taken, copies := map[string]float64{}, map[string]float64{} // by group
	for _, p := range d.Chosen {
		taken[p.Group] += float64(p.Hourly)
		copies[p.Group]++
	}
	own, theirs := map[string]float64{}, map[string]float64{} // by region, for the groups for which it was allowed
	for _, a := range d.Allowed {
		if r.own[a.Region] {
			own[a.Region] += float64(a.Hourly) * copies[a.Group]
			theirs[a.Region] += taken[a.Group]
		}
	}
	for region := range own {
		why, f := reason{region: region, dimension: byScore}, find{alone: true}
		if theirs[region] > 0 {
			why.unit = "%"
			f.gap, f.measure = int64(min((own[region]/theirs[region]-1)*percent, maxGap)), true
		}
		all[why] = f
	}
	return all
}

// overall is what would have been least to do: in any of the regions. Attributes that are known too badly
// are counted together, too, as a rule asks for many.
func overall(finds map[reason]find) map[reason]find {
	all := map[reason]find{}
	for why, f := range finds {
		why.region, why.had = "", ""
		if old, again := all[why]; again {
			f.gap = min(f.gap, old.gap)
		}
		all[why] = f
		if why.ofAttribute() {
			why.subject = ""
			all[why] = f
		}
	}
	return all
}

func (r reason) ofAttribute() bool {
	return r.dimension == policy.MissingFact || r.dimension == policy.WeakEvidence
}

// commonSize is how the names of common sizes look. Other names are a customer's words.
var commonSize = regexp.MustCompile(`^[a-z-]+ seca\.[a-z0-9.-]{1,32}$`)

// reason says of a miss what may be told: no words of the customer's.
func (r *reckoning) reason(m placement.Miss) reason {
	why := reason{dimension: m.Dimension}
	rule, subject := m.Policy()
	switch m.Dimension {
	case policy.MissingFact, policy.WeakEvidence:
		why.subject = subject
		why.needed, why.had = policy.Known(m.Needed.String(), m.Had.String())
	case policy.SEALTooLow, placement.Full:
		why.subject = subject
	case policy.Rule:
		if _, err := r.data.Preset(rule); err == nil {
			why.subject = rule
		}
	case placement.NotOffered:
		if why.subject = m.Subject; !commonSize.MatchString(m.Subject) {
			why.subject, _, _ = strings.Cut(m.Subject, " ")
		}
	}
	return why
}

// Gaps are in thousandths of a unit.
const (
	unit    = 1000
	percent = 100 * unit
	maxGap  = 1e12
)

// gapOf is by how much something was missed, in a unit that is natural to it; none if it has no measure.
func gapOf(m placement.Miss) (gap int64, in string) {
	switch m.Dimension {
	case placement.TooDear, placement.OverBudget, placement.Unreliable:
		if m.Over > 0 {
			return min(m.Over, maxGap/percent) * percent / 1000, "%"
		}
	case placement.TooFar:
		return between(m.Needed, m.Had, "ms")
	case placement.Full:
		return between(m.Had, m.Needed, m.Subject)
	case placement.Zones:
		return between(m.Had, m.Needed, "zones")
	case policy.SEALTooLow:
		return between(m.Had, m.Needed, "levels")
	case placement.TooLate:
		end, err := time.Parse(time.RFC3339, m.Needed.String())
		over, err2 := time.Parse(time.RFC3339, m.Had.String())
		if err == nil && err2 == nil {
			return int64(over.Sub(end).Hours() * unit), "h"
		}
	default: // yes or no
	}
	return 0, ""
}

func between(less, more placement.Quantity, in string) (int64, string) {
	a, ok := less.Number()
	b, ok2 := more.Number()
	if !ok || !ok2 {
		return 0, ""
	}
	const ofNano = 1_000_000_000 / unit
	return int64(b-a) / ofNano, in
}

// done gives the figures.
func (r *reckoning) done() Losses {
	var all []Loss
	attributes := map[reason][]Loss{} // that all counts together
	r.Reasons = []Loss{}
	for why, t := range r.rows {
		l := Loss{why.region, why.dimension, why.subject, why.needed, why.had, t.decisions, t.alone, t.shortfall(why.unit)}
		switch {
		case why.region != "":
			r.Reasons = append(r.Reasons, l)
		case why.ofAttribute() && why.subject != "":
			why.subject = ""
			attributes[why] = append(attributes[why], l)
		default:
			all = append(all, l)
		}
	}
	slices.SortFunc(all, often)
	slices.SortFunc(r.Reasons, often)
	for i := range all {
		if some := attributes[reason{dimension: all[i].Dimension, needed: all[i].Needed}]; len(some) > 0 {
			all[i].Subject = slices.MinFunc(some, often).Subject
			if more := len(some) - 1; more > 0 {
				all[i].Subject += fmt.Sprintf(" and %d more", more)
			}
		}
	}
	r.Summary = summarize(r.Excluded+r.Outscored, all)
	return r.Losses
}

// often puts the most frequent first.
func often(a, b Loss) int {
	return cmp.Or(cmp.Compare(b.Decisions, a.Decisions), cmp.Compare(a.Region, b.Region), cmp.Compare(a.Dimension, b.Dimension),
		cmp.Compare(a.Subject, b.Subject), cmp.Compare(a.Needed, b.Needed), cmp.Compare(a.Had, b.Had))
}

// shortfall is nil as long as there are too few customers.
func (t *tally) shortfall(in string) *Shortfall {
	if in == "" || len(t.gaps) < minCustomers {
		return nil
	}
	var each []int64
	for _, gaps := range t.gaps {
		slices.Sort(gaps)
		each = append(each, gaps[(len(gaps)-1)/2])
	}
	slices.Sort(each)
	last := len(each) - 1
	return &Shortfall{whole(each[last/2]), whole(each[last/4]), whole(each[last-last/4]), in}
}

// whole rounds up: what was missed by less than a unit was missed.
func whole(gap int64) int64 {
	if gap > 0 {
		gap += unit - 1
	}
	return gap / unit
}

// summarize says it in a line.
func summarize(lost int, all []Loss) string {
	var words []string
	for _, l := range all[:min(len(all), maxSummary)] {
		words = append(words, fmt.Sprintf("%d %s", l.Decisions, l.words()))
	}
	if more := len(all) - maxSummary; more > 0 {
		words = append(words, fmt.Sprintf("and %d more", more))
	}
	if len(words) == 0 {
		return fmt.Sprintf("%d lost", lost)
	}
	return fmt.Sprintf("%d lost: %s", lost, strings.Join(words, "; "))
}

// ways are how much of a dimension is said, and which way: what is no word of its own is %s, the subject.
var ways = map[placement.Dimension]struct{ words, way string }{
	placement.TooDear:    {"price", "too high"},
	placement.OverBudget: {"budget", "too high"},
	placement.TooFar:     {"latency", "too long"},
	placement.Full:       {"capacity", "too little"},
	placement.Zones:      {"zones", "too few"},
	placement.TooLate:    {"deadline", "too late"},
	placement.Unreliable: {"reliability", "more outage than allowed"},
	placement.NotWanted:  {"not among the regions that were named", ""},
	placement.Health:     {"as the agent was silent", ""},
	placement.Support:    {"as the platform cannot do it", ""},
	placement.NotValid:   {"as no price sheet was in force", ""},
	policy.SEALTooLow:    {"%s too low", "short"},
	byScore:              {"outscored", "dearer"},
}

func (l *Loss) words() string {
	say := string(l.Dimension)
	way := ways[l.Dimension]
	switch {
	case l.Dimension == policy.WeakEvidence:
		say = "no " + l.Needed + " evidence for " + l.Subject
	case l.Dimension == policy.MissingFact:
		say = "nothing claimed as " + l.Subject
	case l.Dimension == policy.Rule:
		say = strings.TrimSpace("rule " + cmp.Or(l.Subject, "of a customer"))
	case l.Dimension == placement.NotOffered:
		say = "no offer of " + l.Subject
	case strings.Contains(way.words, "%s"):
		say = fmt.Sprintf(way.words, l.Subject)
	case way.words != "":
		say = way.words
	}
	if l.By == nil {
		return say
	}
	median, dir := l.By.Median, way.way
	if median < 0 {
		median, dir = -median, "cheaper"
	}
	return strings.TrimSpace(fmt.Sprintf("%s, median %d %s %s", say, median, l.By.Unit, dir))
}
