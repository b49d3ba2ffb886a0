package market

import (
	"context"
	"time"

	"github.com/kontor-cloud/kontor/audit"
	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/fault"
)

// An Order is a quote that was accepted. It is charged by the price sheets of its quote,
// until the notice of newer ones has passed.
type Order struct {
	ID        string    `json:"id"`
	Quote     *Quote    `json:"quote"`
	CreatedAt time.Time `json:"createdAt"`
	EndedAt   time.Time `json:"endedAt,omitzero"`
	Problem   string    `json:"problem,omitempty"` // why it was taken back
}

// Order accepts a quote, while it is valid, and binds what it reserved. To order it again
// gives the same order. Place, if not nil, makes what was ordered, in the same transaction: if it fails,
// nothing was ordered.
func (s *Store) Order(ctx context.Context, tenant, quote string, place func(context.Context, *db.Tx, *Quote) error) (*Order, error) {
	var id string
	err := s.DB.InTx(ctx, func(ctx context.Context, tx *db.Tx) (err error) {
		id, err = s.order(ctx, tx, tenant, quote, place)
		return err
	})
	if err != nil {
		return nil, err
	}
	s.open.Store(true)
	s.DB.Bus().Tell(topic, "")
	return s.FindOrder(ctx, tenant, id)
}

func (s *Store) order(ctx context.Context, tx *db.Tx, tenant, quote string, place func(context.Context, *db.Tx, *Quote) error) (string, error) {
	id := newID(orderMark)
	n, err := db.Exec(ctx, tx, `UPDATE quote SET ordered = $3 WHERE tenant = $1 AND id = $2 AND ordered = ''`, tenant, quote, id)
	if err != nil {
		return "", err
	}
	q, err := db.One(ctx, tx, scanQuote, quoteColumns+`WHERE tenant = $1 AND id = $2`, tenant, quote)
	if err != nil {
		return "", notFound(err, "quote", quote)
	}
	if n == 0 {
		return q.Order, nil
	}
	now := time.Now()
	bound, err := db.Exec(ctx, tx, `UPDATE reservation SET until = 0 WHERE quote = $1`, quote)
	if err != nil {
		return "", err
	}
	if now.After(q.ValidUntil) || bound != int64(len(q.regions())) {
		return "", fault.Conflict.Errorf("quote %s was valid until %s; ask for a new one", quote, q.ValidUntil.Format(time.RFC3339))
	}
	if _, err := db.Exec(ctx, tx, `INSERT INTO purchase (id, tenant, quote, created_at, ended_at) VALUES ($1, $2, $3, $4, 0)`,
		id, tenant, quote, db.Micros(now)); err != nil {
		return "", err
	}
	audit.Note(ctx, audit.Change{Chain: tenant, Resource: resourceName(tenant, "orders", id), Detail: "quote " + quote + ", decision " + q.Decision})
	if place == nil {
		return id, nil
	}
	return id, place(ctx, tx, q)
}

// regions are those of the quote, each once.
func (q *Quote) regions() map[string]bool {
	all := map[string]bool{}
	for _, p := range q.Chosen {
		all[p.Region] = true
	}
	return all
}

const orderColumns = `SELECT purchase.id, purchase.created_at, purchase.ended_at, purchase.problem,
	quote.id, quote.tenant, quote.decision, quote.terms, quote.documents, quote.created_at, quote.valid_until, quote.ordered
	FROM purchase JOIN quote ON quote.id = purchase.quote `

func scanOrder(scan func(...any) error) (*Order, error) {
	var o Order
	var made, ended int64
	quote, err := scanQuote(func(to ...any) error { return scan(append([]any{&o.ID, &made, &ended, &o.Problem}, to...)...) })
	o.Quote, o.CreatedAt, o.EndedAt = quote, db.Time(made), db.Time(ended)
	return &o, err
}

