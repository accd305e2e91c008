package dataplane

import (
	"fmt"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/translator"
)

// openTables opens the tables of the live sets, which programs only read.
func (d *Dataplane) openTables(rs *ruleset.Ruleset) (map[string]*ebpf.Map, error) {
	tables := map[string]*ebpf.Map{}
	for _, s := range rs.Sets {
		if s.Live == nil {
			continue
		}
		m, err := ebpf.LoadPinnedMap(d.at.setPin(s.Name, tableMap), nil)
		if err != nil {
			closeAll(tables)
			return nil, fmt.Errorf("set %q: %w", s.Name, errKernel(err))
		}
		tables[(&translator.LiveSet{Set: s}).TableRef()] = m
	}
	return tables, nil
}

func closeAll(maps map[string]*ebpf.Map) {
	for _, m := range maps {
		_ = m.Close()
	}
}

// copySets takes over the elements of the sets, which rules may change.
func (t *Twin) copySets(d *Dataplane) error {
	for _, s := range t.out.Live {
		if !s.Set.Live.Dynamic {
			continue
		}
		from, err := ebpf.LoadPinnedMap(d.at.setPin(s.Set.Name, elementsMap), nil)
		if err == nil {
			err = copyElements(t.coll.Maps[s.ElementsRef()], from)
			_ = from.Close()
		}
		if err != nil {
			t.Close()
			return fmt.Errorf("set %q: %w", s.Set.Name, errKernel(err))
		}
	}
	return nil
}

// State is what the rules in force remember of sets, for ruleset.Ruleset.Eval: asked at the time of the question.
func (d *Dataplane) State() *ruleset.State {
	return &ruleset.State{Member: func(set string, t ruleset.Tuple) bool {
		where, _, err := d.FindElement(set, t)
		return err == nil && where != ""
	}}
}
