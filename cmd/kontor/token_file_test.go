package main

import (
	"log/slog"
	"os"
	"path/filepath"
	"testing"
)

// TestFirstTokenComesAfterADeathBeforeItsFile begins where an exchange has made
// its first token and has not written it down: nobody knows it.
func TestFirstTokenComesAfterADeathBeforeItsFile(t *testing.T) {
	c := defaultExchange()
	c.Data, c.Agents = t.TempDir(), "127.0.0.1:0"
	c.Listen[0].Address = "127.0.0.1:0"
	x, err := new(app).openExchange(t.Context(), c, slog.New(slog.DiscardHandler))
	if err != nil {
		t.Fatal(err)
	}
	defer x.close()
	token := filepath.Join(c.Data, "admin.token")
	for _, want := range []bool{true, false} { // once written, it is not written again
		if _, err := x.firstToken(t.Context()); err != nil {
			t.Fatal(err)
		}
		if err := os.Remove(token); (err == nil) != want {
			t.Errorf("there is a first token: %v, want %v", err == nil, want)
		}
	}
	if err := os.WriteFile(token+".due", nil, 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := x.firstToken(t.Context()); err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(token); err != nil {
		t.Error(err)
	}
	if _, err := os.Stat(token + ".due"); err == nil {
		t.Error("the token is still due")
	}
}
