package api

import (
	"context"
	"encoding/json"
	"errors"
	"io"
	"net/http"
	"slices"
	"strconv"
	"time"

	"github.com/kontor-cloud/kontor/failpoint"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/telemetry"
	"github.com/kontor-cloud/kontor/wire"
)

// maxWait bounds a long poll. An agent is alive when it was heard of in the
// last 10 s, so polls are shorter than that.
const maxWait = 8 * time.Second

// AgentHandler serves agents. Who calls is what its certificate says; no
// message can speak for another region.
func (x *Exchange) AgentHandler() http.Handler {
	s := &server{Exchange: x, profile: Strict, log: x.Log}
	mux := http.NewServeMux()
	for path, h := range map[string]http.Handler{
		wire.PathEnrol:        s.agentCall(s.enrol),
		wire.PathRenew:        s.agent(s.renew),
		wire.PathChanges:      s.agent(s.changes),
		wire.PathObservations: s.agent(s.observations),
		wire.PathInventory:    s.agent(s.inventory),
		wire.PathOrphans:      s.agent(s.orphans),
		wire.PathAnswers:      s.agent(s.answers),
	} {
		mux.Handle("POST "+path, x.Requests.Route(http.MethodPost, path, h))
	}
	return x.Requests.Serve(s.leave(s.identify(s.survive(mux))))
}

// agent lets in who has a certificate, and notes that he is alive.
func (s *server) agent(do func(r *http.Request, region string) (any, error)) http.Handler {
	return s.agentCall(func(r *http.Request) (any, error) {
		region, err := s.Providers.RegionOf(r.Context(), r.TLS)
		if err != nil {
			return nil, err
		}
		s.log.DebugContext(r.Context(), "agent called", "region", region, "path", r.URL.Path)
		s.Providers.Seen(region, time.Now())
		defer func() { s.Providers.Seen(region, time.Now()) }() // a poll lasts nearly as long as an agent may be silent
		out, err := do(r, region)
		if err == nil { // a poll waits, and the certificate may have been revoked meanwhile
			_, err = s.Providers.RegionOf(r.Context(), r.TLS)
		}
		return out, err
	})
}

func (s *server) agentCall(do func(*http.Request) (any, error)) http.Handler {
	return http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		r.Body = http.MaxBytesReader(telemetry.Beneath(w), r.Body, wire.MaxBody)
		body, err := do(r)
		if err != nil {
			s.refusedAgent(r, err)
			s.writeProblem(w, r, err)
			return
		}
		s.writeJSON(w, r, http.StatusOK, body)
	})
}

// message reads what an agent sent.
func message[T any](r *http.Request) (T, error) {
	var v T
	b, err := io.ReadAll(r.Body)
	var large *http.MaxBytesError
	switch {
	case errors.As(err, &large):
		return v, fault.TooLarge.Errorf("the message is larger than %d bytes", large.Limit)
	case err != nil:
		return v, fault.Malformed.Errorf("read message: %w", err)
	}
	if err := json.Unmarshal(b, &v); err != nil {
		return v, fault.Malformed.Errorf("read message: %w", err)
	}
	return v, nil
}

type empty struct{}

func (s *server) enrol(r *http.Request) (any, error) {
	m, err := message[wire.Enrol](r)
	if err != nil {
		return nil, err
	}
	e, err := s.Providers.Enrol(s.agentAct(r, "", "enrol"), m.Token, m.CSR)
	if err == nil {
		s.log.InfoContext(r.Context(), "agent enrolled", "region", e.Region)
	}
	return e, err
}

func (s *server) renew(r *http.Request, region string) (any, error) {
	m, err := message[wire.Renew](r)
	if err != nil {
		return nil, err
	}
	return s.Providers.Renew(s.agentAct(r, region, "renew"), r.TLS, m.CSR)
}

// changes answers a poll at once if there is something to say, else when there
// is or the time is up. While nothing changes it costs no query: what this
// process has not announced has not happened.
func (s *server) changes(r *http.Request, region string) (any, error) {
	m, err := message[wire.Follow](r)
	if err != nil {
		return nil, err
	}
	if m.Since < 0 {
		return nil, fault.Malformed.Errorf("since must not be negative")
	}
	reset, err := s.rewind(r.Context(), region, &m)
	if err != nil {
		return nil, err
	}
	s.Resources.Followed(region, m.Since)
	deadline := time.NewTimer(together(time.Now(), min(max(m.Wait, 0), maxWait)))
	defer deadline.Stop()
	for first := true; ; first = false {
		head, changed := s.Resources.Changed(region)
		requests, arrived := s.desk.take(region)
		out := wire.Changes{Exchange: s.Providers.Exchange, Epoch: s.Providers.Epoch, Revision: m.Since, Reset: reset, Requests: requests, Lenient: s.Lenient}
		if !s.Recover && (head > m.Since || m.Since == 0 && first) {
			if err := s.follow(r, region, head, &out); err != nil {
				return nil, err
			}
		}
		if len(out.Resources) > 0 || len(requests) > 0 || reset || out.Revision > m.Since && m.Since == 0 {
			return out, nil
		}
		m.Since = out.Revision
		s.Resources.Followed(region, m.Since)
		select {
		case <-changed:
		case <-arrived:
		case <-deadline.C:
			return out, nil
		case <-s.Stop:
			return out, nil
		case <-r.Context().Done():
			return nil, r.Context().Err()
		}
	}
}

