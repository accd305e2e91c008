package dataplane

import (
	"maps"
	"os"
	"strings"

	"github.com/cilium/ebpf"
)

// largestSpare is how large the tables of rules may be that are held ready a second time, bytes: those of some 100,000 rules, which then take
// 32 MB with their counters. With more, what the verifier takes is little beside everything else of a change.
const largestSpare = 13 << 20

// keepSpare sees to it that the next apply finds programs that it need not have verified, if its rules differ in what is in their tables
// only: where the generation before has none, they are loaded now, when nobody waits for them. What goes wrong here costs time later.
func (t *transaction) keepSpare() {
	at := t.d.at
	if t.out == nil || maps.Equal(savedSums(at.programs(t.next.Previous)), t.sums) {
		_ = os.RemoveAll(at.spare()) // it has a table of rules in it
		return
	}
	if n := t.out.TableBytes(); n == 0 || n > largestSpare || maps.Equal(savedSums(at.spare()), t.sums) {
		return
	}
	if t.loadSpare(at.spare()+nextSuffix) != nil {
		_ = os.RemoveAll(at.spare() + nextSuffix)
		return
	}
	_ = os.RemoveAll(at.spare())
	_ = os.Rename(at.spare()+nextSuffix, at.spare())
}

// loadSpare loads the programs of the generation that has just gone live once more, with maps of their own, and pins them.
func (t *transaction) loadSpare(dir string) error {
	own := *t.out.Spec
	own.Programs = nil
	own.Maps = unfilled(own.Maps)
	coll, err := load(&own, t.shared)
	if err != nil {
		return err
	}
	defer coll.Close()
	programs := map[string]*ebpf.Program{}
	defer func() {
		for _, p := range programs {
			_ = p.Close()
		}
	}()
	for _, spec := range []*ebpf.CollectionSpec{t.out.Spec, t.out.XDP, t.out.Connect} {
		if spec == nil {
			continue
		}
		replace := map[string]*ebpf.Map{}
		for name := range spec.Maps {
			if m := coll.Maps[name]; m != nil && (spec == t.out.Spec || !strings.HasPrefix(name, ".rodata")) {
				replace[name] = m
			}
		}
		for name, p := range spec.Programs {
			if t.programs[name] == nil {
				continue
			}
			if programs[name], err = loadOne(spec, name, p, replace); err != nil {
				return err
			}
		}
	}
	return pinPrograms(dir, programs, t.sums)
}

// unfilled is specs of maps without the tables that whoever takes them over will write (refill).
func unfilled(specs map[string]*ebpf.MapSpec) map[string]*ebpf.MapSpec {
	out := maps.Clone(specs)
	for name, m := range specs {
		if m.Type != ebpf.Array || strings.HasPrefix(name, ".") {
			continue // the loader looks into sections of variables
		}
		empty := m.Copy()
		empty.Contents = nil
		out[name] = empty
	}
	return out
}
