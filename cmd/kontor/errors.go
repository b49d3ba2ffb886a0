package main

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"strings"

	"github.com/spf13/cobra"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/fault"
)

// A usageError is the caller's mistake: exit code 2.
type usageError struct{ text string }

func (e usageError) Error() string { return e.text }

func usagef(format string, args ...any) error { return usageError{fmt.Sprintf(format, args...)} }

// An exitError hands on the exit code of another program, without a word.
type exitError int

func (e exitError) Error() string { return fmt.Sprintf("exit code %d", int(e)) }

// A hinted error says what to try.
type hinted struct {
	error
	try string
}

func (h hinted) Unwrap() error { return h.error }

// exit words the error, if any, and gives the exit code.
func (a *app) exit(ctx context.Context, c *cobra.Command, err error) int {
	var code exitError
	var usage usageError
	switch {
	case err == nil:
		return 0
	case errors.As(err, &code):
		return int(code)
	case errors.Is(err, context.Canceled) && ctx.Err() != nil:
		a.complain("interrupted", nil, "what was asked for goes on at the exchange; `kontor get` shows it")
		return 1
	case !a.began, errors.As(err, &usage):
		a.complain(err.Error(), nil, c.CommandPath()+" --help")
		return 2
	}
	a.complain(err.Error(), fault.SourcesOf(err), a.hint(err))
	return 1
}

func (a *app) complain(text string, at []fault.Source, try string) {
	for line := range strings.SplitSeq(text, "\n") { // files with several mistakes have several
		fmt.Fprintf(a.stderr, "kontor: %s\n", clean(line))
	}
	for _, s := range at {
		if s.Pointer != "" {
			fmt.Fprintf(a.stderr, "  at %s\n", clean(s.Pointer))
		}
		if s.Parameter != "" {
			fmt.Fprintf(a.stderr, "  parameter %s\n", clean(s.Parameter))
		}
	}
	if try != "" {
		fmt.Fprintf(a.stderr, "  try: %s\n", try)
	}
}

// hint says what to try, by the class of the failure.
func (a *app) hint(err error) string {
	if h, ok := errors.AsType[hinted](err); ok {
		return h.try
	}
	if a.client == nil { // no exchange has said this; an agent's platform may have
		return ""
	}
	switch fault.KindOf(err) {
	case fault.Unauthenticated:
		if a.tokenSource() == "" {
			return "--token-file FILE, KONTOR_TOKEN_FILE, a context that names one, or `kontor login`"
		}
		return "a fresh token: the exchange does not accept the one in " + a.tokenSource()
	case fault.Denied:
		return "`kontor whoami` shows who you are; an administrator of the tenant gives roles by a role-assignment"
	case fault.Missing:
		return "`kontor get KIND` lists what is there, in this tenant, region and workspace"
	case fault.Stale:
		return "again: it has changed in the meantime"
	case fault.Unavailable:
		return a.unavailable(err)
	case fault.Exhausted:
		if p, ok := errors.AsType[*client.Problem](err); ok && p.Meta.Reason == "quota" {
			return "`kontor get quotas` shows what the tenant may have"
		}
		return "another region (`kontor get regions`), or less"
	default: // the text of the error says it all
		return requestHint(err)
	}
}

// requestHint gives the operator something to find the cause by.
func requestHint(err error) string {
	var p *client.Problem
	if errors.As(err, &p) && p.Status >= 500 && p.Meta.RequestID != "" {
		return "the exchange's log, under request id " + clean(p.Meta.RequestID)
	}
	return ""
}

func (a *app) unavailable(err error) string {
	var p *client.Problem
	if errors.As(err, &p) || errors.Is(err, context.DeadlineExceeded) {
		return "again in a while"
	}
	if _, ok := errors.AsType[*tls.CertificateVerificationError](err); ok {
		return "--ca FILE, with the authority that the exchange's certificate is of, if you know it to be the right one"
	}
	return "whether the exchange runs there: " + a.settings.URL
}
