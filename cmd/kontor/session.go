package main

import (
	"context"
	"encoding/json"
	"errors"
	"net/http"
	"net/url"
	"os"
	"strings"
	"time"

	"golang.org/x/oauth2"
	"golang.org/x/sys/unix"

	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/issuer"
)

// A session is what a login leaves in the token file of its context, in place
// of a token: enough to get the next token without asking anybody.
type session struct {
	Issuer     string    `json:"issuer"`
	ClientID   string    `json:"clientID"`
	Tokens     string    `json:"tokens"` // what the exchange takes: access or id
	Endpoint   string    `json:"endpoint"`
	Revocation string    `json:"revocation,omitempty"`
	Token      string    `json:"token"`
	Access     string    `json:"access"`
	Refresh    string    `json:"refresh,omitempty"`
	ExpiresAt  time.Time `json:"expiresAt"`
}

// early is how long before its end a token is replaced.
const early = time.Minute

const loginAgain = "`kontor login`"

// isSession tells a session from a bare token.
func isSession(b []byte) bool { return strings.HasPrefix(strings.TrimSpace(string(b)), "{") }

func readSession(file string) (s session, err error) {
	b, err := os.ReadFile(file)
	if err == nil {
		err = json.Unmarshal(b, &s)
	}
	if err != nil {
		return s, fault.Invalid.Errorf("read the session in %s: %w", file, err)
	}
	return s, nil
}

func (s session) write(file string) error {
	b, err := json.Marshal(s)
	if err != nil {
		return err
	}
	return writePrivate(file, append(b, '\n'))
}

// fresh returns a token of the session in file, a new one if the old one ends
// soon. Of several processes at once, one refreshes: many issuers take a
// refresh token that comes twice for stolen.
func fresh(ctx context.Context, file string, asks issuer.Client) (string, error) {
	s, err := readSession(file)
	if err != nil || time.Until(s.ExpiresAt) > early {
		return s.Token, err
	}
	unlock, err := lock(file + ".lock")
	if err != nil {
		return "", fault.Invalid.Errorf("lock the session: %w", err)
	}
	defer unlock()
	if s, err = readSession(file); err != nil || time.Until(s.ExpiresAt) > early {
		return s.Token, err
	}
	if s.Refresh == "" {
		return "", hinted{fault.Unauthenticated.Errorf("the login at %s has ended", s.Issuer), loginAgain}
	}
	config := oauth2.Config{ClientID: s.ClientID, Endpoint: oauth2.Endpoint{TokenURL: s.Endpoint, AuthStyle: oauth2.AuthStyleInParams}}
	t, err := config.TokenSource(context.WithValue(ctx, oauth2.HTTPClient, asks.Client), &oauth2.Token{RefreshToken: s.Refresh}).Token()
	var refused *oauth2.RetrieveError
	if errors.As(err, &refused) && refused.ErrorCode != "" {
		return "", hinted{fault.Unauthenticated.Errorf("%s ends the login: %s", s.Issuer, clean(refused.ErrorCode)), loginAgain}
	}
	if err != nil {
		return "", hinted{fault.Unavailable.Errorf("refresh the login at %s: no answer that makes sense", s.Issuer), "again in a while"}
	}
	if err := s.take(t); err != nil {
		return "", err
	}
	if err := s.write(file); err != nil {
		return "", fault.Invalid.Errorf("write the session: %w", err)
	}
	return s.Token, nil
}

// take puts a token of the issuer into the session.
func (s *session) take(t *oauth2.Token) error {
	s.Access, s.Token, s.ExpiresAt = t.AccessToken, t.AccessToken, t.Expiry
	if t.RefreshToken != "" {
		s.Refresh = t.RefreshToken
	}
	if s.Tokens == "id" {
		s.Token, _ = t.Extra("id_token").(string)
	}
	if s.Token == "" {
		return fault.Unavailable.Errorf("%s gave no token of the kind that the exchange takes", s.Issuer)
	}
	if s.ExpiresAt.IsZero() {
		s.ExpiresAt = time.Now().Add(5 * time.Minute) // then it is tried whether there is another one
	}
	return nil
}

// revoke tells the issuer that the session is over (RFC 7009).
func (s session) revoke(ctx context.Context, asks issuer.Client) error {
	for hint, token := range map[string]string{"refresh_token": s.Refresh, "access_token": s.Access} {
		if token == "" || s.Revocation == "" {
			continue
		}
		form := url.Values{"token": {token}, "token_type_hint": {hint}, "client_id": {s.ClientID}}
		r, err := http.NewRequestWithContext(ctx, http.MethodPost, s.Revocation, strings.NewReader(form.Encode()))
		if err != nil {
			return err
		}
		r.Header.Set("Content-Type", "application/x-www-form-urlencoded")
		a, err := asks.Do(r)
		if err != nil {
			return fault.Unavailable.Errorf("revoke at %s: no answer", s.Issuer)
		}
		_ = a.Body.Close() // only its status counts
		if a.StatusCode != http.StatusOK {
			return fault.Unavailable.Errorf("revoke at %s: %s", s.Issuer, a.Status)
		}
	}
	return nil
}

// lock waits until no other process has the file locked.
func lock(name string) (unlock func(), err error) {
	f, err := os.OpenFile(name, os.O_CREATE|os.O_RDWR, 0o600)
	if err != nil {
		return nil, err
	}
	if err := unix.Flock(int(f.Fd()), unix.LOCK_EX); err != nil {
		return nil, errors.Join(err, f.Close())
	}
	return func() { _ = f.Close() }, nil // closing unlocks
}
