package agent

import (
	"bufio"
	"context"
	"encoding/json"
	"fmt"
	"os"
	"path/filepath"
	"sync"

	"github.com/kontor-cloud/kontor/failpoint"
	"github.com/kontor-cloud/kontor/telemetry"
)

// A journal holds what must outlive the agent: which calls to the platform are
// announced and not yet known to be over, and which data has ever existed.
// Announcements that come together share one flush to the disk.
type journal struct {
	mu      sync.Mutex
	path    string
	file    *os.File
	buffer  []byte
	waiting []chan error
	pending bool // a flush is under way or due
	lines   int  // in the file
	torn    bool // the file may end in half a line, or lack some
	state   map[string]intent
}

// An intent is what is open about one resource.
type intent struct {
	ID      string `json:"id"`
	Call    string `json:"call,omitempty"` // create, delete; none is open if empty
	Attempt int    `json:"attempt,omitempty"`
	Lived   bool   `json:"lived,omitempty"` // it held data once: if it is missing, it was lost
	Gone    bool   `json:"gone,omitempty"`  // nothing is left of it
}

// openJournal reads the journal in dir and drops from the file what is over.
func openJournal(dir string) (*journal, error) {
	j := &journal{path: filepath.Join(dir, "intents.jsonl"), state: map[string]intent{}}
	if err := j.read(); err != nil {
		return nil, fmt.Errorf("read the journal of intents: %w", err)
	}
	if err := j.compact(); err != nil {
		return nil, fmt.Errorf("write the journal of intents: %w", err)
	}
	return j, nil
}

func (j *journal) read() error {
	f, err := os.Open(j.path)
	if os.IsNotExist(err) {
		return nil
	}
	if err != nil {
		return err
	}
	defer f.Close()
	for lines := bufio.NewScanner(f); ; {
		if !lines.Scan() {
			return lines.Err()
		}
		var i intent
		if json.Unmarshal(lines.Bytes(), &i) == nil { // the last line may be cut off
			j.apply(i)
		}
	}
}

func (j *journal) apply(i intent) {
	if i.Gone || i == (intent{ID: i.ID, Attempt: i.Attempt}) && i.Attempt < 2 {
		delete(j.state, i.ID)
		return
	}
	j.state[i.ID] = i
}

// compact writes a new file with what still counts.
func (j *journal) compact() error {
	f, err := os.OpenFile(j.path+".new", os.O_CREATE|os.O_TRUNC|os.O_WRONLY|os.O_APPEND, 0o600)
	if err != nil {
		return err
	}
	if err := j.write(f); err != nil {
		f.Close()
		return err
	}
	failpoint.Here(failpoint.JournalCompacted)
	if err := os.Rename(j.path+".new", j.path); err != nil {
		f.Close()
		return err
	}
	if j.file != nil {
		j.file.Close()
	}
	j.file, j.lines = f, len(j.state)
	return syncDir(filepath.Dir(j.path))
}

func (j *journal) write(f *os.File) error {
	w := bufio.NewWriter(f)
	for _, i := range j.state {
		b, err := json.Marshal(i)
		if err != nil {
			return err
		}
		w.Write(append(b, '\n')) //nolint:errcheck // Flush tells
	}
	if err := w.Flush(); err != nil {
		return err
	}
	return f.Sync()
}

// open returns what is known of a resource from before.
func (j *journal) open(id string) intent {
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.state[id]
}

// prune forgets what nobody knows any more and what no call is open for.
func (j *journal) prune(known func(id string) bool) {
	j.mu.Lock()
	defer j.mu.Unlock()
	for id, i := range j.state {
		if i.Call == "" && !known(id) {
			j.append(intent{ID: id, Gone: true})
		}
	}
}

// announce notes a call that is about to be made, and returns when the note is
// on the disk.
func (j *journal) announce(ctx context.Context, i intent) (err error) {
	if failpoint.Off(failpoint.Intent) {
		return nil
	}
	ctx, end := telemetry.Within(ctx, "journal")
	defer func() { end(err) }()
	failpoint.Here(failpoint.CallIntended)
	written := make(chan error, 1)
	j.mu.Lock()
	j.append(i)
	j.waiting = append(j.waiting, written)
	if !j.pending {
		j.pending = true
		go j.flush()
	}
	j.mu.Unlock()
	select {
	case err := <-written:
		return err
	case <-ctx.Done():
		return ctx.Err()
	}
}

// note records what became of a call. It may be lost in a crash: then the
// platform is asked.
func (j *journal) note(i intent) {
	j.mu.Lock()
	defer j.mu.Unlock()
	if j.state[i.ID] == i || i.Gone && j.state[i.ID] == (intent{}) {
		return
	}
	j.append(i)
}

func (j *journal) append(i intent) {
	j.apply(i)
	b, err := json.Marshal(i)
	if err == nil {
		j.buffer = append(append(j.buffer, b...), '\n')
		j.lines++
	}
}

// flush writes until nobody waits. Those who come while the disk is busy go
// together next.
func (j *journal) flush() {
	for {
		j.mu.Lock()
		waiting, buffer, file := j.waiting, j.buffer, j.file
		if len(waiting) == 0 {
			j.pending = false
			j.mu.Unlock()
			return
		}
		j.waiting, j.buffer = nil, nil
		if j.torn || j.lines > 10_000 && j.lines > 4*len(j.state) {
			err := j.compact() // has the buffer's content already
			j.torn = err != nil
			j.mu.Unlock()
			answer(waiting, err)
			continue
		}
		j.mu.Unlock()
		_, err := file.Write(buffer)
		if err == nil {
			err = file.Sync()
		}
		if err != nil {
			j.mu.Lock()
			j.torn = true
			j.mu.Unlock()
		}
		answer(waiting, err)
	}
}

func answer(waiting []chan error, err error) {
	for _, w := range waiting {
		w <- err
	}
}

// close waits for what is being written and writes the rest.
func (j *journal) close() error {
	if err := j.announce(context.Background(), intent{ID: "-", Gone: true}); err != nil {
		return err
	}
	j.mu.Lock()
	defer j.mu.Unlock()
	return j.file.Close()
}

func syncDir(dir string) error {
	d, err := os.Open(dir)
	if err != nil {
		return err
	}
	defer d.Close()
	return d.Sync()
}
