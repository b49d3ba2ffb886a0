package openstack_test

import (
	"crypto/rand"
	"encoding/json"
	"errors"
	"maps"
	"net/http"
	"slices"
	"strings"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/driver"
	"github.com/kontor-cloud/kontor/driver/drivertest"
	"github.com/kontor-cloud/kontor/fault"
)

// newStackWithStorage has a Cinder and a Glance, too, with one image on offer.
// What they are told to do is done when they are next asked what there is.
func newStackWithStorage(t *testing.T) *stack {
	s := newStack(t)
	s.storage = true
	s.rows["images"] = []row{{
		"id": "tiny", "name": "tiny", "owner": "somebody", "visibility": "public", "status": "active",
		"size": 18_000_000, "created_at": now().Format(time.RFC3339),
	}}
	return s
}

func now() time.Time { return time.Now().UTC() }

// cinder serves /COLLECTION, /COLLECTION/detail, /COLLECTION/ID and
// /COLLECTION/ID/action.
func (s *stack) cinder(w http.ResponseWriter, r *http.Request, path []string) {
	switch at := strings.Join(path, "/"); {
	case at == "types":
		reply(w, http.StatusOK, row{"volume_types": []row{{"id": "1", "name": "__DEFAULT__"}}})
	case at == "limits":
		reply(w, http.StatusOK, row{"limits": row{"absolute": row{"maxTotalVolumeGigabytes": 1000}}})
	case r.Method == http.MethodGet && (len(path) == 1 || path[1] == "detail"):
		s.listStorage(w, r, path[0])
	case r.Method == http.MethodPost && len(path) == 1:
		s.createStorage(w, r, path[0])
	default:
		s.oneOfStorage(w, r, path)
	}
}

func (s *stack) oneOfStorage(w http.ResponseWriter, r *http.Request, path []string) {
	i := slices.IndexFunc(s.rows[path[0]], func(x row) bool { return x["id"] == path[1] })
	if i < 0 {
		reply(w, http.StatusNotFound, row{"itemNotFound": row{"code": 404, "message": path[1] + " could not be found."}})
		return
	}
	x := s.rows[path[0]][i]
	var body map[string]row
	json.NewDecoder(r.Body).Decode(&body) //nolint:errcheck // what is no JSON changes nothing
	switch {
	case r.Method == http.MethodDelete:
		if s.needed(x) {
			refuse(w, "Invalid volume: Volume status must be available or error, and must not have snapshots.")
			return
		}
		x["status"] = "deleting"
		w.WriteHeader(http.StatusAccepted)
	case body["os-extend"] != nil:
		x["size"] = body["os-extend"]["new_size"]
		w.WriteHeader(http.StatusAccepted)
	case body["os-volume_upload_image"] != nil:
		s.upload(w, x, body["os-volume_upload_image"])
	default:
		maps.Copy(x, body[one(path[0])])
		reply(w, http.StatusOK, row{one(path[0]): x})
	}
}

func refuse(w http.ResponseWriter, why string) {
	reply(w, http.StatusBadRequest, row{"badRequest": row{"code": 400, "message": why}})
}

// needed reports whether something is attached to a thing or was made of it.
func (s *stack) needed(x row) bool {
	of := func(c row) bool { return c["volume_id"] == x["id"] || c["snapshot_id"] == x["id"] }
	return x["status"] == "in-use" || slices.ContainsFunc(s.rows["snapshots"], of) || slices.ContainsFunc(s.rows["volumes"], of)
}

func (s *stack) upload(w http.ResponseWriter, volume, order row) {
	if volume["status"] != "available" {
		refuse(w, "Invalid volume: Volume status must be available")
		return
	}
	s.posts["images"]++
	i := row{
		"id": rand.Text(), "name": order["image_name"], "owner": theProject, "visibility": "private", "status": "saving",
		"size": 1, "created_at": now().Format(time.RFC3339),
	}
	if volume["bootable"] == "true" {
		i["signature_verified"] = "False"
	}
	s.rows["images"] = append(s.rows["images"], i)
	reply(w, http.StatusAccepted, row{"os-volume_upload_image": row{"image_id": i["id"]}})
}

// createStorage makes a volume or snapshot. Like Zed, it breaks on images that
// say something of their signature.
func (s *stack) createStorage(w http.ResponseWriter, r *http.Request, collection string) {
	s.posts[collection]++
	var body map[string]row
	json.NewDecoder(r.Body).Decode(&body) //nolint:errcheck // the test sees what comes of it
	x := body[one(collection)]
	x["id"], x["status"], x["created_at"] = rand.Text(), "creating", now().Format("2006-01-02T15:04:05.000000")
	if image := x["imageRef"]; image != nil {
		i := slices.IndexFunc(s.rows["images"], func(i row) bool { return i["id"] == image })
		if x["bootable"] = "true"; i < 0 || s.rows["images"][i]["signature_verified"] != nil {
			x["status"] = "error"
		}
	}
	if volume := x["volume_id"]; volume != nil {
		i := slices.IndexFunc(s.rows["volumes"], func(v row) bool { return v["id"] == volume })
		x["size"] = s.rows["volumes"][i]["size"]
	}
	s.rows[collection] = append(s.rows[collection], x)
	reply(w, http.StatusAccepted, row{one(collection): x})
}

