// Package envelope keeps secrets in the database in such a way that who has the
// database alone, or a copy of it, has no secret.
//
// A value is sealed by a data key, which is random and belongs to one column of
// one table. Data keys stand in the database, too, wrapped by a Key that does
// not: one in a file, with FileKeys. Both are AES-256 in GCM with random nonces,
// and what is sealed or wrapped names its place: it opens nowhere else.
//
// So to change the Key is to wrap a handful of data keys anew, in one
// transaction, while everything goes on (Rewrap). Processes have the data keys in
// memory; the Key they look for when they start, and when they meet a data key
// that another process has made.
//
// What is sealed is one byte for the version, one for the length of the data key's
// id, that id, a nonce of 12 bytes, and the ciphertext with its tag of 16. What is
// wrapped is a byte for the version, nonce and ciphertext.
package envelope
