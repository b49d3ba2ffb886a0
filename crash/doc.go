// Package crash holds tests alone. They run an exchange and an agent as
// processes, let a customer make and delete things, kill the processes at
// random moments, and then compare three accounts of what should be there: what
// the customer was promised, what the exchange lists, and what the platform has.
package crash
