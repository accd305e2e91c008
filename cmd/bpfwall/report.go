package main

import (
	"errors"
	"fmt"
	"io"
	"strings"

	"github.com/bpfwall/bpfwall/input"
	"github.com/bpfwall/bpfwall/ruleset"
)

// problem is a ruleset.Error in JSON.
type problem struct {
	ruleset.Pos
	Message string `json:"message"`
	Hint    string `json:"hint,omitempty"`
	Help    string `json:"help,omitempty"`
}

// failure is the JSON answer of a verb that failed.
type failure struct {
	schema
	Error    string    `json:"error"`
	Help     string    `json:"help,omitempty"`
	Exit     int       `json:"exit"`
	Problems []problem `json:"problems,omitempty"`
}

// report prints why the verb failed: problems in files with the lines they are in, anything else on one line.
func (a *app) report(verb string, err error) {
	list, help := problems(err), helpFor(err)
	var coded *codeError
	if errors.As(err, &coded) && coded.said {
		return
	}
	if a.json {
		f := failure{schema: schemaOf(verb), Error: err.Error(), Help: help, Exit: code(err)}
		f.Problems = problemsOf(list)
		_ = a.emit(f, nil)
		return
	}
	r := a.renderer()
	for _, p := range list {
		r.problem(r.paint.error("error:"), p)
	}
	if len(list) == 0 || isIncomplete(err) {
		fmt.Fprintf(a.stderr, "%s %s\n", r.paint.error("error:"), escape(err.Error()))
	}
	if help != "" {
		fmt.Fprintf(a.stderr, "  = help: %s\n", help)
	}
}

func (a *app) renderer() renderer {
	return renderer{w: a.stderr, sources: a.sources, paint: paint(a.colours(a.color, 2))}
}

// warnings prints what is allowed and probably not meant.
func (a *app) warnings(list ruleset.ErrorList) {
	if a.quiet || a.json {
		return
	}
	r := a.renderer()
	for _, p := range list {
		r.problem(r.paint.warning("warning:"), p)
	}
}

func problemsOf(list []*ruleset.Error) []problem {
	out := []problem{}
	for _, p := range list {
		out = append(out, problem{p.Pos, p.Msg, p.Hint, p.Help})
	}
	return out
}

// problems are the positioned errors inside err.
func problems(err error) []*ruleset.Error {
	var incomplete *input.IncompleteError
	if errors.As(err, &incomplete) {
		return incomplete.Lost()
	}
	var list ruleset.ErrorList
	if errors.As(err, &list) {
		return list
	}
	var one *ruleset.Error
	if errors.As(err, &one) {
		return []*ruleset.Error{one}
	}
	return nil
}

func isIncomplete(err error) bool {
	var incomplete *input.IncompleteError
	return errors.As(err, &incomplete)
}

// paint colours words, or does not.
type paint bool

func (p paint) wrap(sgr, s string) string {
	if !p || s == "" {
		return s
	}
	return "\x1b[" + sgr + "m" + s + "\x1b[0m"
}

func (p paint) error(s string) string   { return p.wrap("1;31", s) }
func (p paint) warning(s string) string { return p.wrap("1;33", s) }
func (p paint) dim(s string) string     { return p.wrap("2", s) }
func (p paint) bold(s string) string    { return p.wrap("1", s) }

// verdict colours a verdict's name: allow green, drop red, reject yellow.
func (p paint) verdict(s string) string {
	sgr := map[string]string{"ALLOW": "32", "ACCEPT": "32", "DROP": "31", "REJECT": "33"}[strings.ToUpper(strings.TrimSpace(s))]
	if sgr == "" {
		return s
	}
	return p.wrap(sgr, s)
}

// renderer prints problems the GNU way, then the source line with a caret below what is wrong.
type renderer struct {
	w       io.Writer
	sources map[string][]byte
	paint   paint
}

func (r renderer) problem(kind string, e *ruleset.Error) {
	where := e.Pos.String()
	if where != "" {
		where = r.paint.bold(escape(where)) + ": "
	}
	fmt.Fprintf(r.w, "%s%s %s\n", where, kind, escape(e.Msg))
	gutter := r.excerpt(e)
	if e.Help != "" {
		fmt.Fprintf(r.w, "%s= help: %s\n", gutter, escape(e.Help))
	}
}

// excerpt prints the line of the problem and returns the indent of what follows below it.
func (r renderer) excerpt(e *ruleset.Error) string {
	line, ok := sourceLine(r.sources[e.Pos.File], e.Pos.Line)
	if !ok {
		if e.Hint != "" {
			fmt.Fprintf(r.w, "   = %s\n", escape(e.Hint))
		}
		return "   "
	}
	number := fmt.Sprintf(" %d ", e.Pos.Line)
	blank := strings.Repeat(" ", len(number))
	shown, caret := mark(line, e.Pos.Col, e.Pos.Len)
	fmt.Fprintf(r.w, "%s\n%s %s\n", r.paint.dim(blank+"|"), r.paint.dim(number+"|"), shown)
	if caret != "" || e.Hint != "" {
		fmt.Fprintf(r.w, "%s %s\n", r.paint.dim(blank+"|"), strings.TrimRight(r.paint.error(caret)+" "+escape(e.Hint), " "))
	}
	return blank[:len(blank)-1]
}
