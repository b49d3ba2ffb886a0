package api

import (
	"github.com/kontor-cloud/kontor/audit"
	"github.com/kontor-cloud/kontor/blueprint"
	"github.com/kontor-cloud/kontor/job"
	"github.com/kontor-cloud/kontor/market"
	"github.com/kontor-cloud/kontor/offer"
	"github.com/kontor-cloud/kontor/participant"
	"github.com/kontor-cloud/kontor/policy"
	"github.com/kontor-cloud/kontor/provider"
	"github.com/kontor-cloud/kontor/tenant"
)

var (
	auditEntries   = document{"AuditEntry", audit.Entry{}, audit.Mark{}, nil}
	tenants        = document{"Tenant", tenantSpec{}, tenantStatus{}, nil}
	accounts       = document{"Account", accountSpec{}, nil, nil}
	tokens         = document{"AccountToken", tenant.Token{}, nil, nil}
	quotaDocuments = document{"Quota", quotaSpec{}, quotaStatus{}, nil}
	programs       = document{"ServiceAccount", serviceSpec{}, serviceStatus{}, nil}
	profiles       = document{"RegionProfile", profileSpec{}, profileStatus{}, nil}
	agents         = document{"RegionAgent", struct{}{}, provider.Agent{}, nil}
	keys           = document{"Key", struct{}{}, keyStatus{}, nil}
	orphans        = document{"RegionOrphan", provider.Orphan{}, nil, nil}
	jobs           = document{"Job", struct{}{}, job.Outcome{}, nil}
	rules          = document{"SavedPolicy", policy.Policy{}, policyStatus{}, nil}
	decisionKeys   = document{"KeyOfDecisions", decisionKey{}, nil, nil}
	quoted         = document{"Quote", quotedSpec{}, quoteStatus{}, nil}
	ordered        = document{"Order", orderSpec{}, orderStatus{}, nil}
	products       = document{"SoldBlueprint", blueprint.Blueprint{}, blueprintStatus{}, nil}
	drifts         = document{"Drift", struct{}{}, driftStatus{}, nil}
	decided        = document{"KeptDecision", struct{}{}, market.Explanation{}, nil}

	parties = document{"Participant", participant.Profile{}, participantStatus{}, nil}
	claims  = document{"ClaimOfParticipant", participant.Claim{}, nil, nil}
	signers = document{"KeyOfParticipant", participant.Key{}, nil, nil}
	acting  = document{"ParticipantMember", struct{}{}, nil, nil}
	sheets  = document{"PriceSheet", offer.Sheet{}, sheetStatus{}, nil}
	onOffer = document{"OnOffer", offerSpec{}, offerStatus{}, nil}
)

// one is what follows the path of a collection.
const one = "/{name}"

