package iptables

import (
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// optionalArg is kind.args of an option whose argument may be left out.
const optionalArg = -1

// baseOption is one of iptables' own options.
type baseOption struct {
	name  string
	short byte
	args  int
}

// baseOptions are the long names of iptables' own options, as iptables 1.8 has them.
var baseOptions = []baseOption{
	{"append", 'A', 1}, {"delete", 'D', 1}, {"check", 'C', 1}, {"insert", 'I', 1}, {"replace", 'R', 1},
	{"list", 'L', optionalArg}, {"list-rules", 'S', optionalArg}, {"flush", 'F', optionalArg}, {"zero", 'Z', optionalArg},
	{"new-chain", 'N', 1}, {"delete-chain", 'X', optionalArg}, {"rename-chain", 'E', 1}, {"policy", 'P', 1},
	{"source", 's', 1}, {"destination", 'd', 1}, {"src", 's', 1}, {"dst", 'd', 1}, {"protocol", 'p', 1},
	{"in-interface", 'i', 1}, {"jump", 'j', 1}, {"table", 't', 1}, {"match", 'm', 1}, {"numeric", 'n', 0},
	{"out-interface", 'o', 1}, {"verbose", 'v', 0}, {"wait", 'w', optionalArg}, {"wait-interval", 'W', optionalArg},
	{"exact", 'x', 0}, {"fragments", 'f', 0}, {"version", 'V', 0}, {"help", 'h', optionalArg}, {"line-numbers", '0', 0},
	{"modprobe", 'M', 1}, {"set-counters", 'c', 1}, {"goto", 'g', 1}, {"ipv4", '4', 0}, {"ipv6", '6', 0},
}

// shortOptions are the letters that can be written with one dash.
const shortOptions = "ACDEFILMNPRSVWXZbcdfghijmnopstvwx46"

// found is what an option on the line turned out to be.
type found struct {
	short byte    // one of iptables' own; 0 for an extension's
	mod   *module // the extension's use
	opt   *option
	args  int
}

func (f found) same(g found) bool {
	return f.short == g.short && f.mod == g.mod && f.opt == g.opt && f.args == g.args
}

// long finds a long option: an exact name, iptables' own first and then the extension used last, or else an unambiguous prefix.
func (l *lineParser) long(name string) (f found, candidates []string) {
	if f = l.exactly(name); (f != found{}) {
		return f, nil
	}
	var hits []found
	visit := func(long string, g found) {
		if strings.HasPrefix(long, name) {
			hits = append(hits, g)
			candidates = append(candidates, "--"+long)
		}
	}
	for _, b := range baseOptions {
		visit(b.name, found{short: b.short, args: b.args})
	}
	for i := len(l.loaded) - 1; i >= 0; i-- {
		for j := range l.loaded[i].ext.options {
			o := &l.loaded[i].ext.options[j]
			for long := range strings.SplitSeq(o.names, "|") {
				visit(long, found{mod: l.loaded[i], opt: o, args: o.kind.args})
			}
		}
	}
	for _, h := range hits {
		if !h.same(hits[0]) {
			return found{}, candidates
		}
	}
	if len(hits) == 0 {
		return found{}, nil
	}
	return hits[0], nil
}

// exactly finds a long option by its whole name; the zero value if there is none.
func (l *lineParser) exactly(name string) found {
	for i := range baseOptions {
		if b := &baseOptions[i]; b.name == name {
			return found{short: b.short, args: b.args}
		}
	}
	for i := len(l.loaded) - 1; i >= 0; i-- {
		m := l.loaded[i]
		for j := range m.ext.options {
			if o := &m.ext.options[j]; containsName(o.names, name) {
				return found{mod: m, opt: o, args: o.kind.args}
			}
		}
	}
	return found{}
}

// short finds a one-letter option.
func short(c byte) (found, bool) {
	if strings.IndexByte(shortOptions, c) < 0 {
		return found{}, false
	}
	for i := range baseOptions {
		if b := &baseOptions[i]; b.short == c {
			return found{short: c, args: b.args}, true
		}
	}
	return found{}, false
}

// findExtension finds a match or target by any of its names.
func findExtension(name string, f ruleset.Family, tables ...[]extension) *extension {
	for _, table := range tables {
		for i := range table {
			e := &table[i]
			if e.family != ruleset.FamilyAny && e.family != f {
				continue
			}
			if containsName(e.name, name) {
				return e
			}
		}
	}
	return nil
}

func findMatch(name string, f ruleset.Family) *extension {
	return findExtension(name, f, matches, knownMatches)
}

func findTarget(name string, f ruleset.Family) *extension {
	return findExtension(name, f, targets, knownTargets)
}
