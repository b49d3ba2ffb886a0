// Package policy judges: whether what is known of a provider, a region and a
// service is enough for a customer's rule.
//
// What is known are claims: an attribute of the vocabulary, a value, and the
// evidence for it (who says so, how well it was checked, for how long it holds). A
// policy is a CEL expression over the vocabulary with the weakest evidence that
// counts and the least SEAL levels beside it.
//
// Three rules keep it honest. What is not known refuses: a fact without a claim,
// with one that has expired, or with evidence that is too weak is an error
// within the expression, which only the other side of || or && can outweigh, as CEL
// defines. What follows from facts is added to what is said: a provider who lists no
// foreign laws and has an American owner is in reach of American ones. And a
// verdict is a function of claims, policy, parameters and moment alone, so it can
// be repeated years later.
//
// It is a package of its own, and not a part of placement, because what places
// objects and what looks for drift ask the same questions without placing anything.
package policy
