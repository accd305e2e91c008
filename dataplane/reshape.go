package dataplane

import (
	"errors"
	"fmt"
	"maps"

	"github.com/cilium/ebpf"
	"github.com/cilium/ebpf/btf"
)

// errLayout: another version of bpfwall has the same fields elsewhere, or other ones. The size of a value does not tell.
var errLayout = errors.New("its fields are elsewhere")

// field is where a field is, in bytes.
type field struct{ offset, size uint32 }

// layoutsOf are the fields of a pinned map's keys and values, by the type information that it was made with. They are nil, as is the
// error, where the kernel does not say.
func layoutsOf(m *ebpf.Map, key, value btf.Type) (keys, values map[string]field, err error) {
	if !isStruct(key) && !isStruct(value) {
		return nil, nil, nil
	}
	info, err := m.Info()
	if err != nil {
		return nil, nil, err
	}
	id, ok := info.BTFID()
	if !ok || id == 0 {
		return nil, nil, nil
	}
	h, err := btf.NewHandleFromID(id)
	if err != nil {
		return nil, nil, nil // that takes CAP_SYS_ADMIN
	}
	defer h.Close()
	types, err := h.Spec(nil)
	if err != nil {
		return nil, nil, err
	}
	return namedLayout(types, key), namedLayout(types, value), nil
}

func isStruct(t btf.Type) bool {
	_, ok := t.(*btf.Struct)
	return ok
}

// namedLayout is the layout of the struct that is called as this one is. It is nil of what is no struct.
func namedLayout(types *btf.Spec, like btf.Type) map[string]field {
	s, ok := like.(*btf.Struct)
	if !ok {
		return nil
	}
	out := map[string]field{}
	var same *btf.Struct
	if types.TypeByName(s.Name, &same) == nil {
		addFields(out, "", same, 0)
	}
	return out
}

// addFields adds the fields of a type, those of structs inside it by names with dots.
func addFields(out map[string]field, name string, t btf.Type, at uint32) {
	switch t := btf.UnderlyingType(t).(type) {
	case *btf.Struct:
		for _, m := range t.Members {
			addFields(out, name+"."+m.Name, m.Type, at+m.Offset.Bytes())
		}
	case *btf.Array:
		size, _ := btf.Sizeof(t.Type)
		for i := range t.Nelems {
			addFields(out, fmt.Sprintf("%s.%d", name, i), t.Type, at+i*uint32(size))
		}
	default:
		size, _ := btf.Sizeof(t)
		out[name] = field{at, uint32(size)}
	}
}

// sameLayout compares the fields of a pinned map with those of this version. Returns errLayout.
func sameLayout(spec *ebpf.MapSpec, pinned *ebpf.Map) error {
	keys, values, err := layoutsOf(pinned, spec.Key, spec.Value)
	if err != nil {
		return err
	}
	for t, was := range map[btf.Type]map[string]field{spec.Key: keys, spec.Value: values} {
		if was == nil {
			continue
		}
		if !maps.Equal(fieldsOf(t), was) {
			return errLayout
		}
	}
	return nil
}

// fieldsOf is the layout of a type of this version.
func fieldsOf(t btf.Type) map[string]field {
	out := map[string]field{}
	addFields(out, "", t, 0)
	return out
}

// holds reports whether a layout has every field of a type, as large.
func holds(was map[string]field, t btf.Type) bool {
	for name, f := range fieldsOf(t) {
		if was[name].size != f.size {
			return false
		}
	}
	return true
}

// reshape makes a value of this version's type of one with other fields: those of the same name and size go on, others are zero.
func reshape(old []byte, was map[string]field, to btf.Type) []byte {
	size, _ := btf.Sizeof(to)
	out := make([]byte, size)
	for name, f := range fieldsOf(to) {
		if w, ok := was[name]; ok && w.size == f.size && int(w.offset+w.size) <= len(old) {
			copy(out[f.offset:], old[w.offset:w.offset+w.size])
		}
	}
	return out
}
