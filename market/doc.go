// Package market is where capacity is bought: it knows who sells what at this
// moment, decides by rule where a bill of materials is to run, keeps every
// decision so that it can be made again years later, promises price and
// capacity for a while, and takes the order.
//
// The market itself is in memory and may be a second old: what it says is right
// for choosing. What must not be wrong, that no capacity is promised twice, is
// held by the database: who promises some of a region takes the region's row, reads
// what its agent told last, and takes off what is promised already. Who finds the
// place gone looks at the market anew and decides again.
//
// A reservation lapses by itself, since what is past its time counts for
// nothing; and who takes its place removes it, so that a buyer whose clock is
// behind cannot order what was given to another.
package market
