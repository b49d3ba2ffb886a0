// Package kontor is the module's root: a sovereign cloud exchange. See
// ARCHITECTURE.md for the map, and cmd/kontor for the binary.
package kontor
