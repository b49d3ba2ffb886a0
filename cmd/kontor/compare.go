package main

import (
	"encoding/json"
	"fmt"
	"maps"
	"slices"
	"strconv"

	"github.com/kontor-cloud/kontor/client"
)

// changes lists the fields in which an author's manifest and the document at
// the exchange differ, as spec.sizeGB or labels.env.
func changes(m manifest, have client.Item) []string {
	var all []string
	for _, part := range []struct {
		name       string
		want, have map[string]string
	}{{"labels", m.Labels, have.Labels}, {"annotations", m.Annotations, have.Annotations}, {"extensions", m.Extensions, have.Extensions}} {
		if !maps.Equal(part.want, part.have) {
			all = append(all, part.name)
		}
	}
	want, found := normal(m.Spec), normal(have.Spec)
	filled(want, found)
	return append(all, differ("spec", want, found)...)
}

// filled takes over what the server chose because the author left it open: the
// zone of an instance or a subnet is the one such field of SECA.
func filled(want, have any) {
	w, ok1 := want.(map[string]any)
	h, ok2 := have.(map[string]any)
	if ok1 && ok2 && w["zone"] == nil && h["zone"] != nil {
		w["zone"] = h["zone"]
	}
}

// normal decodes a spec and levels spellings that mean the same: what is empty
// is not there, and a reference is its text.
func normal(raw json.RawMessage) any {
	var v any
	_ = json.Unmarshal(raw, &v) // it was decoded as a part of its document
	if v = level(v); v == nil {
		return map[string]any{}
	}
	return v
}

func level(v any) any {
	switch v := v.(type) {
	case map[string]any:
		for k, field := range v {
			if v[k] = level(field); v[k] == nil {
				delete(v, k)
			}
		}
		if r, ok := v["resource"].(string); ok && len(v) == 1 {
			return r
		}
		if len(v) == 0 {
			return nil
		}
	case []any:
		for i := range v {
			v[i] = level(v[i])
		}
		if len(v) == 0 {
			return nil
		}
	case string, float64, bool:
		if v == "" || v == 0.0 || v == false {
			return nil
		}
	}
	return v
}

// differ names the paths at which two normal values differ.
func differ(at string, want, have any) []string {
	switch w := want.(type) {
	case map[string]any:
		if h, ok := have.(map[string]any); ok {
			return differMaps(at, w, h)
		}
	case []any:
		if h, ok := have.([]any); ok && len(h) == len(w) {
			var all []string
			for i := range w {
				all = append(all, differ(at+"."+strconv.Itoa(i), w[i], h[i])...)
			}
			return all
		}
	default:
		if _, isMap := have.(map[string]any); !isMap && fmt.Sprint(want) == fmt.Sprint(have) {
			return nil
		}
	}
	return []string{at}
}

func differMaps(at string, want, have map[string]any) []string {
	keys := maps.Clone(want)
	maps.Copy(keys, have)
	var all []string
	for _, k := range slices.Sorted(maps.Keys(keys)) {
		all = append(all, differ(at+"."+k, want[k], have[k])...)
	}
	return all
}
