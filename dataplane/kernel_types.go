package dataplane

import (
	"errors"
	"slices"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
)

// kernelTypes is what the kernel says of its own types. It is decoded once, which takes 25 ms.
var kernelTypes = btf.NewCache()

// Prepare reads ahead what an Apply will ask the kernel's types for: it may run while the rules are read.
func Prepare() { _, _ = kernelTypes.Kernel() }

// load loads what is in a spec, with maps that are there already in place of some of its own.
func load(spec *ebpf.CollectionSpec, maps map[string]*ebpf.Map) (*ebpf.Collection, error) {
	opts := ebpf.CollectionOptions{MapReplacements: maps, Cache: kernelTypes}
	if lacks(longFrames) {
		spec = inOneBuffer(spec)
	}
	if lacks(apart) {
		return ebpf.NewCollectionWithOptions(inPlace(spec), opts)
	}
	coll, err := ebpf.NewCollectionWithOptions(spec, opts)
	var refused *ebpf.VerifierError
	if errors.As(err, &refused) && lacks(precise) {
		return ebpf.NewCollectionWithOptions(inPlace(spec), opts)
	}
	return coll, err
}

// canCast reports whether programs can read the kernel's own structures of a packet (Linux 6.2).
func canCast() bool {
	return running.hasKfunc("bpf_cast_to_kern_ctx") && running.hasKfunc("bpf_rdonly_cast")
}

// hasKfunc reports whether programs can call a function of the running kernel.
func hasKfunc(name string) bool {
	spec, err := kernelTypes.Kernel()
	if err != nil {
		return false
	}
	var f *btf.Func
	return spec.TypeByName(name, &f) == nil
}

// without takes calls of functions out of an object that the kernel cannot make, so that the verifier does not meet them. They must not be
// reached.
func without(spec *ebpf.CollectionSpec, functions ...string) {
	for _, p := range spec.Programs {
		for i, ins := range p.Instructions {
			if ins.IsKfuncCall() && slices.Contains(functions, ins.Reference()) {
				p.Instructions[i] = asm.Mov.Imm(asm.R0, -1).WithSource(ins.Source())
			}
		}
	}
}

// How the timers' work gets to a thread, as enum work_queue in bpf/work_queue.h.
const (
	workNone uint8 = iota
	workAux
	workPlain
)

// workQueue says how it does here, and takes the other way out of an object.
func workQueue(spec *ebpf.CollectionSpec) uint8 {
	switch {
	case running.hasKfunc("bpf_wq_set_callback"):
		without(spec, "bpf_wq_set_callback_impl")
		return workPlain
	case running.hasKfunc("bpf_wq_set_callback_impl"):
		return workAux
	}
	return workNone
}
