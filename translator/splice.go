package translator

import (
	"errors"
	"fmt"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"

	"github.com/bpfwall/bpfwall/ruleset"
)

// tcDrop is TC_ACT_SHOT.
const tcDrop = 2

// object is the C programs, taken apart into functions.
type object struct {
	spec     *ebpf.CollectionSpec
	programs map[string][]*code // by program, in order; the first is its entry
	stub     *btf.Func          // of some hook: the type of all generated functions
}

// code is a BPF function.
type code struct {
	fn    *btf.Func
	insns asm.Instructions
	to    []string // see calls; nil: nobody has asked
}

// newObject takes the programs of a spec apart.
func newObject(spec *ebpf.CollectionSpec) (*object, error) {
	o := &object{spec: spec, programs: map[string][]*code{}}
	for name, prog := range spec.Programs {
		o.programs[name] = split(prog.Instructions)
		byName := index(o.programs[name])
		for _, h := range ruleset.Hooks {
			if c := byName[functionName(h)]; c != nil {
				o.stub = c.fn
			}
		}
	}
	if o.stub == nil {
		return nil, errors.New("object: no stub of a hook")
	}
	return o, nil
}

// split finds the functions by their BTF.
func split(insns asm.Instructions) []*code {
	var out []*code
	from := 0
	for i := range insns {
		if fn := btf.FuncMetadata(&insns[i]); fn != nil {
			out, from = append(out, &code{fn: fn}), i
		}
		if len(out) > 0 {
			out[len(out)-1].insns = insns[from : i+1 : i+1]
		}
	}
	return out
}

// calls is the functions that a function calls, in order.
func (c *code) calls() []string {
	if c.to == nil {
		c.to = append([]string{}, c.insns.FunctionReferences()...)
	}
	return c.to
}

// limits is what the C leaves of the kernel's limits.
func (o *object) limits() limits {
	l := limits{
		frames: o.paths(maxFrames, (*code).one),
		stack:  o.paths(maxStack, (*code).frame),
	}
	l.frames.takes = func(int16) int { return 1 }
	l.stack.takes = func(low int16) int { return frameOf(-int(low)) }
	for _, fns := range o.programs {
		l.functions = max(l.functions, len(fns))
	}
	l.functions = maxFunctions - l.functions
	return l
}

// paths is what the C leaves of a limit, if each function takes so much.
func (o *object) paths(limit int, take func(*code) int) paths {
	p := paths{left: limit}
	for _, fns := range o.programs {
		depth := depths(fns, take)
		for _, h := range ruleset.Hooks {
			if above, ok := depth[functionName(h)]; ok {
				p.left = min(p.left, limit-above)
			}
		}
		h := newHeights(index(fns), take)
		p.helper = max(p.helper, h.of("fw_log"), h.of("fw_limit"), h.of("fw_meter"), h.of("fw_nth"), h.of("fw_quota"), h.of("fw_recent"))
		p.flows = max(p.helper, p.flows, h.of("fw_flows"))
	}
	return p
}

// forgetUnused forgets what a ruleset does not ask for.
func (o *object) forgetUnused(rs *ruleset.Ruleset) {
	if !rs.PublishedAsInput {
		o.forget("fw_judge_published")
	}
	if !rs.UsesSynProxy() {
		o.forget("fw_synproxy")
		o.forget("fw_syn_answer")
		o.forget("fw_read_offer")
	}
}

// forget replaces a function by one that drops, so that what it calls need not be loaded.
func (o *object) forget(name string) {
	for _, fns := range o.programs {
		if c := index(fns)[name]; c != nil {
			first := asm.Mov.Imm(asm.R0, tcDrop)
			first.Metadata = c.insns[0].Metadata // its name, type and source line
			c.insns, c.to = asm.Instructions{first, asm.Return()}, nil
		}
	}
}

// depths is what the functions above each function of a program take, at most.
func depths(fns []*code, take func(*code) int) map[string]int {
	byName := index(fns)
	depth := map[string]int{}
	var visit func(c *code, above int)
	visit = func(c *code, above int) {
		if c == nil || above > maxStack {
			return
		}
		depth[c.fn.Name] = max(depth[c.fn.Name], above)
		for _, to := range c.calls() {
			visit(byName[to], above+take(c))
		}
	}
	visit(fns[0], 0)
	return depth
}

// heights is what functions and those that they call take.
type heights struct {
	all  map[string]*code
	take func(*code) int
	memo map[string]int
}

func newHeights(all map[string]*code, take func(*code) int) *heights {
	return &heights{all, take, map[string]int{}}
}

// of is the height of a function; 0 if there is no such function.
func (h *heights) of(name string) int {
	c := h.all[name]
	if n, ok := h.memo[name]; ok || c == nil {
		return n
	}
	below := 0
	for _, to := range c.calls() {
		below = max(below, h.of(to))
	}
	h.memo[name] = h.take(c) + below
	return h.memo[name]
}

func index(fns []*code) map[string]*code {
	byName := map[string]*code{}
	for _, c := range fns {
		byName[c.fn.Name] = c
	}
	return byName
}

// generated makes a function of instructions: it takes what the stub does, and so many numbers.
func (o *object) generated(name string, numbers int, insns asm.Instructions) *code {
	fn := &btf.Func{Name: name, Type: o.stub.Type, Linkage: btf.GlobalFunc}
	if stub, ok := o.stub.Type.(*btf.FuncProto); ok && numbers > 0 {
		with := &btf.FuncProto{Return: stub.Return, Params: slices.Clone(stub.Params)}
		for i := range numbers {
			with.Params = append(with.Params, btf.FuncParam{Name: fmt.Sprintf("n%d", i), Type: stub.Return})
		}
		fn.Type = with
	}
	insns[0] = btf.WithFuncMetadata(insns[0], fn)
	return &code{fn: fn, insns: insns}
}

// replace puts generated functions in place of those of the same name, and the others behind, in every program that runs hooks.
// Functions that are no longer called go, since the verifier refuses what cannot be reached.
func (o *object) replace(generated []*code) error {
	for name, fns := range o.programs {
		all := index(append(fns[:len(fns):len(fns)], generated...))
		if err := checkPaths(fns[0], all); err != nil {
			return err
		}
		var parts []asm.Instructions
		for _, c := range reachable(fns[0], all) {
			parts = append(parts, c.insns)
		}
		insns := slices.Concat(parts...)
		if n := int(insns.Size() / asm.InstructionSize); n > maxInsns {
			return &LimitError{
				What: fmt.Sprintf("ruleset: its rules make %d instructions, more than the kernel's %d", n, maxInsns),
				Help: "move long lists of addresses into sets, and of ports into one rule",
			}
		}
		o.spec.Programs[name].Instructions = insns
	}
	return nil
}

// reachable is a function and all that it calls, in the order of the calls.
func reachable(entry *code, all map[string]*code) []*code {
	out := []*code{entry}
	seen := map[*code]bool{entry: true}
	for i := 0; i < len(out); i++ {
		for _, name := range out[i].calls() {
			if c := all[name]; c != nil && !seen[c] {
				seen[c] = true
				out = append(out, c)
			}
		}
	}
	return out
}
