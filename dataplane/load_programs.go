package dataplane

import (
	"maps"
	"slices"
	"strings"
	"sync"

	"github.com/cilium/ebpf"
)

// loadPrograms has the programs of a spec: those that a set standing by has already, and others from the verifier, all at the same time,
// since it takes as long as everything else of an apply together. Maps are all that they use, by name.
func (t *transaction) loadPrograms(spec *ebpf.CollectionSpec) (maps map[string]*ebpf.Map, err error) {
	t.dropUnused(spec)
	programs := spec.Programs
	spec.Programs = nil
	defer func() { spec.Programs = programs }()
	t.programs, t.sums = map[string]*ebpf.Program{}, map[string]string{}
	sums := newSummer(spec, t.shared)
	replace, err := t.chooseSet(spec, programs, sums)
	if err != nil {
		return nil, err
	}
	own, err := load(spec, replace)
	if err != nil {
		return nil, err
	}
	t.atEnd(func() error { own.Close(); return nil })
	return own.Maps, t.loadEach(spec, programs, own.Maps, sums)
}

// dropUnused takes the maps out of a spec that no program uses as the rules are: each costs the kernel a tenth of a millisecond.
func (t *transaction) dropUnused(spec *ebpf.CollectionSpec) {
	used := map[string]bool{}
	for _, p := range spec.Programs {
		for i := range p.Instructions {
			if ins := &p.Instructions[i]; ins.IsLoadFromMap() {
				used[ins.Reference()] = true
			}
		}
	}
	for _, more := range []*ebpf.CollectionSpec{t.out.XDP, t.out.Connect, t.out.Listen} {
		if more != nil {
			for name := range more.Maps {
				used[name] = true
			}
		}
	}
	maps.DeleteFunc(spec.Maps, func(name string, _ *ebpf.MapSpec) bool {
		return !used[name] && t.shared[name] == nil && !strings.HasPrefix(name, ".") // sections have variables in them
	})
}

// chooseSet takes over a set that has some of the programs. It returns the maps that need not be made.
func (t *transaction) chooseSet(spec *ebpf.CollectionSpec, programs map[string]*ebpf.ProgramSpec, sums *summer) (map[string]*ebpf.Map, error) {
	for _, set := range t.openStandby() {
		has := func(p *ebpf.ProgramSpec) bool { return set.has(sums, p) }
		if !slices.ContainsFunc(slices.Collect(maps.Values(programs)), has) {
			continue
		}
		<-t.quiet
		if err := t.takeOver(set); err != nil {
			return nil, err
		}
		set.dir = t.d.at.spare()
		t.standby = set
		return t.refillAll(spec, set)
	}
	return t.shared, nil
}

// refillAll is the maps of the set that the next generation can have, filled for it, besides those that all generations share.
func (t *transaction) refillAll(spec *ebpf.CollectionSpec, set *standby) (map[string]*ebpf.Map, error) {
	replace := maps.Clone(t.shared)
	for name, m := range spec.Maps {
		if replace[name] != nil {
			continue
		}
		if own := set.own(m); own != nil {
			replace[name] = own
			if err := refill(own, spec, name); err != nil {
				return nil, err
			}
		}
	}
	return replace, nil
}

// has reports whether a set has a program.
func (s *standby) has(by *summer, p *ebpf.ProgramSpec) bool {
	want := by.of(p)
	return s.programs[p.Name] != nil && s.sums[p.Name] == want.sum &&
		!slices.ContainsFunc(want.own, func(name string) bool { return s.own(by.spec.Maps[name]) == nil })
}

// loadEach takes the programs of the spec from the set standing by, or has them verified.
func (t *transaction) loadEach(spec *ebpf.CollectionSpec, programs map[string]*ebpf.ProgramSpec, maps map[string]*ebpf.Map, sums *summer) error {
	var group sync.WaitGroup
	var mu sync.Mutex
	var failed error
	for name, p := range programs {
		t.sums[name] = sums.of(p).sum
		if t.standby != nil && t.standby.has(sums, p) {
			t.programs[name] = t.standby.programs[name]
			continue
		}
		t.result.Verified++
		group.Go(func() {
			loaded, err := loadOne(spec, name, p, maps)
			mu.Lock()
			defer mu.Unlock()
			if err != nil {
				failed = err
				return
			}
			t.programs[name] = loaded
			t.atEnd(loaded.Close)
		})
	}
	group.Wait()
	return failed
}

// loadExtra has the programs of an object that the firewall can do without: all or none.
func (t *transaction) loadExtra(object string, spec *ebpf.CollectionSpec, maps map[string]*ebpf.Map) error {
	err := running.load(object)
	if err == nil {
		err = t.loadEach(spec, spec.Programs, maps, newSummer(spec, t.shared))
	}
	if err != nil {
		for name := range spec.Programs {
			delete(t.programs, name)
			delete(t.sums, name)
		}
	}
	return err
}

// loadOne has a program verified, with maps that are there.
func loadOne(spec *ebpf.CollectionSpec, name string, p *ebpf.ProgramSpec, maps map[string]*ebpf.Map) (*ebpf.Program, error) {
	one := *spec
	one.Programs = map[string]*ebpf.ProgramSpec{name: p}
	coll, err := load(&one, maps)
	if err != nil {
		return nil, err
	}
	defer coll.Close()
	return coll.DetachProgram(name), nil
}
