package market

import (
	"context"
	"encoding/json"
	"errors"
	"time"

	"github.com/kontor-cloud/kontor/audit"
	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/money"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/placement"
)

// For how long a quote binds.
const (
	UsualValidity = 15 * time.Minute
	MaxValidity   = 24 * time.Hour
)

// A QuoteRequest asks what something would cost, and to keep it for a while.
type QuoteRequest struct {
	placement.Request
	Region    string          // virtual one, in which it would be made
	Product   string          // blueprint of which it would be made, as NAME@VERSION
	Documents json.RawMessage // what would be made, as an array or object; kept as it is

	// Check, if not nil, refuses a choice before anything is promised.
	Check func(chosen []placement.Placement) error

	ValidFor time.Duration // UsualValidity if 0, at most MaxValidity
}

// A Quote is a priced decision: until ValidUntil its price holds and its capacity is kept.
type Quote struct {
	ID         string          `json:"id"`
	Tenant     string          `json:"tenant"`
	Decision   string          `json:"decision"` // its id
	Terms                      // what was decided
	Documents  json.RawMessage `json:"documents,omitempty"`
	CreatedAt  time.Time       `json:"createdAt"`
	ValidUntil time.Time       `json:"validUntil"`
	Order      string          `json:"order,omitempty"` // its id, if it was ordered
}

// Terms are where everything goes and what it costs there.
type Terms struct {
	Region  string                `json:"region,omitempty"`  // virtual one, in which it is made
	Product string                `json:"product,omitempty"` // NAME@VERSION of its blueprint
	Chosen  []placement.Placement `json:"chosen"`
	Hourly  money.Amount          `json:"hourly"`
	Total   money.Amount          `json:"total"` // for the term
	Term    offer.Term            `json:"term"`
}

// tries bounds how often a place may be taken by others while a quote is made.
const tries = 8

// taken is that a region has not the room any more that the market has shown: what it says is free, and what is
// promised of that, perhaps in a transaction that no one else sees yet.
type taken struct {
	region string
	free   driver.Capacity
	held   capacity
}

func (t *taken) Error() string { return "the place in " + t.region + " was taken meanwhile" }

// Quote decides, and binds price and capacity at the regions chosen. When others
// take the place meanwhile it decides again on the market as that has shown it. If there is no place, the
// error is that of Place, and the decision is kept.
func (s *Store) Quote(ctx context.Context, tenant string, in QuoteRequest) (*Quote, error) {
	if in.ValidFor == 0 {
		in.ValidFor = UsualValidity
	}
	if in.ValidFor < time.Second || in.ValidFor > MaxValidity {
		return nil, fault.At(fault.Invalid.Errorf("a quote can be valid for a second to %s", MaxValidity), "/validFor")
	}
	now, err := s.stock(ctx, time.Now().Add(-maxAge))
	if err != nil {
		return nil, err
	}
	for range tries {
		r := in.Request
		made, err := s.decide(ctx, now, tenant, &r)
		if err != nil {
			return nil, err
		}
		if made.Decision.Problem != nil {
			if err := s.DB.InTx(ctx, made.keep); err != nil {
				return nil, err
			}
			return nil, refusal(&made.Decided)
		}
		if in.Check != nil {
			if err := in.Check(made.Decision.Chosen); err != nil {
				return nil, err
			}
		}
		q := newQuote(&made.Decided, in, r.Term)
		err = s.promise(ctx, made, q, now.takes(q.Chosen))
		if err == nil {
			s.changed()
			return q, nil
		}
		gone, ok := errors.AsType[*taken](err)
		if !ok {
			return nil, err
		}
		s.shelf.spoil()
		if now, err = now.without(gone); err != nil {
			return nil, err
		}
	}
	return nil, fault.RetryAfter(fault.Exhausted.Errorf("others were quicker %d times; ask again", tries), time.Second)
}

// promise keeps the decision and the quote, and reserves.
func (s *Store) promise(ctx context.Context, made *making, q *Quote, takes map[string]capacity) error {
	return s.DB.InTx(ctx, func(ctx context.Context, tx *db.Tx) error {
		if err := made.keep(ctx, tx); err != nil {
			return err
		}
		if err := q.insert(ctx, tx); err != nil {
			return err
		}
		return q.reserve(ctx, tx, takes)
	})
}

// Refresh has this process look at the market anew, as something else than the market has changed it.
func (s *Store) Refresh() { s.shelf.spoil() }

// changed has this process and others look at the market anew.
func (s *Store) changed() {
	s.Refresh()
	s.DB.Bus().Tell(topic, "")
}

func newQuote(d *Decided, in QuoteRequest, term offer.Term) *Quote {
	eur := func(nano int64) money.Amount { return money.Amount{Nano: nano, Currency: money.EUR} }
	if term == 0 {
		term = offer.Term(placement.Month)
	}
	return &Quote{
		ID: newID(quoteMark), Tenant: d.Tenant, Decision: d.ID, Documents: in.Documents,
		Terms:     Terms{in.Region, in.Product, d.Decision.Chosen, eur(d.Decision.Hourly), eur(d.Decision.Total), term},
		CreatedAt: d.At, ValidUntil: d.At.Add(in.ValidFor),
	}
}

func (q *Quote) insert(ctx context.Context, tx *db.Tx) error {
	_, err := db.Exec(ctx, tx, `
		INSERT INTO quote (id, tenant, decision, terms, documents, created_at, valid_until, ordered)
		VALUES ($1, $2, $3, $4, $5, $6, $7, '')`,
		q.ID, q.Tenant, q.Decision, db.JSON(q.Terms), db.JSON(q.Documents), db.Micros(q.CreatedAt), db.Micros(q.ValidUntil))
	if err == nil {
		audit.Note(ctx, audit.Change{Chain: q.Tenant, Resource: resourceName(q.Tenant, "quotes", q.ID), Detail: "decision " + q.Decision})
	}
	return err
}

// resourceName is how the audit log names something on the market.
func resourceName(tenant, collection, id string) string {
	return "kontor.exchange/v1/tenants/" + tenant + "/" + collection + "/" + id
}

const quoteColumns = `SELECT id, tenant, decision, terms, documents, created_at, valid_until, ordered FROM quote `

func scanQuote(scan func(...any) error) (*Quote, error) {
	var q Quote
	var created, until int64
	err := scan(&q.ID, &q.Tenant, &q.Decision, db.JSON(&q.Terms), db.JSON(&q.Documents), &created, &until, &q.Order)
	q.CreatedAt, q.ValidUntil = db.Time(created), db.Time(until)
	return &q, err
}

// FindQuote returns a quote, or fault.Missing, also if it is another tenant's.
func (s *Store) FindQuote(ctx context.Context, tenant, id string) (*Quote, error) {
	q, err := db.One(ctx, s.DB, scanQuote, quoteColumns+`WHERE tenant = $1 AND id = $2`, tenant, id)
	return q, notFound(err, "quote", id)
}

// Quotes lists those of a tenant, by id.
func (s *Store) Quotes(ctx context.Context, tenant string) ([]*Quote, error) {
	return db.All(ctx, s.DB, scanQuote, quoteColumns+`WHERE tenant = $1 ORDER BY id`, tenant)
}
