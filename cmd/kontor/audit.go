package main

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"iter"
	"net/url"
	"os"
	"strconv"
	"strings"
	"time"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/audit"
	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/fault"
)

func auditCommand(a *app) *cobra.Command {
	var exchange bool
	c := family("audit", "See who did what in a tenant, and verify that the log is whole",
		a.auditList(&exchange), a.auditFollow(&exchange), a.auditExport(&exchange), a.auditVerify(&exchange))
	c.PersistentFlags().BoolVar(&exchange, "exchange", false, "what belongs to no tenant: accounts, regions, agents, keys (operators)")
	return c
}

// An auditFilter narrows what is shown.
type auditFilter struct{ since, actor, resource string }

func (f *auditFilter) add(c *cobra.Command, since string) {
	c.Flags().StringVar(&f.since, "since", since, "from when on: 24h, or 2026-07-01T10:00:00Z; 0 for all")
	c.Flags().StringVar(&f.actor, "actor", "", "done by this account, or the agent of this region")
	c.Flags().StringVar(&f.resource, "resource", "", "about this URN, or what begins so")
}

func (f *auditFilter) query() (url.Values, error) {
	v := url.Values{}
	for name, value := range map[string]string{"actor": f.actor, "resource": f.resource} {
		if value != "" {
			v.Set(name, value)
		}
	}
	if d, err := time.ParseDuration(f.since); err == nil {
		if d > 0 {
			v.Set("since", time.Now().Add(-d).UTC().Format(time.RFC3339Nano))
		}
		return v, nil
	}
	if _, err := time.Parse(time.RFC3339, f.since); err != nil {
		return nil, usagef("--since %q is neither a duration such as 24h nor a time such as 2026-07-01T10:00:00Z", f.since)
	}
	v.Set("since", f.since)
	return v, nil
}

// An auditLog is a chain as the exchange serves it.
type auditLog struct {
	client *client.Client
	at     string
	name   string // of the chain
}

func (a *app) auditLog(ctx context.Context, exchange bool) (l auditLog, err error) {
	if l.client, err = a.connect(); err != nil {
		return l, err
	}
	if exchange {
		l.at = l.client.Exchange("audit")
		return l, nil
	}
	p, err := a.complete(ctx, needTenant, client.Place{})
	l.name, l.at = p.Tenant, l.client.Exchange("tenants", p.Tenant, "audit")
	return l, err
}

// entries yields what comes after an entry.
func (l auditLog) entries(ctx context.Context, v url.Values, after int64) iter.Seq2[audit.Sealed, error] {
	return func(yield func(audit.Sealed, error) bool) {
		q := url.Values{"after": {strconv.FormatInt(after, 10)}}
		for name := range v {
			q.Set(name, v.Get(name))
		}
		for i, err := range l.client.List(ctx, l.at, client.Query{More: q}) {
			s := audit.Sealed{Body: i.Spec}
			if err == nil {
				err = json.Unmarshal(i.Status, &s.Mark)
			}
			if !yield(s, err) || err != nil {
				return
			}
		}
	}
}

func (l auditLog) chain(ctx context.Context) (c audit.Chain, err error) {
	_, err = l.client.Do(ctx, client.Call{Method: "GET", URL: client.Under(l.at, "head"), Out: &c})
	return c, err
}

func (a *app) auditList(exchange *bool) *cobra.Command {
	var f auditFilter
	c := &cobra.Command{
		Use: "list", Aliases: []string{"ls"}, Short: "List what happened, the oldest first", Args: cobra.NoArgs,
		Example: "  kontor audit list --since 1h\n  kontor audit list --actor alice@example.eu --resource seca.compute/v1/ --json",
		RunE: func(c *cobra.Command, _ []string) error {
			_, err := a.showAudit(c.Context(), *exchange, f, 0)
			return err
		},
	}
	f.add(c, "24h")
	return c
}

