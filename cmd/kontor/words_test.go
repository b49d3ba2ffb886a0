package main

import (
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/google/go-cmp/cmp"

	"github.com/kontor-cloud/kontor/client"
	"github.com/kontor-cloud/kontor/resource"
	"github.com/kontor-cloud/kontor/seca"
)

func TestEveryKindIsFoundByEachOfItsNames(t *testing.T) {
	for _, k := range kinds() {
		for _, word := range append(k.spellings(), strings.ToUpper(k.name)) {
			if got, err := kindNamed(word); err != nil || got.name != k.name {
				t.Errorf("%s finds %s, %v; want %s", word, got.name, err, k.name)
			}
		}
	}
	for _, k := range resource.Kinds() {
		if got, err := kindNamed(k.Collection); err != nil || got.need != needOf(k) {
			t.Errorf("%s: %v", k.Collection, err)
		}
	}
}

func TestColumnsBelongToKinds(t *testing.T) {
	for name := range columnsOf {
		if name == "orphan" { // shown by `region orphans` alone
			continue
		}
		if _, err := kindNamed(name); err != nil {
			t.Error(err)
		}
	}
}

func TestMisspelledWordsAreGuessed(t *testing.T) {
	_, err := kindNamed("instnce")
	if err == nil || !strings.Contains(err.Error(), "did you mean instance") {
		t.Errorf("got %v", err)
	}
}

func TestAgeGetsCoarser(t *testing.T) {
	now := time.Now()
	for d, want := range map[time.Duration]string{
		-time.Second: "0s", 119 * time.Second: "119s", 125 * time.Second: "2m5s", 10 * time.Minute: "10m",
		179 * time.Minute: "179m", 3 * time.Hour: "3h", 47 * time.Hour: "47h", 50 * time.Hour: "2d",
	} {
		if got := age(now.Add(-d), now); got != want {
			t.Errorf("%s is shown as %s, want %s", d, got, want)
		}
	}
}

func TestGuestsCannotSteerTheTerminal(t *testing.T) {
	in := "\x1b[31mred\x1b[0m \x1b]0;title\x07 \x1b[2J\x1bc bell\a back\b tab\t line\r\nutf8 ü \u009b1m"
	if got, want := string(printable([]byte(in))), "red   bell back tab\t line\nutf8 ü 1m"; got != want {
		t.Errorf("got %q, want %q", got, want)
	}
	if got := clean("a\x1b[2Jb\nc"); got != "a [2Jb c" {
		t.Errorf("got %q", got)
	}
}

func TestFollowedConsoleShowsNothingTwice(t *testing.T) {
	for _, row := range []struct{ before, now, fresh string }{
		{"", "abc", "abc"},
		{"abc", "abc", ""},
		{"abc", "abcd", "d"},
		{"abc", "bcd", "d"},   // the tail has moved
		{"abc", "xyz", "xyz"}, // more came than the tail holds
		{"aaa", "aaab", "b"},
		{"abc", "", ""},
	} {
		if got := row.now[overlap([]byte(row.before), []byte(row.now)):]; got != row.fresh {
			t.Errorf("after %q, %q shows %q, want %q", row.before, row.now, got, row.fresh)
		}
	}
}

func TestWayInGoesByForwardsWhereThereAreSome(t *testing.T) {
	item := func(status, kontor string) client.Item {
		return client.Item{Document: seca.Document{Status: []byte(status), Kontor: []byte(kontor)}}
	}
	for name, row := range map[string]struct {
		ip   client.Item
		want string
	}{
		"address":        {item(`{"ipAddress":"198.51.100.7"}`, `{}`), "198.51.100.7:22"},
		"forward":        {item(`{"ipAddress":"198.51.100.7"}`, `{"forwards":[{"protocol":"udp","outside":"127.0.0.1:1","port":22},{"protocol":"tcp","outside":"127.0.0.1:20022","port":22}]}`), "127.0.0.1:20022"},
		"other forward":  {item(`{"ipAddress":"198.51.100.7"}`, `{"forwards":[{"protocol":"tcp","outside":"127.0.0.1:20080","port":80}]}`), ""},
		"no address yet": {item(`{}`, `null`), ""},
	} {
		at, ok := reach(row.ip, 22)
		if ok != (row.want != "") || ok && at.String() != row.want {
			t.Errorf("%s: got %s, %t; want %s", name, at, ok, row.want)
		}
	}
}

func TestSSHTakesNothingFromAfarForAnOption(t *testing.T) {
	got := sshWords(netip.MustParseAddrPort("[2001:db8::1]:22"), "root", "key", []string{"-x", "ls"})
	if d := cmp.Diff([]string{"-p", "22", "-l", "root", "-i", "key", "--", "2001:db8::1", "-x", "ls"}, got); d != "" {
		t.Error(d)
	}
}

func TestGoalsAreReadStrictly(t *testing.T) {
	for text, want := range map[string]goal{
		"state=active": {state: seca.Active}, "power=on": {state: seca.Active, power: "on"}, "deleted": {gone: true}, "state=error": {state: seca.Error},
	} {
		if got, err := parseGoal(text); err != nil || got != want {
			t.Errorf("%s: got %v, %v", text, got, err)
		}
	}
	for _, text := range []string{"", "active", "power=maybe", "state="} {
		if g, err := parseGoal(text); err == nil {
			t.Errorf("%q is taken for %v", text, g)
		}
	}
}
