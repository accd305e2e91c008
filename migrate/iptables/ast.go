package iptables

import (
	"slices"

	"github.com/bpfwall/bpfwall/ruleset"
)

// file is one parsed file: the tables it leaves behind.
type file struct {
	name   string
	family ruleset.Family
	tables []*table
	notes  []string
}

func (f *file) table(name string) *table {
	for _, t := range f.tables {
		if t.name == name {
			return t
		}
	}
	return nil
}

// table is one `*name … COMMIT` block.
type table struct {
	name   string
	chains []*chain
	byName map[string]*chain
	pos    ruleset.Pos
	hooks  map[*chain]uint32 // the built-in chains from which each is reached, as bits; known once the table is checked
}

// chain is the chain of a name; nil if there is none, as there is of "".
func (t *table) chain(name string) *chain {
	if name == "" {
		return nil
	}
	return t.byName[name]
}

func (t *table) addChain(c *chain) {
	t.chains = append(t.chains, c)
	t.byName[c.name] = c
}

// removeChains takes out the chains that gone says.
func (t *table) removeChains(gone func(*chain) bool) {
	t.chains = slices.DeleteFunc(t.chains, func(c *chain) bool {
		if gone(c) {
			delete(t.byName, c.name)
			return true
		}
		return false
	})
}

// chain is a built-in chain (it has a policy) or a user chain.
type chain struct {
	name   string
	policy ruleset.VerdictKind // Continue for a user chain
	rules  []*rule
	pos    ruleset.Pos
}

func (ch *chain) builtin() bool { return ch.policy != ruleset.Continue }

// rule is one parsed rule specification.
type rule struct {
	src, dst *use // addresses: value.addrs, several of them stand for several rules
	in, out  *use // value.text
	proto    *use // value.num
	frag     *use
	matches  []*module // in the order written
	jump     *use      // -j or -g; value.text is the target or chain
	isGoto   bool
	target   *module // the target extension of -j; nil for a chain, ACCEPT, DROP, RETURN or no target
	does     *action // instead of what its target says, see synproxy.go
	pos      ruleset.Pos
	text     string
	old      bool // written with the old `--option ! value`
}

// forget drops what nobody asks for once the rule is made, while others are still being made: of many rules it is more than what they become.
func (r *rule) forget() {
	r.src, r.dst, r.in, r.out, r.proto, r.frag, r.matches = nil, nil, nil, nil, nil, nil, nil
}

// protocol is the number that -p names and whether it is a plain positive match; 0 means any.
func (r *rule) protocol() (uint64, bool) {
	if r.proto == nil {
		return 0, false
	}
	return r.proto.val.num, !r.proto.not
}

// module is one use of a match or target extension in a rule.
type module struct {
	ext  *extension
	uses []*use
	pos  ruleset.Pos
}

// get is the use of an option by its first name; nil if it is not used.
func (m *module) get(name string) *use {
	for _, u := range m.uses {
		if u.opt.name() == name {
			return u
		}
	}
	return nil
}

// use is one option with its value.
type use struct {
	opt *option
	not bool
	val value
	pos ruleset.Pos // of the option
	arg ruleset.Pos // of its argument, or of the option if it has none
}

// value is what an argument was understood as; which members are set depends on the option's kind.
type value struct {
	text  string
	num   uint64
	mask  uint64
	parts []ruleset.Range
	addrs []ruleset.AddrRange
	sides []string // src and dst, of -m set
	todo  string   // why it has no equivalent; "" if it has
}
