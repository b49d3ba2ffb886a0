package market

import (
	"time"
)

// Placed is something that runs somewhere by a decision and without an order: a workspace of
// a virtual region.
type Placed struct {
	Tenant   string
	Subject  string // workspaces/NAME
	Decision string // its id
	Since    time.Time
}
