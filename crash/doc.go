// Package crash holds tests alone. They run an exchange and an agent as
// processes, let a customer make and delete things, kill the processes, and
// then compare three accounts of what should be there: what the customer was
// promised, what the exchange lists, and what the platform has.
//
// The platform is the fake one, real machines (QEMU), or a real OpenStack; see
// the interface platform.
//
// There are two kinds. The tests with "AtRandomMoments" in their names kill the
// binary that users have, whenever chance says so. The crucible (make crucible)
// builds the binary with the tag crucible, which makes the points of package
// failpoint real, and
//
//   - visits each point of exchange and agent, from the first migration of the
//     schema on, while customers order, resize, switch and delete (TestCrucible);
//   - has everything go wrong that is no death: answers lost on their way,
//     messages that come twice and out of order, a platform that fails after the
//     work is done, throttles, is away, or lists only some of what it has, a
//     partition, a database that restarts, a disk that is full;
//   - looks after each, by the platform's own listing, for orphans (on the
//     platform, promised to nobody), doubles, what is lost, and what was
//     destroyed and made again; all are to be 0, as the table in the end says;
//   - switches off one safeguard of Kontor after another and wants its trial to
//     fail for the right reason (TestMutationsAreCaught; the same trials pass
//     with all of them on, TestTrials).
//
// A partition of half an hour is compressed: the agent lists every second
// instead of every thirty, and is cut off for 33 s, which is beyond all the
// exchange's own limits. Real guests are asked through it how long they have been
// up (TestLabCrucibleOnQEMU, TestLabCrucibleOnOpenStack): each is in the same boot
// as before, and older.
//
// Clocks are set wrong by an hour either way, and by two days, which is longer
// than an agent's certificate lives (TestCrucibleWithClocksThatJump). Go programs
// do not ask the C library for the time, so the binary is built with an overlay
// of package time that lies; the monotonic clock goes on, as in reality. While
// the exchange's clock is ahead by more than a certificate's life, its operator
// sees regions whose agents are unknown, and agents log that their certificates
// have expired; customers' tokens that end meanwhile are refused. All of that is
// over when the clock is right. An agent that starts while its own clock is so
// far ahead ends and says that its certificate has expired, unless its join token
// is still good; its supervisor starts it again.
//
// "go test" has a short form of it: five points, one missing safeguard.
// KONTOR_CRUCIBLE=1 asks for all, KONTOR_CRASH_SEED repeats the chances of a
// run, KONTOR_LAB=1 adds the runs with real machines and TestLabScale.
// KONTOR_CRUCIBLE_TABLE names a file to which the tables are appended.
package crash
