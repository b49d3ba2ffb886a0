package main

import (
	"fmt"
	"io"
	"os"

	"golang.org/x/term"
)

// Progress tells what is being waited for: on a terminal in one line that is
// written anew, elsewhere in a line for each change. It goes to standard error,
// and says nothing when the output is for programs.
type progress struct {
	w      io.Writer
	tty    bool
	silent bool
	last   string
}

func (a *app) progress() *progress {
	return &progress{w: a.stderr, tty: isTerminal(a.stderr), silent: a.structured()}
}

func isTerminal(stream any) bool {
	f, ok := stream.(*os.File)
	return ok && term.IsTerminal(int(f.Fd()))
}

const eraseLine = "\r\x1b[K"

// say shows what goes on. Detail changes often and is for terminals alone.
func (p *progress) say(text, detail string) {
	switch {
	case p.silent:
	case p.tty:
		fmt.Fprint(p.w, eraseLine+clean(text+detail))
	case text != p.last:
		fmt.Fprintln(p.w, clean(text))
	}
	p.last = text
}

// clear makes room for other output.
func (p *progress) clear() {
	if p.tty && !p.silent && p.last != "" {
		fmt.Fprint(p.w, eraseLine)
	}
	p.last = ""
}
