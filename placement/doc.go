// Package placement chooses where a bill of materials is to run, and says why not
// elsewhere.
//
// Decide is a pure function of a Market (all regions, what is claimed of them, what they ask for
// and what they have left, at one moment) and a Request. It reads no clock, no
// database and no network; its answer is a Decision whose canonical bytes are
// the same wherever and whenever it is made again from the same inputs. Replay does that.
//
// To that end nothing in a score is a floating-point number: prices are billionths,
// latency is microseconds, scores are thousandths of a point, great circles are reckoned in
// fixed point. Candidates are visited in the order of their names, and equals are
// told apart by their names. The only floats are those of facts, which CEL
// compares and never adds up.
//
// It is quick because each thing is reckoned when it changes and not when it is asked for: a
// policy is compiled once, and put once to the facts of each region; its verdict, reasons
// included, lies in a column that stays right while facts and moment do. What
// changes every few seconds (capacity, health) is apart from what changes every few months, and
// touches no verdict. Reasons are kept as numbers, and become text when somebody
// reads them or the record is written.
package placement
