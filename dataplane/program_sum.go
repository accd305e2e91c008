package dataplane

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"maps"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/bpf"
)

// summer sums up programs: two with the same sum are the same to the verifier, and do the same.
type summer struct {
	spec   *ebpf.CollectionSpec
	shared map[string]*ebpf.Map
	sums   map[*ebpf.ProgramSpec]programSum // so far
}

// programSum is the sum of a program, and the maps it uses that are its set's own. What is in these does not count, but for constants.
// Neither do the places of rules in their files, which the kernel keeps with a program for whoever lists it.
type programSum struct {
	sum string
	own []string
}

func newSummer(spec *ebpf.CollectionSpec, shared map[string]*ebpf.Map) *summer {
	return &summer{spec, shared, map[*ebpf.ProgramSpec]programSum{}}
}

// of is the sum of a program.
func (s *summer) of(p *ebpf.ProgramSpec) programSum {
	if _, ok := s.sums[p]; !ok {
		s.sums[p] = s.make(p)
	}
	return s.sums[p]
}

func (s *summer) make(p *ebpf.ProgramSpec) (out programSum) {
	object := bpf.Sum()
	b := append(summed{}, object[:]...)
	b.texts(p.Name, p.SectionName)
	b.numbers(uint64(p.Type), uint64(p.AttachType), uint64(p.Flags))
	used := map[string]bool{}
	for i := range p.Instructions {
		ins := &p.Instructions[i]
		to := ins.Reference()
		b.numbers(uint64(ins.OpCode), uint64(ins.Dst)<<8|uint64(ins.Src), uint64(ins.Offset), uint64(ins.Constant))
		b.texts(ins.Symbol(), to)
		if ins.IsLoadFromMap() {
			used[to] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		if s.addMap(&b, name) {
			out.own = append(out.own, name)
		}
	}
	sum := sha256.Sum256(b)
	out.sum = hex.EncodeToString(sum[:16])
	return out
}

// addMap adds what the verifier knows of a map, and reports whether it is one of the set's own.
func (s *summer) addMap(b *summed, name string) (own bool) {
	b.texts(name)
	if m := s.shared[name]; m != nil {
		id, _ := mapID(m)
		b.numbers(uint64(id))
		return false
	}
	m := s.spec.Maps[name]
	b.numbers(uint64(m.Type), uint64(m.KeySize), uint64(m.ValueSize), uint64(m.MaxEntries), uint64(m.Flags))
	if !isConstant(name) {
		return true
	}
	for _, kv := range m.Contents {
		if value, ok := kv.Value.([]byte); ok {
			*b = append(*b, value...)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.spec.Variables)) {
		if v := s.spec.Variables[name]; v.Constant() {
			b.texts(name)
			*b = append(*b, v.Value...)
		}
	}
	return false
}

// summed is what is summed up.
type summed []byte

// texts adds texts and where they end.
func (b *summed) texts(list ...string) {
	for _, s := range list {
		*b = append(append(*b, s...), 0)
	}
}

func (b *summed) numbers(list ...uint64) {
	for _, n := range list {
		*b = binary.LittleEndian.AppendUint64(*b, n)
	}
}
