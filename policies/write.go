package policies

import (
	"bytes"
	"fmt"
	"slices"
	"strings"

	"github.com/bpfwall/bpfwall/ruleset"
)

// Write writes a ruleset as a policy that gives every packet the same verdict. The policy leaves state and essentials to its rules,
// because the ruleset has rules of its own for them. header becomes comment lines at the top. What the language cannot say is an
// error, a ruleset.ErrorList with the places in the ruleset's own sources.
//
// One thing is stricter: a policy judges both families, so malformed packets are dropped in a family too for which the ruleset has no chain.
func Write(rs *ruleset.Ruleset, header string) ([]byte, error) {
	w := &writer{rs: rs, groups: map[*ruleset.Chain]string{}, defaults: map[string]familyVerdicts{}}
	w.nameGroups()
	for _, d := range directions {
		w.direction(d)
	}
	w.guards()
	w.listen()
	w.userGroups()
	if err := w.errs.Err(); err != nil {
		return nil, err
	}
	out := w.file(header)
	if _, err := Parse("written.toml", out, Options{}); err != nil {
		return nil, fmt.Errorf("write: what was written does not read back: %w", err)
	}
	return out, nil
}

// writer collects the lists of rules of a policy, which it prints at the end.
type writer struct {
	rs       *ruleset.Ruleset
	errs     ruleset.ErrorList
	groups   map[*ruleset.Chain]string // the group that a user chain becomes
	defaults map[string]familyVerdicts
	lists    []list
}

// list is the rules of a direction or group.
type list struct {
	key   string
	group bool
	lines []line
}

// line is one rule, or something that a rule of the ruleset does not say.
type line struct {
	place   string // file:line of the rule's source
	source  string // its text there
	name    string
	text    string // the inline table, without name and family
	family  ruleset.Family
	implied bool // the rule says its family in another way
	out     bool // names the interface that the packet leaves by
	limited bool // has a token bucket, which two families must not share
}

var bothFamilies = []ruleset.Family{ruleset.FamilyIPv4, ruleset.FamilyIPv6}

// familyVerdicts is a verdict for each family.
type familyVerdicts map[ruleset.Family]ruleset.VerdictKind

func (v familyVerdicts) same() bool { return v[ruleset.FamilyIPv4] == v[ruleset.FamilyIPv6] }

// nameGroups finds a group for every user chain. The chains of one name in both families share a group, where each rule says its family.
func (w *writer) nameGroups() {
	taken := map[string]bool{}
	for _, n := range baseNames {
		taken[n] = true
	}
	shared := map[string]string{}
	for _, c := range w.rs.Chains {
		key := c.Name
		if c.Family == ruleset.FamilyAny {
			key += "\x00any" // not the chain that rules of one family mean by the name
		}
		if c.Hook != ruleset.HookNone {
			continue
		}
		if shared[key] == "" {
			shared[key] = unused(c.Name, taken)
		}
		w.groups[c] = shared[key]
	}
}

// unused is name, or name with a number behind it, and takes it.
func unused(name string, taken map[string]bool) string {
	free := name
	for n := 2; taken[free]; n++ {
		free = fmt.Sprintf("%s %d", name, n)
	}
	taken[free] = true
	return free
}

// base is the one base chain that judges a family's packets on a hook, nil if there is none.
func (w *writer) base(h ruleset.Hook, f ruleset.Family) *ruleset.Chain {
	chains := w.rs.Base(h, f)
	if len(chains) > 1 {
		w.errs.Add(chains[1].Pos, "chain %q: a second chain on %s for %s cannot be written as a policy", chains[1].Name, h, f)
	}
	if len(chains) == 0 {
		return nil
	}
	return chains[0]
}

// policies is what a hook's chains do where no rule decides.
func (w *writer) policies(h ruleset.Hook) familyVerdicts {
	out := familyVerdicts{}
	for _, f := range bothFamilies {
		out[f] = ruleset.Accept
		if c := w.base(h, f); c != nil {
			out[f] = c.Policy
		}
	}
	return out
}

// direction writes the chains of a hook as a direction and its default.
func (w *writer) direction(d direction) {
	p := w.policies(d.hook)
	w.defaults[d.key] = p
	if lines := w.baseLines(d.hook, p, p.same()); len(lines) > 0 {
		w.lists = append(w.lists, list{key: d.key, lines: lines})
	}
}

