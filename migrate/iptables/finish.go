package iptables

import (
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// finish checks what can only be known at the end of the line.
func (l *lineParser) finish() *ruleset.Error {
	if l.not != nil {
		return fail(l.not.pos, "take it out", "!: nothing follows it")
	}
	for _, m := range l.loaded {
		if err := l.finishModule(m); err != nil {
			return err
		}
		if m != l.rule.target {
			l.rule.matches = append(l.rule.matches, m)
		}
	}
	c := l.cmd
	switch {
	case c.verb == 0:
		return fail(l.rule.pos, "start the line with -A CHAIN, or take it out", "line: no command in it")
	case len(c.chain.text) > maxChainName:
		return fail(c.chain.pos, "shorten it", "chain %q: longer than %d bytes", c.chain.text, maxChainName)
	}
	if strings.IndexByte(ruleCommands, c.verb) < 0 || c.verb == 'D' && c.num != 0 {
		for _, o := range "sdpijogfm" {
			if l.seen[byte(o)] && !(o == 'm') {
				return fail(c.pos, "take the other options out", "option -%c: takes no rule", c.verb)
			}
		}
		return nil
	}
	return l.finishRule()
}

func (l *lineParser) finishModule(m *module) *ruleset.Error {
	for i := range m.ext.options {
		if o := &m.ext.options[i]; o.flags&must != 0 && m.get(o.name()) == nil {
			return fail(m.pos, "add --"+o.name(), "%s: --%s is missing", m.ext.use(), o.name())
		}
	}
	for _, u := range m.uses {
		if also := u.opt.also; also != "" && m.get(also) == nil {
			return fail(u.pos, "add --"+also, "%s --%s: needs --%s too", m.ext.use(), u.opt.name(), also)
		}
	}
	if missing := m.missingChoice(); missing != nil {
		return fail(m.pos, "add one of them", "%s: one of %s is needed", m.ext.use(), join(missing))
	}
	if m.ext.check != nil {
		if bad, help := m.ext.check(m, l.rule); bad != "" {
			return fail(m.pos, help, "%s: %s", m.ext.use(), bad)
		}
	}
	if m.ext.tables != "" && !containsName(m.ext.tables, l.table.name) {
		return fail(m.pos, "move the rule, or take it out", "%s: only in the table %s", m.ext.use(), strings.ReplaceAll(m.ext.tables, "|", " or "))
	}
	return l.checkProtocol(m)
}

// missingChoice lists the options of which at least one is needed, nil if one is there or none is needed.
func (m *module) missingChoice() []string {
	var names []string
	for i := range m.ext.options {
		if o := &m.ext.options[i]; o.flags&some != 0 {
			if m.get(o.name()) != nil {
				return nil
			}
			names = append(names, "--"+o.name())
		}
	}
	return names
}

// negatable are the protocols whose extensions iptables accepts after `! -p`.
var negatable = map[uint8]bool{6: true, 17: true}

// checkProtocol refuses an extension without the protocol whose headers it reads.
func (l *lineParser) checkProtocol(m *module) *ruleset.Error {
	if m.ext.proto == 0 {
		return nil
	}
	n, positive := l.rule.protocol()
	if n == uint64(m.ext.proto) && (positive || negatable[m.ext.proto]) {
		return nil
	}
	name := protocolOf(m.ext.proto)
	return fail(m.pos, "add -p "+name, "-m %s: the rule is not for protocol %s", strings.Split(m.ext.name, "|")[0], name)
}

// finishRule checks a rule against the chain it is for.
func (l *lineParser) finishRule() *ruleset.Error {
	chain, r := l.cmd.chain.text, l.rule
	switch {
	case r.out != nil && (chain == "INPUT" || chain == "PREROUTING"):
		return fail(r.out.pos, "use -i, or take the option out", "-o: packets in %s have no outgoing interface yet", chain)
	case r.in != nil && (chain == "OUTPUT" || chain == "POSTROUTING"):
		return fail(r.in.pos, "use -o, or take the option out", "-i: packets in %s have no incoming interface", chain)
	case l.table.name == "nat" && r.jump != nil && r.jump.val.text == "DROP":
		return fail(r.jump.arg, "drop in the filter table", "-j DROP: the table nat does not filter")
	case r.jump == nil || r.target != nil:
		return nil
	}
	return l.checkJump(r)
}

// standard is what a target does that is neither a chain nor an extension.
func standard(name string) (does ruleset.VerdictKind, ok bool) {
	switch name {
	case "ACCEPT":
		return ruleset.Accept, true
	case "DROP":
		return ruleset.Drop, true
	case "RETURN":
		return ruleset.Return, true
	}
	return ruleset.Continue, false
}

// checkJump refuses a jump to a chain that is not there, or that cannot be jumped to.
func (l *lineParser) checkJump(r *rule) *ruleset.Error {
	name := r.jump.val.text
	if _, ok := standard(name); ok && !r.isGoto {
		return nil
	}
	switch c := l.table.chain(name); {
	case c == nil:
		return fail(r.jump.arg, "declare it before this line (:"+name+" - [0:0]), or correct the name", "target %q: neither a target nor a chain of the table %s", name, l.table.name)
	case c.builtin():
		return fail(r.jump.arg, "put the rules in a chain of their own", "target %q: a built-in chain cannot be jumped to", name)
	}
	return nil
}

func join(list []string) string { return strings.Join(list, ", ") }

// nearest is the known option that differs from name by at most two letters, "" if there is none.
func (l *lineParser) nearest(name string) string {
	best, distance := "", 3
	try := func(s string) {
		if d := editDistance(name, s); d < distance {
			best, distance = s, d
		}
	}
	for _, b := range baseOptions {
		try(b.name)
	}
	for _, m := range l.loaded {
		for _, o := range m.ext.options {
			for _, s := range strings.Split(o.names, "|") {
				try(s)
			}
		}
	}
	return best
}

// editDistance is how many letters must be added, taken away or changed to make b of a.
func editDistance(a, b string) int {
	row := make([]int, len(b)+1)
	for j := range row {
		row[j] = j
	}
	for i := range len(a) {
		diagonal := row[0]
		row[0] = i + 1
		for j := range len(b) {
			cost := diagonal
			if a[i] != b[j] {
				cost++
			}
			diagonal = row[j+1]
			row[j+1] = min(cost, row[j]+1, diagonal+1)
		}
	}
	return row[len(b)]
}
