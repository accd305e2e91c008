package iptables

import (
	"fmt"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// command is what a line asks for: the letter of the option that says so, and what it is about.
type command struct {
	verb  byte
	pos   ruleset.Pos
	chain token
	other token // the new name of -E, the policy of -P
	num   int   // rule number, 0 if none is given
}

// lineParser reads one command line as getopt_long and iptables do: in order, options being known from the extension that
// brings them on. It stops at the first problem.
type lineParser struct {
	family ruleset.Family
	table  *table
	line   // the one at hand

	context context // of the argument at hand
	rules   slab[rule]
	modules slab[module]
	uses    slab[use]
	jumps   slab[use] // which are asked for longer than the others
}

// line is what is known of a command line so far.
type line struct {
	toks []token
	next int

	cmd     command
	rule    *rule
	loaded  []*module
	args    []token       // of the option at hand
	seen    ['z' + 1]bool // iptables' own options, by letter
	not     *token        // a ! that waits for its option
	proto   string        // name of the protocol of -p, by which its extension is found
	byProto bool          // the protocol's extension has been loaded without -m
	ignored bool          // a line for the other family
}

// begin makes ready for a line.
func (l *lineParser) begin(text string, pos ruleset.Pos) {
	l.line = line{toks: scanLine(l.toks[:0], text, pos), loaded: l.loaded[:0], args: l.args[:0], rule: l.rules.one()}
	l.rule.pos, l.rule.text = pos, text
}

func fail(pos ruleset.Pos, help, format string, args ...any) *ruleset.Error {
	return &ruleset.Error{Pos: pos, Msg: fmt.Sprintf(format, args...), Help: help}
}

func (l *lineParser) parse() *ruleset.Error {
	for l.next < len(l.toks) && !l.ignored {
		t := &l.toks[l.next]
		l.next++
		if t.text == "!" {
			if l.not != nil {
				return fail(t.pos, "write one", "!: two in a row")
			}
			l.not = t
			continue
		}
		if err := l.option(*t); err != nil {
			return err
		}
		l.not = nil
	}
	if l.ignored {
		return nil
	}
	return l.finish()
}

// option reads the option that starts at t.
func (l *lineParser) option(t token) *ruleset.Error {
	switch {
	case t.text == "--" && l.next < len(l.toks):
		return fail(t.pos, "take the -- out", "--: arguments without an option follow")
	case t.text == "--":
		return nil
	case strings.HasPrefix(t.text, "--"):
		return l.longOption(t)
	case len(t.text) > 1 && t.text[0] == '-':
		return l.shortOptions(t)
	}
	return fail(t.pos, "quote an argument that has blanks in it", "argument %q: belongs to no option", t.text)
}

func (l *lineParser) longOption(t token) *ruleset.Error {
	name, attached, has := strings.Cut(t.text[2:], "=")
	f, candidates := l.long(name)
	if (f == found{}) && l.loadProtocol() {
		f, candidates = l.long(name)
	}
	switch {
	case f == found{} && candidates != nil:
		return fail(t.pos, "write it out", "option %q: could be %s", "--"+name, join(candidates))
	case f == found{} || has && f.args == 0:
		return l.unknown(t, "--"+name)
	}
	if !has {
		return l.apply(f, t, nil)
	}
	return l.apply(f, t, &token{attached, column(t.pos, len(name)+3, len(attached))})
}

// shortOptions reads one-letter options, several of which may share a dash; the rest of t is the argument of one that takes one.
func (l *lineParser) shortOptions(t token) *ruleset.Error {
	for i := 1; i < len(t.text); i++ {
		f, ok := short(t.text[i])
		if !ok {
			return l.unknown(t, "-"+t.text[i:i+1])
		}
		if rest := t.text[i+1:]; f.args != 0 && rest != "" {
			return l.apply(f, t, &token{rest, column(t.pos, i+1, len(rest))})
		}
		if err := l.apply(f, t, nil); err != nil {
			return err
		}
	}
	return nil
}

// loadProtocol brings on the extension of the protocol of -p, once.
func (l *lineParser) loadProtocol() bool {
	ext := findMatch(l.proto, l.family)
	if l.proto == "" || l.byProto || ext == nil {
		return false
	}
	l.byProto = true
	l.load(ext, l.rule.proto.pos)
	return true
}

func (l *lineParser) load(ext *extension, pos ruleset.Pos) *module {
	m := l.modules.one()
	m.ext, m.pos = ext, pos
	l.loaded = append(l.loaded, m)
	return m
}

// unknown names the option and, where there are any, the option and the extension that may have been meant.
func (l *lineParser) unknown(t token, name string) *ruleset.Error {
	err := fail(t.pos, "correct the option, or take the line out", "option %q: unknown", name)
	long := strings.TrimPrefix(name, "--")
	if near := l.nearest(long); near != "" {
		err.Hint = fmt.Sprintf("did you mean %q?", "--"+near)
	}
	if owner := l.owner(long); owner != nil {
		err.Help = "it belongs to " + owner.use() + ", which must come before it"
	}
	return err
}

// owner is the extension that has an option, nil if none has.
func (l *lineParser) owner(name string) *extension {
	for _, table := range [][]extension{matches, targets, knownMatches, knownTargets} {
		for i, e := range table {
			for _, o := range e.options {
				if (e.family == ruleset.FamilyAny || e.family == l.family) && containsName(o.names, name) {
					return &table[i]
				}
			}
		}
	}
	return nil
}

// use is how an extension is brought on.
func (e *extension) use() string {
	name, _, _ := strings.Cut(e.name, "|")
	switch {
	case name == strings.ToUpper(name):
		return "-j " + name
	case e.proto != 0:
		return "-p " + name
	}
	return "-m " + name
}

// containsName reports whether a name is one of names, which | separates.
func containsName(names, name string) bool {
	for {
		first, rest, more := strings.Cut(names, "|")
		if first == name {
			return true
		}
		if !more {
			return false
		}
		names = rest
	}
}

// apply gives an option its arguments: attached, or the ones that follow.
func (l *lineParser) apply(f found, t token, attached *token) *ruleset.Error {
	if f.args == optionalArg && f.short == 0 && attached == nil {
		attached = &token{"", t.pos}
	}
	args := l.args[:0]
	if attached != nil {
		args = append(args, *attached)
	}
	for len(args) < f.args {
		if l.next == len(l.toks) || len(args) == 1 && isOption(l.toks[l.next].text) {
			return fail(t.pos, "give it", "option %q: an argument is missing", t.text)
		}
		args = append(args, l.toks[l.next])
		l.next++
		if l.isOldNegation(f, args) {
			l.not, args, l.rule.old = &l.toks[l.next-1], args[:0], true
		}
	}
	l.args = args
	if f.short != 0 {
		return l.base(f, t, args)
	}
	return l.extensionOption(f, t, args)
}

func isOption(s string) bool { return s == "" || s[0] == '-' || s[0] == '!' }

// isOldNegation reports whether an option is followed by a ! of its own, as old versions of iptables wrote negation.
func (l *lineParser) isOldNegation(f found, args []token) bool {
	negatable := f.opt != nil && f.opt.flags&inv != 0 || strings.IndexByte("sdpio", f.short) >= 0 && f.short != 0
	return negatable && len(args) == 1 && args[0].text == "!" && l.not == nil && l.next < len(l.toks) && !isOption(l.toks[l.next].text)
}

// extensionOption reads an option of a match or target extension.
func (l *lineParser) extensionOption(f found, t token, args []token) *ruleset.Error {
	u := l.uses.one()
	u.opt, u.not, u.pos, u.arg = f.opt, l.not != nil, t.pos, t.pos
	if u.not && f.opt.flags&inv == 0 {
		return fail(l.not.pos, "take the ! away", "option %q: cannot be negated", t.text)
	}
	for _, other := range f.mod.uses {
		if other.opt == f.opt && f.opt.flags&many == 0 {
			return fail(t.pos, "give it once", "option %q: given twice", t.text)
		}
		if f.opt.group != 0 && other.opt.group == f.opt.group {
			return fail(t.pos, "use one of them", "option %q: cannot be used with --%s", t.text, other.opt.name())
		}
	}
	f.mod.uses = append(f.mod.uses, u)
	var arg string
	if len(args) > 0 {
		arg, u.arg = args[0].text, args[0].pos
		for _, a := range args[1:] {
			arg += " " + a.text
			u.arg.Len = a.pos.Col + a.pos.Len - u.arg.Col
		}
	}
	if f.opt.kind.parse == nil {
		return nil
	}
	l.context = context{l.family, l.serviceProtocol()}
	v, bad := f.opt.kind.parse(&l.context, arg)
	u.val = v
	if bad != "" {
		return fail(u.arg, "correct the value, or take the line out", "%s %q: %s", t.text, clip(arg), bad)
	}
	return nil
}

// serviceProtocol is the protocol by which service names are looked up.
func (l *lineParser) serviceProtocol() string {
	if l.rule.proto == nil {
		return ""
	}
	return protocolOf(uint8(l.rule.proto.val.num))
}