// listStorage filters by name and metadata, and has what is going on end.
func (s *stack) listStorage(w http.ResponseWriter, r *http.Request, collection string) {
	var want map[string]string
	json.Unmarshal([]byte(strings.ReplaceAll(r.URL.Query().Get("metadata"), "'", `"`)), &want) //nolint:errcheck // then there is no filter
	name, found := r.URL.Query().Get("name"), []row{}
	for _, x := range s.rows[collection] {
		have, _ := x["metadata"].(map[string]any)
		match := name == "" || x["name"] == name
		for k, v := range want {
			match = match && have[k] == v
		}
		if match {
			found = append(found, maps.Clone(x))
		}
	}
	reply(w, http.StatusOK, row{collection: found})
	s.rows[collection] = slices.DeleteFunc(s.rows[collection], func(x row) bool { return x["status"] == "deleting" })
	for _, x := range s.rows[collection] {
		switch x["status"] {
		case "creating":
			x["status"] = "available"
		case "saving":
			x["status"] = "active"
		}
	}
}

// glance serves /images and /images/ID.
func (s *stack) glance(w http.ResponseWriter, r *http.Request, path []string) {
	if len(path) < 2 {
		s.listStorage(w, r, "images")
		return
	}
	i := slices.IndexFunc(s.rows["images"], func(x row) bool { return x["id"] == path[1] })
	if i < 0 {
		w.WriteHeader(http.StatusNotFound)
		return
	}
	if r.Method == http.MethodDelete {
		s.rows["images"] = slices.Delete(s.rows["images"], i, i+1)
		w.WriteHeader(http.StatusNoContent)
		return
	}
	var patch []struct{ Op, Path, Value string }
	json.NewDecoder(r.Body).Decode(&patch) //nolint:errcheck // the test sees what comes of it
	for _, p := range patch {
		if key := strings.TrimPrefix(p.Path, "/"); p.Op == "remove" {
			delete(s.rows["images"][i], key)
		} else {
			s.rows["images"][i][key] = p.Value
		}
	}
	reply(w, http.StatusOK, s.rows["images"][i])
}

func TestConformanceOfStorage(t *testing.T) {
	s := newStackWithStorage(t)
	open := func(t *testing.T, owner driver.Owner) *driver.Cloud {
		c := s.open(t, owner)
		c.Instances, c.Console = nil, nil // the made up Nova starts none
		return c
	}
	drivertest.Run(t, drivertest.Platform{
		Open:    func(t *testing.T) *driver.Cloud { return open(t, us) },
		Foreign: func(t *testing.T) *driver.Cloud { return open(t, them) },
	})
}

// TestImageOfAnAttachedVolume has every answer lost on the way, and wants one
// image, from which a volume can be made, and nothing of what it came through.
func TestImageOfAnAttachedVolume(t *testing.T) {
	s := newStackWithStorage(t)
	c := s.open(t, us)
	disk := driver.Volume{Meta: meta("disk"), SizeGB: 1, Image: driver.OfferedImage("tiny")}
	settle(t, c.Volumes, disk)
	s.rows["volumes"][0]["status"] = "in-use"
	lost := map[string]bool{}
	s.trouble = func(r *http.Request) *trouble {
		if at := r.Method + r.URL.Path; r.Method != http.MethodGet && !lost[at] {
			lost[at] = true
			return &trouble{status: http.StatusGatewayTimeout, done: true}
		}
		return nil
	}
	settle(t, c.Images, driver.Image{Meta: meta("picture"), Volume: "disk", Arch: "amd64"})
	if s.posts["snapshots"] != 1 || s.posts["volumes"] != 2 || s.posts["images"] != 1 {
		t.Errorf("made were %v, want a snapshot, a volume of that and an image", s.posts)
	}
	if len(s.rows["snapshots"]) != 0 || len(s.rows["volumes"]) != 1 {
		t.Errorf("left are the snapshots %v and the volumes %v", s.rows["snapshots"], s.rows["volumes"])
	}
	settle(t, c.Volumes, driver.Volume{Meta: meta("again"), SizeGB: 1, Image: "picture"})

	disk.SizeGB = 2
	s.rows["volumes"][0]["status"] = "available"
	if _, err := c.Volumes.Ensure(t.Context(), disk); !errors.Is(err, fault.Unsupported) {
		t.Errorf("growing a volume that some backends break then: %v, want unsupported", err)
	}
}

// TestImageThatIsGivenUpLeavesNothing deletes it while its volume is copied.
func TestImageThatIsGivenUpLeavesNothing(t *testing.T) {
	s := newStackWithStorage(t)
	c := s.open(t, us)
	settle(t, c.Volumes, driver.Volume{Meta: meta("disk"), SizeGB: 1})
	s.rows["volumes"][0]["status"] = "in-use"
	for steps := range 6 {
		for range steps {
			c.Images.Ensure(t.Context(), driver.Image{Meta: meta("picture"), Volume: "disk", Arch: "amd64"}) //nolint:errcheck // it is not to get there
		}
		clear(t, c.Images)
		if len(s.rows["snapshots"]) != 0 || len(s.rows["volumes"]) != 1 || len(s.rows["images"]) != 1 {
			t.Fatalf("after %d steps, left are %v", steps, s.rows)
		}
	}
}
