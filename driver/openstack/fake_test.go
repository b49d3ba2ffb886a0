package openstack_test

import (
	"crypto/rand"
	"encoding/json"
	"fmt"
	"io"
	"maps"
	"net/http"
	"net/http/httptest"
	"slices"
	"strconv"
	"strings"
	"sync"
	"testing"
	"time"
)

// A stack is an OpenStack that has Keystone, what the inventory asks of Nova,
// and of Neutron networks and security groups: enough to try what is the same for
// all kinds against paging, throttling and lost answers. It may have storage.
type stack struct {
	*httptest.Server

	mu       sync.Mutex
	rows     map[string][]row // by collection
	posts    map[string]int
	storage  bool                           // whether there are Cinder and Glance
	machines int                            // of ten
	trouble  func(r *http.Request) *trouble // nil, or what goes wrong with a request
}

// A row is one thing as JSON.
type row map[string]any

// A trouble is an answer other than the right one. One with done set comes after
// the request has been carried out.
type trouble struct {
	status int
	header http.Header
	body   string
	done   bool
}

const theProject = "0123456789abcdef0123456789abcdef"

func newStack(t *testing.T) *stack {
	s := &stack{rows: map[string][]row{}, posts: map[string]int{}}
	s.Server = httptest.NewServer(http.HandlerFunc(s.serve))
	t.Cleanup(s.Close)
	return s
}

func (s *stack) serve(w http.ResponseWriter, r *http.Request) {
	s.mu.Lock()
	defer s.mu.Unlock()
	var wrong *trouble
	if s.trouble != nil {
		wrong = s.trouble(r)
	}
	if wrong == nil || wrong.done {
		rec := httptest.NewRecorder()
		s.answer(rec, r)
		if wrong == nil {
			maps.Copy(w.Header(), rec.Header())
			w.WriteHeader(rec.Code)
			w.Write(rec.Body.Bytes()) //nolint:errcheck // the client may have left
			return
		}
	}
	maps.Copy(w.Header(), wrong.header)
	w.WriteHeader(wrong.status)
	io.WriteString(w, wrong.body) //nolint:errcheck // the test sees what comes of it
}

func reply(w http.ResponseWriter, status int, v any) {
	w.Header().Set("Content-Type", "application/json")
	w.WriteHeader(status)
	json.NewEncoder(w).Encode(v) //nolint:errcheck // the test sees what comes of it
}

func (s *stack) answer(w http.ResponseWriter, r *http.Request) {
	path := strings.TrimSuffix(r.URL.Path, "/")
	if path != "/v3/auth/tokens" && r.Header.Get("X-Auth-Token") == "" {
		reply(w, http.StatusUnauthorized, row{"error": row{"message": "The request you have made requires authentication."}})
		return
	}
	switch path {
	case "/v3/auth/tokens":
		s.login(w)
	case "/compute/v2.1":
		reply(w, http.StatusOK, row{"version": row{"id": "v2.1", "status": "CURRENT", "version": "2.93", "min_version": "2.1"}})
	case "/image":
		reply(w, http.StatusMultipleChoices, row{"versions": []row{{"id": "v2.9", "status": "CURRENT", "links": []row{{"rel": "self", "href": s.URL + "/image/v2/"}}}}})
	case "/volume/v3":
		reply(w, http.StatusOK, row{"versions": []row{{"id": "v3.0", "status": "CURRENT", "version": "3.70", "min_version": "3.0"}}})
	case "/network":
		reply(w, http.StatusOK, row{"versions": []row{{"id": "v2.0", "status": "CURRENT", "links": []row{{"rel": "self", "href": s.URL + "/network/v2.0/"}}}}})
	case "/compute/v2.1/flavors/detail":
		reply(w, http.StatusOK, row{"flavors": []row{{"id": "1", "name": "Small_1", "vcpus": 1, "ram": 2048, "extra_specs": row{"pci_passthrough:alias": "a100:2"}}}})
	case "/compute/v2.1/os-availability-zone":
		reply(w, http.StatusOK, row{"availabilityZoneInfo": []row{{"zoneName": "az1", "zoneState": row{"available": true}}}})
	case "/compute/v2.1/limits":
		reply(w, http.StatusOK, row{"limits": row{"absolute": row{
			"maxTotalCores": 20, "totalCoresUsed": 3, "maxTotalRAMSize": -1, "maxTotalInstances": 10, "totalInstancesUsed": s.machines,
		}}})
	case "/network/v2.0/extensions":
		reply(w, http.StatusOK, row{"extensions": []row{{"alias": "security-group"}, {"alias": "standard-attr-description"}, {"alias": "standard-attr-tag"}}})
	case "/compute/v2.1/servers/detail":
		reply(w, http.StatusOK, row{"servers": []row{}})
	default:
		for service, answer := range map[string]func(http.ResponseWriter, *http.Request, []string){
			"/network/v2.0/": s.neutron, "/volume/v3/" + theProject + "/": s.cinder, "/image/v2/": s.glance,
		} {
			if rest, ok := strings.CutPrefix(path+"/", service); ok {
				answer(w, r, strings.Split(strings.TrimSuffix(rest, "/"), "/"))
			}
		}
	}
}