// guards writes the chains before connection tracking. A policy that is not accept becomes a last rule.
func (w *writer) guards() {
	guard := list{key: "guard"}
	for _, h := range []ruleset.Hook{ruleset.HookPrerouting, ruleset.HookRawOutput} {
		p := w.policies(h)
		open := p.same() && p[ruleset.FamilyIPv4] == ruleset.Accept
		lines := w.baseLines(h, p, open)
		for _, f := range bothFamilies {
			if p[f] == ruleset.Drop {
				lines = append(lines, line{text: `drop = "any"`, family: f})
			}
		}
		for i := range lines {
			if h == ruleset.HookRawOutput && !lines[i].out {
				lines[i].text += `, out = "any"`
			}
		}
		guard.lines = append(guard.lines, lines...)
	}
	if len(guard.lines) > 0 {
		w.lists = append(w.lists, guard)
	}
}

// listen writes the chains of who may listen.
func (w *writer) listen() {
	p := w.policies(ruleset.HookListen)
	lines := w.baseLines(ruleset.HookListen, p, p.same() && p[ruleset.FamilyIPv4] == ruleset.Accept)
	for _, f := range bothFamilies {
		if p[f] == ruleset.Drop {
			lines = append(lines, line{text: `drop = "any"`, family: f})
		}
	}
	if len(lines) > 0 {
		w.lists = append(w.lists, list{key: listenChain, lines: lines})
	}
}

// baseLines writes the rules of a hook's base chains. plain says that leaving the list of rules has the effect of the policy.
func (w *writer) baseLines(h ruleset.Hook, p familyVerdicts, plain bool) []line {
	v4, v6 := w.base(h, ruleset.FamilyIPv4), w.base(h, ruleset.FamilyIPv6)
	if v4 == v6 {
		return w.chain(v4, plain, p[ruleset.FamilyIPv4])
	}
	return merge(w.chain(v4, plain, p[ruleset.FamilyIPv4]), w.chain(v6, plain, p[ruleset.FamilyIPv6]))
}

// chain writes the rules of a chain; none for a chain that is not there. Where leaving a base chain is not plain, a return becomes its
// policy's verdict, and a chain with a goto becomes a group of its own.
func (w *writer) chain(c *ruleset.Chain, plain bool, policy ruleset.VerdictKind) []line {
	if c == nil {
		return nil
	}
	base := c.Hook != ruleset.HookNone
	if base && !plain && slices.ContainsFunc(c.Rules, func(r *ruleset.Rule) bool { return r.Verdict.Kind == ruleset.Goto }) {
		name := w.freeGroup(c.Key())
		w.lists = append(w.lists, list{key: name, group: true, lines: w.chain(c, true, policy)})
		return []line{{text: "use = " + quote(name), family: c.Family}}
	}
	var out []line
	for _, r := range c.Rules {
		written := *r
		if base && !plain && r.Verdict.Kind == ruleset.Return {
			written.Verdict.Kind = policy
		}
		out = append(out, w.rule(c, &written))
	}
	return out
}

func (w *writer) freeGroup(name string) string {
	taken := map[string]bool{}
	for _, n := range baseNames {
		taken[n] = true
	}
	for _, g := range w.groups {
		taken[g] = true
	}
	for _, l := range w.lists {
		taken[l.key] = true
	}
	return unused(name, taken)
}

// userGroups writes the user chains, those of both families with one name together.
func (w *writer) userGroups() {
	done := map[string]bool{}
	for _, c := range w.rs.Chains {
		name := w.groups[c]
		if c.Hook != ruleset.HookNone || done[name] {
			continue
		}
		done[name] = true
		lines := w.chain(c, true, ruleset.Continue)
		for _, twin := range w.rs.Chains {
			if twin != c && twin.Hook == ruleset.HookNone && w.groups[twin] == name {
				lines = merge(lines, w.chain(twin, true, ruleset.Continue))
			}
		}
		w.lists = append(w.lists, list{key: name, group: true, lines: lines})
	}
}

// merge puts the rules of two families into one list. A rule that both have becomes one for both; the order in each family stays.
func merge(a, b []line) []line {
	var out []line
	pairs := common(a, b)
	i, j := 0, 0
	for _, p := range append(pairs, [2]int{len(a), len(b)}) {
		out = append(append(out, a[i:p[0]]...), b[j:p[1]]...)
		if i, j = p[0]+1, p[1]+1; p[0] < len(a) {
			both := a[p[0]]
			both.family = ruleset.FamilyAny
			both.place = strings.Trim(both.place+", "+b[p[1]].place, ", ")
			out = append(out, both)
		}
	}
	return out
}

