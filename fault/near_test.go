package fault

import "testing"

func TestDistance(t *testing.T) {
	for _, row := range []struct {
		a, b string
		want int
	}{{"", "", 0}, {"abc", "abc", 0}, {"abc", "abd", 1}, {"abc", "ab", 1}, {"kitten", "sitting", 3}, {"one", "oen", 1}} {
		if got := distance(row.a, row.b); got != row.want {
			t.Errorf("distance of %s and %s is %d, want %d", row.a, row.b, got, row.want)
		}
	}
}

func TestDidYouMean(t *testing.T) {
	names := []string{"region", "regions", "provider", "x"}
	for word, want := range map[string]string{
		"reigon": "; did you mean region or regions?", "prov": "; did you mean provider?", "zone": "", "": "", "y": "",
		"regio": "; did you mean region or regions?",
	} {
		if got := DidYouMean(word, names); got != want {
			t.Errorf("%q: %q, want %q", word, got, want)
		}
	}
}
