package dataplane

import (
	"crypto/sha256"
	"encoding/binary"
	"encoding/hex"
	"hash"
	"maps"
	"slices"

	"github.com/cilium/ebpf"

	"github.com/bpfwall/bpfwall/bpf"
)

// summer sums up programs: two with the same sum are the same to the verifier, and do the same.
type summer struct {
	spec   *ebpf.CollectionSpec
	shared map[string]*ebpf.Map
}

// sum is the sum of a program, and the maps it uses that are its set's own. What is in these does not count, but for constants. Neither do
// the places of rules in their files, which the kernel keeps with a program for whoever lists it.
func (s summer) sum(p *ebpf.ProgramSpec) (sum string, own []string) {
	h := sha256.New()
	object := bpf.Sum()
	h.Write(object[:])
	addText(h, p.Name, p.SectionName)
	addNumbers(h, uint64(p.Type), uint64(p.AttachType), uint64(p.Flags))
	used := map[string]bool{}
	for _, ins := range p.Instructions {
		addNumbers(h, uint64(ins.OpCode), uint64(ins.Dst)<<8|uint64(ins.Src), uint64(ins.Offset), uint64(ins.Constant))
		addText(h, ins.Symbol(), ins.Reference())
		if ins.IsLoadFromMap() {
			used[ins.Reference()] = true
		}
	}
	for _, name := range slices.Sorted(maps.Keys(used)) {
		if s.addMap(h, name) {
			own = append(own, name)
		}
	}
	return hex.EncodeToString(h.Sum(nil)[:16]), own
}

// addMap adds what the verifier knows of a map, and reports whether it is one of the set's own.
func (s summer) addMap(h hash.Hash, name string) (own bool) {
	addText(h, name)
	if m := s.shared[name]; m != nil {
		id, _ := mapID(m)
		addNumbers(h, uint64(id))
		return false
	}
	m := s.spec.Maps[name]
	addNumbers(h, uint64(m.Type), uint64(m.KeySize), uint64(m.ValueSize), uint64(m.MaxEntries), uint64(m.Flags))
	if !isConstant(name) {
		return true
	}
	for _, kv := range m.Contents {
		if b, ok := kv.Value.([]byte); ok {
			h.Write(b)
		}
	}
	for _, name := range slices.Sorted(maps.Keys(s.spec.Variables)) {
		if v := s.spec.Variables[name]; v.Constant() {
			addText(h, name)
			h.Write(v.Value)
		}
	}
	return false
}

// addText adds texts and where they end.
func addText(h hash.Hash, list ...string) {
	for _, s := range list {
		h.Write([]byte(s))
		h.Write([]byte{0})
	}
}

func addNumbers(h hash.Hash, list ...uint64) {
	var b [8]byte
	for _, n := range list {
		binary.LittleEndian.PutUint64(b[:], n)
		h.Write(b[:])
	}
}
