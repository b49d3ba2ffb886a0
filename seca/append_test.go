package seca_test

import (
	"encoding/json"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kontor-cloud/kontor/seca"
)

// What is appended is what json.Marshal would have written, byte for byte.
func TestAppendedJSONIsThatOfMarshal(t *testing.T) {
	at := time.Date(2026, 11, 26, 1, 2, 3, 4000, time.UTC)
	full := seca.Document{
		Labels:      map[string]string{"z": "1", "a<b>&": "ü\n\"\\", "\xff": "\u2028"},
		Annotations: map[string]string{"": ""}, Extensions: map[string]string{},
		Metadata: seca.Metadata{
			Name: "n", Provider: "seca.x/v1", Resource: "xs/n", Ref: "r", Verb: "GET", APIVersion: "v1", Kind: "x", Tenant: "t",
			Workspace: "w", Network: "net", Region: "r", CreatedAt: &at, LastModifiedAt: &at, DeletedAt: &at, ResourceVersion: 7,
		},
		Spec: json.RawMessage(`{"a":[1,2]}`), Status: json.RawMessage(`{"state":"active"}`), Kontor: json.RawMessage(`{}`),
	}
	for name, l := range map[string]seca.List[seca.Document]{
		"none":  {Items: []seca.Document{}},
		"empty": {Items: []seca.Document{{}}},
		"two":   {Items: []seca.Document{full, {Metadata: seca.Metadata{Name: "ö"}}}, Metadata: seca.ListMetadata{Provider: "p", SkipToken: "t"}},
	} {
		want, err := json.Marshal(l)
		if err != nil {
			t.Fatal(err)
		}
		if d := cmp.Diff(string(want), string(l.AppendJSON(nil))); d != "" {
			t.Errorf("%s: %s", name, d)
		}
	}
	others := seca.List[map[string]int]{Items: []map[string]int{{"a": 1}}}
	if got := string(others.AppendJSON([]byte("x"))); got != `x{"items":[{"a":1}],"metadata":{"provider":"","resource":"","verb":""}}` {
		t.Error(got)
	}
}
