package fake

import (
	"encoding/json"
	"os"
	"time"

	"github.com/kontor-cloud/kontor/fault"
)

// scriptFile lies beside the journal. Whoever tries out what runs on the
// platform in another process rewrites it, in one step.
const scriptFile = "faults.json"

// A Script is what goes wrong from now on. A new one takes the place of the
// faults of the last that have not struck.
type Script struct {
	Outage bool            `json:"outage,omitempty"` // no call succeeds
	Faults []ScriptedFault `json:"faults,omitempty"`
}

// A ScriptedFault is a Fault on paper.
type ScriptedFault struct {
	Op    string   `json:"op,omitempty"`
	Kind  string   `json:"kind,omitempty"`
	Times int      `json:"times,omitempty"`
	Skip  int      `json:"skip,omitempty"`
	Done  bool     `json:"done,omitempty"`
	Short bool     `json:"short,omitempty"`
	After Duration `json:"after,omitempty"` // the platform says when to come back
}

func (s ScriptedFault) fault() *Fault {
	f := &Fault{Op: s.Op, Kind: s.Kind, Times: max(1, s.Times), Skip: s.Skip, Done: s.Done, Short: s.Short}
	f.Err = fault.Unavailable.Errorf("the platform answered 500")
	if s.After > 0 {
		f.Err = fault.RetryAfter(fault.Unavailable.Errorf("too many requests"), time.Duration(s.After))
	}
	return f
}

// A prompter reads the script again when its file has changed.
type prompter struct {
	path string
	seen os.FileInfo
}

// prompt brings the newest script into force. One that cannot be read changes
// nothing.
func (p *Platform) prompt() {
	if p.prompter == nil {
		return
	}
	now, err := os.Stat(p.prompter.path)
	if err != nil || p.prompter.seen != nil && os.SameFile(now, p.prompter.seen) && now.ModTime().Equal(p.prompter.seen.ModTime()) {
		return
	}
	var s Script
	b, err := os.ReadFile(p.prompter.path)
	if err != nil || json.Unmarshal(b, &s) != nil {
		return
	}
	p.prompter.seen, p.outage, p.faults = now, s.Outage, nil
	for _, f := range s.Faults {
		p.faults = append(p.faults, f.fault())
	}
}
