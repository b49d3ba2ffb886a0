package main

import (
	"bytes"
	"fmt"
	"net/http"
	"strings"
	"testing"
	"time"

	"github.com/kontor-cloud/kontor/issuer"
	"github.com/kontor-cloud/kontor/tenant"
)

// givers runs issuers, and gives what an exchange trusts them by.
func givers(t *testing.T, names ...string) (all []*giver, trusted []issuer.Config) {
	t.Helper()
	for _, name := range names {
		g, err := newGiver()
		must(t, err)
		t.Cleanup(g.Close)
		all = append(all, g)
		trusted = append(trusted, issuer.Config{Name: name, Issuer: g.URL, Audience: "kontor", ClientID: "cli", CreateAccounts: true})
	}
	return all, trusted
}

// who asks an exchange whom it takes a token for; "" if for nobody.
func who(t *testing.T, x *exchange, token string) string {
	t.Helper()
	var out, errs bytes.Buffer
	env := map[string]string{"KONTOR_URL": x.publicURL(), "KONTOR_TOKEN": token, "HOME": t.TempDir()}
	if run(t.Context(), []string{"whoami", "-o", "json"}, env, strings.NewReader(""), &out, &errs) != 0 {
		return ""
	}
	_, after, _ := strings.Cut(out.String(), `"subject": "`)
	subject, _, _ := strings.Cut(after, `"`)
	return subject
}

// TestTwoIssuers has people of two issuers at one exchange, of whom both call somebody alice; and one of the
// issuers changes its key, while the exchange runs.
func TestTwoIssuers(t *testing.T) {
	t.Parallel()
	c := defaultExchange()
	c.Data, c.Agents, c.Listen[0].Address = shortDir(t), "127.0.0.1:0", "127.0.0.1:0"
	all, trusted := givers(t, "home", "away")
	c.OIDC = trusted
	x := serving(t, c)

	var out, errs bytes.Buffer
	env := map[string]string{"KONTOR_URL": x.publicURL(), "HOME": t.TempDir()}
	if code := run(t.Context(), []string{"login"}, env, strings.NewReader(""), &out, &errs); code != 2 || !strings.Contains(errs.String(), "say --issuer, one of [away home]") {
		t.Errorf("login: %d, %s", code, errs.String())
	}
	for i, name := range []string{"home", "away"} {
		raw, err := all[i].issue()
		must(t, err)
		if got := who(t, x, raw); got != name+":alice" {
			t.Errorf("the token of %s is for %q", name, got)
		}
		out.Reset()
		if code := run(t.Context(), []string{"login", "--issuer", name}, env, strings.NewReader(""), &out, &errs); code != 0 || !strings.HasPrefix(out.String(), "logged in as "+name+":alice") {
			t.Errorf("login at %s: %d, %s%s", name, code, out.String(), errs.String())
		}
	}

	must(t, all[0].rotate())
	began := time.Now()
	for got := ""; got != "home:alice"; time.Sleep(200 * time.Millisecond) {
		raw, err := all[0].issue()
		must(t, err)
		if got = who(t, x, raw); time.Since(began) > 30*time.Second {
			t.Fatal("tokens by the new key are not taken after half a minute")
		}
	}
	raw, err := all[1].issue()
	must(t, err)
	if who(t, x, raw) != "away:alice" {
		t.Error("the other issuer is not known any more")
	}
}

// TestDeviceLogins go on when an issuer asks to be asked less often, and end with its word when it refuses.
func TestDeviceLogins(t *testing.T) {
	t.Parallel()
	for name, c := range map[string]struct {
		says    []string
		wants   string // in the error; none if empty
		atLeast time.Duration
	}{
		"refused in the browser": {says: []string{"access_denied"}, wants: "access_denied"},
		"too late":               {says: []string{"authorization_pending", "expired_token"}, wants: "expired_token"},
		"no such client":         {says: []string{"invalid_client"}, wants: "invalid_client"},
		"asked too often":        {says: []string{"slow_down"}, atLeast: 7 * time.Second}, // 1 s, and 5 s more (RFC 8628, 3.5)
	} {
		t.Run(name, func(t *testing.T) {
			t.Parallel()
			all, trusted := givers(t, "home")
			all[0].looks, all[0].says = 1, c.says
			a := &app{stderr: new(bytes.Buffer)}
			began := time.Now()
			s, err := a.approve(t.Context(), tenant.Login{Name: "home", Issuer: trusted[0].Issuer, ClientID: "cli"}, issuer.Over(http.DefaultTransport))
			if (err == nil) != (c.wants == "") || err != nil && !strings.Contains(fmt.Sprint(err), c.wants) {
				t.Errorf("%+v, %v", s, err)
			}
			if took := time.Since(began); took < c.atLeast {
				t.Errorf("it took %s, and must take %s", took, c.atLeast)
			}
		})
	}
}
