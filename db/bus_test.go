package db

import (
	"context"
	"log/slog"
	"strings"
	"testing"

	"github.com/jackc/pgx/v5/pgconn"
)

// TestBusTellsOthers has hints sent only while there is somebody to hear them. Who is met for the first
// time makes this process look for what it was not told.
func TestBusTellsOthers(t *testing.T) {
	b := newBus(&DB{postgres: true, log: slog.New(slog.DiscardHandler)})
	looked := 0
	b.Listen("shop", Listener{CatchUp: func(context.Context) error { looked++; return nil }})
	b.Tell("shop", "early")
	b.Mention("shop", "early")
	if due := b.notices(); len(due) != 0 {
		t.Errorf("while it is alone it sends %q", due)
	}
	greeting := &pgconn.Notification{Payload: "other\n" + topicHere + " other"}
	b.take(t.Context(), greeting)
	b.take(t.Context(), greeting)
	if looked != 1 {
		t.Errorf("met another process and looked %d times, want once", looked)
	}
	b.Tell("shop", "late")
	due := strings.Join(b.notices(), "\n")
	if !strings.Contains(due, "\n"+topicHere+" "+b.origin) || !strings.Contains(due, "\nshop late") || strings.Contains(due, "early") {
		t.Errorf("when it has met another it sends %q", due)
	}
}
