package audit

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"

	"github.com/kontor-cloud/kontor/fault"
)

// An export is lines of JSON: what it is of, then each entry with its place,
// then where the chain ended.

// A Head is the first line of an export.
type Head struct {
	Kontor  string `json:"kontor"`  // audit
	Version int    `json:"version"` // 1
	Chain   string `json:"chain"`
	Base    Mark   `json:"base"`
}

type exportLine struct {
	Seq   int64           `json:"seq"`
	Hash  string          `json:"hash"`
	Entry json.RawMessage `json:"entry"`
	Head  *Mark           `json:"head"`
}

// maxLine is far more than an entry can have.
const maxLine = 64 << 10

// Write exports a chain, whose entries come from all.
func Write(to io.Writer, c Chain, all iter.Seq2[Sealed, error]) (int, error) {
	w := bufio.NewWriter(to)
	head, err := json.Marshal(Head{"audit", 1, c.Name, c.Base})
	if err != nil {
		return 0, err
	}
	fmt.Fprintf(w, "%s\n", head)
	n, end := 0, c.Base
	for s, err := range all {
		if err != nil {
			return n, err
		}
		fmt.Fprintf(w, `{"seq":%d,"hash":%q,"entry":%s}`+"\n", s.Seq, s.Hash, s.Body)
		n, end = n+1, s.Mark
	}
	last, err := json.Marshal(map[string]Mark{"head": end})
	if err != nil {
		return n, err
	}
	fmt.Fprintf(w, "%s\n", last)
	return n, w.Flush()
}

// VerifyExport checks an export, which holds a chain from a base to where it
// ended. The error names the first entry that is not as it was written.
func VerifyExport(r io.Reader, remembered Mark) (Head, Mark, error) {
	lines := bufio.NewScanner(r)
	lines.Buffer(nil, maxLine)
	var head Head
	if !lines.Scan() {
		return head, Mark{}, errors.Join(fault.Invalid.Errorf("the export is empty"), lines.Err())
	}
	if err := strictly(lines.Bytes(), &head); err != nil || head.Kontor != "audit" {
		return head, Mark{}, fault.Invalid.Errorf("the first line is not that of an export of an audit log")
	}
	if head.Version != 1 {
		return head, Mark{}, fault.Unsupported.Errorf("the export has version %d; this program knows version 1", head.Version)
	}
	if _, err := ParseMark(head.Base.String()); err != nil {
		return head, Mark{}, fault.Invalid.Errorf("the first line names no place at which the chain begins")
	}
	check, err := NewCheck(head.Chain, head.Base, remembered)
	if err != nil {
		return head, Mark{}, err
	}
	end, err := verifyLines(lines, check)
	return head, end, err
}

func verifyLines(lines *bufio.Scanner, check *Check) (Mark, error) {
	for number := 2; lines.Scan(); number++ {
		var line exportLine
		if err := strictly(lines.Bytes(), &line); err != nil {
			return Mark{}, fault.Invalid.Errorf("line %d after entry %d is damaged: %w", number, check.at.Seq, err)
		}
		if line.Head != nil {
			if lines.Scan() {
				return Mark{}, fault.Invalid.Errorf("something follows the last line, which is %d", number)
			}
			return check.Done(*line.Head)
		}
		if err := check.Next(Sealed{Mark{line.Seq, line.Hash}, line.Entry}); err != nil {
			return Mark{}, err
		}
	}
	if err := lines.Err(); err != nil {
		return Mark{}, fault.Invalid.Errorf("the line after entry %d cannot be read: %w", check.at.Seq, err)
	}
	return Mark{}, fault.Invalid.Errorf("the export ends after entry %d without saying that the chain does: the end was cut off", check.at.Seq)
}

func strictly(b []byte, to any) error {
	d := json.NewDecoder(bytes.NewReader(b))
	d.DisallowUnknownFields()
	if err := d.Decode(to); err != nil {
		return err
	}
	if _, err := d.Token(); !errors.Is(err, io.EOF) {
		return errors.New("something follows on the same line")
	}
	return nil
}
