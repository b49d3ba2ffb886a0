package agent

import (
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/wire"
)

func TestAWishIsFollowedUntilItIsFulfilled(t *testing.T) {
	now := time.Now()
	want := wire.Resource{Generation: 2, Trace: "trace"}
	leaving := want
	leaving.Deleting = true
	for what, c := range map[string]struct {
		e      entry
		traced bool
	}{
		"new":                         {entry{want: want, news: true, wished: now}, true},
		"again":                       {entry{want: want, news: true, wished: now, told: 1}, true},
		"done":                        {entry{want: want, news: true, wished: now, told: 2}, false},
		"deletion":                    {entry{want: leaving, news: true, wished: now, told: 2}, true},
		"from before the agent began": {entry{want: want, wished: now}, false},
		"hopeless":                    {entry{want: want, news: true, wished: now.Add(-time.Hour)}, false},
	} {
		if got := c.e.wish() != ""; got != c.traced {
			t.Errorf("%s: traced %v, want %v", what, got, c.traced)
		}
	}
}
