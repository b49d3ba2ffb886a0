package main

import (
	"encoding/json"
	"path/filepath"

	"github.com/kontor-cloud/kontor/api"
)

// ownID stands for the id that is in the database.
const ownID = "own"

// noteRecovered writes how far the recovery is to a file, whenever a region is
// done, for the operator to read before he lets the exchange go on.
func (x *exchange) noteRecovered(r api.RecoveredRegion) {
	file := filepath.Join(x.config.Data, "recovery.json")
	b, err := json.MarshalIndent(x.Recovery(), "", "  ")
	if err == nil {
		err = writePrivate(file, append(b, '\n'))
	}
	if err != nil {
		x.log.Error("recovery not written down", "file", file, "error", err)
		return
	}
	x.log.Info("region recovered", "region", r.Region, "resources", r.Recovered, "notes", len(r.Left), "list", file)
}
