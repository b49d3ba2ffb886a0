package market

import (
	"bytes"
	"compress/flate"
	"context"
	"crypto/rand"
	"fmt"
	"io"
	"log/slog"
	"strings"
	"sync"
	"sync/atomic"
	"time"

	"github.com/kontor-cloud/kontor/db"
	"github.com/kontor-cloud/kontor/envelope"
	"github.com/kontor-cloud/kontor/placement"
	"github.com/kontor-cloud/kontor/policy"
	"github.com/kontor-cloud/kontor/provider"
)

// A Config is what the market stands on.
type Config struct {
	DB        *db.DB
	Box       *envelope.Box
	Providers *provider.Store
	Data      *policy.Data
	Sellers   Sellers
	Log       *slog.Logger

	// Placed lists the workspaces that run somewhere by a decision, for Sweep. Nil: none.
	Placed func(context.Context) ([]Placed, error)
}

// A Store keeps the market. Its methods may be called from many goroutines.
type Store struct {
	Config
	engine placement.Engine
	signer *signer
	shelf  memory[*stock] // the market
	flags  memory[flags]
	open   atomic.Bool // there may be orders to follow that OpenOrders has not given

	keeping     sync.Mutex
	stored      map[policy.Digest]bool // inputs of decisions that the database has; under keeping
	storedSince time.Time              // of which moment that is true

	losing sync.Mutex // held while decisions are read for Losses

	sweeping sync.Mutex
	grounds  map[string]*ground // of decisions by which something ran at the last sweep; under sweeping
}

// Open returns the market of an exchange. The first call ever makes the key that
// signs decisions.
func Open(ctx context.Context, c Config) (*Store, error) {
	s := &Store{Config: c, stored: map[policy.Digest]bool{}}
	var err error
	if s.signer, err = openSigner(ctx, c.DB, c.Box); err != nil {
		return nil, fmt.Errorf("open the key that signs decisions: %w", err)
	}
	s.open.Store(true)
	s.DB.Bus().Listen(topic, db.Listener{Hear: func(context.Context, string) {
		s.shelf.spoil()
		s.open.Store(true)
		s.flags.spoil()
	}})
	return s, nil
}

// topic is that of hints that something on the market has changed.
const topic = "market"

// Vocabulary of ids: what somebody holds in his hand says what it is.
const (
	decisionMark = "d-"
	quoteMark    = "q-"
	orderMark    = "o-"
)

const maxStored = 100_000 // digests in memory

// newID makes an id that nobody guesses.
func newID(mark string) string { return mark + strings.ToLower(rand.Text()[:20]) }

var deflaters = sync.Pool{New: func() any {
	w, _ := flate.NewWriter(io.Discard, flate.BestSpeed) // the level is right
	return w
}}

// pack deflates what is kept: markets and records say alike things many times.
func pack(b []byte) []byte {
	var out bytes.Buffer
	w := deflaters.Get().(*flate.Writer)
	defer deflaters.Put(w)
	w.Reset(&out)
	_, _ = w.Write(b) // a buffer takes everything
	_ = w.Close()
	return out.Bytes()
}

// maxUnpacked bounds what a damaged row can blow up to.
const maxUnpacked = 256 << 20

func unpack(b []byte) ([]byte, error) {
	out, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(b)), maxUnpacked))
	if err != nil {
		return nil, fmt.Errorf("unpack: %w", err)
	}
	return out, nil
}
