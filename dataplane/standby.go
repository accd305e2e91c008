package dataplane

import (
	"bytes"
	"encoding/binary"
	"os"
	"path/filepath"
	"slices"
	"strings"

	"github.com/cilium/ebpf"
	"golang.org/x/sys/unix"
)

// standby is a set of programs that no packet meets, with the maps that are theirs alone: those of the generation before the live one, or
// spare ones. Where the next generation has the same, they need not be verified again: it takes the set over, and only writes its own
// numbers and tables into the maps. Of what it takes, the generation before is not left with anything: a rollback to it compiles.
type standby struct {
	dir      string // of its pins
	programs map[string]*ebpf.Program
	sums     map[string]string
	maps     map[string]*ebpf.Map // by name, as far as the kernel keeps it
}

// sumPrefix begins the names of links beside the pins of programs, which say what these were made of (summer).
const sumPrefix = "sum-"

// spare is where programs are that belong to no generation.
func (l layout) spare() string { return filepath.Join(l.progs, "spare") }

// openStandby opens the sets that may be used, the likelier one first.
func (t *transaction) openStandby() (all []*standby) {
	if t.live == nil {
		return nil
	}
	inUse := t.d.programIDs(t.d.at.programs(t.live.Number))
	for _, dir := range []string{t.d.at.spare(), t.d.at.programs(t.live.Previous)} {
		used := func(id ebpf.ProgramID) bool { return slices.Contains(inUse, id) }
		if ids := t.d.programIDs(dir); len(ids) > 0 && !slices.ContainsFunc(ids, used) {
			all = append(all, t.openSet(dir))
		}
	}
	return all
}

// programIDs are the kernel's numbers of the programs pinned in a directory.
func (d *Dataplane) programIDs(dir string) (ids []ebpf.ProgramID) {
	for name := range savedSums(dir) {
		p, err := ebpf.LoadPinnedProgram(filepath.Join(dir, name), nil)
		if err != nil {
			continue
		}
		if info, err := p.Info(); err == nil {
			id, _ := info.ID()
			ids = append(ids, id)
		}
		_ = p.Close()
	}
	return ids
}

// savedSums are the sums of the programs pinned in a directory.
func savedSums(dir string) map[string]string {
	sums := map[string]string{}
	entries, _ := os.ReadDir(dir)
	for _, e := range entries {
		if name, ok := strings.CutPrefix(e.Name(), sumPrefix); ok {
			sums[name], _ = os.Readlink(filepath.Join(dir, e.Name()))
		}
	}
	return sums
}

// openSet opens the programs of a directory, and their maps.
func (t *transaction) openSet(dir string) *standby {
	s := &standby{dir: dir, programs: map[string]*ebpf.Program{}, sums: savedSums(dir), maps: map[string]*ebpf.Map{}}
	seen := map[ebpf.MapID]bool{}
	for name := range s.sums {
		p, err := ebpf.LoadPinnedProgram(filepath.Join(dir, name), nil)
		if err != nil {
			continue
		}
		t.atEnd(p.Close)
		s.programs[name] = p
		info, err := p.Info()
		if err != nil {
			continue
		}
		ids, _ := info.MapIDs()
		for _, id := range ids {
			if !seen[id] {
				t.openOwn(s, id)
			}
			seen[id] = true
		}
	}
	return s
}

func (t *transaction) openOwn(s *standby, id ebpf.MapID) {
	m, err := ebpf.NewMapFromID(id)
	if err != nil {
		return
	}
	t.atEnd(m.Close)
	if info, err := m.Info(); err == nil && !isConstant(info.Name) {
		s.maps[info.Name] = m
	}
}

// isConstant reports whether a map holds constants that the verifier has read.
func isConstant(name string) bool { return strings.HasPrefix(name, ".rodata") }

// own is the set's map that can be the one of a spec; nil if it has none.
func (s *standby) own(spec *ebpf.MapSpec) *ebpf.Map {
	m := s.maps[spec.Name[:min(len(spec.Name), unix.BPF_OBJ_NAME_LEN-1)]]
	if m != nil && strings.HasPrefix(spec.Name, ".data") {
		spec = spec.Copy()
		spec.Flags |= m.Flags() & unix.BPF_F_MMAPABLE // as loading does where the kernel can
	}
	if m == nil || isConstant(spec.Name) || spec.Compatible(m) != nil || spec.Type == ebpf.Hash && !sameKeys(m, spec) {
		return nil
	}
	return m
}

// sameKeys reports whether a hash that only loading fills has the keys that it should have.
func sameKeys(m *ebpf.Map, spec *ebpf.MapSpec) bool {
	want := map[string]bool{}
	for _, kv := range spec.Contents {
		var b bytes.Buffer
		_ = binary.Write(&b, binary.NativeEndian, kv.Key) // a buffer takes all
		want[b.String()] = true
	}
	var key, value []byte
	n := 0
	for all := m.Iterate(); all.Next(&key, &value); n++ {
		if !want[string(key)] {
			return false
		}
	}
	return n == len(want)
}

// takeOver has the next generation use a set. From here on it is no generation's.
func (t *transaction) takeOver(s *standby) error {
	spare := t.d.at.spare()
	if s.dir == spare {
		return nil
	}
	if err := os.RemoveAll(spare); err != nil {
		return err
	}
	return os.Rename(s.dir, spare)
}

// refill writes what an own map of a set is to hold. What packets have left in the others is as good as ever, but for receivers, which have
// control groups as the rules numbered them.
func refill(m *ebpf.Map, spec *ebpf.CollectionSpec, name string) error {
	s := spec.Maps[name]
	if name == "receivers" {
		empty(m)
	}
	for _, kv := range s.Contents {
		b, ok := kv.Value.([]byte)
		if !ok {
			continue // of a hash, which has the keys already
		}
		if err := m.Put(kv.Key, withVariables(b, spec, name)); err != nil {
			return err
		}
	}
	return nil
}

// withVariables is the contents of a section with the variables that are in it, and of tables, which are large, themselves.
func withVariables(b []byte, spec *ebpf.CollectionSpec, section string) []byte {
	if !strings.HasPrefix(section, ".") {
		return b
	}
	b = slices.Clone(b)
	for _, v := range spec.Variables {
		if v.SectionName == section {
			copy(b[v.Offset:], v.Value)
		}
	}
	return b
}

// empty removes all entries of a hash.
func empty(m *ebpf.Map) {
	var keys [][]byte
	var key, value []byte
	for all := m.Iterate(); all.Next(&key, &value); {
		keys = append(keys, slices.Clone(key))
	}
	for _, k := range keys {
		_ = m.Delete(k)
	}
}
