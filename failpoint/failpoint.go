// Package failpoint names the moments at which a process may die, so that
// tests can make it die there: between a call and its record, between a record
// and its answer. Kontor must be right whichever of them is the last.
//
// In an ordinary build a point costs nothing and does nothing. A build with the
// tag crucible listens to Arm; see package crash.
package failpoint

// A Point is a moment in the life of a process, named "part: what has just
// been done".
type Point string

// The points of the exchange.
const (
	PutRead        Point = "exchange: put has read what is there"
	PutWritten     Point = "exchange: put is written, not committed"
	PutCommitted   Point = "exchange: write is committed, not announced"
	PutAnnounced   Point = "exchange: put is announced, not answered"
	ActRead        Point = "exchange: action has read what is there"
	ActCommitted   Point = "exchange: action is committed, not answered"
	DeleteBlocked  Point = "exchange: delete has looked for what is in its way"
	DeleteWritten  Point = "exchange: delete is written, not committed"
	DeleteDone     Point = "exchange: delete is committed, not answered"
	ObserveRead    Point = "exchange: observations are compared, not written"
	ObserveWritten Point = "exchange: observations are written, not committed"
	ObserveDone    Point = "exchange: observations are committed, not acknowledged"
	FollowRead     Point = "exchange: changes are read, not sent"
	GroupBegun     Point = "exchange: group of transactions has begun"
	GroupRun       Point = "exchange: group of transactions has run, not committed"
	GroupCommitted Point = "exchange: group of transactions is committed, not answered"
	MigrationBegun Point = "exchange: migration has begun"
	MigrationRun   Point = "exchange: migration has run, not recorded"
	MigrationDone  Point = "exchange: migration is recorded, not committed"
	KeyFileMade    Point = "exchange: key file is made, nothing is sealed"
	SecretsSealed  Point = "exchange: secrets are sealed, their traces not wiped"
	TenantMade     Point = "exchange: tenant is made, has no admins yet"
	TenantJoined   Point = "exchange: tenant has members, not their rights"
	TokenMade      Point = "exchange: first token is made, not in its file"
	EnrolUsed      Point = "exchange: join token is used, certificate not recorded"
	EnrolDone      Point = "exchange: agent is enrolled, not told"
	RenewDone      Point = "exchange: certificate is renewed, not sent"
	InventorySaved Point = "exchange: inventory is saved, not acknowledged"
	OrphansSaved   Point = "exchange: orphans are saved, verdict not sent"
)

// The points of the agent.
const (
	KeyMade          Point = "agent: key is made, not used"
	EnrolledUnkept   Point = "agent: certificate has come, is not kept"
	RenewedUnkept    Point = "agent: certificate is renewed, is not kept"
	ChangesCome      Point = "agent: changes have come, are not taken in"
	ChangesTaken     Point = "agent: changes are in the mirror"
	Listed           Point = "agent: platform is listed, not compared"
	CallIntended     Point = "agent: call is announced, not written"
	CreateWritten    Point = "agent: creation is written, platform not called"
	CreateCalled     Point = "agent: platform has created, nothing is recorded"
	UpdateCalled     Point = "agent: platform has changed, nothing is recorded"
	EnsuredUnsaid    Point = "agent: thing is ready, not reported"
	DeleteWrittenOut Point = "agent: deletion is written, platform not called"
	DeleteCalled     Point = "agent: platform has deleted, nothing is recorded"
	GoneUnsaid       Point = "agent: absence is seen, not reported"
	ReportBatched    Point = "agent: observations are batched, not sent"
	ReportSent       Point = "agent: observations are sent, answer not taken"
	JournalCompacted Point = "agent: journal is compacted, not in its place"
	OrphanCondemned  Point = "agent: orphan may go, is not removed"
)

// Exchange lists the points of the exchange.
func Exchange() []Point {
	return []Point{
		PutRead, PutWritten, PutCommitted, PutAnnounced, ActRead, ActCommitted, DeleteBlocked, DeleteWritten, DeleteDone,
		ObserveRead, ObserveWritten, ObserveDone, FollowRead, GroupBegun, GroupRun, GroupCommitted,
		MigrationBegun, MigrationRun, MigrationDone, KeyFileMade, SecretsSealed, TenantMade, TenantJoined, TokenMade,
		EnrolUsed, EnrolDone, RenewDone, InventorySaved, OrphansSaved,
	}
}

// Agent lists the points of the agent.
func Agent() []Point {
	return []Point{
		KeyMade, EnrolledUnkept, RenewedUnkept, ChangesCome, ChangesTaken, Listed, CallIntended, CreateWritten, CreateCalled,
		UpdateCalled, EnsuredUnsaid, DeleteWrittenOut, DeleteCalled, GoneUnsaid, ReportBatched, ReportSent, JournalCompacted,
		OrphanCondemned,
	}
}
