package iptables

import (
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// Lengths in bytes that the kernel has room for.
const (
	maxInterfaceName = 15
	maxChainName     = 28
)

// The letters of the commands, and of those that take a rule.
const (
	commands     = "ADCIRLSFZNXEP"
	ruleCommands = "ADCIR"
)

// base reads one of iptables' own options.
func (l *lineParser) base(f found, t token, args []token) *ruleset.Error {
	arg := token{}
	if len(args) > 0 {
		arg = args[0]
	}
	if strings.IndexByte(commands, f.short) >= 0 {
		return l.command(f.short, t, arg)
	}
	if l.not != nil && strings.IndexByte("sdpiof", f.short) < 0 {
		return fail(l.not.pos, "take the ! away", "option %q: cannot be negated", t.text)
	}
	once := f.short
	if once == 'g' {
		once = 'j'
	}
	if l.seen[once] && strings.IndexByte("mvM", f.short) < 0 {
		return fail(t.pos, "give it once", "option %q: given twice", t.text)
	}
	l.seen[once] = true
	room := &l.uses
	if once == 'j' {
		room = &l.jumps
	}
	u := room.one()
	u.not, u.pos, u.arg = l.not != nil, t.pos, arg.pos
	return l.ruleOption(f.short, t, arg, u)
}

// ruleOption reads an option that describes the rule.
func (l *lineParser) ruleOption(c byte, t, arg token, u *use) *ruleset.Error {
	switch c {
	case 'p':
		return l.protocol(arg, u)
	case 's', 'd':
		return l.addresses(c, arg, u)
	case 'i', 'o':
		return l.iface(c, arg, u)
	case 'f':
		if l.family == ruleset.FamilyIPv6 {
			return fail(t.pos, "use -m frag", "option %q: not for IPv6", t.text)
		}
		l.rule.frag = u
	case 'm':
		ext := findMatch(arg.text, l.family)
		if ext == nil {
			return fail(arg.pos, "correct its name, or take the line out", "match %q: there is no such extension for %s", arg.text, l.family)
		}
		m := l.load(ext, arg.pos)
		m.pos = arg.pos
	case 'j', 'g':
		return l.jump(c, arg, u)
	case 'c':
		return l.counters(arg)
	case '4', '6':
		l.ignored = l.family != map[byte]ruleset.Family{'4': ruleset.FamilyIPv4, '6': ruleset.FamilyIPv6}[c]
	case 'v', 'M':
	default:
		return fail(t.pos, "take it out", "option %q: cannot be used in a rules file", t.text)
	}
	return nil
}

func (l *lineParser) protocol(arg token, u *use) *ruleset.Error {
	v, bad := readProtocol(nil, arg.text)
	if bad != "" {
		return fail(arg.pos, "write its number", "protocol %q: %s", arg.text, bad)
	}
	if v.num == 0 && u.not {
		return fail(arg.pos, "take the rule out", "protocol %q: a rule for no protocol at all never matches", arg.text)
	}
	u.val, l.rule.proto, l.proto = v, u, v.text
	return nil
}

func (l *lineParser) addresses(c byte, arg token, u *use) *ruleset.Error {
	v, bad := parseNetworks(arg.text, l.family)
	if bad != "" {
		help := "write an " + l.family.String() + " address, with /length or /mask if it is a network"
		return fail(arg.pos, help, "%s", bad)
	}
	if len(v.addrs) > 1 && u.not {
		return fail(l.not.pos, "write one rule for each, the first ones with -j RETURN in a chain of their own", "!: not with several addresses")
	}
	u.val = v
	if c == 's' {
		l.rule.src = u
	} else {
		l.rule.dst = u
	}
	return nil
}

func (l *lineParser) iface(c byte, arg token, u *use) *ruleset.Error {
	switch {
	case arg.text == "":
		return fail(arg.pos, "name one, or take the option out", "interface name: empty")
	case len(arg.text) > maxInterfaceName:
		return fail(arg.pos, "correct the name", "interface %q: longer than %d bytes", arg.text, maxInterfaceName)
	}
	u.val.text = arg.text
	if c == 'i' {
		l.rule.in = u
	} else {
		l.rule.out = u
	}
	return nil
}

// jump reads the argument of -j or -g. A chain of the table hides a target extension of the same name.
func (l *lineParser) jump(c byte, arg token, u *use) *ruleset.Error {
	switch {
	case arg.text == "":
		return fail(arg.pos, "name one", "target: empty")
	case len(arg.text) > maxChainName:
		return fail(arg.pos, "shorten it", "target %q: longer than %d bytes", arg.text, maxChainName)
	case arg.text[0] == '-' || arg.text[0] == '!' && len(arg.text) == 1:
		return fail(arg.pos, "name a target or chain", "target %q: starts with %q", arg.text, arg.text[:1])
	}
	u.val.text, l.rule.jump, l.rule.isGoto = arg.text, u, c == 'g'
	if _, ok := standard(arg.text); ok || c == 'g' || l.table.chain(arg.text) != nil {
		return nil
	}
	if ext := findTarget(arg.text, l.family); ext != nil {
		l.rule.target = l.load(ext, arg.pos)
	}
	return nil
}

// counters reads -c, whose two numbers may be one argument or two.
func (l *lineParser) counters(arg token) *ruleset.Error {
	packets, bytes, ok := strings.Cut(arg.text, ",")
	if !ok && l.next < len(l.toks) && !isOption(l.toks[l.next].text) {
		bytes = l.toks[l.next].text
		l.next++
	}
	for _, n := range []string{packets, bytes} {
		if n == "" || n[0] < '0' || n[0] > '9' {
			return fail(arg.pos, "write packets,bytes or leave -c out", "counters %q: two numbers are needed", arg.text)
		}
	}
	return nil
}

// command reads the option that says what to do, with the chain, number or name that follows it.
func (l *lineParser) command(c byte, t, arg token) *ruleset.Error {
	if l.not != nil {
		return fail(l.not.pos, "take the ! away", "option %q: cannot be negated", t.text)
	}
	if l.cmd.verb != 0 {
		return fail(t.pos, "write one command a line", "option %q: the line has a command already", t.text)
	}
	l.cmd = command{verb: c, pos: t.pos, chain: arg}
	if arg.pos.Line == 0 && l.argumentFollows() {
		l.cmd.chain = l.take()
	}
	switch c {
	case 'E', 'P':
		if !l.argumentFollows() {
			return fail(t.pos, "write both", "option %q: two names are needed", t.text)
		}
		l.cmd.other = l.take()
	case 'R', 'I', 'D', 'Z', 'L', 'S':
		return l.ruleNumber(t)
	}
	return nil
}

func (l *lineParser) ruleNumber(t token) *ruleset.Error {
	if !l.argumentFollows() {
		if l.cmd.verb == 'R' {
			return fail(t.pos, "give one", "option %q: a rule number is needed", t.text)
		}
		return nil
	}
	arg := l.take()
	n, ok := parseNumber(arg.text, 1, 1<<31-1)
	if !ok {
		return fail(arg.pos, "rules count from 1", "rule number %q: not a number from 1", arg.text)
	}
	l.cmd.num = int(n)
	return nil
}

func (l *lineParser) argumentFollows() bool {
	return l.next < len(l.toks) && !isOption(l.toks[l.next].text)
}

func (l *lineParser) take() token {
	l.next++
	return l.toks[l.next-1]
}