// showAudit writes what comes after an entry, and returns the last one.
func (a *app) showAudit(ctx context.Context, exchange bool, f auditFilter, after int64) (int64, error) {
	if err := a.checkOutput(); err != nil {
		return after, err
	}
	v, err := f.query()
	if err != nil {
		return after, err
	}
	l, err := a.auditLog(ctx, exchange)
	if err != nil {
		return after, err
	}
	t := a.table("SEQ", "TIME", "ACTOR", "ACTION", "RESOURCE", "STATUS", "FROM")
	t.started = after > 0
	for s, err := range l.entries(ctx, v, after) {
		if err == nil {
			err = a.showEntry(t, s)
		}
		if err != nil {
			return after, errors.Join(err, t.flush())
		}
		after = s.Seq
	}
	return after, t.flush()
}

func (a *app) showEntry(t *table, s audit.Sealed) error {
	if a.structured() {
		_, err := fmt.Fprintf(a.stdout, `{"seq":%d,"hash":%q,"entry":%s}`+"\n", s.Seq, s.Hash, s.Body)
		return err
	}
	e, err := s.Entry()
	if err != nil {
		return err
	}
	outcome := e.State
	if e.Status > 0 && (outcome == "" || e.Status >= 400) {
		outcome = strconv.Itoa(e.Status)
	}
	if e.Count > 1 {
		outcome += fmt.Sprintf(" ×%d", e.Count)
	}
	t.row(strconv.FormatInt(s.Seq, 10), e.At.Format("2006-01-02T15:04:05.000Z"), string(e.Actor.Kind)+" "+e.Actor.Subject,
		e.Action, e.Resource, strings.Replace(outcome, " ", " → ", 1), e.From.Address)
	return nil
}

const followEvery = time.Second

func (a *app) auditFollow(exchange *bool) *cobra.Command {
	var f auditFilter
	c := &cobra.Command{
		Use: "follow", Short: "Show what happens, as it does", Args: cobra.NoArgs,
		RunE: func(c *cobra.Command, _ []string) error {
			ctx, after := c.Context(), int64(0)
			for {
				last, err := a.showAudit(ctx, *exchange, f, after)
				after = last
				switch {
				case ctx.Err() != nil:
					return nil
				case err != nil && (after == 0 || !errors.Is(err, fault.Unavailable)):
					return err
				}
				if !sleepFor(ctx, followEvery) {
					return nil
				}
			}
		},
	}
	f.add(c, "1m")
	return c
}

func sleepFor(ctx context.Context, d time.Duration) bool {
	select {
	case <-time.After(d):
		return true
	case <-ctx.Done():
		return false
	}
}

func (a *app) auditExport(exchange *bool) *cobra.Command {
	return &cobra.Command{
		Use: "export FILE|-", Short: "Write the log as JSON Lines, which \"audit verify\" can check anywhere",
		Long: `Write the log as lines of JSON: a head, each entry with its number and hash, and where the log ended. Keep
exports off the exchange: whoever has one can tell whether what is in it was changed there later.`,
		Example: "  kontor audit export acme-2026.jsonl -t acme", Args: cobra.ExactArgs(1),
		RunE: func(c *cobra.Command, args []string) error {
			l, err := a.auditLog(c.Context(), *exchange)
			if err != nil {
				return err
			}
			chain, err := l.chain(c.Context())
			if err != nil {
				return err
			}
			n := 0
			err = a.writeWhole(args[0], func(w io.Writer) error {
				n, err = audit.Write(w, chain, l.until(c.Context(), chain))
				return err
			})
			if err == nil {
				fmt.Fprintf(a.stderr, "%d entries, the last is %s\n", n, chain.Head)
			}
			return err
		},
	}
}

// until yields the entries of a chain to its head of a moment ago.
func (l auditLog) until(ctx context.Context, c audit.Chain) iter.Seq2[audit.Sealed, error] {
	return func(yield func(audit.Sealed, error) bool) {
		for s, err := range l.entries(ctx, nil, c.Base.Seq) {
			if err == nil && s.Seq > c.Head.Seq || !yield(s, err) {
				return
			}
		}
	}
}

// openExport opens a file of "audit export".
func openExport(name string) (io.ReadCloser, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, fault.Invalid.Errorf("%w", err)
	}
	return f, nil
}
