package main

import (
	"encoding/json"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"

	"sigs.k8s.io/yaml"

	"github.com/kontor-cloud/kontor/telemetry"
)

// What operators watch with stands in deploy, and names metrics of this program.

const (
	rulesFile     = "../../deploy/prometheus/kontor.rules.yaml"
	rulesTestFile = "../../deploy/prometheus/kontor.rules.test.yaml"
	dashboardFile = "../../deploy/grafana/kontor.json"
)

// An alert is one rule.
type alert struct {
	Alert, Expr string
	Annotations map[string]string
}

func alerts(t *testing.T) (all []alert) {
	t.Helper()
	var rules struct {
		Groups []struct{ Rules []alert }
	}
	text, err := os.ReadFile(rulesFile)
	must(t, err)
	must(t, yaml.Unmarshal(text, &rules))
	for _, g := range rules.Groups {
		all = append(all, g.Rules...)
	}
	return all
}

// expressions gives those of the rules and of the dashboard, by where they stand.
func expressions(t *testing.T) map[string]string {
	t.Helper()
	all := map[string]string{}
	for _, r := range alerts(t) {
		all["alert "+r.Alert] = r.Expr
	}
	var board struct {
		Panels []struct {
			ID      int
			Title   string
			Targets []struct{ Expr string }
		}
	}
	text, err := os.ReadFile(dashboardFile)
	if err == nil {
		err = json.Unmarshal(text, &board)
	}
	if err != nil {
		t.Fatal(err)
	}
	ids := map[int]bool{}
	for _, p := range board.Panels {
		if ids[p.ID] {
			t.Errorf("two panels have the id %d", p.ID)
		}
		ids[p.ID] = true
		for i, target := range p.Targets {
			all[fmt.Sprintf("panel %s %d", p.Title, i)] = strings.NewReplacer("$__rate_interval", "5m", "$region", ".*").Replace(target.Expr)
		}
	}
	if len(all) < 40 {
		t.Errorf("only %d expressions", len(all))
	}
	return all
}

var (
	metricName = regexp.MustCompile(`\b(kontor|process|go)_[a-z0-9_]+`)
	matcher    = regexp.MustCompile(`([a-z_]+)(?:=~|!~|!=|=)"`)
	grouping   = regexp.MustCompile(`(?:by|ignoring) \(([a-z_, ]+)\)`)
)

// TestWhatOperatorsWatchIsThere finds each metric of the rules and the dashboard in what an exchange with an agent
// shows, and each label that they name.
func TestWhatOperatorsWatchIsThere(t *testing.T) {
	x := used(t, "")
	_, text := shown(t, privateDefault(x.config.Data), "/metrics")
	all, err := telemetry.ReadSamples(strings.NewReader(text))
	if err != nil {
		t.Fatal(err)
	}
	known := map[string]bool{}
	labels := map[string]bool{"job": true, "instance": true} // Prometheus makes these
	for _, s := range all {
		known[s.Name] = true
		for l := range s.Labels {
			if labels[l] && (l == "job" || l == "instance") {
				t.Errorf("%s has the label %s, which Prometheus gives itself", s.Name, l)
			}
			labels[l] = true
		}
	}
	for at, expr := range expressions(t) {
		names := metricName.FindAllString(expr, -1)
		if len(names) == 0 && !strings.HasPrefix(expr, "up{") {
			t.Errorf("%s is about no metric: %s", at, expr)
		}
		for _, name := range names {
			if !known[name] {
				t.Errorf("%s: there is no metric %s", at, name)
			}
		}
		var used []string
		for _, m := range matcher.FindAllStringSubmatch(expr, -1) {
			used = append(used, m[1])
		}
		for _, m := range grouping.FindAllStringSubmatch(expr, -1) {
			used = append(used, strings.Split(m[1], ", ")...)
		}
		for _, l := range used {
			if !labels[l] {
				t.Errorf("%s: no metric has a label %s", at, l)
			}
		}
	}
}

var (
	selector  = regexp.MustCompile(`\b((?:kontor|process|go)_[a-z0-9_]+)(?:\{([^}]*)\})?`)
	shownName = regexp.MustCompile(`\$labels\.([a-z_]+)`)
)

// TestRulesNameLabelsOfTheirMetrics holds each label that an alert chooses, groups or speaks by against those that its own
// metrics have: one that is another metric's would make an alert that never fires, or a text with a hole.
func TestRulesNameLabelsOfTheirMetrics(t *testing.T) {
	x := used(t, "")
	_, text := shown(t, privateDefault(x.config.Data), "/metrics")
	all, err := telemetry.ReadSamples(strings.NewReader(text))
	must(t, err)
	has := map[string]map[string]bool{}
	for _, s := range all {
		if has[s.Name] == nil {
			has[s.Name] = map[string]bool{"job": true, "instance": true}
		}
		for l := range s.Labels {
			has[s.Name][l] = true
		}
	}
	for _, r := range alerts(t) {
		t.Run(r.Alert, func(t *testing.T) { r.check(t, has) })
	}
}

func (r alert) check(t *testing.T, has map[string]map[string]bool) {
	found := selector.FindAllStringSubmatch(r.Expr, -1)
	spoken := map[string]bool{"job": true, "instance": true} // those of its result
	if grouped := grouping.FindStringSubmatch(r.Expr); grouped != nil && strings.Contains(grouped[0], "by") {
		spoken = map[string]bool{}
		for l := range strings.SplitSeq(grouped[1], ", ") {
			spoken[l] = true
			for _, m := range found {
				if !has[m[1]][l] {
					t.Errorf("%s has no label %s to group by", m[1], l)
				}
			}
		}
	} else if len(found) > 0 && !strings.Contains(r.Expr, "sum(") {
		spoken = has[found[0][1]]
	}
	for _, m := range found {
		if has[m[1]] == nil {
			t.Errorf("there is no metric %s", m[1])
		}
		for _, l := range matcher.FindAllStringSubmatch(m[2], -1) {
			if !has[m[1]][l[1]] {
				t.Errorf("%s has no label %s", m[1], l[1])
			}
		}
	}
	for _, text := range r.Annotations {
		for _, l := range shownName.FindAllStringSubmatch(text, -1) {
			if !spoken[l[1]] {
				t.Errorf("%q: the alert has no label %s, it has %v", text, l[1], spoken)
			}
		}
	}
}

// TestRulesAreSound has Prometheus's own tool read all expressions, and run the
// tests of the rules.
func TestRulesAreSound(t *testing.T) {
	tool, err := exec.LookPath("promtool")
	if err != nil {
		t.Skip("no promtool here (hack/install promtool)")
	}
	type rule struct {
		Record string `json:"record"`
		Expr   string `json:"expr"`
	}
	var rules []rule
	for at, expr := range expressions(t) {
		rules = append(rules, rule{"x:" + strings.ToLower(regexp.MustCompile(`\W+`).ReplaceAllString(at, "_")), expr})
	}
	text, err := yaml.Marshal(map[string]any{"groups": []any{map[string]any{"name": "all", "rules": rules}}})
	if err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "all.yaml")
	if err := os.WriteFile(file, text, 0o600); err != nil {
		t.Fatal(err)
	}
	for _, args := range [][]string{{"check", "rules", rulesFile}, {"check", "rules", file}, {"test", "rules", rulesTestFile}} {
		if out, err := exec.CommandContext(t.Context(), tool, args...).CombinedOutput(); err != nil {
			t.Errorf("promtool %s: %v\n%s", strings.Join(args, " "), err, out)
		}
	}
}
