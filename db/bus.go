package db

import (
	"context"
	"crypto/rand"
	"maps"
	"strings"
	"sync"
	"time"

	"github.com/jackc/pgx/v5"
	"github.com/jackc/pgx/v5/pgconn"
	"golang.org/x/sync/errgroup"
)

// A Bus carries hints between the processes that share a PostgreSQL: what one
// has written, the others may want to look at. A hint may be lost, come late or
// come twice, so nothing correct may depend on one; every CatchUp at the latest,
// whoever listens is told to look for himself. While no other process is heard
// of none is sent, and whoever meets one is told to look. An SQLite file belongs to one
// process, which has nobody to talk to: there a bus does nothing.
type Bus struct {
	db     *DB
	origin string // of this process, to know its own hints by

	mu    sync.Mutex
	heard map[string]Listener
	peers map[string]time.Time // other processes, by when they were last heard of
	due   map[string]bool      // hints to be sent, each once
	poked chan struct{}
}

// A Listener is told of hints of one topic.
type Listener struct {
	Hear    func(ctx context.Context, hint string) // that another process sent
	CatchUp func(ctx context.Context) error        // hints may have been missed
}

const (
	// CatchUp is the longest time for which a process may not know what another has written.
	CatchUp = 5 * time.Second

	gather    = 2 * time.Millisecond // hints that come together are sent together
	mentions  = time.Second          // between looks for hints that can wait
	maxNotice = 7900                 // bytes; PostgreSQL takes up to 8000
	maxDue    = 100_000              // hints; more are dropped
	forgotten = 3 * CatchUp          // a peer that is not heard of for so long is gone
	topicHere = "here"               // says no more than that a process lives
)

func newBus(d *DB) *Bus {
	return &Bus{
		db: d, origin: strings.ToLower(rand.Text()[:10]), heard: map[string]Listener{},
		peers: map[string]time.Time{}, due: map[string]bool{}, poked: make(chan struct{}, 1),
	}
}

// Bus is how this process talks to others on the same database.
func (d *DB) Bus() *Bus { return d.bus }

// Listen has a topic's hints given to l. It is called before Run.
func (b *Bus) Listen(topic string, l Listener) {
	b.mu.Lock()
	defer b.mu.Unlock()
	b.heard[topic] = l
}

// Tell gives a hint to the other processes at once, without waiting for it. A
// hint is text without line breaks.
func (b *Bus) Tell(topic, hint string) {
	if !b.note(topic, hint) {
		return
	}
	select {
	case b.poked <- struct{}{}:
	default:
	}
}

// Mention gives a hint that can wait for others, for about a second.
func (b *Bus) Mention(topic, hint string) { b.note(topic, hint) }

// note has a hint sent, and reports whether somebody may hear it.
func (b *Bus) note(topic, hint string) bool {
	if !b.db.postgres {
		return false
	}
	b.mu.Lock()
	defer b.mu.Unlock()
	if len(b.peers) == 0 && topic != topicHere {
		return false
	}
	if len(b.due) < maxDue {
		b.due[topic+" "+hint] = true
	}
	return true
}

// Peers is how many other processes have been heard of lately.
func (b *Bus) Peers() int {
	b.mu.Lock()
	defer b.mu.Unlock()
	return len(b.peers)
}

// Run hears, tells and catches up until ctx ends. A server that is away costs
// warnings and delay: it goes on when the server is there again.
func (b *Bus) Run(ctx context.Context) error {
	if !b.db.postgres {
		return nil
	}
	g, ctx := errgroup.WithContext(ctx)
	g.Go(func() error { return b.db.apart(ctx, "hear other processes", b.hear) })
	g.Go(func() error { return b.db.apart(ctx, "tell other processes", b.tell) })
	g.Go(func() error { return b.look(ctx) })
	return g.Wait()
}

