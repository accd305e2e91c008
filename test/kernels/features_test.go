package main

import (
	"errors"
	"fmt"
	"os"
	"testing"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/asm"
	"github.com/cilium/ebpf/btf"
	"github.com/cilium/ebpf/features"
)

// helper and kernelFunction are what programs may call.
func helper(of ebpf.ProgramType, fn asm.BuiltinFunc) func() error {
	return func() error { return features.HaveProgramHelper(of, fn) }
}

func kernelFunction(name string) func() error {
	return func() error {
		spec, err := btf.LoadKernelSpec()
		if err != nil {
			return err
		}
		var f *btf.Func
		if errors.Is(spec.TypeByName(name, &f), btf.ErrNotFound) {
			return ebpf.ErrNotSupported
		}
		return nil
	}
}

// TestFeatures says which of the features that bpfwall asks for this kernel has, for the table of run.
func TestFeatures(t *testing.T) {
	if os.Geteuid() != 0 {
		t.Skip("needs root to ask the kernel")
	}
	for _, f := range []struct {
		name string
		has  func() error
	}{
		{"ring buffers", func() error { return features.HaveMapType(ebpf.RingBuf) }},
		{"bpf_for_each_map_elem", helper(ebpf.SchedCLS, asm.FnForEachMapElem)},
		{"bpf_timer", helper(ebpf.SchedCLS, asm.FnTimerInit)},
		{"bpf_loop", helper(ebpf.SchedCLS, asm.FnLoop)},
		{"bpf_xdp_load_bytes", helper(ebpf.XDP, asm.FnXdpLoadBytes)},
		{"bpf_set_retval of connect()", helper(ebpf.CGroupSockAddr, asm.FnSetRetval)},
		{"bpf_user_ringbuf_drain", helper(ebpf.SchedCLS, asm.FnUserRingbufDrain)},
		{"bpf_rdonly_cast", kernelFunction("bpf_rdonly_cast")},
		{"bpf_dynptr_from_skb", kernelFunction("bpf_dynptr_from_skb")},
		{"netfilter programs", func() error { return features.HaveProgramType(ebpf.Netfilter) }},
		{"bpf_wq_set_callback_impl", kernelFunction("bpf_wq_set_callback_impl")},
		{"bpf_wq_set_callback", kernelFunction("bpf_wq_set_callback")},
	} {
		word := "yes"
		if err := f.has(); errors.Is(err, ebpf.ErrNotSupported) {
			word = "no"
		} else if err != nil {
			word = "unknown"
		}
		fmt.Printf("HAS %s: %s\n", f.name, word)
	}
}
