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
	width  int // of the terminal; 0 if unknown
	silent bool
	last   string
}

func (a *app) progress() *progress {
	p := &progress{w: a.stderr, tty: isTerminal(a.stderr), silent: a.structured()}
	if f, ok := a.stderr.(*os.File); ok && p.tty {
		p.width, _, _ = term.GetSize(int(f.Fd())) // unknown is 0
	}
	return p
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
		fmt.Fprint(p.w, eraseLine+p.cut(clean(text+detail)))
	case text != p.last:
		fmt.Fprintln(p.w, clean(text))
	}
	p.last = text
}

// cut keeps the line from wrapping, as it could not be erased then.
func (p *progress) cut(line string) string {
	letters := []rune(line)
	if p.width > 1 && len(letters) >= p.width {
		return string(letters[:p.width-2]) + "…"
	}
	return line
}

// clear makes room for other output.
func (p *progress) clear() {
	if p.tty && !p.silent && p.last != "" {
		fmt.Fprint(p.w, eraseLine)
	}
	p.last = ""
}
