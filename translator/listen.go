package translator

import (
	"fmt"
	"maps"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/bpf"
	"github.com/bpfwall/bpfwall/ruleset"
)

// listenPrograms judge bind(), in the object that has the programs for connect().
var listenPrograms = []string{"bind4", "bind6"}

// addListen puts the rules of who may listen into programs for bind(), if there are any.
func (o *Output) addListen() error {
	rs := o.plan.rs
	if len(rs.ReachedFrom(ruleset.HookListen)) == 0 {
		return nil
	}
	spec, err := bpf.Connect.Spec()
	if err != nil {
		return fmt.Errorf("connect object: %s", err)
	}
	maps.DeleteFunc(spec.Programs, func(name string, _ *ebpf.ProgramSpec) bool { return !slices.Contains(listenPrograms, name) })
	obj, err := newObject(spec)
	if err != nil {
		return err
	}
	if err := obj.replace(o.code); err != nil {
		return err
	}
	o.Listen = spec
	return nil
}
