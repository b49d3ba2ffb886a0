package fake

import (
	"bufio"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"

	"github.com/kontor-cloud/kontor/driver"
)

// A journal keeps the platform's things in a file, one change a line. It is
// not flushed to the disk: what it must survive is the end of a process.
type journal struct {
	path  string
	file  *os.File
	lines int
	err   error
}

// fewLines is how long a journal may be without being worth a shorter one.
const fewLines = 50_000

type record struct {
	Owner driver.Owner    `json:"owner"`
	Kind  string          `json:"kind"`
	ID    string          `json:"id"`
	Row   json.RawMessage `json:"row,omitempty"` // none: removed
}

// record notes a change; a nil row is a removal.
func (p *Platform) record(owner driver.Owner, kind, id string, row any) {
	j := p.journal
	if j == nil {
		return
	}
	err := j.write(owner, kind, id, row)
	if err == nil && j.lines > fewLines && j.lines > 8*p.things() {
		err = p.compact(j.path)
	}
	if err != nil && j.err == nil {
		j.err = err
	}
}

func (p *Platform) things() (n int) {
	for _, c := range p.count {
		n += c
	}
	return n
}

func (j *journal) write(owner driver.Owner, kind, id string, row any) error {
	r := record{Owner: owner, Kind: kind, ID: id}
	if row != nil {
		b, err := json.Marshal(row)
		if err != nil {
			return err
		}
		r.Row = b
	}
	b, err := json.Marshal(r)
	if err != nil {
		return err
	}
	j.lines++
	_, err = j.file.Write(append(b, '\n'))
	return err
}

// load brings back what is in dir and writes on there, without what is past.
func (p *Platform) load(dir string) error {
	p.mu.Lock()
	defer p.mu.Unlock()
	path := filepath.Join(dir, "fake.jsonl")
	if err := p.replay(path); err != nil {
		return fmt.Errorf("read the fake platform in %s: %w", path, err)
	}
	p.settleAdoptions()
	if err := p.compact(path); err != nil {
		return fmt.Errorf("write the fake platform: %w", err)
	}
	return nil
}

// compact puts a journal in place that has what there is now, and nothing else.
func (p *Platform) compact(path string) error {
	f, err := os.OpenFile(path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if p.journal != nil {
		p.journal.file.Close()
	}
	p.journal = &journal{path: path, file: f}
	if err := p.snapshot(); err != nil {
		return err
	}
	return os.Rename(path+".new", path)
}

func (p *Platform) snapshot() error {
	for owner, a := range p.accounts {
		for _, r := range a.racks() {
			err := r.each(func(id string, row any) error { return p.journal.write(owner, r.kind, id, row) })
			if err != nil {
				return err
			}
		}
	}
	return nil
}

// replay reads a journal. Its last line may be cut off.
func (p *Platform) replay(path string) error {
	f, err := os.Open(path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	lines := bufio.NewScanner(f)
	lines.Buffer(nil, 4<<20)
	for lines.Scan() {
		var r record
		if json.Unmarshal(lines.Bytes(), &r) != nil {
			continue
		}
		for _, k := range p.account(r.Owner).racks() {
			if k.kind != r.Kind {
				continue
			}
			if len(r.Row) == 0 {
				k.drop(r.ID)
			} else if err := k.raw(r.Row); err != nil {
				return err
			}
		}
	}
	return lines.Err()
}

func (p *Platform) close() error {
	p.mu.Lock()
	defer p.mu.Unlock()
	if p.journal == nil {
		return nil
	}
	err := p.journal.err
	if e := p.journal.file.Close(); err == nil {
		err = e
	}
	p.journal = nil
	return err
}
