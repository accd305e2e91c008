package dataplane

import (
	"encoding/binary"
	"net/netip"

	"github.com/bpfwall/bpfwall/ruleset"
)

// tape is numbers and texts one after the other, as bytes. What is there for each of many rules is written so: gob's format takes ten times as
// long. The same functions write and read, so that they cannot differ.
type tape struct {
	reading bool
	to      []byte // what was written
	from    string // what is left to be read
	file    string // of the last position
	bad     bool   // what was read cannot have been written
}

// tapeNumber is a number, shorter the smaller it is.
func tapeNumber[T ~uint8 | ~uint16 | ~uint32 | ~uint64 | ~int](t *tape, v *T) {
	if !t.reading {
		t.to = binary.AppendUvarint(t.to, uint64(*v))
		return
	}
	n := uint64(0)
	for shift := 0; ; shift += 7 {
		if len(t.from) == 0 || shift > 63 {
			t.fail()
			return
		}
		b := t.from[0]
		t.from = t.from[1:]
		if n |= uint64(b&0x7f) << shift; b < 0x80 {
			break
		}
	}
	*v = T(n)
	t.bad = t.bad || uint64(*v) != n
}

// fail has nothing more be read.
func (t *tape) fail() { t.bad, t.from = true, "" }

func (t *tape) flag(v *bool) {
	n := uint8(0)
	if *v {
		n = 1
	}
	tapeNumber(t, &n)
	*v = n != 0
}

// text is a text. What is read of it is part of the tape.
func (t *tape) text(v *string) {
	n := len(*v)
	tapeNumber(t, &n)
	switch {
	case !t.reading:
		t.to = append(t.to, *v...)
	case n < 0 || n > len(t.from):
		t.fail()
	default:
		*v, t.from = t.from[:n], t.from[n:]
	}
}

// tapeList is what each says of the elements of a list.
func tapeList[T any](t *tape, v *[]T, each func(*T)) {
	n := len(*v)
	tapeNumber(t, &n)
	if t.reading {
		if n < 0 || n > len(t.from) {
			t.fail()
			return
		}
		if *v = nil; n > 0 {
			*v = make([]T, n)
		}
	}
	for i := range *v {
		each(&(*v)[i])
	}
}

func (t *tape) addr(v *netip.Addr) {
	var b [64]byte
	text := ""
	if !t.reading {
		written, _ := v.AppendBinary(b[:0]) // never fails
		n := len(written)
		tapeNumber(t, &n)
		t.to = append(t.to, written...)
		return
	}
	if t.text(&text); v.UnmarshalBinary(append(b[:0], text...)) != nil {
		t.fail()
	}
}

// pos is a position; most are in the file of the one before.
func (t *tape) pos(v *ruleset.Pos) {
	same := v.File == t.file
	if t.flag(&same); !same {
		t.text(&v.File)
		t.file = v.File
	}
	v.File = t.file
	tapeNumber(t, &v.Line)
	tapeNumber(t, &v.Col)
	tapeNumber(t, &v.Len)
}

// rule is a rule that is plain.
func (t *tape) rule(r *ruleset.Rule) {
	t.text(&r.ID)
	t.text(&r.Name)
	t.text(&r.Note)
	tapeList(t, &r.Matches, t.match)
	tapeNumber(t, &r.Verdict.Kind)
	t.text(&r.Verdict.Chain)
	tapeNumber(t, &r.Verdict.With)
	t.pos(&r.Pos)
	t.text(&r.Text)
}

func (t *tape) match(m *ruleset.Match) {
	tapeNumber(t, &m.Field)
	t.flag(&m.Not)
	tapeList(t, &m.Ranges, func(r *ruleset.Range) {
		tapeNumber(t, &r.From)
		tapeNumber(t, &r.To)
	})
	tapeList(t, &m.Masked, func(k *ruleset.Masked) {
		tapeNumber(t, &k.Value)
		tapeNumber(t, &k.Mask)
	})
	tapeList(t, &m.Addrs, func(a *ruleset.AddrRange) {
		t.addr(&a.From)
		t.addr(&a.To)
		t.addr(&a.Mask)
	})
	t.text(&m.Set)
	tapeList(t, &m.Names, t.text)
	t.pos(&m.Pos)
}

// plain reports whether a tape holds all that a rule says, as it does of most. The others are written in gob's format.
func plain(r *ruleset.Rule) bool {
	for i := range r.Matches {
		m := &r.Matches[i]
		if m.Limit != nil || m.Sample != nil || m.Quota != nil || m.Recent != nil || m.Flows != nil || len(m.Live)+len(m.Parts) > 0 {
			return false
		}
	}
	return len(r.Statements) == 0
}

// counters is the slots of identities.
func (t *tape) counters(slots *map[string]uint32) {
	n := len(*slots)
	tapeNumber(t, &n)
	if !t.reading {
		for id, slot := range *slots {
			t.text(&id)
			tapeNumber(t, &slot)
		}
		return
	}
	if n < 0 || n > len(t.from) {
		t.fail()
		return
	}
	*slots = make(map[string]uint32, n)
	for range n {
		id, slot := "", uint32(0)
		t.text(&id)
		tapeNumber(t, &slot)
		(*slots)[id] = slot
	}
}
