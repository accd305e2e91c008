package dataplane

import (
	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// kernelTypes is what the kernel says of its own types. It is decoded once, which takes 25 ms.
var kernelTypes = btf.NewCache()

// Prepare reads ahead what an Apply will ask the kernel's types for: it may run while the rules are read.
func Prepare() { _, _ = kernelTypes.Kernel() }

// load loads what is in a spec, with maps that are there already in place of some of its own.
func load(spec *ebpf.CollectionSpec, maps map[string]*ebpf.Map) (*ebpf.Collection, error) {
	return ebpf.NewCollectionWithOptions(spec, ebpf.CollectionOptions{MapReplacements: maps, Cache: kernelTypes})
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
