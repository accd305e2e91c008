package ruleset

import (
	"fmt"
	"math/bits"
	"slices"
	"strings"
	"unicode"
	"unicode/utf8"
)

// Check finds everything that keeps a ruleset from having one clear meaning, and returns it as an ErrorList with positions.
// Eval and the compiler rely on it.
func (rs *Ruleset) Check() error {
	if err := rs.holes(); err != nil {
		return err
	}
	c := &checker{
		rs: rs, hooks: rs.reach(), index: rs.index(), bySetName: map[string]*Set{}, tables: map[string]*Match{}, cgroupNames: map[string]bool{},
	}
	c.sets()
	rs.Conntrack.check(&c.errs)
	c.chainNames()
	c.cycles()
	for _, chain := range rs.Chains {
		c.chain(chain)
	}
	c.cgroups()
	return c.errs.Err()
}

// holes finds entries that are not there at all, as a damaged file may have them.
func (rs *Ruleset) holes() error {
	var errs ErrorList
	for i, c := range rs.Chains {
		if c == nil {
			errs.Add(Pos{}, "chain %d: missing", i+1)
		} else if n := slices.Index(c.Rules, nil); n >= 0 {
			errs.Add(c.Pos, "chain %q: rule %d is missing", c.Key(), n+1)
		}
	}
	if n := slices.Index(rs.Sets, nil); n >= 0 {
		errs.Add(Pos{}, "set %d: missing", n+1)
	}
	return errs.Err()
}

type checker struct {
	rs    *Ruleset
	hooks map[*Chain]hookSet // the hooks whose packets a chain may see
	index chainIndex
	errs  ErrorList

	bySetName   map[string]*Set   // of twins the first
	tables      map[string]*Match // of limits that share buckets, the first by name
	cgroupNames map[string]bool
}

// hookSet has a bit per Hook, as FieldInfo.Hooks.
type hookSet uint32

const (
	rawHooks    hookSet = 1<<HookPrerouting | 1<<HookRawOutput
	filterHooks hookSet = 1<<HookInput | 1<<HookForward | 1<<HookOutput
)

func (s hookSet) String() string {
	var names []string
	for _, h := range Hooks {
		if s&(1<<h) != 0 {
			names = append(names, h.String())
		}
	}
	return strings.Join(names, ", ")
}

// chainNames checks that chains can be told apart.
func (c *checker) chainNames() {
	seen := map[string]*Chain{}
	for _, chain := range c.rs.Chains {
		c.name(chain.Pos, "chain", chain.Name)
		key := fmt.Sprintf("%d %s", chain.Family, chain.Name)
		if first := seen[key]; first != nil {
			c.errs.Add(chain.Pos, "chain %q: defined twice", chain.Key()).Help = alreadyAt(first.Pos)
		}
		seen[key] = chain
	}
}

// sets checks that sets can be told apart, and their members.
func (c *checker) sets() {
	for _, s := range c.rs.Sets {
		c.name(s.Pos, "set", s.Name)
		if first := c.bySetName[s.Name]; first != nil {
			c.errs.Add(s.Pos, "set %q: defined twice", s.Name).Help = alreadyAt(first.Pos)
		} else {
			c.bySetName[s.Name] = s
		}
		if problem := s.Live.problem(); problem != "" {
			c.errs.Add(s.Pos, "set %q: %s", s.Name, problem)
		}
		for _, a := range s.Members {
			if problem := a.problem(); problem != "" {
				c.errs.Add(s.Pos, "set %q: %s", s.Name, problem)
			}
		}
		if problem := s.tupleProblem(); problem != "" {
			c.errs.Add(s.Pos, "set %q: %s", s.Name, problem)
		}
	}
}

// name checks a name that listings print and rules refer to.
func (c *checker) name(pos Pos, what, name string) {
	switch {
	case name == "":
		c.errs.Add(pos, "%s: has no name", what)
	case strings.ContainsFunc(name, unicode.IsControl):
		c.errs.Add(pos, "%s %q: control characters in the name", what, name)
	case !utf8.ValidString(name):
		c.errs.Add(pos, "%s %q: the name is not UTF-8", what, name)
	}
}

func alreadyAt(p Pos) string {
	if p == (Pos{}) {
		return ""
	}
	return fmt.Sprintf("the first is at %s: rename one of them", p)
}

// chain checks a chain's head and its rules.
func (c *checker) chain(chain *Chain) {
	switch {
	case chain.Hook >= hookCount:
		c.errs.Add(chain.Pos, "chain %q: no hook has the number %d", chain.Key(), chain.Hook)
	case chain.Hook == HookNone && chain.Policy != Continue:
		c.errs.Add(chain.Pos, "chain %q: a chain without a hook has no policy", chain.Key()).Help = "end it with a rule that matches all"
	case chain.Hook != HookNone && chain.Policy != Accept && chain.Policy != Drop:
		c.errs.Add(chain.Pos, "chain %q: its policy must be accept or drop", chain.Key()).Help = "to reject, end the chain with a rule that matches all"
	}
	if chain.Family != FamilyAny && chain.Family != FamilyIPv4 && chain.Family != FamilyIPv6 {
		c.errs.Add(chain.Pos, "chain %q: no address family has the number %d", chain.Key(), chain.Family)
	}
	named := map[string]*Rule{}
	for _, r := range chain.Rules {
		if first := named[r.Name]; r.Name != "" && first != nil {
			c.errs.Add(r.Pos, "rule %q: the chain %q has two rules of this name", r.Name, chain.Key()).Help = alreadyAt(first.Pos)
		}
		if r.Name != "" {
			named[r.Name] = r
		}
		c.rule(chain, r)
	}
}

