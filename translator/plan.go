package translator

import (
	"encoding/binary"
	"slices"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/translator/classify"
)

// plan is what is to be compiled, as data: chains as blocks of steps, and in the end the functions they are divided into.
type plan struct {
	rs         *ruleset.Ruleset
	used       ruleset.Used // by its rules
	slots      Slots
	fresh      FreshSlots
	chainSlots map[*ruleset.Chain][]uint32 // of rules' counters, in their order
	limits     limits
	blocks     []*block // reachable chains, each after the chains that jump to it; base chains in their order
	functions  []*function
	counter    *function // counts rules that do not decide; nil: they do so themselves
	sets       []*SetMap
	live       map[string]*LiveSet // by name
	logs       []LogPoint
	lookups    lookups
	cgroups    []string // by their bits in fw_pkt.cgroups

	engine      Engine // to be used for all; EngineAuto: whichever is best
	order       binary.ByteOrder
	tables      int // bytes that all classifiers may be
	classifiers []*classifier
	shapes      []classify.Shape // that the classifiers had before
	parts       []Parts
	atConnect   bool     // see connectPlan
	refused     []string // runs of rules that no classifier can be made of, and why
	inCode      []string // runs of rules that cost no more in code, and what
}

// block is a chain.
type block struct {
	chain *ruleset.Chain
	steps []*step
	slot  uint32    // of the policy
	fn    *function // nil: the block stands wherever it is jumped to
}

// step is a rule, or (rule nil) an engine that finds a rule, or the call of a piece that was cut out of a long chain.
type step struct {
	rule   *ruleset.Rule
	slot   uint32
	tests  []*test
	does   []action
	verb   verb
	code   uint32    // decide: what the function returns
	target *block    // jump
	piece  *function // run
	fork   *fork     // fork
	back   bool      // jump: the chain is left after it (goto)

	classifier *classifier // classify
}

// verb is how a step ends.
type verb uint8

const (
	verbNext     verb = iota // with the next step
	verbDecide               // the verdict is known
	verbLeave                // return
	verbJump                 // through another chain first
	verbRun                  // a piece of the same chain
	verbFork                 // one of many branches of the same chain
	verbClassify             // with the first of many rules that the packet meets
)

// test is a match, with what the plan has found out about it. The match is the rule's until own is called.
type test struct {
	*ruleset.Match
	*rare
	held held // by tables
}

// rare is what few tests have, apart, since there are many tests. The others share noRare: own it before it is written to.
type rare struct {
	limitSlot uint32
	meter     uint64         // the identity of its keys' buckets
	cgroups   uint64         // the bits of Names
	named     string         // the set that the addresses are of
	sets      []*SetMap      // maps that hold operands
	live      []*LiveSet     // sets that hold more than the operands
	parts     []ruleset.Part // of the elements of the one set, for FieldElement
	flows     uint64         // of the places of its flows
}

var noRare = &rare{}

// ownRare is what a test has, which it may change.
func (t *test) ownRare() *rare {
	if t.rare == noRare {
		t.rare = &rare{}
	}
	return t.rare
}

// held says whether a table can hold a test, once the passes before the engines are through.
type held uint8

const (
	unknown held = iota
	yes
	no
)

// action is a statement, with the id of its log point.
type action struct {
	ruleset.Statement
	log uint32
}

// function is what becomes a BPF function.
type function struct {
	name  string
	doc   string
	hook  ruleset.Hook // HookNone: a chain's, or a piece's
	entry []*block     // the hook's base chains; for a chain or a piece the one block
	asks  cond         // a condition that several rules share
	part  []*step      // a piece's share of that block's steps

	stops  *stopGroup  // of a classifier
	counts *classifier // whose rules that only count it counts

	resumes *classifier // that is asked for a rule behind a stop
}

// numbers is how many it takes behind the packet.
func (f *function) numbers() int {
	if f.stops != nil || f.counts != nil {
		return 2
	}
	return 0
}

// piece reports whether the function is part of a chain; it then tells its caller whether the chain was left.
func (f *function) piece() bool { return f.part != nil }

// newPlan takes the chains that packets can reach into the plan as they are.
func newPlan(rs *ruleset.Ruleset, used ruleset.Used, prev Slots) *plan {
	p := &plan{rs: rs, used: used, live: liveSets(rs)}
	p.assignSlots(prev)
	if p.used.Has(ruleset.FieldCgroup) {
		p.cgroups = rs.Cgroups()
	}
	seen := map[*ruleset.Chain]*block{}
	for _, c := range slices.Backward(rs.Chains) {
		if c.Hook != ruleset.HookNone {
			p.add(c, seen)
		}
	}
	slices.Reverse(p.blocks)
	return p
}