func (s *stack) login(w http.ResponseWriter) {
	w.Header().Set("X-Subject-Token", rand.Text())
	var catalog []row
	services := map[string]string{"compute": "/compute/v2.1", "network": "/network"}
	if s.storage {
		services["volumev3"], services["image"] = "/volume/v3/"+theProject, "/image"
	}
	for kind, path := range services {
		catalog = append(catalog, row{"type": kind, "name": kind, "endpoints": []row{
			{"interface": "public", "region": "RegionOne", "region_id": "RegionOne", "url": s.URL + path},
		}})
	}
	reply(w, http.StatusCreated, row{"token": row{
		"expires_at": time.Now().Add(time.Hour).UTC().Format(time.RFC3339), "project": row{"id": theProject}, "catalog": catalog,
	}})
}

// neutron serves /COLLECTION, /COLLECTION/ID and /COLLECTION/ID/tags.
func (s *stack) neutron(w http.ResponseWriter, r *http.Request, path []string) {
	all := s.rows[path[0]]
	if len(path) == 1 && r.Method == http.MethodGet {
		s.list(w, r, path[0])
		return
	}
	if len(path) == 1 {
		s.create(w, r, path[0])
		return
	}
	i := slices.IndexFunc(all, func(x row) bool { return x["id"] == path[1] })
	if i < 0 {
		reply(w, http.StatusNotFound, row{"NeutronError": row{"type": "NotFound", "message": path[1] + " could not be found", "detail": ""}})
		return
	}
	switch {
	case r.Method == http.MethodDelete:
		s.rows[path[0]] = slices.Delete(all, i, i+1)
		s.dropRule(path[1])
		w.WriteHeader(http.StatusNoContent)
	case len(path) == 2 && r.Method == http.MethodPut:
		var body map[string]row
		json.NewDecoder(r.Body).Decode(&body) //nolint:errcheck // what is no JSON changes nothing
		maps.Copy(all[i], body[one(path[0])])
		reply(w, http.StatusOK, row{one(path[0]): all[i]})
	case len(path) == 3:
		var body row
		json.NewDecoder(r.Body).Decode(&body) //nolint:errcheck // what is no JSON is refused below
		all[i]["tags"] = body["tags"]
		reply(w, http.StatusOK, body)
	default:
		reply(w, http.StatusOK, row{one(path[0]): all[i]})
	}
}

func one(collection string) string {
	return strings.ReplaceAll(strings.TrimSuffix(collection, "s"), "-", "_")
}

// create makes one thing, or several rules at once. A group starts with the rule
// that lets everything out.
func (s *stack) create(w http.ResponseWriter, r *http.Request, collection string) {
	s.posts[collection]++
	var body map[string]json.RawMessage
	json.NewDecoder(r.Body).Decode(&body) //nolint:errcheck // what is no JSON is refused below
	var rules []row
	if json.Unmarshal(body["security_group_rules"], &rules) == nil {
		for _, x := range rules {
			s.addRule(x)
		}
		reply(w, http.StatusCreated, row{"security_group_rules": rules})
		return
	}
	var x row
	json.Unmarshal(body[one(collection)], &x) //nolint:errcheck // the test sees what comes of it
	x["id"], x["project_id"], x["tags"] = rand.Text(), theProject, []string{}
	x["created_at"] = time.Now().UTC().Format(time.RFC3339)
	s.rows[collection] = append(s.rows[collection], x)
	if collection == "security-groups" {
		x["security_group_rules"] = []row{}
		s.addRule(row{"security_group_id": x["id"], "direction": "egress", "ethertype": "IPv4"})
	}
	reply(w, http.StatusCreated, row{one(collection): x})
}

func (s *stack) addRule(x row) {
	x["id"] = rand.Text()
	s.rows["security-group-rules"] = append(s.rows["security-group-rules"], x)
	for _, g := range s.rows["security-groups"] {
		if g["id"] == x["security_group_id"] {
			g["security_group_rules"] = append(g["security_group_rules"].([]row), x)
		}
	}
}

func (s *stack) dropRule(id string) {
	for _, g := range s.rows["security-groups"] {
		g["security_group_rules"] = slices.DeleteFunc(g["security_group_rules"].([]row), func(x row) bool { return x["id"] == id })
	}
}

// list filters by equality and gives pages of at most two.
func (s *stack) list(w http.ResponseWriter, r *http.Request, collection string) {
	q := r.URL.Query()
	var found []row
	skipping := q.Get("marker") != ""
	for _, x := range s.rows[collection] {
		match := true
		for key := range q {
			if key != "limit" && key != "marker" && fmt.Sprint(x[key]) != q.Get(key) {
				match = false
			}
		}
		if match && !skipping {
			found = append(found, x)
		}
		skipping = skipping && x["id"] != q.Get("marker")
	}
	limit, _ := strconv.Atoi(q.Get("limit"))
	limit = min(max(limit, 1), 2)
	body := row{strings.ReplaceAll(collection, "-", "_"): found[:min(limit, len(found))]}
	if len(found) > limit {
		q.Set("marker", found[limit-1]["id"].(string))
		body[strings.ReplaceAll(collection, "-", "_")+"_links"] = []row{{"rel": "next", "href": s.URL + r.URL.Path + "?" + q.Encode()}}
	}
	reply(w, http.StatusOK, body)
}