// rule checks one rule in its chain.
func (c *checker) rule(chain *Chain, r *Rule) {
	if r.Name != "" {
		c.name(r.Pos, "rule", r.Name)
	}
	for i := range r.Matches {
		m := &r.Matches[i]
		c.match(chain, m, posOr(m.Pos, r.Pos))
	}
	for _, s := range r.Statements {
		c.statement(chain, r, s)
	}
	c.verdict(chain, r)
}

// posOr is the better of two positions: an unknown one falls back to the one around it.
func posOr(p, outer Pos) Pos {
	if p.Line == 0 {
		return outer
	}
	return p
}

// statement checks that a rule can do what it says where it stands.
func (c *checker) statement(chain *Chain, r *Rule, s Statement) {
	switch n := given(s.Log != nil) + given(s.SetMark != nil) + given(s.NoTrack != nil) + given(s.SynProxy != nil) + given(s.Change != nil); {
	case n != 1:
		c.errs.Add(r.Pos, "statement: %d things in one, it needs exactly 1", n)
	case s.Log == nil && c.hooks[chain]&(1<<HookListen) != 0:
		c.errs.Add(r.Pos, "statement: on hook %s there is no packet", HookListen).Help = "only log can stand there"
	case s.Change != nil:
		c.change(chain, r, s.Change)
	case s.NoTrack != nil && c.hooks[chain]&^rawHooks != 0:
		c.errs.Add(r.Pos, "notrack: comes too late on hook %s", c.hooks[chain]&^rawHooks).Help = "put it into a prerouting or raw-output chain, which run before conntrack"
	case s.SynProxy != nil && c.hooks[chain]&^(1<<HookPrerouting) != 0:
		c.errs.Add(r.Pos, "synproxy: not on hook %s", c.hooks[chain]&^(1<<HookPrerouting)).Help = "put it into a prerouting chain, where SYNs arrive"
	case s.SynProxy != nil && r.Verdict.Kind != Continue:
		c.errs.Add(r.Pos, "synproxy: cannot %s as well, it goes on with the next rule", r.Verdict.Kind).Help = "write two rules"
	case s.Log != nil && s.Log.Level > 7:
		c.errs.Add(r.Pos, "log: level %d is above 7", s.Log.Level)
	case s.Log != nil && (s.Log.Group < 0 || s.Log.Group > 1<<16):
		c.errs.Add(r.Pos, "log: group %d is not in 0-65535", s.Log.Group-1)
	}
}

func given(b bool) int {
	if b {
		return 1
	}
	return 0
}

// verdict checks where a rule leads.
func (c *checker) verdict(chain *Chain, r *Rule) {
	v := r.Verdict
	switch {
	case v.Kind >= verdictCount:
		c.errs.Add(r.Pos, "verdict: there is no number %d", v.Kind)
	case v.Kind == Jump || v.Kind == Goto:
		c.jump(chain, r)
	case v.Kind == Reject && v.With >= rejectCount:
		c.errs.Add(r.Pos, "reject: there is no answer with the number %d", v.With)
	case v.Kind == Reject && c.hooks[chain]&^filterHooks != 0:
		c.errs.Add(r.Pos, "reject: cannot answer from hook %s", c.hooks[chain]&^filterHooks).Help = "use drop here, or reject in an input, forward or output chain"
	}
}

// jump checks that there is a user chain to jump to.
func (c *checker) jump(chain *Chain, r *Rule) {
	v := r.Verdict
	to := c.index.target(chain, r)
	switch {
	case v.Chain == "":
		c.errs.Add(r.Pos, "%s: names no chain", v.Kind)
	case to == nil:
		e := c.errs.Add(r.Pos, "%s: there is no chain %q for %s packets", v.Kind, v.Chain, chain.Family)
		e.Help = "define the chain, or correct the name"
		if near := c.nearest(v.Chain, chain.Family); near != "" {
			e.Hint = fmt.Sprintf("did you mean %q?", near)
		}
	case to.Hook != HookNone:
		c.errs.Add(r.Pos, "%s: %q is a base chain, it runs on hook %s by itself", v.Kind, v.Chain, to.Hook).Help = "jump to a chain without a hook"
	}
}

// nearest is the user chain of a family whose name differs from name in letter case or one letter only; "" if there is none.
func (c *checker) nearest(name string, f Family) string {
	for _, chain := range c.rs.Chains {
		if chain.Hook == HookNone && chain.Family == f && (strings.EqualFold(chain.Name, name) || oneEdit(chain.Name, name)) {
			return chain.Name
		}
	}
	return ""
}

// oneEdit reports whether a and b differ by one byte that was changed, put in or left out.
func oneEdit(a, b string) bool {
	if len(a) < len(b) {
		a, b = b, a
	}
	i := 0
	for i < len(b) && a[i] == b[i] {
		i++
	}
	return a != b && (a[i+1:] == b[i:] || i < len(b) && a[i+1:] == b[i+1:])
}

// width is how many bits a number needs.
func width(v uint64) int { return bits.Len64(v) }
