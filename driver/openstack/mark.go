package openstack

import (
	"bytes"
	"compress/flate"
	"crypto/sha256"
	"encoding/base64"
	"encoding/hex"
	"encoding/json"
	"fmt"
	"io"
	"slices"
	"strings"

	"github.com/kontor-cloud/kontor/driver"
)

// ownerMark is how the marks of all our things begin.
func (a *account) ownerMark() string {
	return "kontor/" + a.owner.Exchange + "/" + a.owner.Region + "/"
}

// mark tells one thing from all others, and whose it is.
func (a *account) mark(kind, id string) string { return a.ownerMark() + kind + "/" + id }

// idIn returns the id in a mark of ours and of this kind, or "".
func (a *account) idIn(mark, kind string) string {
	id, _ := strings.CutPrefix(mark, a.ownerMark()+kind+"/")
	if id == mark {
		return ""
	}
	return id
}

// digest makes a short tag of a mark, for where they have no room.
func digest(mark string) string {
	sum := sha256.Sum256([]byte(mark))
	return "kontor-" + hex.EncodeToString(sum[:20])
}

// Notes are cut into pieces: Neutron's tags hold 60 characters, metadata 255.
// A piece is "kNN=" and text; a key of metadata is "kontor_NN".
const (
	tagLength   = 56
	valueLength = 250
	manyPieces  = 40 // newer releases allow 50 tags; longer notes are compressed
)

// encode writes a thing as wanted: what is observed is not noted.
func encode(thing any, size int) []string {
	text, err := json.Marshal(thing)
	if err != nil {
		panic(err) // the driver's types can be written
	}
	if len(text) > size*manyPieces {
		text = deflate(text)
	}
	var pieces []string
	for len(text) > 0 {
		n := min(size, len(text))
		for n < len(text) && text[n]&0xC0 == 0x80 { // within a rune
			n--
		}
		pieces = append(pieces, string(text[:n]))
		text = text[n:]
	}
	return pieces
}

func deflate(text []byte) []byte {
	var b bytes.Buffer
	w, _ := flate.NewWriter(&b, flate.BestCompression) // the level is valid
	w.Write(text)                                      //nolint:errcheck // into memory
	w.Close()                                          //nolint:errcheck // likewise
	return []byte("z" + base64.RawStdEncoding.EncodeToString(b.Bytes()))
}

// read fills a thing from its note. Without a note it stays empty.
func read(text string, thing any) {
	if packed, ok := strings.CutPrefix(text, "z"); ok {
		b, err := base64.RawStdEncoding.DecodeString(packed)
		if err != nil {
			return
		}
		plain, err := io.ReadAll(io.LimitReader(flate.NewReader(bytes.NewReader(b)), 1<<20))
		if err != nil {
			return
		}
		text = string(plain)
	}
	json.Unmarshal([]byte(text), thing) //nolint:errcheck // a note that is torn is written anew
}

// tagsOf are the tags that hold a note.
func tagsOf(thing any) []string {
	pieces := encode(thing, tagLength)
	for i, p := range pieces {
		pieces[i] = fmt.Sprintf("k%02d=%s", i, p)
	}
	return pieces
}

// isNote reports whether a tag is a piece of a note, and not somebody's own.
func isNote(tag string) bool {
	return len(tag) > 4 && tag[0] == 'k' && tag[3] == '=' && strings.Trim(tag[1:3], "0123456789") == ""
}

// readTags fills a thing from the note in tags.
func readTags(tags []string, thing any) {
	var text strings.Builder
	for _, tag := range slices.Sorted(slices.Values(tags)) {
		if isNote(tag) {
			text.WriteString(tag[4:])
		}
	}
	read(text.String(), thing)
}

// Keys of metadata.
const (
	markKey  = "kontor"
	ownerKey = "kontor_owner"
	pieceKey = "kontor_%02d"
)

// metadataOf is the metadata of a thing: mark, owner and note. The pieces end
// with an empty one, because what an earlier, longer note wrote may be there still.
func (a *account) metadataOf(kind, id string, thing any) map[string]string {
	m := map[string]string{markKey: a.mark(kind, id), ownerKey: a.ownerMark()}
	pieces := append(encode(thing, valueLength), "")
	for i, p := range pieces {
		m[fmt.Sprintf(pieceKey, i)] = p
	}
	return m
}

// readMetadata fills a thing from the note in metadata.
func readMetadata(m map[string]string, thing any) {
	var text strings.Builder
	for i := 0; m[fmt.Sprintf(pieceKey, i)] != ""; i++ {
		text.WriteString(m[fmt.Sprintf(pieceKey, i)])
	}
	read(text.String(), thing)
}

// noted reports whether metadata has all of what it should.
func noted(have, want map[string]string) bool {
	for k, v := range want {
		if have[k] != v {
			return false
		}
	}
	return true
}

// plain drops from a meta what is observed.
func plain(m driver.Meta) driver.Meta {
	return driver.Meta{ID: m.ID, Attempt: m.Attempt, Name: m.Name, URN: m.URN}
}

// inOrder sorts what is there as the note has it; what it does not know comes last.
func inOrder(have, noted []string) []string {
	var out []string
	for _, id := range noted {
		if slices.Contains(have, id) && !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	for _, id := range have {
		if !slices.Contains(out, id) {
			out = append(out, id)
		}
	}
	return out
}
