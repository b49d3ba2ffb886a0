package api

import (
	"crypto/sha256"
	"encoding/hex"
	"encoding/json"
	"net/http"
	"time"

	"github.com/kontor-cloud/kontor/doctor"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/participant"
	"github.com/kontor-cloud/kontor/placement"
	"github.com/kontor-cloud/kontor/policy"
)

// measuredAs says which attribute each measurement of the doctor's is. They are of the region and not of a service, as
// one machine was measured with its volume and its address: a rule may ask for all of that in one sentence, whichever
// services the region describes apart.
var measuredAs = map[string]string{
	doctor.APILatency: "region.api_ms",
	doctor.MakeTime:   "region.make_seconds",
	doctor.BootTime:   "region.boot_seconds",
	doctor.CycleTime:  "region.power_cycle_seconds",
	doctor.RTT:        "region.rtt_ms",
	doctor.HTTPTime:   "region.http_get_ms",
	doctor.VCPU:       "region.vcpu_loops",
	doctor.DiskWrite:  "region.disk_write_mb_s",
	doctor.DiskRead:   "region.disk_read_mb_s",
}

// measuredFor is how long a measurement counts. Platforms change, and who wants the evidence measures again.
const measuredFor = 90 * 24 * time.Hour

// measuring is a report of the doctor's, to the byte: its hash is the proof.
type measuring struct {
	Region string `json:"region" schema:"required,min=1" doc:"Where it was measured."`
	Report []byte `json:"report" schema:"required,min=1" doc:"What kontor doctor --json has written."`
}

// measure is the word of the exchange, whose operator has run the doctor: nobody else's report proves anything.
func (c *call) measure() (reply, error) {
	p, err := c.party()
	if err != nil {
		return reply{}, err
	}
	var in measuring
	if err := c.body(&in); err != nil {
		return reply{}, err
	}
	report, err := doctor.Read("report", in.Report, time.Now())
	if err != nil {
		return reply{}, fault.Within(err, "/report")
	}
	if err := c.measuredIn(p.Name, in.Region, report); err != nil {
		return reply{}, err
	}
	claims, err := measurements(in, report)
	if err != nil {
		return reply{}, err
	}
	d, err := c.server.Participants.AddClaims(c.ctx, p.Name, participant.Exchange, c.who.Subject, claims)
	return reply{status: http.StatusCreated, body: d}, err
}

// measuredIn refuses a report that cannot be of the region.
func (c *call) measuredIn(owner, region string, report *doctor.Report) error {
	r, err := c.server.Providers.Snapshot().Region(region)
	if err != nil || r.Provider != owner {
		return fault.At(fault.Invalid.Errorf("%q is no region of %s", clip(region, 64), owner), "/region")
	}
	if r.Driver != "" && r.Driver != report.Driver {
		return fault.At(fault.Invalid.Errorf("the report is of a platform of %s, and %s is one of %s", clip(report.Driver, 64), region, r.Driver), "/report/driver")
	}
	return nil
}

// measurements are the claims that a report proves.
func measurements(in measuring, report *doctor.Report) ([]participant.Claim, error) {
	proof := sha256.Sum256(in.Report)
	how := policy.Evidence{
		Level: policy.Measured, Issuer: "kontor doctor", Proof: hex.EncodeToString(proof[:]),
		From: placement.Tick(report.Began), Until: report.Ended.UTC().Truncate(time.Second).Add(measuredFor),
	}
	claims := make([]participant.Claim, len(report.Measured))
	for i, m := range report.Measured {
		value, err := json.Marshal(m.Value)
		if err != nil {
			return nil, err
		}
		claims[i] = participant.Claim{Region: in.Region, Claim: policy.Claim{Attribute: measuredAs[m.Name], Value: value, Evidence: how}}
	}
	return claims, nil
}
