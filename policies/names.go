package policies

import (
	"bytes"
	"path/filepath"
	"slices"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// zone is a name for interfaces and the networks behind them. Whoever is in a zone matches both, as far as they are given.
type zone struct {
	ifaces  []string // as matches have them: "wg+" for wg*
	sources *ruleset.Match
}

// readZones reads [zones].
func (p *parser) readZones(t table) {
	for _, name := range t.keys() {
		z := &zone{}
		p.zones[name] = z
		ifaces, sources := t.texts(name), []text(nil)
		if inner := t.table(name); inner.m != nil {
			ifaces, sources = inner.texts("interfaces"), inner.texts("sources")
			if len(ifaces)+len(sources) == 0 && inner.known(inZone) {
				p.fail(inner.self(), "zone %q: has neither interfaces nor sources", name)
			}
		}
		for _, v := range ifaces {
			if pattern, ok := p.iface(v); ok {
				z.ifaces = append(z.ifaces, pattern)
			}
		}
		z.sources = p.zoneSources(name, sources)
	}
}

func (p *parser) zoneSources(name string, sources []text) *ruleset.Match {
	m := &ruleset.Match{Field: ruleset.FieldSrcAddr}
	for _, v := range sources {
		if _, negated := v.negated(); negated {
			p.fail(v.pos, "zone %q: sources cannot be negated", name)
			continue
		}
		addrOperand(p, m, v)
		m.Pos = v.pos
	}
	if len(sources) == 0 {
		return nil
	}
	return m
}

const ifNameLen = 15 // IFNAMSIZ less its final zero

// iface parses an interface name, or a pattern with a * at its end.
func (p *parser) iface(v text) (string, bool) {
	name, glob := strings.CutSuffix(v.s, "*")
	switch {
	case strings.Contains(name, "*"):
		p.fail(v.pos, "interface %q: a * stands for the end of a name, and only there", v.s)
	case name == "" && !glob:
		p.fail(v.pos, "interface: an empty name")
	case len(name) > ifNameLen:
		p.fail(v.pos, "interface %q: names have at most %d bytes", v.s, ifNameLen)
	case strings.ContainsAny(name, "/ \t\n") || name == "." || name == "..":
		p.fail(v.pos, "interface %q: not a name that the kernel takes", v.s)
	case !glob && strings.HasSuffix(name, "+"):
		p.fail(v.pos, "interface %q: write * for any ending", v.s)
	case glob:
		return name + "+", true
	default:
		return name, true
	}
	return "", false
}

// setSource is a set that is declared, before its members are known.
type setSource struct {
	t    table
	key  string
	busy bool // being read: meeting it again is a circle
}

// readSets reads [sets]. A set is read when something names it, or at the end.
func (p *parser) readSets(t table) {
	for _, name := range t.keys() {
		p.declared[name] = &setSource{t: t, key: name}
	}
	for _, name := range t.keys() {
		if set := p.set(text{name, t.keyPos(name)}, name); set != nil {
			p.pol.Ruleset.Sets = append(p.pol.Ruleset.Sets, set)
		}
	}
}

// useSet is a set that a rule or zone names.
func (p *parser) useSet(v text, name string) *ruleset.Set {
	p.used["set "+name] = true
	return p.set(v, name)
}

// set reads a set, or reports that there is none.
func (p *parser) set(v text, name string) *ruleset.Set {
	if s := p.sets[name]; s != nil {
		return s
	}
	d := p.declared[name]
	if d == nil {
		names := []string{}
		for n := range p.declared {
			names = append(names, n)
		}
		if e := p.unknown(v, "set", "@"+name, names); e.Hint == "" {
			e.Help = "sets are declared under [sets]"
		}
		return nil
	}
	if d.busy {
		p.fail(v.pos, "set %q contains itself", name)
		return nil
	}
	d.busy = true
	s := &ruleset.Set{Name: name, Pos: d.t.keyPos(name)}
	inner := d.t.table(name)
	if inner.m != nil && inner.has("parts") {
		p.tupleSet(inner, s)
	} else {
		s.Members = p.members(d.t, name)
	}
	if inner.m != nil {
		s.Live = p.live(inner, name)
	}
	d.busy = false
	p.sets[name] = s
	return s
}

func (p *parser) members(t table, name string) []ruleset.AddrRange {
	if inner := t.table(name); inner.m != nil {
		return p.setTable(inner, name)
	}
	var out []ruleset.AddrRange
	for _, v := range t.texts(name) {
		out = append(out, p.member(v)...)
	}
	return out
}

// member is one entry of a set: an address, prefix or range, or another set.
func (p *parser) member(v text) []ruleset.AddrRange {
	if _, negated := v.negated(); negated {
		p.fail(v.pos, "%q: members of sets cannot be negated", v.s).Help = "negate the set where it is used, as in from = \"!@name\""
		return nil
	}
	if name, ok := strings.CutPrefix(v.s, "@"); ok {
		s := p.useSet(v, name)
		if s != nil && len(s.Parts) > 0 {
			p.severalParts(v, s)
			return nil
		}
		if s != nil && s.Live == nil {
			return s.Members
		}
		if s != nil {
			p.fail(v.pos, "set %q changes at run time, so that it cannot be a part of another", name).Help = "name both where they are used"
		}
		return nil
	}
	if a, ok := p.addr(v); ok {
		return []ruleset.AddrRange{a}
	}
	return nil
}

func (p *parser) setTable(t table, name string) []ruleset.AddrRange {
	var out []ruleset.AddrRange
	for _, v := range t.texts("members") {
		out = append(out, p.member(v)...)
	}
	path, ok := t.text("file")
	switch {
	case t.has("country") || t.has("database"):
		return append(out, p.countries(t, name)...)
	case t.has("refresh"):
		return out // fetched later
	case !ok:
		if len(t.m) == 0 || t.has("note") && len(t.m) == 1 {
			p.fail(t.self(), "set %q: has no members; give a list, file, url or dynamic = true", name)
		}
		return out
	}
	full := p.besides(path.s)
	text, err := p.opts.ReadFile(full)
	if err != nil {
		p.fail(path.pos, "set %q: %v", name, err)
		return nil
	}
	list, errs := parseList(full, text)
	p.errs = append(p.errs, errs...)
	return append(out, list...)
}

// besides is a path that is relative to the policy's directory.
func (p *parser) besides(path string) string {
	if filepath.IsAbs(path) {
		return path
	}
	return filepath.Join(filepath.Dir(p.src.name), path)
}

// ParseList reads addresses, prefixes and ranges, one a line. What follows # or ; is a comment. The error is a ruleset.ErrorList of every
// line that is nothing of this.
func ParseList(name string, content []byte) ([]ruleset.AddrRange, error) {
	list, errs := parseList(name, content)
	return list, errs.Err()
}

// ParseTuples reads elements of sets of several parts, as ParseList does addresses.
func ParseTuples(parts []ruleset.Part, name string, content []byte) (out []ruleset.Tuple, err error) {
	errs := eachLine("element", name, content, func(s string) (problem, hint string) {
		t, problem := ruleset.ParseTuple(parts, s)
		out = append(out, t)
		return problem, ""
	})
	return out, errs.Err()
}

// eachLine calls read for what is on each line, but for comments, and collects what it has to say against it.
func eachLine(what, name string, content []byte, read func(s string) (problem, hint string)) (errs ruleset.ErrorList) {
	for i, line := range bytes.Split(content, []byte("\n")) {
		if c := bytes.IndexAny(line, "#;"); c >= 0 {
			line = line[:c]
		}
		s := strings.TrimSpace(string(line))
		if s == "" {
			continue
		}
		if problem, hint := read(s); problem != "" {
			pos := ruleset.Pos{File: name, Line: i + 1, Col: bytes.Index(line, []byte(s)) + 1, Len: len(s)}
			errs.Add(pos, "%s %q: %s", what, s, problem).Hint = hint
		}
	}
	return errs
}

func parseList(name string, content []byte) (out []ruleset.AddrRange, errs ruleset.ErrorList) {
	errs = eachLine("address", name, content, func(s string) (problem, hint string) {
		a, problem, hint := parseAddr(s)
		if problem == "" {
			out = append(out, a)
		}
		return problem, hint
	})
	return out, errs
}

// place is how zones and interfaces, in any mixture, become alternatives of matches for one side of a packet.
func (p *parser) place(vals []text, iface, addr ruleset.FieldID) [][]ruleset.Match {
	var is, not []string
	var out [][]ruleset.Match
	var always []ruleset.Match
	for _, v := range vals {
		name, negated := v.negated()
		z := p.zone(name)
		switch {
		case z == nil:
		case z.sources == nil && negated:
			not = append(not, z.ifaces...)
		case z.sources == nil:
			is = append(is, z.ifaces...)
		case !negated:
			out = append(out, z.matches(iface, addr, v.pos))
		case len(z.ifaces) == 0:
			always = append(always, z.source(addr, v.pos))
			always[len(always)-1].Not = true
		default:
			p.fail(v.pos, "zone %q: a zone with interfaces and sources cannot be negated", name.s)
		}
	}
	pos := ruleset.Pos{}
	if len(vals) > 0 {
		pos = vals[0].pos
	}
	if len(is) > 0 {
		out = slices.Insert(out, 0, []ruleset.Match{{Field: iface, Names: is, Pos: pos}})
	}
	if len(not) > 0 {
		always = append(always, ruleset.Match{Field: iface, Not: true, Names: not, Pos: pos})
	}
	if len(out) == 0 {
		return [][]ruleset.Match{always}
	}
	for i := range out {
		out[i] = append(out[i], always...)
	}
	return out
}

// zone finds a zone, or makes one of an interface name.
func (p *parser) zone(v text) *zone {
	if z := p.zones[v.s]; z != nil {
		p.used["zone "+v.s] = true
		return z
	}
	pattern, ok := p.iface(v)
	if !ok {
		return nil
	}
	if len(p.zones) > 0 {
		p.likeZone(v)
	}
	return &zone{ifaces: []string{pattern}}
}

// likeZone warns of an interface whose name looks like a zone's with a slip.
func (p *parser) likeZone(v text) {
	for name := range p.zones {
		if len(name) > 2 && distance(v.s, name) == 1 && !startsWithDigit(v.s[len(v.s)-1:]) {
			p.warn(v.pos, "%q is no zone, so it is taken for an interface", v.s).Hint = suggest(v.s, []string{name})
		}
	}
}

// matches is a zone with sources, on one side of the packet.
func (z *zone) matches(iface, addr ruleset.FieldID, pos ruleset.Pos) []ruleset.Match {
	var out []ruleset.Match
	if len(z.ifaces) > 0 {
		out = append(out, ruleset.Match{Field: iface, Names: z.ifaces, Pos: pos})
	}
	return append(out, z.source(addr, pos))
}

func (z *zone) source(addr ruleset.FieldID, pos ruleset.Pos) ruleset.Match {
	m := *z.sources
	m.Field, m.Pos = addr, pos
	return m
}
