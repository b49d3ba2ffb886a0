package policy

import (
	"slices"
	"strings"

	"cel.dev/cel-go/common/types"

	"github.com/kontor-cloud/kontor/fault"
)

// A Subject is what an attribute is about.
type Subject string

// The subjects. Facts of all three are needed to judge a service in a region.
const (
	OfParticipant Subject = "participant" // the legal person that sells
	OfRegion      Subject = "region"      // where it runs
	OfService     Subject = "service"     // what is sold there: machines, volumes, objects
)

// An Attribute is a row of the vocabulary: something that can be known about a
// provider, a region or a service, and that policies may speak of.
type Attribute struct {
	Path    string  `json:"path"` // as policies spell it: provider.legal_country
	Type    string  `json:"type"` // as CEL spells it
	Subject Subject `json:"subject"`
	About   string  `json:"about"`
	Usually Level   `json:"usually"` // the evidence that one can expect of an honest provider

	kind kind
	at   int // in the vocabulary
}

// root and field are the two halves of the path: certs has no field.
func (a *Attribute) root() string  { r, _, _ := strings.Cut(a.Path, "."); return r }
func (a *Attribute) field() string { _, f, _ := strings.Cut(a.Path, "."); return f }

// vocabulary is all attributes. Order means nothing; paths are for ever.
var vocabulary = number([]Attribute{
	{Path: "provider.legal_country", kind: text, Subject: OfParticipant, Usually: ThirdParty, About: "where it is registered, ISO 3166-1 alpha-2"},
	{Path: "provider.hq_country", kind: text, Subject: OfParticipant, Usually: ThirdParty, About: "where its management sits"},
	{Path: "provider.ultimate_owner_known", kind: boolean, Subject: OfParticipant, Usually: ThirdParty, About: "whether the ownership chain is known to its end"},
	{Path: "provider.ultimate_owner", kind: text, Subject: OfParticipant, Usually: ThirdParty, About: "who owns it in the end, by register and number; what has the same owner fails together"},
	{Path: "provider.ultimate_owner_country", kind: text, Subject: OfParticipant, Usually: ThirdParty, About: "country of the ultimate owner"},
	{Path: "provider.owner_chain", kind: texts, Subject: OfParticipant, Usually: ThirdParty, About: "countries of every parent, the ultimate one included"},
	{Path: "provider.non_eu_control", kind: boolean, Subject: OfParticipant, Usually: ThirdParty, About: "whether somebody outside the EEA has decisive influence"},
	{Path: "provider.non_eu_max_share", kind: double, Subject: OfParticipant, Usually: ThirdParty, About: "largest holding from outside the EEA, 0 to 1"},
	{Path: "provider.non_eu_total_share", kind: double, Subject: OfParticipant, Usually: ThirdParty, About: "all holdings from outside the EEA, 0 to 1"},
	{Path: "provider.us_nexus", kind: text, Subject: OfParticipant, Usually: Contract, About: "none, presence, subsidiary or parent"},
	{Path: "provider.foreign_laws", kind: texts, Subject: OfParticipant, Usually: Contract, About: "laws of non-EU countries that reach it; what its owners, seat and sub-processors imply is added"},

	{Path: "region.id", kind: text, Subject: OfRegion, Usually: Measured, About: "the region's name"},
	{Path: "region.country", kind: text, Subject: OfRegion, Usually: Contract, About: "where the machines stand, ISO 3166-1 alpha-2"},
	{Path: "region.nuts2", kind: text, Subject: OfRegion, Usually: Contract, About: "region of the EU's nomenclature NUTS 2"},
	{Path: "region.residency_guaranteed", kind: boolean, Subject: OfRegion, Usually: Contract, About: "whether the contract excludes processing elsewhere"},
	{Path: "region.backup_countries", kind: texts, Subject: OfRegion, Usually: Contract, About: "where backups lie"},
	{Path: "region.admin_countries", kind: texts, Subject: OfRegion, Usually: Contract, About: "from where it is administered"},
	{Path: "region.support_countries", kind: texts, Subject: OfRegion, Usually: Contract, About: "from where support is given"},
	{Path: "region.pue", kind: double, Subject: OfRegion, Usually: ThirdParty, About: "power usage effectiveness, EN 50600-4-2"},
	{Path: "region.wue", kind: double, Subject: OfRegion, Usually: ThirdParty, About: "water usage effectiveness, litres per kWh"},
	{Path: "region.climate", kind: text, Subject: OfRegion, Usually: Contract, About: "cool or warm"},
	{Path: "region.renewable_share", kind: double, Subject: OfRegion, Usually: ThirdParty, About: "share of renewable energy over a year, 0 to 1"},
	{Path: "region.hourly_cfe_share", kind: double, Subject: OfRegion, Usually: ThirdParty, About: "share of carbon-free energy, matched by the hour, 0 to 1"},
	{Path: "region.carbon_gco2e_kwh", kind: double, Subject: OfRegion, Usually: ThirdParty, About: "grams of CO2 equivalent per kWh of its grid or residual mix"},

	// Of what the exchange measures itself, with a machine of the smallest size that stands there for some minutes.
	{Path: "region.api_ms", kind: double, Subject: OfRegion, Usually: Measured, About: "milliseconds in which its platform tells what it has, a median"},
	{Path: "region.make_seconds", kind: double, Subject: OfRegion, Usually: Measured, About: "seconds from the order of a machine until its platform calls it ready"},
	{Path: "region.boot_seconds", kind: double, Subject: OfRegion, Usually: Measured, About: "seconds from then until the machine answers from outside"},
	{Path: "region.power_cycle_seconds", kind: double, Subject: OfRegion, Usually: Measured, About: "seconds in which a machine is off, on, and answering again"},
	{Path: "region.rtt_ms", kind: double, Subject: OfRegion, Usually: Measured, About: "milliseconds of a round trip to a public address there, from where it was measured, a median"},
	{Path: "region.http_get_ms", kind: double, Subject: OfRegion, Usually: Measured, About: "milliseconds in which a small page comes from there, a median"},
	{Path: "region.vcpu_loops", kind: double, Subject: OfRegion, Usually: Measured, About: "empty loops of a shell that one vCPU makes in a second"},
	{Path: "region.disk_write_mb_s", kind: double, Subject: OfRegion, Usually: Measured, About: "MB written to a volume in a second, flushed each 4 MiB"},
	{Path: "region.disk_read_mb_s", kind: double, Subject: OfRegion, Usually: Measured, About: "MB read from a volume in a second"},

	{Path: "service.id", kind: text, Subject: OfService, Usually: Measured, About: "the service's name"},
	{Path: "service.kind", kind: text, Subject: OfService, Usually: Contract, About: "iaas-vm, iaas-block, iaas-object, iaas-network, caas-k8s, hpc-batch"},
	{Path: "service.subprocessors", kind: subprocessors, Subject: OfService, Usually: Contract, About: "who else takes part"},
	{Path: "service.key_control", kind: text, Subject: OfService, Usually: Contract, About: "who holds the keys: provider, byok or hyok"},
	{Path: "service.export_formats", kind: texts, Subject: OfService, Usually: Contract, About: "qcow2, raw, s3, ocf"},
	{Path: "service.notice_days", kind: integer, Subject: OfService, Usually: Contract, About: "notice period, EU Data Act: at most 60"},
	{Path: "service.retrieval_days", kind: integer, Subject: OfService, Usually: Contract, About: "how long data can be fetched after the end, at least 30"},
	{Path: "service.switch_egress_price", kind: double, Subject: OfService, Usually: Contract, About: "euro per GiB when leaving; 0 from 12 January 2027"},

	{Path: "certs", kind: certificates, Subject: OfParticipant, Usually: Regulator, About: "certificates in force"},

	{Path: "gaiax.level", kind: integer, Subject: OfParticipant, Usually: ThirdParty, About: "0 none, 1 standard compliance, 2 to 4 label levels 1 to 3"},
	{Path: "gaiax.trust", kind: text, Subject: OfParticipant, Usually: ThirdParty, About: "trust anchor: eidas, ev, gaia-x, dv or none"},
	{Path: "gaiax.valid_until", kind: moment, Subject: OfParticipant, Usually: ThirdParty, About: "end of the label"},
	{Path: "gaiax.services", kind: texts, Subject: OfParticipant, Usually: ThirdParty, About: "services that the label covers"},

	{Path: "seal.sov1", kind: integer, Subject: OfParticipant, Usually: ThirdParty, About: "strategic sovereignty, 0 to 4"},
	{Path: "seal.sov2", kind: integer, Subject: OfParticipant, Usually: ThirdParty, About: "legal and jurisdictional"},
	{Path: "seal.sov3", kind: integer, Subject: OfParticipant, Usually: ThirdParty, About: "data and AI"},
	{Path: "seal.sov4", kind: integer, Subject: OfParticipant, Usually: ThirdParty, About: "operational"},
	{Path: "seal.sov5", kind: integer, Subject: OfParticipant, Usually: ThirdParty, About: "supply chain"},
	{Path: "seal.sov6", kind: integer, Subject: OfParticipant, Usually: ThirdParty, About: "technology"},
	{Path: "seal.sov7", kind: integer, Subject: OfParticipant, Usually: ThirdParty, About: "security and compliance"},
	{Path: "seal.sov8", kind: integer, Subject: OfParticipant, Usually: ThirdParty, About: "environmental"},
	{Path: "seal.level", kind: integer, Subject: OfParticipant, Usually: ThirdParty, About: "the lowest of the eight; derived"},
	{Path: "seal.score", kind: double, Subject: OfParticipant, Usually: ThirdParty, About: "0 to 100, by the framework's weights; derived unless assessed"},
	{Path: "cada.level", kind: integer, Subject: OfParticipant, Usually: ThirdParty, About: "Union assurance level, 0 to 4 (proposal COM(2026) 502)"},
})

