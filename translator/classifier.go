package translator

import (
	"encoding/binary"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/translator/classify"
)

// classifier is an engine: a table in a map, which generated code asks for the first rule that a packet meets. It is for packets of one
// family.
type classifier struct {
	name     string // its number
	why      string // it is one
	instead  string // bit vectors: why they are no table
	cost     int    // ns of a lookup, about, of packets that all differ
	base     int    // offset in the map
	family   ruleset.Family
	block    *block // the chain that the rules are of
	rules    []*step
	stops    []stop      // those of the rules, in their order
	open     bool        // packets go on behind one of the stops
	counts   int         // rules that only count, which are no stops
	groupFn  []*function // the stops, if they are more than one group
	nextFn   *function   // finds the next rule, where lookups find one after the other
	countFn  *function   // counts rules that had to wait for stops
	table    *classify.Table
	vectors  *classify.Vectors // in place of the table
	patterns *patterns
	unmet    int // offset: of patterns.unmet
	fields   []fieldTable
	data     []byte // from base on
	order    binary.ByteOrder
}

// fieldTable is where the patterns by value of a field are.
type fieldTable struct {
	field ruleset.FieldID
	off   int
	size  int // values
}

// What stands in a rule's answer in place of a verdict: it returns, or it is the stop with the number that stands in place of its slot. Where
// no rule answers, all bits are set.
const (
	codeNone  = 0xff
	codeStop  = 0xfe
	codeLeave = 0xfd
)

// A verdict's code has its kind in the lower bits there, and above what it rejects with.
const (
	kindMask  = 3
	withShift = 2
)

// tableCode is a verdict's code as it stands in a table.
func tableCode(code uint32) uint8 { return uint8(code&kindMask | code>>8<<withShift) }

// What a classifier may take. Subsets cost a packet one probe each.
const (
	maxSubsets = 40
	maxTable   = 128 << 20 // bytes of one
	maxTables  = 500 << 20 // of all: the verifier follows offsets in a map up to 512 MB (BPF_MAX_VAR_OFF)
	maxBoxes   = 64        // ranges of source ports times those of destination ports
)

var classifiableKinds = [256]bool{
	ruleset.KindNumber: true, ruleset.KindBits: true, ruleset.KindFlags: true, ruleset.KindAddr: true, ruleset.KindIface: true,
}

// newClassifier makes an engine for the packets of a family that come to some rules. It takes as many of these as have room: rest is the
// others. Some are made before that have no place yet. Errors are *classify.LimitError.
func (e *engines) newClassifier(f ruleset.Family, steps []*step, before []*classifier, build builder) (c *classifier, rest []*step, err error) {
	c = &classifier{family: f, patterns: newPatterns(), order: e.plan.order, block: e.block}
	t := &taker{classifier: c, spanner: newSpanner(f), taken: make([]classify.Rule, 0, len(steps)), marks: -1, stepwise: build.stepwise, spills: build.spills}
	if e.marks {
		for i, st := range steps {
			if st.marks() {
				t.marks = i
			}
		}
	}
	if rest = t.take(steps); len(t.taken) == 0 {
		return nil, rest, nil
	}
	opt := classify.Options{Order: c.order, Covers: c.patterns.covers(), MaxSubsets: maxSubsets, MaxBytes: e.room(before)}
	e.like(&opt, c.rules, before)
	if f == ruleset.FamilyIPv6 {
		opt.Family = classify.IPv6
	}
	table, err := build.build(c, t.taken, opt)
	if err != nil {
		return nil, nil, err
	}
	c.fill(table)
	return c, rest, nil
}

// builder makes what a classifier asks of its rules, and is the bytes of it.
type builder struct {
	build    func(c *classifier, rules []classify.Rule, opt classify.Options) ([]byte, error)
	stepwise bool // lookups find one rule after the other
	spills   bool // tests that a table has no room for stand in code
}

var (
	asTable    = builder{build: newTable}
	asFewPairs = builder{build: newFewPairs}
	asSpilling = builder{build: newTable, spills: true}
	asVectors  = builder{build: newVectors, stepwise: true}
)

// newTable makes a table.
func newTable(c *classifier, rules []classify.Rule, opt classify.Options) (data []byte, err error) {
	if c.table, err = classify.Build(rules, opt); err != nil {
		return nil, err
	}
	c.cost = tableCost + stepCost*c.steps(rules, opt, c.table.Steps)
	data, c.table.Data = c.table.Data, nil
	return data, nil
}

// newFewPairs makes a table, unless it would take long.
func newFewPairs(c *classifier, rules []classify.Rule, opt classify.Options) (data []byte, err error) {
	opt.MaxPairs = max(1<<18, pairsPerRule*len(rules))
	return newTable(c, rules, opt)
}

