package translator

import (
	"fmt"
	"math/bits"
	"slices"

	"github.com/bpfwall/bpfwall/ruleset"
)

// limits is what the verifier allows (kernel/bpf/verifier.c), as far as it concerns the division into functions.
type limits struct {
	frames    paths // call frames: MAX_CALL_FRAMES
	stack     paths // bytes: MAX_BPF_STACK
	functions int   // functions that can be added: BPF_MAX_SUBPROGS without those of the C
}

// paths is a limit of what the functions on a path of calls take together.
type paths struct {
	left   int                 // from a hook's function on, itself included
	helper int                 // of the helpers that rules call: fw_log, fw_limit, and what these call
	flows  int                 // the same, if rules limit flows
	takes  func(low int16) int // what a function takes that uses its stack down to low
}

const (
	maxFrames    = 8
	maxFunctions = 256
	maxInsns     = 1_000_000

	// minPiece and maxPiece bound how many conditional jumps a function has. The verifier gives up at 8192 branches
	// (BPF_COMPLEXITY_LIMIT_JMP_SEQ) that it has yet to follow, and a rule leaves it up to one for each comparison.
	minPiece = 2000
	maxPiece = 6000
)

// LimitError is a ruleset that the kernel's verifier would refuse.
type LimitError struct {
	Pos  ruleset.Pos // of the chain, if it is one chain's doing
	What string      // subject and cause
	Help string
}

func (e *LimitError) Error() string {
	if s := e.Pos.String(); s != "" {
		return s + ": " + e.What
	}
	return e.What
}

// division decides which chains become functions (a call costs some 9 ns where the processor needs its returns guarded) and which
// stand wherever they are jumped to.
type division struct {
	plan    *plan
	uses    map[*block]int  // jumps to it
	own     map[*block]bool // becomes a function
	forced  map[*block]bool // must not: calls would nest too deep
	weights map[*block]int
	piece   int // conditional jumps above which a chain is cut into pieces
}

// functions divides the plan.
func functions(p *plan) error {
	d := &division{plan: p, uses: map[*block]int{}, forced: map[*block]bool{}, piece: minPiece}
	for _, b := range p.blocks {
		each(b.steps, func(s *step) {
			if s.verb == verbJump {
				d.uses[s.target]++
			}
		})
	}
	if err := d.divide(); err != nil {
		return err
	}
	d.make()
	d.counter()
	return d.checkCount()
}

// inlineCounters is how many rules that do not decide may have the counter's lookup in their own code. The kernel expands each of these
// by copying the whole program (bpf_patch_insn_data), which takes a second or two for 2,500 of them.
const inlineCounters = 300

// counter makes a function of the counting if it would be in too many places.
func (d *division) counter() {
	sites, total := map[*block]int{}, 0
	for _, b := range slices.Backward(d.plan.blocks) {
		each(b.steps, func(s *step) {
			if s.rule != nil && s.verb != verbDecide {
				sites[b]++
			}
			if s.verb == verbJump && s.target.fn == nil {
				sites[b] += sites[s.target]
			}
		})
		if b.fn != nil || b.chain.Hook != ruleset.HookNone {
			total += sites[b]
		}
	}
	if total > inlineCounters {
		d.plan.counter = &function{name: "count_rule", doc: "counter of a rule that does not decide"}
		d.plan.functions = append(d.plan.functions, d.plan.counter)
	}
}

// divide chooses until calls nest no deeper than they may, and functions are no more than they may be.
func (d *division) divide() error {
	once, often := 500, 4
	for {
		n, total := d.choose(once, often)
		d.piece = min(max(minPiece, total/100), maxPiece)
		if changed, err := d.shallow(); err != nil {
			return err
		} else if changed {
			continue
		}
		if n+total/d.piece <= d.plan.limits.functions || often > d.piece {
			return nil
		}
		once, often = d.piece, often*4
	}
}

// choose makes functions of the chains that are jumped to more than once and weigh more than often, or once and more than once.
// It returns how many these are and what all of them weigh. Callees come first, so that their weight is known.
func (d *division) choose(once, often int) (n, total int) {
	for _, c := range d.plan.classifiers {
		n += c.functions()
	}
	d.own, d.weights = map[*block]bool{}, map[*block]int{}
	for i := len(d.plan.blocks) - 1; i >= 0; i-- {
		b := d.plan.blocks[i]
		w := d.weigh(b.steps)
		d.weights[b] = w
		switch {
		case b.chain.Hook != ruleset.HookNone:
			d.own[b] = !d.alone(b.chain)
		case d.uses[b] == 1:
			d.own[b] = w > once && !d.forced[b]
		default:
			d.own[b] = w > often && !d.forced[b]
		}
		if d.own[b] {
			n++
		}
		if d.own[b] || b.chain.Hook != ruleset.HookNone {
			total += w
		}
	}
	return n, total
}

