package main

import (
	"fmt"
	"io"
	"time"
)

// What takes less than patience is not worth a word; after it the line is written anew every redraw.
const patience, redraw = 400 * time.Millisecond, 100 * time.Millisecond

// longest is how many characters of the line fit on every terminal, besides the time.
const longest = 66

// eraseLine goes to the start of the terminal's line and empties it.
const eraseLine = "\r\x1b[K"

// progress is a line on a terminal that says what takes so long. A nil one says nothing.
type progress struct {
	w     io.Writer
	title string
	begun time.Time
	part  chan string // of the work, that is begun
	over  chan struct{}
}

// waiting begins to tell a person at a terminal that something takes its time. The function that it returns takes the line away, and must be
// called before anything else is written there.
func (a *app) waiting(format string, args ...any) (end func()) {
	if a.terminal[2] && !a.quiet && !a.json && a.getenv("TERM") != "dumb" {
		a.progress = newProgress(a.stderr, escape(fmt.Sprintf(format, args...)), patience)
	}
	return func() {
		a.progress.end()
		a.progress = nil
	}
}

func newProgress(w io.Writer, title string, wait time.Duration) *progress {
	p := &progress{w: w, title: title, begun: time.Now(), part: make(chan string), over: make(chan struct{})}
	go p.tell(wait)
	return p
}

// step is told of every step of a change.
func (a *app) step(name string, number, of int) {
	if a.progress != nil {
		a.progress.part <- fmt.Sprintf(": %s (%d of %d)", name, number, of)
	}
}

func (p *progress) end() {
	if p != nil {
		close(p.part)
		<-p.over
	}
}

// tell writes the line, after a while and then again and again, until the work is done.
func (p *progress) tell(wait time.Duration) {
	defer close(p.over)
	next := time.NewTimer(wait)
	part, shown := "", false
	for {
		select {
		case begun, more := <-p.part:
			switch {
			case more:
				part = begun
				continue
			case shown:
				io.WriteString(p.w, eraseLine)
			}
			return
		case <-next.C:
			fmt.Fprintf(p.w, "%s%.*s … %.1f s", eraseLine, longest, p.title+part, time.Since(p.begun).Seconds())
			shown = true
			next.Reset(redraw)
		}
	}
}
