package iptables

import (
	"fmt"
	"runtime"
	"strings"
	"unicode"
	"unicode/utf8"

	"github.com/bpfwall/bpfwall/ruleset"
)

// builtins are the built-in chains of each table.
var builtins = map[string][]string{
	"filter":   {"INPUT", "FORWARD", "OUTPUT"},
	"nat":      {"PREROUTING", "INPUT", "OUTPUT", "POSTROUTING"},
	"mangle":   {"PREROUTING", "INPUT", "FORWARD", "OUTPUT", "POSTROUTING"},
	"raw":      {"PREROUTING", "OUTPUT"},
	"security": {"INPUT", "FORWARD", "OUTPUT"},
}

// parser reads a file line by line. A line with a problem is reported and left out, and reading goes on.
type parser struct {
	file    *file
	open    *table // the table whose COMMIT has not come yet
	errs    ruleset.ErrorList
	workers []lineParser
}

// parse reads a file in the form of iptables-save.
func parse(s Source) (*file, ruleset.ErrorList) {
	lines := strings.Split(string(s.Text), "\n")
	p := &parser{file: &file{name: s.Name, family: s.Family}, workers: make([]lineParser, runtime.GOMAXPROCS(0))}
	if s.Family == ruleset.FamilyAny {
		p.file.family = detect(lines)
	}
	for i := 0; i < len(lines); {
		if n := appended(lines[i:]); p.open != nil && n > 0 {
			p.appendRules(lines[i:i+n], i+1)
			i += n
			continue
		}
		p.note(p.line(lines[i], p.at(i+1, lines[i])))
		i++
	}
	if p.open != nil {
		p.errs.Add(p.open.pos, "table %q: COMMIT is missing", p.open.name).Help = "end the table with a line COMMIT; the file may have been cut short"
	}
	return p.file, p.errs
}

// at is the place of a whole line.
func (p *parser) at(number int, line string) ruleset.Pos {
	return ruleset.Pos{File: p.file.name, Line: number, Col: 1, Len: len(line)}
}

func (p *parser) note(err *ruleset.Error) {
	if err != nil {
		p.errs = append(p.errs, err)
	}
}

// line reads one line.
func (p *parser) line(line string, pos ruleset.Pos) *ruleset.Error {
	switch {
	case line == "":
		return nil
	case line[0] == '#':
		return omission(line, pos)
	case strings.HasSuffix(line, "\r"):
		return fail(column(pos, len(line)-1, 1), `convert the file, for example with sed -i 's/\r$//'`, "line: ends in CR LF")
	case p.open == nil && line[0] == '*':
		return p.tableLine(line, pos)
	case p.open == nil:
		return fail(pos, "put it between a line *filter and a line COMMIT", "line %q: outside of a table", clip(line))
	case line == "COMMIT":
		p.errs = append(p.errs, checkTable(p.open)...)
		p.open = nil
		return nil
	case line[0] == ':':
		return p.chainLine(line, pos)
	}
	return p.commandLine(line, pos)
}

// omission is an error for the comment that iptables-save of nf_tables leaves in the place of a table whose rules it cannot print: rules
// of this host are not in the file.
func omission(comment string, pos ruleset.Pos) *ruleset.Error {
	name, found := strings.CutSuffix(comment, "' is incompatible, use 'nft' tool.")
	if name, ok := strings.CutPrefix(name, "# Table `"); ok && found {
		return fail(pos, "take this line out to go on with the other tables alone",
			"table %q: its rules are not in the file: nft made them, and iptables-save cannot print them", name)
	}
	return nil
}

// clip shortens text that is quoted in a message.
func clip(s string) string {
	if len(s) > 60 {
		return s[:60] + "…"
	}
	return s
}

