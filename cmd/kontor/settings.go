package main

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"fmt"
	"net/http"
	"os"
	"strings"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/fault"
	"github.com/kontor-cloud/kontor/issuer"
)

// settings say which exchange, as whom, and where. A context is settings with
// a name. A token stands in a file of its own, never here.
type settings struct {
	Name      string `json:"name,omitempty"`
	URL       string `json:"url,omitempty"`
	TokenFile string `json:"tokenFile,omitempty"`
	CA        string `json:"ca,omitempty"`
	Tenant    string `json:"tenant,omitempty"`
	Region    string `json:"region,omitempty"`
	Workspace string `json:"workspace,omitempty"`
}

// over fills what s leaves open from t.
func (s settings) over(t settings) settings {
	for _, f := range []struct {
		to   *string
		from string
	}{{&s.URL, t.URL}, {&s.TokenFile, t.TokenFile}, {&s.CA, t.CA}, {&s.Tenant, t.Tenant}, {&s.Region, t.Region}, {&s.Workspace, t.Workspace}} {
		if *f.to == "" {
			*f.to = f.from
		}
	}
	return s
}

func (a *app) environmentSettings() settings {
	return settings{
		URL: a.env["KONTOR_URL"], TokenFile: a.env["KONTOR_TOKEN_FILE"], CA: a.env["KONTOR_CA"],
		Tenant: a.env["KONTOR_TENANT"], Region: a.env["KONTOR_REGION"], Workspace: a.env["KONTOR_WORKSPACE"],
	}
}

// resolve settles flag over environment over context.
func (a *app) resolve() (*settings, error) {
	if a.settings != nil {
		return a.settings, nil
	}
	named := a.context
	if named == "" {
		named = a.env["KONTOR_CONTEXT"]
	}
	file, err := a.readContexts()
	if err != nil {
		return nil, err
	}
	s := a.flags.over(a.environmentSettings())
	if named == "" {
		named = file.Current
	}
	if named != "" {
		c := file.find(named)
		if c == nil {
			return nil, usagef("there is no context %q%s", named, fault.DidYouMean(named, file.names()))
		}
		s = s.over(*c)
	}
	a.settings = &s
	return a.settings, nil
}

// connect makes the client of this run.
func (a *app) connect() (*client.Client, error) {
	if a.client != nil {
		return a.client, nil
	}
	s, err := a.resolve()
	if err != nil {
		return nil, err
	}
	if s.URL == "" {
		return nil, usagef("no exchange is named: give --url, set KONTOR_URL, or make a context with `kontor context set NAME --url URL --token-file FILE`")
	}
	transport, err := transport(s.CA)
	if err != nil {
		return nil, err
	}
	token, err := a.token(s, transport)
	if err != nil {
		return nil, err
	}
	a.client, err = client.New(s.URL, token, client.Options{Transport: transport, Agent: "kontor/" + version()})
	return a.client, err
}

// token reads the secret, and renews that of a login. KONTOR_TOKEN holds it itself, for machines without a
// place for files; there is no flag, as the argument list is public.
func (a *app) token(s *settings, asks http.RoundTripper) (string, error) {
	if a.flags.TokenFile == "" && a.env["KONTOR_TOKEN_FILE"] == "" && a.env["KONTOR_TOKEN"] != "" {
		return a.env["KONTOR_TOKEN"], nil
	}
	if s.TokenFile == "" {
		return "", nil
	}
	b, err := os.ReadFile(s.TokenFile)
	if err != nil {
		return "", fault.Invalid.Errorf("read token: %w", err)
	}
	if i, err := os.Stat(s.TokenFile); err == nil && i.Mode().Perm()&0o077 != 0 && i.Mode().IsRegular() {
		fmt.Fprintf(a.stderr, "kontor: warning: others can read the token in %s; chmod 600 it\n", s.TokenFile)
	}
	if isSession(b) {
		return fresh(context.Background(), s.TokenFile, issuer.Over(asks)) // bounded by its client
	}
	return strings.TrimSpace(string(b)), nil
}

// tokenSource names where the token came from, for messages; "" if there is none.
func (a *app) tokenSource() string {
	switch {
	case a.flags.TokenFile == "" && a.env["KONTOR_TOKEN_FILE"] == "" && a.env["KONTOR_TOKEN"] != "":
		return "KONTOR_TOKEN"
	case a.settings != nil:
		return a.settings.TokenFile
	}
	return ""
}

// transport trusts the system's authorities, and those in the file ca, if any.
func transport(ca string) (http.RoundTripper, error) {
	t := http.DefaultTransport.(*http.Transport).Clone()
	if ca == "" {
		return t, nil
	}
	pem, err := os.ReadFile(ca)
	if err != nil {
		return nil, fault.Invalid.Errorf("read certificate authorities: %w", err)
	}
	roots, err := x509.SystemCertPool()
	if err != nil {
		roots = x509.NewCertPool()
	}
	if !roots.AppendCertsFromPEM(pem) {
		return nil, fault.Invalid.Errorf("%s holds no certificate in PEM", ca)
	}
	t.TLSClientConfig = &tls.Config{RootCAs: roots, MinVersion: tls.VersionTLS12}
	return t, nil
}