// FindOrder returns an order, or fault.Missing, also if it is another tenant's.
func (s *Store) FindOrder(ctx context.Context, tenant, id string) (*Order, error) {
	o, err := db.One(ctx, s.DB, scanOrder, orderColumns+`WHERE purchase.tenant = $1 AND purchase.id = $2`, tenant, id)
	return o, notFound(err, "order", id)
}

// Orders lists those of a tenant, by id.
func (s *Store) Orders(ctx context.Context, tenant string) ([]*Order, error) {
	return db.All(ctx, s.DB, scanOrder, orderColumns+`WHERE purchase.tenant = $1 ORDER BY purchase.id`, tenant)
}

// live lists the orders of all tenants that have not ended.
func (s *Store) live(ctx context.Context) ([]*Order, error) {
	return db.All(ctx, s.DB, scanOrder, orderColumns+`WHERE purchase.ended_at = 0 ORDER BY purchase.id`)
}

// An OpenOrder is one that has made something, and has not ended.
type OpenOrder struct {
	ID, Tenant, Decision string
	Settled              bool // all of it stood once
}

// mayMiss is how long OpenOrders need not be asked when nothing was heard of orders: hints
// between processes get lost.
const mayMiss = time.Minute

// Ordered reports whether OpenOrders is worth asking, the last answer being so old.
func (s *Store) Ordered(since time.Duration) bool { return since > mayMiss || s.open.Load() }

// OpenOrders lists those of all tenants.
func (s *Store) OpenOrders(ctx context.Context) ([]OpenOrder, error) {
	s.open.Store(false) // before it is read: what comes then is seen, or makes it true again
	all, err := s.openOrders(ctx)
	if err != nil || len(all) > 0 {
		s.open.Store(true)
	}
	return all, err
}

func (s *Store) openOrders(ctx context.Context) ([]OpenOrder, error) {
	return db.All(ctx, s.DB, func(scan func(...any) error) (o OpenOrder, err error) {
		return o, scan(&o.ID, &o.Tenant, &o.Decision, &o.Settled)
	}, `SELECT purchase.id, purchase.tenant, quote.decision, purchase.settled_at > 0 FROM purchase JOIN quote ON quote.id = purchase.quote
		WHERE purchase.ended_at = 0 AND quote.documents IS NOT NULL ORDER BY purchase.id`)
}

// Settle notes that all that was ordered stands, and is in the figures of its platforms: it is not
// taken off what they say is free any more.
func (s *Store) Settle(ctx context.Context, id string) error {
	_, err := db.Exec(ctx, s.DB, `UPDATE purchase SET settled_at = $2 WHERE id = $1 AND settled_at = 0`, id, db.Micros(time.Now()))
	if err != nil {
		return err
	}
	return s.release(ctx, id)
}

// release ends the reservation of an order.
func (s *Store) release(ctx context.Context, id string) error {
	n, err := db.Exec(ctx, s.DB, `DELETE FROM reservation WHERE until = 0 AND quote = (SELECT quote FROM purchase WHERE id = $1)`, id)
	if err == nil && n > 0 {
		s.changed()
	}
	return err
}

// Fail notes why an order is taken back, in the transaction that does so.
func (s *Store) Fail(ctx context.Context, tx *db.Tx, o OpenOrder, why string) error {
	audit.Note(ctx, audit.Change{Chain: o.Tenant, Resource: resourceName(o.Tenant, "orders", o.ID), Detail: why})
	_, err := db.Exec(ctx, tx, `UPDATE purchase SET problem = $2 WHERE id = $1`, o.ID, why)
	return err
}

// End notes that nothing is left of what was ordered.
func (s *Store) End(ctx context.Context, id string) error {
	if _, err := db.Exec(ctx, s.DB, `UPDATE purchase SET ended_at = $2 WHERE id = $1 AND ended_at = 0`, id, db.Micros(time.Now())); err != nil {
		return err
	}
	return s.release(ctx, id)
}