func number(all []Attribute) []Attribute {
	for i := range all {
		all[i].at, all[i].Type = i, kinds[all[i].kind].name
	}
	return all
}

// Vocabulary lists what policies may speak of.
func Vocabulary() []Attribute { return slices.Clone(vocabulary) }

var paths = byPath()

func byPath() map[string]*Attribute {
	all := map[string]*Attribute{}
	for i := range vocabulary {
		all[vocabulary[i].Path] = &vocabulary[i]
	}
	return all
}

// attribute finds a row by its path, or says what was probably meant.
func attribute(path string) (*Attribute, error) {
	if a := paths[path]; a != nil {
		return a, nil
	}
	return nil, fault.Invalid.Errorf("there is no attribute %q%s", path, fault.DidYouMean(path, pathNames()))
}

func pathNames() []string {
	all := make([]string, 0, len(vocabulary))
	for _, a := range vocabulary {
		all = append(all, a.Path)
	}
	return all
}

// A kind is the type of an attribute's value.
type kind int

const (
	text kind = iota
	boolean
	integer
	double
	texts
	moment
	subprocessors
	certificates
)

var kinds = [...]struct {
	name string
	cel  *types.Type
}{
	text:          {"string", types.StringType},
	boolean:       {"bool", types.BoolType},
	integer:       {"int", types.IntType},
	double:        {"double", types.DoubleType},
	texts:         {"list(string)", types.NewListType(types.StringType)},
	moment:        {"timestamp", types.TimestampType},
	subprocessors: {"list(Subprocessor)", types.NewListType(subprocessorType)},
	certificates:  {"list(Certificate)", types.NewListType(certificateType)},
}
