package db

import (
	"context"
	"database/sql"
	"database/sql/driver"
	"errors"
	"fmt"
	"sync"
	"time"

	"github.com/kontor-cloud/kontor/failpoint"
	"github.com/kontor-cloud/kontor/fault"
)

// A writer is the only one who writes to an SQLite file. It joins transactions
// that come at the same time into a group: they run one after the other within
// one transaction of the database, each in a savepoint, so that one that fails
// is rolled back alone. Then all are committed with one fsync, and answered.
//
// Each caller runs its own part, in its own goroutine, when the writer passes
// it the turn; so a panic stays where it belongs.
type writer struct {
	db    *DB
	pool  *sql.DB // of one connection
	conn  *sql.Conn
	stmts *statements

	queue   chan *part
	closing sync.Once
	stop    chan struct{}
	stopped chan struct{}
}

// A part is one caller's share of a group.
type part struct {
	turn chan error // nil: it may write now
	ran  chan error // an error here ends the whole group
	done chan error // nil: it is durable
}

// The bounds of a group, so that its first member does not wait for long.
const (
	maxParts = 256
	maxGroup = 20 * time.Millisecond
)

// errBroken is what members of a group get that had to be given up, by the
// fault of another. Nothing was written.
var errBroken = errors.New("the group of transactions was given up")

func newWriter(d *DB, pool *sql.DB) *writer {
	return &writer{db: d, pool: pool, queue: make(chan *part), stop: make(chan struct{}), stopped: make(chan struct{})}
}

// connect makes the one connection, again after it was lost. Two processes
// that open a new file at once can be in each other's way, hence the attempts.
func (w *writer) connect(ctx context.Context) error {
	if w.conn != nil {
		return nil
	}
	for attempt := 1; ; attempt++ {
		conn, err := w.pool.Conn(ctx)
		if err == nil {
			w.conn, w.stmts = conn, &statements{on: conn}
			return nil
		}
		if attempt == attempts || !clash(err) || !pause(ctx, attempt) {
			return err
		}
	}
}

// disconnect drops a connection whose state nobody knows.
func (w *writer) disconnect() {
	w.stmts.close()
	w.conn.Raw(func(any) error { return driver.ErrBadConn })
	w.conn.Close()
	w.conn = nil
}

// control runs a statement of transaction control. Nobody can cancel it.
func (w *writer) control(text string) error {
	s, err := w.stmts.of(text)
	if err != nil {
		return err
	}
	_, err = s.ExecContext(context.Background())
	return err
}

// do runs fn as part of a group.
func (w *writer) do(ctx context.Context, fn func(ctx context.Context, tx *Tx) error) error {
	if err := ctx.Err(); err != nil {
		return err
	}
	p := &part{turn: make(chan error, 1), ran: make(chan error, 1), done: make(chan error, 2)}
	select {
	case w.queue <- p:
	case <-ctx.Done():
		return ctx.Err()
	case <-w.stop:
		return fault.Unavailable.Errorf("the database is closed")
	}
	if err := <-p.turn; err != nil {
		return err
	}
	if err := w.run(ctx, p, fn); err != nil {
		return err
	}
	return <-p.done
}

// run calls fn within a savepoint and passes the turn back, also when fn
// panics or ends its goroutine.
func (w *writer) run(ctx context.Context, p *part, fn func(ctx context.Context, tx *Tx) error) (err error) {
	tx := &Tx{db: w.db, query: w.query, exec: w.exec, many: w.conn.ExecContext}
	keep := false
	defer func() {
		tx.ended = true
		p.ran <- w.settle(keep)
	}()
	if err := w.control("SAVEPOINT part"); err != nil {
		return err
	}
	if err := fn(ctx, tx); err != nil {
		return err
	}
	keep = true
	return nil
}

// settle ends the savepoint. Some failures, such as a full disk, make SQLite
// roll back the whole transaction, and the savepoint is not there any more.
func (w *writer) settle(keep bool) error {
	if !keep {
		if err := w.control("ROLLBACK TO part"); err != nil {
			return err
		}
	}
	return w.control("RELEASE part")
}

// query and exec look at ctx before a statement and not during one: SQLite
// answers an interrupted write by rolling back the transaction of the group.
func (w *writer) query(ctx context.Context, query string, args ...any) (*sql.Rows, error) {
	s, err := w.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.QueryContext(context.WithoutCancel(ctx), args...)
}

func (w *writer) exec(ctx context.Context, query string, args ...any) (sql.Result, error) {
	s, err := w.statement(ctx, query)
	if err != nil {
		return nil, err
	}
	return s.ExecContext(context.WithoutCancel(ctx), args...)
}

func (w *writer) statement(ctx context.Context, query string) (*sql.Stmt, error) {
	if err := ctx.Err(); err != nil {
		return nil, err
	}
	return w.stmts.of(query)
}

// loop makes groups until close.
func (w *writer) loop() {
	defer close(w.stopped)
	for {
		select {
		case first := <-w.queue:
			w.group(first)
		case <-w.stop:
			return
		}
	}
}

// group runs first, and whoever else has come meanwhile, in one transaction.
func (w *writer) group(first *part) {
	if err := w.begin(); err != nil {
		first.turn <- err
		return
	}
	failpoint.Here(failpoint.GroupBegun)
	var parts []*part
	start := time.Now()
	for p := first; p != nil; p = w.next(len(parts), start) {
		parts = append(parts, p)
		p.turn <- nil
		if err := <-p.ran; err != nil {
			w.disconnect()
			answer(parts, fmt.Errorf("%w: %w", errBroken, err))
			return
		}
	}
	early(parts)
	failpoint.Here(failpoint.GroupRun)
	err := w.control("COMMIT")
	failpoint.Here(failpoint.GroupCommitted)
	if err != nil {
		w.disconnect()
	} else {
		w.db.tally.grouped(len(parts))
	}
	answer(parts, err)
}

func (w *writer) begin() error {
	if err := w.connect(context.Background()); err != nil {
		return err
	}
	return w.control("BEGIN IMMEDIATE")
}

// next returns who waits to write, or nil if nobody does or the group is full.
func (w *writer) next(n int, start time.Time) *part {
	if n >= maxParts || time.Since(start) > maxGroup {
		return nil
	}
	select {
	case p := <-w.queue:
		return p
	default:
		return nil
	}
}

// answer ends each part. One that rolled itself back does not listen.
func answer(parts []*part, err error) {
	for _, p := range parts {
		p.done <- err
	}
}

// early answers before anything is durable, which tests must notice.
func early(parts []*part) {
	if failpoint.Off(failpoint.Durable) {
		answer(parts, nil)
		time.Sleep(100 * time.Millisecond)
	}
}

// close lets the group end that is under way.
func (w *writer) close() {
	w.closing.Do(func() {
		close(w.stop)
		<-w.stopped
		if w.conn != nil {
			w.stmts.close()
			w.conn.Close()
		}
		w.pool.Close()
	})
}