// alone reports whether no packet meets another base chain beside c on its hook.
func (d *division) alone(c *ruleset.Chain) bool {
	for _, f := range []ruleset.Family{ruleset.FamilyIPv4, ruleset.FamilyIPv6} {
		if c.Family.Covers(f) && len(d.plan.rs.Base(c.Hook, f)) > 1 {
			return false
		}
	}
	return true
}

// weigh is the number of conditional jumps that the code of steps will have, about.
func (d *division) weigh(steps []*step) int {
	w := 0
	for _, s := range steps {
		w += d.weighStep(s)
	}
	return w
}

func (d *division) weighStep(s *step) int {
	w := 1
	if s.fork != nil {
		for _, b := range s.fork.branches {
			w += 3 + d.weigh(b.steps)
		}
		return w
	}
	if s.classifier != nil {
		return s.classifier.weight() + d.weighGroups(s.classifier)
	}
	for _, t := range s.tests {
		w += t.compares()
	}
	if s.verb == verbJump && !d.own[s.target] {
		return w + d.weights[s.target]
	}
	return w + 1
}

// weighGroups is what the stops of a classifier add to the code in which it stands.
func (d *division) weighGroups(c *classifier) int {
	if n := c.groups(); n > 1 {
		return 4 * n
	}
	return d.weighStops(c.stops)
}

// weighStops weighs the code of stops that stand together.
func (d *division) weighStops(stops []stop) (w int) {
	for _, st := range stops {
		w += 4 + 2*bits.Len(uint(len(stops))) + d.weighStep(st.step)
	}
	return w
}

// compares is about how many conditional jumps a test is.
func (t *test) compares() int {
	return max(1, 2*len(t.Ranges)+len(t.Masked)+3*len(t.Addrs)+2*len(t.Names)+t.weight())
}

// make makes the functions: the hooks', in their order, then the chains'; pieces stand before what calls them.
func (d *division) make() {
	for _, h := range ruleset.Hooks {
		f := &function{name: functionName(h), doc: "hook " + h.String(), hook: h}
		for _, b := range d.plan.blocks {
			if b.chain.Hook == h {
				f.entry = append(f.entry, b)
			}
		}
		d.add(f)
	}
	n := 0
	for _, b := range d.plan.blocks {
		if d.own[b] {
			n++
			b.fn = &function{name: fmt.Sprintf("chain_%d", n), doc: "chain " + b.chain.Key(), entry: []*block{b}}
			d.add(b.fn)
		}
	}
	for _, c := range d.plan.classifiers {
		d.classifierFunctions(c)
	}
}

// classifierFunctions makes those of a classifier: of its stops where they are many, and of counting where stops come first.
func (d *division) classifierFunctions(c *classifier) {
	add := func(f *function) *function {
		f.entry = []*block{c.block}
		d.plan.functions = append(d.plan.functions, f)
		return f
	}
	if c.waits() {
		c.countFn = add(&function{name: "count_" + c.name, doc: "classifier " + c.name + ", rules that only count", counts: c})
	}
	if c.vectors != nil {
		c.nextFn = add(&function{name: "resume_" + c.name, doc: "classifier " + c.name + ", from the rule on that fw_pkt.rule says", resumes: c})
	}
	if c.groups() == 1 {
		return
	}
	for g := range c.groups() {
		f := add(&function{name: fmt.Sprintf("stops_%s_%d", c.name, g), doc: fmt.Sprintf("classifier %s, stops from %d on", c.name, g*group),
			stops: &stopGroup{c, g}})
		c.groupFn = append(c.groupFn, f)
		of := c.stops[g*group : min(len(c.stops), (g+1)*group)]
		if d.weighStops(of) > d.piece {
			(&cutter{division: d, f: f, block: c.block}).spread(of)
		}
	}
}

// add adds a function, and cuts the chains in it that are too long.
func (d *division) add(f *function) {
	d.plan.functions = append(d.plan.functions, f)
	c := &cutter{division: d, f: f}
	for _, b := range f.entry {
		if f.hook == ruleset.HookNone || !d.own[b] {
			c.block = b
			b.steps = c.fit(b.steps)
		}
	}
}

// checkCount checks that the functions are not more than the kernel takes.
func (d *division) checkCount() error {
	if n := len(d.plan.functions); n > d.plan.limits.functions+len(ruleset.Hooks) {
		return &LimitError{
			What: fmt.Sprintf("ruleset: its chains make %d functions, more than the kernel's %d", n, maxFunctions),
			Help: "the ruleset has too many long chains",
		}
	}
	return nil
}
