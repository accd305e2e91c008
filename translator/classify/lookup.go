package classify

import "encoding/binary"

// Lookup is the first rule that ends which a key meets, and false if it meets none; and all others in front of it that it meets, in whatever
// order. It reads the table's bytes as generated code does.
func (t *Table) Lookup(k Key, order binary.ByteOrder) (open []uint32, rule uint32, ok bool) {
	r := &reader{Table: t, order: order, key: k, best: ^Answer(0)}
	r.find()
	return r.open, uint32(r.best >> RuleShift), r.best != ^Answer(0)
}

// Steps is how many cells and items a lookup compares.
func (t *Table) Steps(k Key, order binary.ByteOrder) int {
	r := &reader{Table: t, order: order, key: k, best: ^Answer(0)}
	r.find()
	return r.steps
}

// find finds the best rule.
func (r *reader) find() {
	t, k := r.Table, r.key
	src, dst := r.record(t.Src, k.Src), r.record(t.Dst, k.Dst)
	for i, s := range t.Subsets {
		if Answer(s.First)<<RuleShift >= r.best {
			continue
		}
		r.steps++
		row, class := r.word(t.Src, src, i), r.word(t.Dst, dst, i)
		if at := uint64(row) - uint64(class); at < s.Size {
			if cell := s.Cells + ItemSize*int(at); r.u32(cell) == row {
				r.pass = s.Pass
				r.cell(cell)
			}
		}
	}
}

// reader is a lookup on its way.
type reader struct {
	*Table
	order binary.ByteOrder
	key   Key
	pass  Pass
	open  []uint32
	best  Answer
	steps int
}

func (r *reader) u16(off int) uint16 { return r.order.Uint16(r.Data[off:]) }
func (r *reader) u32(off int) uint32 { return r.order.Uint32(r.Data[off:]) }
func (r *reader) u64(off int) uint64 { return r.order.Uint64(r.Data[off:]) }

// word is that of a subset in a record.
func (r *reader) word(s *Search, record, subset int) uint32 {
	w := s.Word[subset]
	if w.Size == 2 {
		return uint32(r.u16(record + w.At))
	}
	return r.u32(record + w.At)
}

// record is the offset of an address's record.
func (r *reader) record(s *Search, a Addr) int {
	at := r.start(s, a.Hi)
	if h := s.Hosts; h != nil {
		from, end := int(r.u32(h.First+4*at)), int(r.u32(h.First+4*at+4))
		if r.u64(s.At+s.Stride*at) == a.Hi {
			at = halve(from, end-from-1, func(i int) bool { return r.u64(h.At+8*i) <= a.Lo })
		} else {
			at = end - 1
		}
	}
	return s.Records + s.Record*at
}

// start is the last start that is not above an address.
func (r *reader) start(s *Search, a uint64) int {
	if a < s.Base {
		return 0
	}
	entry := r.u32(s.Index + 4*int(min((a-s.Base)>>s.Shift, s.Windows-1)))
	from, n := int(entry&(1<<FewShift-1)), int(entry>>FewShift)
	if entry&Divided != 0 {
		from, n = r.divided(s.Index+4*int(entry&^Divided), a)
	}
	return halve(from, n, func(i int) bool {
		if r.Family == IPv4 {
			return uint64(r.u32(s.At+s.Stride*i)) <= a
		}
		return r.u64(s.At+s.Stride*i) <= a
	})
}

// divided is the same of a divided window, whose index is at an offset: a start that is not above an address, and how many behind it may be.
func (r *reader) divided(at int, a uint64) (from, n int) {
	base := uint64(r.u32(at))
	if r.Family == IPv6 {
		base = r.u64(at)
	}
	at += 4 * (r.Family.HeadWords() - 1)
	last, w := r.u32(at), uint64(0)
	if a > base {
		w = min((a-base)>>(last&(1<<ShiftBits-1)), uint64(last>>ShiftBits))
	}
	at += 4 + 4*int(w)
	return int(r.u32(at)), int(r.u32(at+4) - r.u32(at))
}

// halve finds the last of from..from+n that holds; from does. The steps depend on n alone: that is what branch-free code needs.
func halve(from, n int, holds func(int) bool) int {
	for ; n > 0; n /= 2 {
		if h := (n + 1) / 2; holds(from + h) {
			from += h
		}
	}
	return from
}

// cell compares the items of a cell.
func (r *reader) cell(off int) {
	answer := Answer(r.u64(off + AnswerOffset))
	if answer >= r.best {
		return
	}
	if answer&IsList == 0 {
		if r.asks(answer) && r.port(r.key.DstPort, off+DstOffset) {
			r.meet(answer)
		}
		return
	}
	ref := r.u32(off + RefOffset)
	if ref&RowRef != 0 {
		p := r.Ports
		class := r.u32(p.Combined + 4*(int(r.u16(p.Src+2*int(r.key.SrcPort)))*p.Dsts+int(r.u16(p.Dst+2*int(r.key.DstPort)))))
		if ref = r.u32(p.Rows + 4*(int(ref&^RowRef)+int(class))); ref == none {
			return
		}
	}
	r.list(ref)
}

// list compares the items that a ref leads to, until those behind are of no interest any more.
func (r *reader) list(ref uint32) {
	for off := r.Items + ItemSize*int(ref); ; off += ItemSize {
		answer := Answer(r.u64(off + AnswerOffset))
		if answer >= r.best {
			return
		}
		if r.asks(answer) && r.port(r.key.SrcPort, off) && r.port(r.key.DstPort, off+DstOffset) {
			r.meet(answer)
		}
		if answer&IsLast != 0 {
			return
		}
	}
}

// asks reports whether the key meets the pattern.
func (r *reader) asks(answer Answer) bool {
	r.steps++
	return r.key.Patterns>>(answer&PatternMask)&1 != 0
}

// port reports whether a port is in a range.
func (r *reader) port(v uint16, off int) bool { return v-r.u16(off) <= r.u16(off+2) }

// meet notes a rule that is met.
func (r *reader) meet(answer Answer) {
	if r.pass == Ends {
		r.best = answer
		return
	}
	r.open = append(r.open, uint32(answer>>RuleShift))
}
