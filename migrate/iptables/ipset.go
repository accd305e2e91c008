package iptables

import (
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// maxSetName is the length in bytes that the kernel has room for in a set's name.
const maxSetName = 31

// ipset is one set of an `ipset save` file.
type ipset struct {
	set    *ruleset.Set
	kind   string // such as hash:net
	family ruleset.Family
	used   bool
	todo   string // why it cannot be imported
	timed  bool   // some members expire
}

// setKinds are the set types that hold addresses and nothing else.
var setKinds = map[string]bool{"hash:ip": true, "hash:net": true, "bitmap:ip": true}

// readIPSets reads files in the form of `ipset save`.
func readIPSets(sources []Source) (map[string]*ipset, ruleset.ErrorList) {
	sets := map[string]*ipset{}
	var errs ruleset.ErrorList
	for _, s := range sources {
		for i, line := range strings.Split(string(s.Text), "\n") {
			pos := ruleset.Pos{File: s.Name, Line: i + 1, Col: 1, Len: len(line)}
			if err := readIPSetLine(sets, scanLine(strings.TrimSuffix(line, "\r"), pos), pos); err != nil {
				errs = append(errs, err)
			}
		}
	}
	return sets, errs
}

func readIPSetLine(sets map[string]*ipset, toks []token, pos ruleset.Pos) *ruleset.Error {
	switch {
	case len(toks) == 0 || strings.HasPrefix(toks[0].text, "#"):
		return nil
	case len(toks) < 3:
		return fail(pos, "write create NAME TYPE or add NAME MEMBER", "line: not one of `ipset save`")
	}
	name := toks[1]
	if name.text == "" || !printable(name.text) {
		return fail(name.pos, "rename it", "set %q: the name is empty, has control characters or is not UTF-8", name.text)
	}
	switch toks[0].text {
	case "create", "-N":
		s := &ipset{set: &ruleset.Set{Name: name.text, Pos: name.pos}, kind: toks[2].text, family: ruleset.FamilyIPv4}
		sets[name.text] = s
		return s.options(toks[3:])
	case "add", "-A":
		s := sets[name.text]
		if s == nil {
			return fail(name.pos, "create it first", "set %q: not created", name.text)
		}
		return s.add(toks[2], toks[3:])
	}
	return fail(toks[0].pos, "write create or add", "command %q: unknown", toks[0].text)
}

// options reads what follows `create NAME TYPE`.
func (s *ipset) options(toks []token) *ruleset.Error {
	if !setKinds[s.kind] {
		s.todo = "sets of type " + s.kind + " hold more than addresses"
	}
	for i, t := range toks {
		next := ""
		if i+1 < len(toks) {
			next = toks[i+1].text
		}
		switch {
		case t.text == "family" && next == "inet6":
			s.family = ruleset.FamilyIPv6
		case t.text == "netmask" && next != "32" && next != "128":
			s.todo = "sets with a netmask compare only a part of the address"
		case t.text == "timeout":
			s.timed = true
		}
	}
	return nil
}

// add reads a member: an address, a network or a range.
func (s *ipset) add(member token, rest []token) *ruleset.Error {
	for _, t := range rest {
		switch t.text {
		case "nomatch":
			s.todo = "sets with exceptions (nomatch)"
		case "timeout":
			s.timed = true
		}
	}
	if s.todo != "" {
		return nil
	}
	r, ok := parseAddressRange(member.text, s.family)
	bad := ""
	if !strings.Contains(member.text, "-") {
		r, bad = parseNetwork(member.text, s.family)
		ok = bad == "" && r.From.IsValid()
	}
	if !ok {
		return fail(member.pos, "correct it", "member %q of %q: not an %s address, network or range", member.text, s.set.Name, s.family)
	}
	s.set.Members = append(s.set.Members, r)
	return nil
}

// readSet reads "name flags".
func readSet(_ *context, s string) (value, string) {
	name, flags, _ := strings.Cut(s, " ")
	v := value{text: name}
	if name == "" || len(name) > maxSetName {
		return v, "the set's name is empty or longer than 31 bytes"
	}
	for _, f := range strings.Split(flags, ",") {
		if f != "src" && f != "dst" {
			return v, quote(f) + " is neither src nor dst"
		}
		v.num = uint64(ruleset.FieldSrcAddr)
		if f == "dst" {
			v.num = uint64(ruleset.FieldDstAddr)
		}
		v.mask++
	}
	return v, unless(v.mask <= 6, "more than six of src and dst")
}

func checkSet(m *module, _ *rule) (bad, help string) {
	if m.get("match-set") == nil {
		return "no set is given", "add --match-set NAME src or dst"
	}
	return "", ""
}

// matchSet is -m set: the set is taken into the ruleset when a rule first needs it.
func matchSet(l *lowering, m *module) ([]alternative, string) {
	u := m.get("match-set")
	for _, other := range m.uses {
		if other != u {
			return nil, "--" + other.opt.name() + ": of a set only membership is looked at"
		}
	}
	s := l.sets[u.val.text]
	switch {
	case s == nil:
		return nil, "set " + quote(u.val.text) + " is not given; pass --ipset FILE (written by ipset save)"
	case s.todo != "":
		return nil, "set " + quote(u.val.text) + ": " + s.todo
	case u.val.mask != 1:
		return nil, "set " + quote(u.val.text) + ": only one address can be looked up in it"
	case s.family != l.family:
		return nil, "set " + quote(u.val.text) + ": its addresses are " + s.family.String()
	}
	if !s.used {
		s.used = true
		l.ruleset.Sets = append(l.ruleset.Sets, s.set)
	}
	return one(ruleset.Match{Field: ruleset.FieldID(u.val.num), Not: u.not, Set: s.set.Name, Pos: u.pos}), ""
}