// newVectors makes bit vectors.
func newVectors(c *classifier, rules []classify.Rule, opt classify.Options) (data []byte, err error) {
	if c.vectors, err = classify.BuildVectors(rules, c.patterns.groups(), opt); err != nil {
		return nil, err
	}
	c.cost = vectorCost + wordCost*len(c.vectors.Dims)*c.steps(rules, opt, c.vectors.Steps)
	data, c.vectors.Data = c.vectors.Data, nil
	return data, nil
}

// What lookups cost beside one another, in ns on a processor of 2025 for packets that all differ; and below what a table's cost bit vectors are not tried.
// Filter sets of ClassBench cover 1 to 7 pairs of classes a rule, those of nested prefixes up to 60.
const (
	tableCost    = 30
	stepCost     = 6 // a cell or an item
	vectorCost   = 60
	wordCost     = 2 // of one dimension
	cheapTable   = 100
	pairsPerRule = 64
	samples      = 256
)

// steps is how many steps lookups take, on average.
func (c *classifier) steps(rules []classify.Rule, opt classify.Options, of func(classify.Key, binary.ByteOrder) int) (sum int) {
	for _, k := range classify.Samples(opt.Family, rules, c.patterns.groups(), samples) {
		sum += of(k, c.order)
	}
	return sum / samples
}

// taker takes rules into a classifier.
type taker struct {
	*classifier
	spanner *spanner
	taken   []classify.Rule
	weight  int  // of the stops' code
	marked  bool // one of the stops may change the mark
	marks   int  // the last rule that may do so; -1: none

	spills   bool // what there is no room for stands in code
	stepwise bool // a lookup finds one rule after the other: all that do not end are stops
}

// take takes rules as far as there is room, and is the others. A lookup asks for the mark once: behind a stop that may change it, tests for it
// stand in code, or another lookup begins.
func (t *taker) take(steps []*step) (rest []*step) {
	for i, st := range steps {
		static, others := st.divided()
		if t.marked && st.asksMark() {
			if i > t.marks {
				return steps[i:]
			}
			static, others = withoutMarks(static, others)
		}
		r, tests, never := t.spanner.rule(static)
		if never {
			continue
		}
		bit, ok := t.patterns.add(tests)
		if !ok && t.spills {
			static, others = withoutComparisons(static, others)
			r, tests, _ = t.spanner.rule(static)
			bit, ok = t.patterns.add(tests)
		}
		if !ok || !t.answer(&r, st, others) {
			return steps[i:]
		}
		r.Pattern = bit
		t.taken, t.rules = append(t.taken, r), append(t.rules, st)
		t.marked = t.marked || t.marks >= i && st.marks()
	}
	return nil
}

// answer makes a rule answer what its step says: how it ends, that it counts, or that it is a stop, which others is left of. False: there
// is no room for one more stop.
func (t *taker) answer(r *classify.Rule, st *step, others []*test) bool {
	r.Slot, r.Code = st.slot, tableCode(st.code)
	switch {
	case len(others) == 0 && st.plain():
		if st.verb == verbLeave {
			r.Code = codeLeave
		}
		return true
	case len(others) == 0 && st.only() && !t.stepwise:
		r.Pass = classify.Counts
		t.counts++
		return true
	}
	w, most := st.stopWeight(), maxStopWeight
	if t.stepwise {
		most = maxStepWeight
	}
	if len(t.stops) > 0 && (t.weight+w > most || len(t.stops) == maxStops) {
		return false
	}
	t.weight += w
	left := *st
	left.tests = others
	r.Slot, r.Code = uint32(len(t.stops)), codeStop
	if !left.ends() {
		r.Pass, t.open = classify.Stops, true
	}
	t.stops = append(t.stops, stop{len(t.rules), &left})
	return true
}

// rule is a rule's addresses and ports, and its other tests, which are good until the next call. Never: no packet of the family meets it.
func (s *spanner) rule(static []*test) (r classify.Rule, tests []*test, never bool) {
	tests = s.tests[:0]
	for _, t := range static {
		switch {
		case t.spannable():
			to := &r.Src
			if t.Field == ruleset.FieldDstAddr {
				to = &r.Dst
			}
			*to = both(*to, s.spans(t))
			never = never || len(*to) == 0
		case t.portable():
			to := &r.SrcPorts
			if t.Field == ruleset.FieldDstPort {
				to = &r.DstPorts
			}
			*to = t.ports(*to)
			never = never || len(*to) == 0
			tests = append(tests, s.hasPort(t.Field))
		case t.Field == ruleset.FieldFamily:
			never = never || t.number(uint64(s.family)) == t.Not
		default:
			tests = append(tests, t)
		}
	}
	if len(r.SrcPorts)*len(r.DstPorts) > maxBoxes {
		r.SrcPorts = nil
		tests = append(tests, static[slices.IndexFunc(static, func(t *test) bool { return t.Field == ruleset.FieldSrcPort })])
	}
	s.tests = tests
	return r, tests, never
}