// add makes a chain's block after those of the chains it jumps to.
func (p *plan) add(c *ruleset.Chain, seen map[*ruleset.Chain]*block) *block {
	if b := seen[c]; b != nil {
		return b
	}
	b := &block{chain: c}
	if c.Hook != ruleset.HookNone {
		b.slot = p.slots.Counters[c.PolicyID()]
	}
	seen[c] = b
	from := newArena(c)
	b.steps = make([]*step, 0, len(c.Rules))
	slots := p.chainSlots[c]
	for i, r := range c.Rules {
		s := p.step(r, slots[i], from)
		if s.verb == verbJump {
			s.target = p.add(p.rs.Chain(r.Verdict.Chain, c.Family), seen)
		}
		b.steps = append(b.steps, s)
	}
	p.blocks = append(p.blocks, b)
	return b
}

// arena is the steps and tests of a chain, each in one piece of memory.
type arena struct {
	steps []step
	tests []test
	refs  []*test
}

func newArena(c *ruleset.Chain) *arena {
	n := 0
	for _, r := range c.Rules {
		n += len(r.Matches)
	}
	return &arena{make([]step, len(c.Rules)), make([]test, n), make([]*test, n)}
}

// take is room for a step and its tests.
func (a *arena) take(tests int) *step {
	s := &a.steps[0]
	s.tests = a.refs[:tests:tests]
	for i := range s.tests {
		s.tests[i] = &a.tests[i]
	}
	a.steps, a.tests, a.refs = a.steps[1:], a.tests[tests:], a.refs[tests:]
	return s
}

// step makes a rule's step.
func (p *plan) step(r *ruleset.Rule, slot uint32, from *arena) *step {
	s := from.take(len(r.Matches))
	s.rule, s.slot = r, slot
	for i, t := range s.tests {
		m := &r.Matches[i]
		*t = test{Match: m, rare: noRare}
		if m.Limit != nil || m.Sample != nil || m.Quota != nil || m.Flows != nil || m.Field == ruleset.FieldCgroup {
			t.rare = p.rare(r, i)
		}
	}
	for _, st := range r.Statements {
		a := action{Statement: st, log: uint32(len(p.logs))}
		if st.Log != nil {
			p.logs = append(p.logs, LogPoint{Rule: r, Log: *st.Log})
		}
		s.does = append(s.does, a)
	}
	switch v := r.Verdict; v.Kind {
	case ruleset.Continue:
	case ruleset.Return:
		s.verb = verbLeave
	case ruleset.Jump, ruleset.Goto:
		s.verb, s.back = verbJump, v.Kind == ruleset.Goto
	default:
		s.verb, s.code = verbDecide, verdictCode(v.Kind, v.With)
	}
	return s
}

// rare is what a rule's i-th test has of its own from the beginning.
func (p *plan) rare(r *ruleset.Rule, i int) *rare {
	m := &r.Matches[i]
	out := &rare{meter: meterID(r, i), flows: flowsID(r, i), cgroups: p.cgroupBits(m)}
	if slotted(m) {
		out.limitSlot = p.slots.Limits[LimitID(r, i)]
	}
	return out
}

// cgroupBits is the bits of the control groups that a match names.
func (p *plan) cgroupBits(m *ruleset.Match) (bits uint64) {
	if ruleset.Fields[m.Field].Kind != ruleset.KindCgroup {
		return 0
	}
	for _, name := range m.Names {
		bits |= 1 << slices.Index(p.cgroups, name)
	}
	return bits
}

// verdictCode is a verdict as functions return it.
func verdictCode(k ruleset.VerdictKind, with ruleset.RejectWith) uint32 {
	return uint32(k) | uint32(with)<<8
}

// own is the match, from now on a copy that the test may change.
func (t *test) own() *ruleset.Match {
	m := *t.Match
	t.Match = &m
	return t.Match
}

// ends reports whether no step after this one can be reached.
func (s *step) ends() bool {
	return len(s.tests) == 0 && (s.verb == verbDecide || s.verb == verbLeave || s.verb == verbJump && s.back)
}

// families are the families of a test's addresses, in order.
func (t *test) families() []ruleset.Family {
	var out []ruleset.Family
	for _, f := range []ruleset.Family{ruleset.FamilyIPv4, ruleset.FamilyIPv6} {
		if t.hasFamily(f) {
			out = append(out, f)
		}
	}
	return out
}

func (t *test) hasFamily(f ruleset.Family) bool {
	return slices.ContainsFunc(t.live, func(s *LiveSet) bool { return s.families.Covers(f) }) ||
		slices.ContainsFunc(t.Addrs, func(a ruleset.AddrRange) bool { return familyOf(a.From) == f }) ||
		slices.ContainsFunc(t.sets, func(s *SetMap) bool { return s.Family == f })
}

// number reports whether v is one of a test's numbers.
func (t *test) number(v uint64) bool {
	return slices.ContainsFunc(t.Ranges, func(r ruleset.Range) bool { return r.From <= v && v <= r.To }) ||
		slices.ContainsFunc(t.Masked, func(k ruleset.Masked) bool { return v&k.Mask == k.Value })
}

// functionName is the C name of a hook's function.
func functionName(h ruleset.Hook) string {
	return [...]string{"", "fw_prerouting", "fw_raw_output", "fw_input", "fw_forward", "fw_output", "fw_listen"}[h]
}
