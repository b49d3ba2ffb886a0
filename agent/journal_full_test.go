package agent

import (
	"os"
	"testing"
)

// TestJournalIsWholeAgainAfterAFullDisk: a write that failed may have left half
// a line, to which nothing may be appended.
func TestJournalIsWholeAgainAfterAFullDisk(t *testing.T) {
	dir := t.TempDir()
	j, err := openJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	announce := func(id string) error { return j.announce(t.Context(), intent{ID: id, Call: "create", Attempt: 1}) }
	if err := announce("a"); err != nil {
		t.Fatal(err)
	}
	full, err := os.OpenFile("/dev/full", os.O_WRONLY, 0)
	if err != nil {
		t.Skip(err)
	}
	if _, err := j.file.WriteString(`{"id":"torn","ca`); err != nil {
		t.Fatal(err)
	}
	j.mu.Lock() // what flushed looks once more whether somebody waits
	j.file.Close()
	j.file = full
	j.mu.Unlock()
	if err := announce("b"); err == nil {
		t.Fatal("an intent is announced on a full disk")
	}
	if err := announce("c"); err != nil {
		t.Fatal(err)
	}
	again, err := openJournal(dir)
	if err != nil {
		t.Fatal(err)
	}
	for _, id := range []string{"a", "c"} {
		if again.open(id).Call != "create" {
			t.Errorf("the intent of %s is lost", id)
		}
	}
}
