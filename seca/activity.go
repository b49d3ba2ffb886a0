package seca

// ActivityLogSpec says that somebody asked for something, and what came of it.
type ActivityLogSpec struct {
	Subject  string           `json:"subject"`
	Request  ActivityRequest  `json:"request"`
	Response ActivityResponse `json:"response"`
}

// ActivityRequest is what was asked for.
type ActivityRequest struct {
	Verb     string `json:"verb,omitempty"` // a method of HTTP
	Resource string `json:"resource"`
}

// ActivityResponse is a status of HTTP.
type ActivityResponse struct {
	Code int `json:"code"`
}
