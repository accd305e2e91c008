package classify

// attempts are the lengths of lists above which they get a row over the ports, and the words that all rows may have then: small tables
// with longer lists come before large ones.
func (b *builder) attempts() []attempt {
	few, many := max(1<<16, 16*len(b.rules)), b.opt.MaxBytes/8
	return []attempt{{8, few}, {16, few}, {32, few}, {64, few}, {16, many}, {64, many}}
}

type attempt struct{ long, rows int }

// items lays out the boxes of all lists that are more than what stands in a cell, and is what cells have.
func (b *builder) items(l *layout, t *Table) (firsts []first, err error) {
	for _, a := range b.attempts() {
		w := &writer{builder: b, attempt: a}
		if w.write() {
			return w.firsts, w.finish(l, t)
		}
	}
	return nil, limit("%d rules: their ports and addresses overlap too much: more than %d bytes of lists", len(b.rules), b.opt.MaxBytes/2)
}

// writer writes items.
type writer struct {
	*builder
	attempt
	firsts []first // by list
	items  []Item
	stage  *portStage
	table  []uint32 // rows
	most   int      // items of a list
	key    []byte
}

// write reports whether the rows stay within their bound.
func (w *writer) write() bool {
	var long []listID
	var boxes []box
	n := len(w.builder.rules)
	w.firsts = make([]first, n+len(w.lists.all))
	used := w.used()
	for id := range w.firsts {
		if !used[id] {
			continue
		}
		of := w.boxes(listID(id))
		f := &w.firsts[id]
		f.Item = w.item(of[0])
		if len(of) == 1 && of[0].src == anyPort {
			continue
		}
		f.Answer |= IsList
		if len(of) > w.long {
			long, boxes = append(long, listID(id)), append(boxes, of...)
		} else {
			f.ref = w.list(of)
		}
	}
	if len(long) == 0 {
		return true
	}
	if w.stage = newPortStage(boxes); w.stage == nil || w.stage.n*len(long) > w.attempt.rows {
		return false
	}
	ids := map[string]uint32{}
	for _, id := range long {
		w.firsts[id].ref = RowRef | w.row(w.boxes(id), ids)
	}
	return true
}

// used is the lists that cells have.
func (w *writer) used() []bool {
	used := make([]bool, len(w.builder.rules)+len(w.lists.all))
	for _, m := range w.matrices {
		for _, row := range m.rows {
			for _, c := range row {
				used[c.list] = true
			}
		}
	}
	return used
}

func (w *writer) boxes(id listID) (out []box) {
	for _, r := range w.lists.rules(id) {
		out = w.builder.rules[r].appendBoxes(out, r)
	}
	return out
}

// list writes a list, and is the number of its first item.
func (w *writer) list(boxes []box) uint32 {
	at := uint32(len(w.items))
	for _, x := range boxes {
		w.items = append(w.items, w.item(x))
	}
	w.items[len(w.items)-1].Answer |= IsLast
	w.most = max(w.most, len(boxes))
	return at
}

// row writes a list for each class of ports, and where they are. It is the row's place.
func (w *writer) row(boxes []box, ids map[string]uint32) uint32 {
	at := uint32(len(w.table))
	for _, of := range w.stage.split(boxes) {
		of = w.distinct(of)
		if len(of) == 0 {
			w.table = append(w.table, none)
			continue
		}
		key := w.key[:0]
		for _, x := range of {
			key = append(key, byte(x.rule), byte(x.rule>>8), byte(x.rule>>16), byte(x.rule>>24), x.pattern)
		}
		w.key = key
		ref, ok := ids[string(key)]
		if !ok {
			ref = w.list(of)
			ids[string(key)] = ref
		}
		w.table = append(w.table, ref)
	}
	return at
}

// distinct leaves out boxes whose pattern an earlier one covers: the ports are the same for all. Those that stay need not ask for
// ports any more, so that lists of different ports are shared.
func (w *writer) distinct(boxes []box) []box {
	var covered uint64
	out := boxes[:0]
	for _, x := range boxes {
		if covered>>x.pattern&1 != 0 {
			continue
		}
		if w.builder.rules[x.rule].Pass == Ends {
			covered |= w.opt.Covers[x.pattern]
		}
		x.src, x.dst = anyPort, anyPort
		out = append(out, x)
	}
	return out
}

// finish lays out what was written.
func (w *writer) finish(l *layout, t *Table) error {
	t.MaxList = listLength(w.most, l.like.MaxList)
	room := l.room(len(w.items))
	t.MaxItems = room
	t.Items = put(l, w.items, room-len(w.items)+t.MaxList)
	if room >= RowRef || len(w.table) >= RowRef {
		return limit("%d rules: too many lists", len(w.builder.rules))
	}
	if w.stage == nil {
		return nil
	}
	s := w.stage
	combined, dsts := s.strided(l.like.Dsts)
	classes, rows := l.room(len(combined)), l.room(len(w.table))
	t.Ports = &Ports2{Dsts: dsts, Size: classes, RowsSize: rows}
	t.Ports.Src, t.Ports.Dst = put(l, s.srcClass, 0), put(l, s.dstClass, 0)
	t.Ports.Combined, t.Ports.Rows = put(l, combined, classes-len(combined)), put(l, w.table, rows-len(w.table))
	return nil
}
