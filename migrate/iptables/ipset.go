package iptables

import (
	"net/netip"
	"slices"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// maxSetName is the length in bytes that the kernel has room for in a set's name.
const maxSetName = 31

// ipset is one set of an `ipset save` file.
type ipset struct {
	set     *ruleset.Set
	kind    string // such as hash:net
	family  ruleset.Family
	parts   []string       // what an element is made of, as setKinds has it; nil: of the member sets of list:set
	entries []setEntry     // of sets whose elements are more than an address
	except  []netip.Prefix // nomatch
	lists   []string       // members of list:set
	used    bool
	todo    string // why it cannot be imported
	timed   bool   // elements have timeouts, so that they come and go
	counted bool
	max     uint32
	left    int    // elements with a time that is running
	mask    uint64 // of marks
}

// setKinds are the set types, with what an element is made of.
var setKinds = map[string][]string{
	"bitmap:ip": {"ip"}, "hash:ip": {"ip"}, "hash:net": {"ip"}, "bitmap:ip,mac": {"ip", "mac"}, "hash:ip,mac": {"ip", "mac"},
	"hash:mac": {"mac"}, "bitmap:port": {"port"}, "hash:ip,port": {"ip", "port"}, "hash:net,port": {"ip", "port"},
	"hash:ip,port,ip": {"ip", "port", "ip"}, "hash:ip,port,net": {"ip", "port", "ip"}, "hash:net,port,net": {"ip", "port", "ip"},
	"hash:net,net": {"ip", "ip"}, "hash:ip,mark": {"ip", "mark"}, "hash:net,iface": {"ip", "iface"}, "list:set": {"set"},
}

// readIPSets reads files in the form of `ipset save`.
func readIPSets(sources []Source) (map[string]*ipset, ruleset.ErrorList) {
	sets := map[string]*ipset{}
	var errs ruleset.ErrorList
	for _, s := range sources {
		for i, line := range strings.Split(string(s.Text), "\n") {
			pos := ruleset.Pos{File: s.Name, Line: i + 1, Col: 1, Len: len(line)}
			if err := readIPSetLine(sets, scanLine(nil, strings.TrimSuffix(line, "\r"), pos), pos); err != nil {
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
		s := &ipset{set: &ruleset.Set{Name: name.text, Pos: name.pos}, kind: toks[2].text, family: ruleset.FamilyIPv4, mask: 1<<32 - 1}
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
	s.parts = setKinds[s.kind]
	if s.parts == nil {
		s.todo = "sets of type " + s.kind + " are not known"
	}
	for i, t := range toks {
		next := ""
		if i+1 < len(toks) {
			next = toks[i+1].text
		}
		switch {
		case t.text == "family" && next == "inet6":
			s.family = ruleset.FamilyIPv6
		case t.text == "netmask" && next != "32" && next != "128", t.text == "bitmask":
			s.todo = "sets with a " + t.text + " compare only a part of the address"
		case t.text == "timeout":
			s.timed = true
			n, _ := parseNumber(next, 0, 365*24*3600)
			s.live().Timeout = uint32(n)
		case t.text == "counters":
			s.counted = true
		case t.text == "maxelem":
			n, _ := parseNumber(next, 0, 1<<32-1)
			s.max = uint32(n)
		case t.text == "markmask":
			s.mask, _ = parseNumber(next, 0, 1<<32-1)
		}
	}
	return nil
}

// live makes the set one that changes at run time.
func (s *ipset) live() *ruleset.Live {
	if s.set.Live == nil {
		s.set.Live = &ruleset.Live{Dynamic: true}
	}
	return s.set.Live
}

// add reads a member.
func (s *ipset) add(member token, rest []token) *ruleset.Error {
	except := false
	for i, t := range rest {
		switch {
		case t.text == "nomatch":
			except = true
		case t.text == "timeout" && i+1 < len(rest) && rest[i+1].text != "0":
			s.left++
			return nil
		}
	}
	switch {
	case s.todo != "":
		return nil
	case s.kind == "list:set":
		s.lists = append(s.lists, member.text)
		return nil
	case len(s.parts) > 1 || s.parts[0] != "ip":
		return s.addEntry(member, except)
	}
	r, ok := s.address(member.text)
	if !ok {
		return fail(member.pos, "correct it", "member %q of %q: not an %s address, network or range", member.text, s.set.Name, s.family)
	}
	if p, isPrefix := r.Prefix(); except && isPrefix {
		s.except = append(s.except, p)
		return nil
	}
	s.set.Members = append(s.set.Members, r)
	return nil
}

// address reads an address, a network or a range.
func (s *ipset) address(text string) (ruleset.AddrRange, bool) {
	if strings.Contains(text, "-") {
		return parseAddressRange(text, s.family)
	}
	r, bad := parseNetwork(text, s.family)
	return r, bad == "" && r.From.IsValid()
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
		v.sides = append(v.sides, f)
	}
	return v, unless(len(v.sides) <= 6, "more than six of src and dst")
}

func checkSet(m *module, _ *rule) (bad, help string) {
	if m.get("match-set") == nil {
		return "no set is given", "add --match-set NAME src or dst"
	}
	return "", ""
}

// matchSet is -m set: the set is taken into the ruleset when a rule first needs it. Elements that are more than an address become a
// chain of rules.
func matchSet(l *lowering, m *module) ([]alternative, string) {
	u := m.get("match-set")
	for _, other := range m.uses {
		if other != u {
			return nil, "--" + other.opt.name() + ": of a set only membership is looked at"
		}
	}
	s, why := l.findSet(u.val)
	switch {
	case why != "":
		return nil, why
	case s.kind == "list:set":
		return l.matchList(u, s)
	case s.several() && s.asTuples():
		return l.matchTuples(u, s)
	case s.several():
		return l.matchEntries(u, s)
	}
	l.useSet(s)
	return one(ruleset.Match{Field: addressField(u.val.sides[0]), Not: u.not, Set: s.set.Name, Pos: u.pos}), ""
}

func addressField(side string) ruleset.FieldID {
	if side == "dst" {
		return ruleset.FieldDstAddr
	}
	return ruleset.FieldSrcAddr
}

// findSet finds the set that an option names, and says why it cannot be used there.
func (l *lowering) findSet(v value) (*ipset, string) {
	s := l.sets[v.text]
	switch {
	case s == nil:
		return nil, "set " + quote(v.text) + " is not given; pass --ipset FILE (written by ipset save)"
	case s.todo != "":
		return nil, "set " + quote(v.text) + ": " + s.todo
	case len(v.sides) < len(s.parts):
		return nil, "set " + quote(v.text) + ": it takes " + itoa(uint64(len(s.parts))) + " of src and dst, and never matches with fewer"
	case s.family != l.family && slices.Contains(s.parts, "ip"):
		return nil, "set " + quote(v.text) + ": its addresses are " + s.family.String()
	}
	return s, ""
}

// useSet takes a set of addresses into the ruleset. One that is empty or whose elements have timeouts is filled at run time.
func (l *lowering) useSet(s *ipset) {
	if s.used {
		return
	}
	s.used = true
	if len(s.set.Members)+len(s.set.Tuples) == 0 {
		s.live()
	}
	if s.set.Live != nil {
		s.set.Live.Max, s.set.Live.Counters = min(s.max, ruleset.MaxElements), s.counted
	}
	if len(s.except) > 0 {
		s.set.Members = without(s.set.Members, s.except)
	}
	if s.left > 0 {
		l.report.note(s.set.Pos, "set "+quote(s.set.Name)+": "+itoa(uint64(s.left))+" elements with a time that is running are not taken over; bpfwall set add adds them")
	}
	l.ruleset.Sets = append(l.ruleset.Sets, s.set)
}

// matchList is a list:set: any of its member sets.
func (l *lowering) matchList(u *use, s *ipset) ([]alternative, string) {
	m := ruleset.Match{Field: addressField(u.val.sides[0]), Not: u.not, Pos: u.pos}
	for _, name := range s.lists {
		if other := l.sets[name]; other != nil && other.family != l.family {
			continue // its addresses are never the packet's
		}
		inner, why := l.findSet(value{text: name, sides: u.val.sides})
		switch {
		case why != "":
			return nil, why
		case len(inner.parts) != 1 || inner.parts[0] != "ip":
			return nil, "set " + quote(s.set.Name) + ": its member " + quote(name) + " holds more than addresses"
		}
		l.useSet(inner)
		if inner.set.Live != nil {
			m.Live = append(m.Live, name)
		} else {
			m.Addrs = append(m.Addrs, inner.set.Members...)
		}
	}
	if len(m.Live)+len(m.Addrs) == 0 {
		return nil, "set " + quote(s.set.Name) + ": has no members of " + l.family.String()
	}
	return one(m), ""
}
