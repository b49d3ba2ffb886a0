package issuer

import (
	"testing"

	"github.com/kontor-cloud/kontor/fault"
)

func TestConfigIsChecked(t *testing.T) {
	good := Config{Name: "a", Issuer: home, Audience: "x"}
	for pointer, change := range map[string]func(*Config){
		"/oidc/0/name":         func(c *Config) { c.Name = "A b" },
		"/oidc/0/issuer":       func(c *Config) { c.Issuer = "http://login.example" },
		"/oidc/0/audience":     func(c *Config) { c.Audience = "" },
		"/oidc/0/tokens":       func(c *Config) { c.Tokens = "both" },
		"/oidc/0/algorithms/0": func(c *Config) { c.Algorithms = []string{"HS256"} },
		"/oidc/0/groupsClaim":  func(c *Config) { c.OperatorsGroup = "staff" },
		"/oidc/0/ca":           func(c *Config) { c.CA = "nowhere" },
	} {
		c := good
		change(&c)
		_, err := Open([]Config{c})
		if fault.KindOf(err) != fault.Invalid || len(fault.SourcesOf(err)) != 1 || fault.SourcesOf(err)[0].Pointer != pointer {
			t.Errorf("%s: %v %v", pointer, err, fault.SourcesOf(err))
		}
	}
	if _, err := Open([]Config{good, good}); fault.KindOf(err) != fault.Invalid {
		t.Errorf("twice the same: %v", err)
	}
	for u, want := range map[string]bool{"https://a/b": true, "http://127.0.0.1:1/x": true, "http://localhost": true, "http://[::1]:5": true, "http://127.0.0.1.evil.example": false, "https://a/?b": false, "https://u:p@a": false, "ftp://a": false, "": false} {
		if (CheckURL(u) == nil) != want {
			t.Errorf("%q: %v", u, CheckURL(u))
		}
	}
}