// hasPort is a test for a port, whichever. Packets without ports pass those of a classifier.
func (s *spanner) hasPort(f ruleset.FieldID) *test {
	if s.ports[f] == nil {
		s.ports[f] = &test{rare: noRare, Match: &ruleset.Match{Field: f, Ranges: []ruleset.Range{{To: 0xffff}}}}
	}
	return s.ports[f]
}

// fill makes the map's contents: the table, the fields' tables, and the patterns that a packet does not meet because of a comparison. They are
// no constants of the code, which then is the same whichever rules ask for the same things.
func (c *classifier) fill(table []byte) {
	c.data = table
	c.patterns.sort()
	c.unmet = c.append(c.patterns.unmet())
	for _, f := range c.patterns.fields() {
		t := c.patterns.table(f)
		c.fields = append(c.fields, fieldTable{f, c.append(t), len(t)})
	}
}

func (c *classifier) append(array []uint64) (off int) {
	off = (len(c.data) + 63) &^ 63
	c.data = append(c.data, make([]byte, off+8*len(array)-len(c.data))...)
	for i, v := range array {
		c.order.PutUint64(c.data[off+8*i:], v)
	}
	return off
}

// leaves reports whether a rule of it returns.
func (c *classifier) leaves() bool {
	return slices.ContainsFunc(c.rules, func(s *step) bool { return s.verb == verbLeave && s.plain() })
}

// shape is that of its table.
func (c *classifier) shape() (s classify.Shape) {
	if c.table != nil {
		s = c.table.Shape()
	}
	return s
}

// weight is about how many branches the verifier has in hand: one for each comparison of each item of the longest list, in each subset.
func (c *classifier) weight() int {
	t := c.table
	if t == nil {
		return 8
	}
	return 40 + 4*(t.Src.Steps+t.Dst.Steps) + 2*len(c.patterns.tests) + len(t.Subsets)*(9+5*t.MaxList)
}

// bpfRdonlyProg is BPF_F_RDONLY_PROG of linux/bpf.h.
const bpfRdonlyProg = 1 << 7

// classifierMap is the map that all classifiers share: a program may use 64 maps at most.
const classifierMap = "rules"

// classifierSpec is that map as it is to be made; nil if there are no classifiers.
func (p *plan) classifierSpec() *ebpf.MapSpec {
	if len(p.classifiers) == 0 {
		return nil
	}
	last := p.classifiers[len(p.classifiers)-1]
	data := last.data
	if last.base > 0 {
		data = make([]byte, last.base+len(last.data))
		for _, c := range p.classifiers {
			copy(data[c.base:], c.data)
		}
	}
	return &ebpf.MapSpec{Name: classifierMap, Type: ebpf.Array, KeySize: 4, ValueSize: uint32(len(data)), MaxEntries: 1, Flags: bpfRdonlyProg,
		Contents: []ebpf.MapKV{{Key: uint32(0), Value: data}}}
}

// TableBytes is how large the tables are that rules are in.
func (o *Output) TableBytes() int {
	if m := o.Spec.Maps[classifierMap]; m != nil {
		return int(m.ValueSize)
	}
	return 0
}

// place gives a classifier its place in the map.
func (p *plan) place(c *classifier) {
	if n := len(p.classifiers); n > 0 {
		last := p.classifiers[n-1]
		c.base = (last.base + len(last.data) + 63) &^ 63
	}
	c.name = fmt.Sprintf("%d", len(p.classifiers))
	p.classifiers = append(p.classifiers, c)
}

// String is what it is, why, and what it costs: memory, and what the worst packet takes.
func (c *classifier) String() string {
	text := fmt.Sprintf("%d %s rules (%s), %d bytes; %s; %d patterns", len(c.rules), c.family, c.why, len(c.data), c.worst(), len(c.patterns.list))
	if c.instead != "" {
		text += "; not tables: " + c.instead
	}
	if n := len(c.stops); n > 0 {
		text += fmt.Sprintf("; %d stops", n)
	}
	if c.counts > 0 {
		text += fmt.Sprintf("; %d only count", c.counts)
	}
	return text
}

// worst is what a lookup takes at most.
func (c *classifier) worst() string {
	if v := c.vectors; v != nil {
		return fmt.Sprintf("bit vectors of %d dimensions: at most %d words of each", len(v.Dims), v.Blocks*(1+v.Block/64))
	}
	t := c.table
	return fmt.Sprintf("at most %d+%d halvings for the addresses, %d cells, %d rules of each", t.Src.Halvings(), t.Dst.Halvings(), len(t.Subsets), max(1, t.MaxList))
}
