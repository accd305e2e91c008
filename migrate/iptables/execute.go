package iptables

import (
	"fmt"
	"slices"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// execute carries out a command on the table.
func (t *table) execute(c command, r *rule) *ruleset.Error {
	if strings.IndexByte("LSZ", c.verb) >= 0 {
		return nil
	}
	name := c.chain.text
	if c.verb == 'N' {
		return t.newChain(c)
	}
	if name == "" {
		t.everyChain(c.verb)
		return nil
	}
	ch := t.chain(name)
	if ch == nil {
		return fail(c.chain.pos, "declare it before this line (:"+name+" - [0:0]), or correct the name", "chain %q: the table %s has no such chain", name, t.name)
	}
	if strings.IndexByte(ruleCommands, c.verb) >= 0 {
		return ch.edit(c, r)
	}
	return t.chainCommand(c, ch)
}

// edit adds, takes out or replaces a rule.
func (ch *chain) edit(c command, r *rule) *ruleset.Error {
	at := c.num - 1
	switch c.verb {
	case 'A':
		ch.rules = append(ch.rules, r)
		return nil
	case 'I':
		at = max(at, 0)
		if at > len(ch.rules) {
			return fail(c.pos, "correct the number", "rule number %d: chain %s has %d rules", c.num, ch.name, len(ch.rules))
		}
		ch.rules = slices.Insert(ch.rules, at, r)
		return nil
	}
	if c.num == 0 {
		at = slices.IndexFunc(ch.rules, func(old *rule) bool { return old.key() == r.key() })
	}
	switch {
	case at < 0:
		return fail(c.pos, "correct the rule, or take the line out", "option -%c: chain %s has no such rule", c.verb, ch.name)
	case at >= len(ch.rules):
		return fail(c.pos, "correct the number", "rule number %d: chain %s has %d rules", c.num, ch.name, len(ch.rules))
	case c.verb == 'R':
		ch.rules[at] = r
	case c.verb == 'D':
		ch.rules = slices.Delete(ch.rules, at, at+1)
	}
	return nil
}

// key is equal for rules that match the same packets in the same way and do the same.
func (r *rule) key() string {
	var b strings.Builder
	for _, u := range []*use{r.src, r.dst, r.in, r.out, r.proto, r.frag, r.jump} {
		if u != nil {
			fmt.Fprintf(&b, "%v %v", u.not, u.val)
		}
		b.WriteByte(';')
	}
	for _, m := range append(slices.Clone(r.matches), r.target) {
		if m == nil {
			continue
		}
		b.WriteString(m.ext.name)
		for _, u := range m.uses {
			fmt.Fprintf(&b, " %s %v %v", u.opt.names, u.not, u.val)
		}
	}
	return b.String()
}

func (t *table) newChain(c command) *ruleset.Error {
	name := c.chain.text
	bad, help := badChainName(name)
	if findTarget(name, ruleset.FamilyIPv4) != nil || findTarget(name, ruleset.FamilyIPv6) != nil {
		bad, help = "the name is that of a target", "rename it"
	}
	if bad != "" {
		return fail(c.chain.pos, help, "chain %q: %s", name, bad)
	}
	if t.chain(name) != nil {
		return fail(c.chain.pos, "take the line out", "chain %q: exists already", name)
	}
	t.addChain(&chain{name: name, pos: c.chain.pos})
	return nil
}

// everyChain carries out -F or -X without a name.
func (t *table) everyChain(verb byte) {
	switch verb {
	case 'F':
		for _, c := range t.chains {
			c.rules = nil
		}
	case 'X':
		used := t.jumpedTo()
		t.removeChains(func(c *chain) bool { return !c.builtin() && len(c.rules) == 0 && !used[c.name] })
	}
}

// chainCommand carries out a command about one chain.
func (t *table) chainCommand(c command, ch *chain) *ruleset.Error {
	switch c.verb {
	case 'F':
		ch.rules = nil
	case 'P':
		if !ch.builtin() {
			return fail(c.chain.pos, "end it with a rule instead", "chain %q: a user chain has no policy", ch.name)
		}
		return ch.setPolicy(c.other.text, c.other.pos)
	case 'X':
		if ch.builtin() || len(ch.rules) > 0 || t.jumpedTo()[ch.name] {
			return fail(c.chain.pos, "flush it and take out the jumps to it first", "chain %q: built in or in use", ch.name)
		}
		t.removeChains(func(x *chain) bool { return x == ch })
	case 'E':
		return t.rename(ch, c.other)
	}
	return nil
}

func (t *table) rename(ch *chain, name token) *ruleset.Error {
	bad, help := badChainName(name.text)
	switch {
	case bad != "":
		return fail(name.pos, help, "chain %q: %s", name.text, bad)
	case ch.builtin() || t.chain(name.text) != nil:
		return fail(name.pos, "choose another name", "chain %q: built in, or the new name is taken", ch.name)
	}
	for _, c := range t.chains {
		for _, r := range c.rules {
			if r.chainName() == ch.name {
				r.jump.val.text = name.text
			}
		}
	}
	delete(t.byName, ch.name)
	ch.name = name.text
	t.byName[ch.name] = ch
	return nil
}

// jumpedTo is the names of the chains that some rule jumps to.
func (t *table) jumpedTo() map[string]bool {
	used := map[string]bool{}
	for _, c := range t.chains {
		for _, r := range c.rules {
			used[r.chainName()] = true
		}
	}
	return used
}

// chainName is the user chain that a rule jumps or goes to, "" if it does neither.
func (r *rule) chainName() string {
	if r.jump == nil || r.target != nil {
		return ""
	}
	if _, ok := standard(r.jump.val.text); ok && !r.isGoto {
		return ""
	}
	return r.jump.val.text
}