// mostCells bounds the table that common fills in; beyond it only what the lists have in common at their start is merged.
const mostCells = 4 << 20

// common is the longest list of pairs of equal lines, in order (the longest common subsequence).
func common(a, b []line) [][2]int {
	same := func(i, j int) bool {
		return a[i].text == b[j].text && a[i].name == b[j].name && !a[i].limited && !a[i].implied && !b[j].implied
	}
	var out [][2]int
	start := 0
	for start < len(a) && start < len(b) && same(start, start) {
		out = append(out, [2]int{start, start})
		start++
	}
	n, m := len(a)-start, len(b)-start
	if n*m > mostCells {
		return out
	}
	length := make([][]int32, n+1)
	for i := range length {
		length[i] = make([]int32, m+1)
	}
	for i := n - 1; i >= 0; i-- {
		for j := m - 1; j >= 0; j-- {
			length[i][j] = max(length[i+1][j], length[i][j+1])
			if same(start+i, start+j) {
				length[i][j] = length[i+1][j+1] + 1
			}
		}
	}
	for i, j := 0, 0; i < n && j < m; {
		switch {
		case same(start+i, start+j):
			out = append(out, [2]int{start + i, start + j})
			i, j = i+1, j+1
		case length[i+1][j] >= length[i][j+1]:
			i++
		default:
			j++
		}
	}
	return out
}

// file prints the policy.
func (w *writer) file(header string) []byte {
	var b bytes.Buffer
	for s := range strings.Lines(header) {
		fmt.Fprintf(&b, "%s\n", comment(s))
	}
	b.WriteString("version = 1\n")
	if w.rs.Name != "" {
		fmt.Fprintf(&b, "name = %s\n", quote(w.rs.Name))
	}
	w.writeSets(&b)
	b.WriteString("\n[defaults]\n")
	for _, d := range directions {
		fmt.Fprintf(&b, "%s = %s\n", d.key, defaultText(w.defaults[d.key]))
	}
	b.WriteString("state = \"explicit\"      # the rules below see to connection tracking themselves,\nessentials = \"none\"     # and to loopback, neighbour discovery and DHCP\n")
	if !w.rs.PublishedAsInput {
		b.WriteString("published_ports = \"forward\"\n")
	}
	w.writeConntrack(&b)
	for _, l := range w.lists {
		if l.group {
			fmt.Fprintf(&b, "\n[groups.%s]\n", key(l.key))
			l.write(&b, "rules")
		}
	}
	b.WriteString("\n[rules]\n")
	for _, l := range w.lists {
		if !l.group {
			l.write(&b, l.key)
		}
	}
	return b.Bytes()
}

func defaultText(v familyVerdicts) string {
	if v.same() {
		return quote(verbOf(v[ruleset.FamilyIPv4]))
	}
	return fmt.Sprintf("{ ipv4 = %q, ipv6 = %q }", verbOf(v[ruleset.FamilyIPv4]), verbOf(v[ruleset.FamilyIPv6]))
}

func (w *writer) writeSets(b *bytes.Buffer) {
	if len(w.rs.Sets) > 0 {
		b.WriteString("\n[sets]\n")
	}
	for _, s := range w.rs.Sets {
		if s.Live != nil || len(s.Parts) > 0 {
			writeLive(b, s)
			continue
		}
		fmt.Fprintf(b, "%s = [\n", key(s.Name))
		for _, m := range s.Members {
			fmt.Fprintf(b, "  %s,\n", quote(addrText(m)))
		}
		b.WriteString("]\n")
	}
}

// write prints a list, one rule a line, each under the line that it was made from.
func (l list) write(b *bytes.Buffer, name string) {
	if len(l.lines) == 0 {
		fmt.Fprintf(b, "%s = []\n", name)
		return
	}
	fmt.Fprintf(b, "%s = [\n", name)
	taken := map[string]bool{}
	for _, r := range l.lines {
		if origin := strings.Trim(r.place+": "+r.source, ": "); origin != "" {
			fmt.Fprintf(b, "  %s\n", comment(origin))
		}
		text := r.text
		if r.name != "" {
			text = "name = " + quote(unused(r.name, taken)) + ", " + text
		}
		if r.family != ruleset.FamilyAny && !r.implied {
			text += fmt.Sprintf(", family = %q", r.family)
		}
		fmt.Fprintf(b, "  { %s },\n", text)
	}
	b.WriteString("]\n")
}