// tableLine reads `*name`. A table that came before is forgotten, as iptables-restore flushes it.
func (p *parser) tableLine(line string, pos ruleset.Pos) *ruleset.Error {
	name, at, _ := word(line[1:])
	names, ok := builtins[name]
	if !ok {
		return fail(column(pos, at+1, len(name)), "name filter, nat, mangle, raw or security", "table %q: unknown", name)
	}
	t := &table{name: name, byName: map[string]*chain{}, pos: pos}
	for _, n := range names {
		t.addChain(&chain{name: n, policy: ruleset.Accept, pos: pos})
	}
	p.open = t
	for i, old := range p.file.tables {
		if old.name == name {
			p.file.notes = append(p.file.notes, fmt.Sprintf("%s: the table %s of line %d is replaced by this one, as iptables-restore does", pos, name, old.pos.Line))
			p.file.tables[i] = t
			return nil
		}
	}
	p.file.tables = append(p.file.tables, t)
	return nil
}

// chainLine reads `:NAME POLICY [packets:bytes]`.
func (p *parser) chainLine(line string, pos ruleset.Pos) *ruleset.Error {
	name, at, rest := word(line[1:])
	pos = column(pos, at+1, len(name))
	if bad, help := badChainName(name); bad != "" {
		return fail(pos, help, "chain %q: %s", name, bad)
	}
	policy, at, _ := word(rest)
	policyPos := column(pos, len(name)+at, len(policy))
	if policy == "" {
		return fail(policyPos, "write - for a user chain, ACCEPT or DROP for a built-in one", "chain %q: no policy", name)
	}
	c := p.open.chain(name)
	if c == nil {
		p.open.addChain(&chain{name: name, pos: pos})
		return nil
	}
	if !c.builtin() {
		return nil
	}
	c.pos = pos
	return c.setPolicy(policy, policyPos)
}

// setPolicy changes the policy of a built-in chain; - leaves it as it is.
func (ch *chain) setPolicy(policy string, pos ruleset.Pos) *ruleset.Error {
	switch policy {
	case "-":
	case "ACCEPT":
		ch.policy = ruleset.Accept
	case "DROP":
		ch.policy = ruleset.Drop
	default:
		return fail(pos, "write ACCEPT or DROP", "policy %q of %s: neither ACCEPT nor DROP", policy, ch.name)
	}
	return nil
}

func badChainName(name string) (bad, help string) {
	switch _, isTarget := standard(name); {
	case name == "":
		return "the name is empty", "name it"
	case !printable(name):
		return "the name has control characters or is not UTF-8", "rename it"
	case len(name) > maxChainName:
		return "the name is longer than " + itoa(maxChainName) + " bytes", "shorten it"
	case name[0] == '-' || name[0] == '!':
		return "the name starts with " + quote(name[:1]), "rename it"
	case isTarget || name == "QUEUE":
		return "the name is that of a target", "rename it"
	}
	return "", ""
}

// printable reports whether listings can show a name as it is.
func printable(name string) bool {
	return utf8.ValidString(name) && !strings.ContainsFunc(name, unicode.IsControl)
}

// commandLine reads a command such as -A and carries it out.
func (p *parser) commandLine(line string, pos ruleset.Pos) *ruleset.Error {
	l := &p.workers[0]
	l.family, l.table = p.file.family, p.open
	if err := l.read(line, pos); err != nil || l.ignored {
		return err
	}
	return p.open.execute(l.cmd, l.rule)
}

// read reads a command without carrying it out.
func (l *lineParser) read(line string, pos ruleset.Pos) *ruleset.Error {
	skip := 0
	if line[0] == '[' {
		end := strings.IndexByte(line, ']')
		if end < 0 || !strings.Contains(line[:end], ":") {
			return fail(column(pos, 0, 1), "write [packets:bytes] or nothing", "counters: not closed, or without the colon")
		}
		skip = end + 1
	}
	written := strings.TrimSpace(line[skip:])
	l.begin(written, column(pos, strings.Index(line[skip:], written)+skip, len(written)))
	if err := checkArguments(l.toks); err != nil {
		return err
	}
	return l.parse()
}

func checkArguments(toks []token) *ruleset.Error {
	for i, t := range toks {
		switch {
		case len(t.text) > maxArgument:
			return fail(t.pos, "shorten it", "argument: longer than %d bytes", maxArgument)
		case i >= maxArguments:
			return fail(t.pos, "split the rule", "line: more than %d arguments", maxArguments)
		}
	}
	return nil
}
