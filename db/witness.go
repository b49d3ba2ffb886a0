package db

import "context"

// A Witness takes part in each write transaction that is made with its context:
// it tells of what is written, or nothing is.
type Witness interface {
	// Begin says that the transaction begins, perhaps not for the first time.
	Begin()

	// Commit runs the last statements of the transaction. An error rolls it back.
	Commit(ctx context.Context, tx *Tx) error

	// Committed says that it is durable.
	Committed()
}

type witness struct{} // the key of one in a context

// WithWitness has w take part in what is written with the context; nil: nobody.
func WithWitness(ctx context.Context, w Witness) context.Context {
	return context.WithValue(ctx, witness{}, w)
}

// WitnessOf returns who takes part, or nil.
func WitnessOf(ctx context.Context) Witness {
	w, _ := ctx.Value(witness{}).(Witness)
	return w
}

// witnessed has the context's witness take part in fn.
func witnessed(ctx context.Context, fn func(context.Context, *Tx) error) (func(context.Context, *Tx) error, func()) {
	w := WitnessOf(ctx)
	if w == nil {
		return fn, func() {}
	}
	return func(ctx context.Context, tx *Tx) error {
		w.Begin()
		if err := fn(ctx, tx); err != nil {
			return err
		}
		return w.Commit(ctx, tx)
	}, w.Committed
}
