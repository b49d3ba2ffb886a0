package market

import (
	"bytes"
	"context"
	"encoding/json"
	"fmt"
	"io"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/placement"
	"github.com/kontor-cloud/kontor/policy"
)

// Export writes a decision with its signature and everything that it depends on, as
// lines of JSON (placement.Bundle): whoever has them can make it again anywhere.
func (s *Store) Export(ctx context.Context, tenant, id string, w io.Writer) error {
	b, err := s.Bundle(ctx, tenant, id)
	if err != nil {
		return err
	}
	_, err = b.WriteTo(w)
	return err
}

// Bundle is what Export writes.
func (s *Store) Bundle(ctx context.Context, tenant, id string) (*placement.Bundle, error) {
	d, record, err := s.decision(ctx, tenant, id)
	if err != nil {
		return nil, err
	}
	signature, err := json.Marshal(d.Signature)
	if err != nil {
		return nil, err
	}
	from := archive{ctx, s.DB}
	inputs := []placement.Input{{Kind: signatureKind, Digest: digestOf(record), Body: signature}}
	take := func(kind string, digest policy.Digest) ([]byte, error) {
		body, err := from.Input(kind, digest)
		if err != nil {
			return nil, fmt.Errorf("decision %s: %w", id, err)
		}
		inputs = append(inputs, placement.Input{Kind: kind, Digest: digest, Body: body})
		return body, nil
	}
	if _, err := take("request", d.Decision.Request); err != nil {
		return nil, err
	}
	market, err := take("market", d.Decision.Market)
	if err != nil {
		return nil, err
	}
	for line := range bytes.Lines(market) {
		var l struct {
			Data    *policy.Digest `json:"data"`
			Profile *policy.Digest `json:"profile"`
		}
		if err := json.Unmarshal(line, &l); err != nil {
			return nil, fmt.Errorf("decision %s: read market: %w", id, err)
		}
		switch {
		case l.Data != nil:
			_, err = take("data", *l.Data)
		case l.Profile != nil:
			_, err = take("profile", *l.Profile)
		}
		if err != nil {
			return nil, err
		}
	}
	b := &placement.Bundle{}
	b.Add(record, inputs...)
	return b, nil
}

// ReplayBundle makes every decision in an export again, with nothing but what is in it, and gives
// them with the signatures that they bear. A bundle is only as good as the key of its signatures:
// who has it from a stranger compares that with what the exchange publishes.
func ReplayBundle(r io.Reader) ([]Decided, error) {
	b, err := placement.ReadBundle(r)
	if err != nil {
		return nil, err
	}
	if len(b.Records) == 0 {
		return nil, fault.Malformed.Errorf("the bundle has no decision")
	}
	replayer := placement.NewReplayer(b)
	all := make([]Decided, 0, len(b.Records))
	for _, record := range b.Records {
		body, err := b.Input(signatureKind, digestOf(record))
		if err != nil {
			return all, fault.Denied.Errorf("a decision in the bundle is not signed")
		}
		var d Decided
		if err := json.Unmarshal(body, &d.Signature); err != nil {
			return all, fault.Malformed.Errorf("read signature: %w", err)
		}
		d.ID = d.Signature.Decision
		if err := d.Verify(record); err != nil {
			return all, err
		}
		if d.Decision, err = replayer.Replay(record); err != nil {
			return all, fmt.Errorf("decision %s: %w", d.ID, err)
		}
		all = append(all, d)
	}
	return all, nil
}