// rewind has an agent begin anew that has seen more than there is, and reports whether it must.
func (s *server) rewind(ctx context.Context, region string, m *wire.Follow) (reset bool, err error) {
	head, _ := s.Resources.Changed(region)
	if head == 0 || m.Since > head { // another process has written, or our database is older than what the agent has seen
		if head, err = s.Resources.Head(ctx, region); err != nil {
			return false, err
		}
	}
	restored := m.Epoch != "" && m.Epoch != s.Providers.Epoch // the database is another
	if m.Since > head || s.Recover && m.Since > 0 || restored {
		m.Since, reset = 0, true
	}
	return reset, nil
}

// follow adds what comes after out.Revision, as far as the agent understands it.
func (s *server) follow(r *http.Request, region string, head int64, out *wire.Changes) (err error) {
	if out.Resources, out.More, err = s.Resources.Follow(r.Context(), region, out.Revision, wire.MaxChanges); err != nil {
		return err
	}
	out.Revision = max(head, out.Revision)
	if n := len(out.Resources); n > 0 && (out.More || out.Resources[n-1].Revision > out.Revision) {
		out.Revision = out.Resources[n-1].Revision // the database may be ahead of what was heard
	}
	if capability(r) < wire.Adopting { // it would make what is to be adopted
		out.Resources = slices.DeleteFunc(out.Resources, func(w wire.Resource) bool { return w.Adopt != "" })
	}
	if capability(r) < wire.Tracing {
		for i := range out.Resources {
			out.Resources[i].Trace = ""
		}
	}
	return nil
}

// beat is what polls that find nothing end on. Those that end one by one each wake a processor
// for themselves, which costs more than what they do.
const beat = 250 * time.Millisecond

// together shortens a wait so that it ends with others.
func together(now time.Time, wait time.Duration) time.Duration {
	if wait < 2*beat {
		return wait
	}
	return now.Add(wait).Truncate(beat).Sub(now)
}

// capability is the version of the protocol that the agent speaks.
func capability(r *http.Request) int {
	n, err := strconv.Atoi(r.Header.Get(wire.HeaderCapability))
	if err != nil {
		return wire.Oldest
	}
	return n
}

func (s *server) observations(r *http.Request, region string) (any, error) {
	batch, err := message[[]wire.Observation](r)
	if err != nil {
		return nil, err
	}
	if len(batch) > wire.MaxObservations {
		return nil, fault.TooLarge.Errorf("at most %d observations at once", wire.MaxObservations)
	}
	end := s.traceObserved(r.Context(), region, batch)
	strangers, err := s.Resources.Observe(s.agentAct(r, region, "observe"), region, batch)
	end(err)
	return wire.Accepted{Strangers: strangers}, err
}

// traceObserved shows, in the traces of the requests that wished for it, what
// agents say came of it.
func (s *server) traceObserved(ctx context.Context, region string, batch []wire.Observation) telemetry.End {
	var ends []telemetry.End
	for _, o := range batch {
		if s.Tracer == nil || o.Trace == "" {
			continue
		}
		_, end := s.Tracer.Start(ctx, o.Trace, nil, "observe "+string(o.State), "kontor.region", region, "kontor.resource.id", o.ID)
		ends = append(ends, end)
	}
	return func(err error) {
		for _, end := range ends {
			end(err)
		}
	}
}

func (s *server) inventory(r *http.Request, region string) (any, error) {
	m, err := message[wire.Inventory](r)
	if err != nil {
		return nil, err
	}
	_, err = s.Providers.SaveInventory(r.Context(), region, m)
	failpoint.Here(failpoint.InventorySaved)
	return empty{}, err
}

// orphans decides what may be removed: what we know to be gone, and what an
// operator named.
func (s *server) orphans(r *http.Request, region string) (any, error) {
	found, err := message[[]wire.Orphan](r)
	if err != nil {
		return nil, err
	}
	ids := make([]string, 0, len(found))
	for _, o := range found {
		ids = append(ids, o.ID)
	}
	if s.Recover { // they are what is being recovered
		return wire.Verdicts{}, nil
	}
	gone, err := s.Resources.Tombstones(r.Context(), region, ids)
	if err != nil {
		return nil, err
	}
	approved, err := s.Providers.ReportOrphans(r.Context(), region, found)
	failpoint.Here(failpoint.OrphansSaved)
	return wire.Verdicts{Remove: append(gone, approved...)}, err
}

func (s *server) answers(r *http.Request, region string) (any, error) {
	a, err := message[wire.Answer](r)
	if err != nil {
		return nil, err
	}
	return empty{}, s.desk.answer(r.Context(), region, a)
}
