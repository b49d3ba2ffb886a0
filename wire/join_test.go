package wire

import (
	"strings"
	"testing"
)

func TestJoinTokenComesBack(t *testing.T) {
	in := JoinToken{URL: "https://exchange.example:7443", Token: "secret", CASHA256: strings.Repeat("ab", 32)}
	out, err := DecodeJoinToken(in.Encode())
	if err != nil || out != in {
		t.Errorf("got %+v, %v", out, err)
	}
}

func TestJoinTokenThatIsCutIsRefused(t *testing.T) {
	whole := JoinToken{URL: "https://exchange.example:7443", Token: "secret", CASHA256: strings.Repeat("ab", 32)}
	for name, text := range map[string]string{
		"half":     whole.Encode()[:40],
		"http":     JoinToken{URL: "http://exchange.example", Token: "s", CASHA256: whole.CASHA256}.Encode(),
		"no pin":   JoinToken{URL: whole.URL, Token: "s"}.Encode(),
		"no token": JoinToken{URL: whole.URL, CASHA256: whole.CASHA256}.Encode(),
	} {
		if _, err := DecodeJoinToken(text); err == nil {
			t.Errorf("%s: accepted", name)
		}
	}
}