// ownOperations tells of Kontor's own provider, by what follows its base.
var ownOperations = map[string]operation{
	"GET /whoami": {id: "whoami", summary: "Who the caller is.", out: identity{}},
	"GET /logins": {id: "listLogins", summary: "Where people can log in.", out: loginList{}},

	"GET /tenants":           {id: "listTenants", summary: "All tenants.", out: list{tenants}, query: pages},
	"GET /tenants/{name}":    {id: "getTenant", summary: "One tenant.", out: tenants},
	"PUT /tenants/{name}":    {id: "putTenant", summary: "Make a tenant, or make accounts its administrators.", in: withSpec[tenantSpec]{}, out: tenants, status: []int{200, 201}},
	"DELETE /tenants/{name}": {id: "deleteTenant", summary: "Remove a tenant that owns nothing any more.", status: []int{202}},

	"GET /tenants/{tenant}/quotas":        {id: "listQuotas", summary: "What a tenant may have, and has.", out: list{quotaDocuments}, query: pages},
	"GET /tenants/{tenant}/quotas/{name}": {id: "getQuota", summary: "What a tenant may have of one thing, and has.", out: quotaDocuments},
	"PUT /tenants/{tenant}/quotas/{name}": {id: "putQuota", summary: "Limit what a tenant may have of a kind of things, of vcpu, ram-gib, gpu or storage-gb.", in: withSpec[quotaSpec]{}, out: quotaDocuments},

	"GET /tenants/{tenant}/service-accounts":        {id: "listServiceAccounts", summary: "The programs of a tenant.", out: list{programs}, query: pages},
	"GET /tenants/{tenant}/service-accounts/{name}": {id: "getServiceAccount", summary: "One program of a tenant.", out: programs},
	"PUT /tenants/{tenant}/service-accounts/{name}": {id: "putServiceAccount", summary: "Make a program an account of its own, or change it.", in: withSpec[serviceSpec]{}, out: programs, status: []int{200, 201}},

	"GET /tenants/{tenant}/audit":      {id: "listTenantAudit", summary: "Who did what in a tenant, the oldest first.", out: list{auditEntries}, query: narrowed},
	"GET /tenants/{tenant}/audit/head": {id: "getTenantAuditHead", summary: "Where a tenant's log begins and ends.", out: audit.Chain{}},
	"GET /audit":                       {id: "listAudit", summary: "Who did what that belongs to no tenant, the oldest first.", out: list{auditEntries}, query: narrowed},
	"GET /audit/head":                  {id: "getAuditHead", summary: "Where that log begins and ends.", out: audit.Chain{}},

	"GET /keys":         {id: "listKeys", summary: "The keys that the exchange has, never what they are.", out: list{keys}, query: pages},
	"POST /keys/rotate": {id: "rotateKeys", summary: "Sign tokens with a new key from now on.", out: signingKey{}, status: []int{201}},

	"GET /policies":                      {id: "listReadyPolicies", summary: "The ready-made policies.", out: list{rules}, query: pages},
	"GET /policies/{name}":               {id: "getReadyPolicy", summary: "One ready-made policy.", out: rules},
	"GET /decision-keys":                 {id: "listDecisionKeys", summary: "The public keys by which decisions are signed.", out: list{decisionKeys}, query: pages},
	"GET " + policies:                    {id: "listPolicies", summary: "The policies that a tenant has defined.", out: list{rules}, query: pages},
	"GET " + policies + one:              {id: "getPolicy", summary: "One policy, its newest version or another.", out: rules, query: "version"},
	"PUT " + policies + one:              {id: "putPolicy", summary: "Keep a policy as the next version of its name.", in: withSpec[policy.Policy]{}, out: rules, status: []int{200, 201}, query: "ifUnmodifiedSince"},
	"DELETE " + policies + one:           {id: "deletePolicy", summary: "Take a policy out of use; its versions stay readable.", status: []int{202}},
	"GET " + quotes:                      {id: "listQuotes", summary: "The quotes of a tenant.", out: list{quoted}, query: pages},
	"POST " + quotes:                     {id: "createQuote", summary: "Decide by rule where something can run, and keep price and capacity for a while.", in: withSpec[quoteSpec]{}, out: quoted, status: []int{201}},
	"GET " + quotes + one:                {id: "getQuote", summary: "One quote.", out: quoted},
	"POST " + quotes + one + "/order":    {id: "orderQuote", summary: "Order what a quote has offered. To do it again gives the same order.", out: ordered, status: []int{201}},
	"GET " + orders:                      {id: "listOrders", summary: "The orders of a tenant.", out: list{ordered}, query: pages},
	"GET " + orders + one:                {id: "getOrder", summary: "One order, and what it costs now.", out: ordered},
	"GET " + decisions + one:             {id: "getDecision", summary: "One decision: where, and why nowhere else.", out: decided},
	"GET " + drift:                       {id: "listDrift", summary: "What is not any more as it was decided, and what would have to move.", out: list{drifts}, query: pages},
	"GET " + drift + one:                 {id: "getDrift", summary: "What of an order, or of REGION.WORKSPACE, is not any more as it was decided.", out: drifts},
	"DELETE " + orders + one:             {id: "deleteOrder", summary: "Delete all that an order has made, as one.", status: []int{202}, query: "all"},
	"GET /blueprints":                    {id: "listBlueprints", summary: "Products of parts at several providers.", out: list{products}, query: pages},
	"GET /blueprints/{name}":             {id: "getBlueprint", summary: "One blueprint.", out: products},
	"GET " + decisions + one + "/export": {id: "exportDecision", summary: "A decision with all that it depended on, to be made again anywhere.", media: "application/x-ndjson"},

	"GET /accounts":                             {id: "listAccounts", summary: "All accounts.", out: list{accounts}, query: pages},
	"GET /accounts/{name}":                      {id: "getAccount", summary: "One account.", out: accounts},
	"PUT /accounts/{name}":                      {id: "putAccount", summary: "Make an account, or change it.", in: withSpec[accountSpec]{}, out: accounts},
	"DELETE /accounts/{name}":                   {id: "disableAccount", summary: "Disable an account; what it did stays its own.", status: []int{202}},
	"POST /accounts/{name}/link":                {id: "linkAccount", summary: "Let somebody of another issuer act as an account.", in: identityLink{}, status: []int{204}},
	"GET /accounts/{name}/tokens":               {id: "listTokens", summary: "The tokens of an account.", out: list{tokens}, query: pages},
	"POST /accounts/{name}/tokens":              {id: "createToken", summary: "Make a token.", in: tokenRequest{}, out: issuedToken{}, status: []int{201}},
	"POST /accounts/{name}/tokens/{id}/rotate":  {id: "rotateToken", summary: "Make a token in place of another.", in: tokenRotation{}, out: issuedToken{}, status: []int{201}},
	"DELETE /accounts/{name}/tokens/{id}":       {id: "revokeToken", summary: "End a token.", status: []int{202}},
	"GET /jobs":                                 {id: "listJobs", summary: "How it went what the exchange does by itself.", out: list{jobs}, query: pages},
	"GET /recovery":                             {id: "getRecovery", summary: "How far the recovery of an exchange is.", out: Recovery{}},
	"GET /regions":                              {id: "listRegionProfiles", summary: "All regions, as operators see them.", out: list{profiles}, query: pages},
	"GET /regions/{name}":                       {id: "getRegionProfile", summary: "One region, as operators and its participant see it.", out: profiles},
	"PUT /regions/{name}":                       {id: "putRegion", summary: "Make a region, or change what its operator chooses.", in: withSpec[profileSpec]{}, out: profiles, status: []int{200, 201}},
	"DELETE /regions/{name}":                    {id: "deleteRegion", summary: "Forget a region in which nothing is left.", status: []int{202}},
	"POST /regions/{name}/join":                 {id: "joinRegion", summary: "Make a token by which an agent can join, once.", in: joinRequest{}, out: joinToken{}},
	"GET /regions/{name}/agents":                {id: "listAgents", summary: "The certificates of a region's agents.", out: list{agents}, query: pages},
	"POST /regions/{name}/revoke":               {id: "revokeAgent", summary: "Shut a region's agent out. What it made goes on.", status: []int{204}},
	"POST /regions/{name}/resync":               {id: "resyncRegion", summary: "Compare what is wanted with what the platform has.", in: resyncRequest{}, out: resynced{}},
	"GET /regions/{name}/strays":                {id: "listStrays", summary: "What the platform has that nobody owns.", out: strayList{}},
	"POST /regions/{name}/import":               {id: "importStrays", summary: "Make resources of things that nobody owns, or tell what would be.", in: importing{}, out: importResult{}},
	"GET /regions/{name}/orphans":               {id: "listOrphans", summary: "What carries the exchange's id and is not known to it.", out: list{orphans}, query: pages},
	"POST /regions/{name}/orphans/{id}/approve": {id: "approveOrphan", summary: "Let an orphan be removed.", status: []int{202}},

	"GET /tenants/{tenant}/events":                                          {id: "followTenant", summary: "How the resources of a tenant change, as it happens.", out: event{}, query: "lastEventID eventsSince", media: "text/event-stream"},
	"GET /tenants/{tenant}/workspaces/{workspace}/events":                   {id: "followWorkspace", summary: "How the resources of a workspace change, as it happens.", out: event{}, query: "lastEventID eventsSince", media: "text/event-stream"},
	"GET /tenants/{tenant}/workspaces/{workspace}/instances/{name}/console": {id: "getConsole", summary: "What a machine has written to its console.", query: "tail", media: "text/plain"},

	"GET /participants":                                 {id: "listParticipants", summary: "The organisations that take part.", out: list{parties}, query: pages},
	"POST /participants":                                {id: "apply", summary: "Ask to take part. The application is signed by the key that proves who asks.", in: participant.Application{}, out: parties, status: []int{202}},
	"GET /participants/{participant}":                   {id: "getParticipant", summary: "One participant; its contact is for operators and itself.", out: parties},
	"POST /participants/{participant}/approve":          {id: "approveParticipant", summary: "Let a participant take part, again if it was suspended.", out: parties},
	"POST /participants/{participant}/suspend":          {id: "suspendParticipant", summary: "Take what a participant sells off the market. What runs there goes on.", out: parties},
	"POST /participants/{participant}/reject":           {id: "rejectParticipant", summary: "Drop an application.", status: []int{204}},
	"POST /participants/{participant}/challenge":        {id: "challengeParticipant", summary: "A text to sign, to log in.", out: challenge{}},
	"POST /participants/{participant}/login":            {id: "loginParticipant", summary: "Get a token for a challenge that is signed by a key of the participant.", in: keyLogin{}, out: issuedToken{}, status: []int{201}},
	"GET /participants/{participant}/claims":            {id: "listClaims", summary: "What is said of a participant, its regions and services, and how that is known.", out: list{claims}, query: pages},
	"PUT /participants/{participant}/claims":            {id: "putClaims", summary: "Make this all that the participant says of itself.", in: claimList{}, out: participant.Difference{}},
	"DELETE /participants/{participant}/claims/{id}":    {id: "withdrawClaim", summary: "Take back what one has said, or, as an operator, attested or measured.", status: []int{202}},
	"POST /participants/{participant}/attestations":     {id: "attestClaims", summary: "Attest claims, as an operator who has seen the proofs.", in: claimList{}, out: participant.Difference{}, status: []int{201}},
	"POST /participants/{participant}/measurements":     {id: "measureRegion", summary: "Make what the operators' doctor has measured in a region evidence of it.", in: measuring{}, out: participant.Difference{}, status: []int{201}},
	"GET /participants/{participant}/keys":              {id: "listParticipantKeys", summary: "The keys by which a participant signs, or did.", out: list{signers}, query: pages},
	"POST /participants/{participant}/keys":             {id: "addParticipantKey", summary: "Sign by another key, too, from now on.", in: newSigner{}, out: participant.Key{}, status: []int{201}},
	"DELETE /participants/{participant}/keys/{id}":      {id: "revokeParticipantKey", summary: "End a key. What it has signed stays good.", status: []int{202}},
	"GET /participants/{participant}/members":           {id: "listParticipantMembers", summary: "The accounts that act for a participant.", out: list{acting}, query: pages},
	"PUT /participants/{participant}/members/{name}":    {id: "addParticipantMember", summary: "Let an account act for a participant.", status: []int{204}},
	"DELETE /participants/{participant}/members/{name}": {id: "removeParticipantMember", summary: "Let it no more.", status: []int{202}},
	"GET /participants/{participant}/sheets":            {id: "listPriceSheets", summary: "The price sheets of a participant. One that is not valid yet is seen by itself alone.", out: list{sheets}, query: pages},
	"GET /participants/{participant}/sheets/{version}":  {id: "getPriceSheet", summary: "One price sheet, with its signature.", out: sheets},
	"POST /participants/{participant}/sheets":           {id: "publishPriceSheet", summary: "Publish a signed price sheet, the next version.", in: offer.Sheet{}, out: sheets, status: []int{201}},
	"GET /participants/{participant}/losses":            {id: "getLosses", summary: "How a participant fared in the newest decisions: how often it was chosen, on what its regions failed, and by how much.", out: market.Losses{}, query: "since"},
	"GET /offers":                                       {id: "listOffers", summary: "What can be bought now, where, and for how much.", out: list{onOffer}, query: pages + " provider region country kind sku maxPrice sort"},
}