func (b *Bus) hear(ctx context.Context, conn *pgx.Conn, channel string) error {
	if _, err := conn.Exec(ctx, `LISTEN `+pgx.Identifier{channel}.Sanitize()); err != nil {
		return err
	}
	b.catchUp(ctx)
	b.Tell(topicHere, b.origin)
	for {
		n, err := conn.WaitForNotification(ctx)
		if err != nil {
			return err
		}
		b.take(ctx, n)
	}
}

// take passes a notice on: the name of who sent it, then a hint a line.
func (b *Bus) take(ctx context.Context, n *pgconn.Notification) {
	origin, hints, _ := strings.Cut(n.Payload, "\n")
	if origin == b.origin {
		return
	}
	b.meet(ctx, origin)
	for hint := range strings.SplitSeq(hints, "\n") {
		topic, hint, _ := strings.Cut(hint, " ")
		b.mu.Lock()
		l := b.heard[topic]
		b.mu.Unlock()
		if l.Hear != nil {
			l.Hear(ctx, hint)
		}
	}
}

// meet notes that another process lives. A new one is greeted, so that both know and
// send what they have from now on; what they had before, nobody was told.
func (b *Bus) meet(ctx context.Context, origin string) {
	b.mu.Lock()
	_, known := b.peers[origin]
	b.peers[origin] = time.Now()
	b.mu.Unlock()
	if !known {
		b.db.log.InfoContext(ctx, "another process serves this exchange", "process", origin)
		b.Tell(topicHere, b.origin)
		b.catchUp(ctx)
	}
}

// tell sends what is due. The hints are not worth a wait for the disk.
func (b *Bus) tell(ctx context.Context, conn *pgx.Conn, channel string) error {
	if _, err := conn.Exec(ctx, `SET synchronous_commit = off`); err != nil {
		return err
	}
	tick := time.NewTicker(mentions)
	defer tick.Stop()
	for {
		select {
		case <-b.poked:
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		select {
		case <-time.After(gather):
		case <-ctx.Done():
			return nil
		}
		for _, notice := range b.notices() {
			if _, err := conn.Exec(ctx, `SELECT pg_notify($1, $2)`, channel, notice); err != nil {
				return err
			}
		}
	}
}

// notices packs what is due.
func (b *Bus) notices() (all []string) {
	b.mu.Lock()
	defer b.mu.Unlock()
	var one strings.Builder
	for hint := range b.due {
		if one.Len() > 0 && one.Len()+1+len(hint) > maxNotice {
			all = append(all, one.String())
			one.Reset()
		}
		if one.Len() == 0 {
			one.WriteString(b.origin)
		}
		one.WriteString("\n" + hint)
	}
	clear(b.due)
	if one.Len() > 0 {
		all = append(all, one.String())
	}
	return all
}

// look catches up on a period, for hints that got lost.
func (b *Bus) look(ctx context.Context) error {
	tick := time.NewTicker(CatchUp)
	defer tick.Stop()
	for {
		select {
		case <-tick.C:
		case <-ctx.Done():
			return nil
		}
		b.catchUp(ctx)
		b.Tell(topicHere, b.origin)
		b.forget(ctx)
	}
}

func (b *Bus) forget(ctx context.Context) {
	b.mu.Lock()
	defer b.mu.Unlock()
	for origin, last := range b.peers {
		if time.Since(last) > forgotten {
			delete(b.peers, origin)
			b.db.log.InfoContext(ctx, "a process of this exchange is gone", "process", origin)
		}
	}
}

func (b *Bus) catchUp(ctx context.Context) {
	b.mu.Lock()
	all := maps.Clone(b.heard)
	b.mu.Unlock()
	for topic, l := range all {
		if l.CatchUp == nil {
			continue
		}
		if err := l.CatchUp(ctx); err != nil && ctx.Err() == nil {
			b.db.log.WarnContext(ctx, "process not caught up with the others", "topic", topic, "error", err)
		}
	}
}
