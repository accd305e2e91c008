package translator

import (
	"fmt"
	"slices"

	"github.com/bpfwall/bpfwall/ruleset"
)

// limits is what the verifier allows (kernel/bpf/verifier.c), as far as it concerns the division into functions.
type limits struct {
	frames    int // call frames from a hook's function on, itself included: MAX_CALL_FRAMES without those above it
	leaf      int // frames of the helpers that rules call: fw_log, fw_limit
	functions int // functions that can be added: BPF_MAX_SUBPROGS without those of the C
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
		if deep := d.tooDeep(); len(deep) > 0 {
			if err := d.force(deep); err != nil {
				return err
			}
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
	for _, t := range s.tests {
		w += max(1, 2*len(t.Ranges)+len(t.Masked)+3*len(t.Addrs)+2*len(t.Names)+2*len(t.sets))
	}
	if s.verb == verbJump && !d.own[s.target] {
		return w + d.weights[s.target]
	}
	return w + 1
}

// tooDeep is the functions on a path of calls that is too long, below the hook's; none if there is no such path.
func (d *division) tooDeep() []*block {
	memo := map[*block]path{}
	for _, b := range d.plan.blocks {
		if b.chain.Hook == ruleset.HookNone {
			continue
		}
		if p := d.below(b, memo); d.entry(b)+d.pieces(b)+p.frames > d.plan.limits.frames {
			return p.calls
		}
	}
	return nil
}

// entry is the frames of a hook's function and, if it calls the base chain, that one's.
func (d *division) entry(b *block) int {
	if d.own[b] {
		return 2
	}
	return 1
}

// path is the longest way down from a chain: its frames, and the chains on it that are functions.
type path struct {
	frames int
	calls  []*block
}

// pieces is the frames that the pieces of a chain take if it is cut: those of forks can be cut once more.
func (d *division) pieces(b *block) int {
	switch {
	case d.weights[b] <= d.piece:
		return 0
	case slices.ContainsFunc(b.steps, func(s *step) bool { return s.fork != nil }):
		return 2
	}
	return 1
}

// below finds the longest path of calls below the function that a block stands in.
func (d *division) below(b *block, memo map[*block]path) path {
	if p, ok := memo[b]; ok {
		return p
	}
	var longest path
	each(b.steps, func(s *step) {
		p := path{frames: d.leaf(s)}
		if s.verb == verbJump {
			q := d.below(s.target, memo)
			if d.own[s.target] {
				q = path{q.frames + 1 + d.pieces(s.target), append(q.calls[:len(q.calls):len(q.calls)], s.target)}
			}
			p = longer(p, q)
		}
		longest = longer(longest, p)
	})
	memo[b] = longest
	return longest
}

func longer(a, b path) path {
	if b.frames > a.frames {
		return b
	}
	return a
}

// leaf is the frames of the helpers that a step itself calls. Counting may be one.
func (d *division) leaf(s *step) int {
	for _, t := range s.tests {
		if t.Limit != nil {
			return d.plan.limits.leaf
		}
	}
	for _, a := range s.does {
		if a.Log != nil {
			return d.plan.limits.leaf
		}
	}
	if s.verb == verbDecide {
		return 0
	}
	return 1
}

// force takes the function whose code costs least to repeat out of a path that is too deep.
func (d *division) force(deep []*block) error {
	var best *block
	growth := func(b *block) int { return d.weights[b] * (d.uses[b] - 1) }
	for _, b := range deep {
		if d.weights[b] <= d.piece && (best == nil || growth(b) < growth(best)) {
			best = b
		}
	}
	if best == nil {
		return &LimitError{
			Pos:  deep[0].chain.Pos,
			What: fmt.Sprintf("chain %q: jumps nest deeper than the %d call frames of the kernel", deep[0].chain.Key(), maxFrames),
			Help: "make the chains on the way to it shorter, or the jumps fewer",
		}
	}
	d.forced[best] = true
	return nil
}

// make makes the functions: the hooks', in their order, then the chains'; pieces stand before what calls them.
func (d *division) make() {
	for _, h := range ruleset.Hooks {
		f := &function{name: functionName(h), doc: "hook " + h.String(), hook: h}
		for _, b := range d.bases(h) {
			f.entry = append(f.entry, b)
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
}

// bases is the base chains of a hook.
func (d *division) bases(h ruleset.Hook) []*block {
	var out []*block
	for _, c := range d.plan.rs.Chains {
		for _, b := range d.plan.blocks {
			if b.chain == c && c.Hook == h {
				out = append(out, b)
			}
		}
	}
	return out
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
