package classify

import (
	"cmp"
	"encoding/binary"
	"math"
	"slices"
)

// Vectors says which of many rules is the first that a packet meets, by bits. It takes whatever rules there are: memory grows with their
// number and that of their spans alone, a lookup's time with their number.
//
// A dimension is what rules ask for of one kind: the source, the destination, each port, some of the patterns. A value of it has a row for
// each block of rules: a bit for each rule that the value meets, in words of 64, and in front of them one word more, the aggregate, that says
// which of the words are not 0. Values that the same rules of a block ask for share the row. The rows of a packet's values, one of each
// dimension, are combined by AND, the words only where the aggregates leave a bit. The lowest bit that is left is the rule.
type Vectors struct {
	Family  Family
	Data    []byte
	Dims    []VectorDim
	Block   int // rules of a block: 64 for each word of its rows
	Blocks  int
	Rows    int // offset: uint64
	Units   int // words that there are in all rows
	Lowest  int // offset: the place of the bit that is set, by the upper six bits of its product with DeBruijn; uint8
	Answers int // offset: by rule, slot and code, 8 bytes
	Rules   int
}

// VectorDim is how rows of a dimension are found: by a search, whose records hold the unit where the row begins for each block.
type VectorDim struct {
	By     By
	Mask   uint64 // ByPatterns: of which of them
	Search *Search
}

// By is what a dimension is about.
type By uint8

// The kinds of dimensions.
const (
	BySrc By = iota
	ByDst
	BySrcPort
	ByDstPort
	ByPatterns
)

// DeBruijn times a power of two has another number in its upper six bits for each of them.
const DeBruijn = 0x03f79d71b4cb0a89

// blocks are the sizes that blocks may have: large ones are searched faster, small ones have fewer classes, which takes less memory.
var blocks = []int{4096, 2048, 1024, 512}

// MaxVectorRules is how many rules the bits of one engine can be of.
const MaxVectorRules = 1 << 15

// PatternGroup is some of the patterns, and which combinations of them a packet can meet, sorted.
type PatternGroup struct {
	Mask   uint64
	Values []uint64
}

// vectorBuilder makes vectors.
type vectorBuilder struct {
	opt   Options
	rules []Rule
	dims  []*vectorDim
	block int
	rows  map[string]int32 // that there are already, by their bytes: where they begin
	words []uint64         // of all rows
}

// vectorDim is a dimension while it is made.
type vectorDim struct {
	*dimension
	family Family
	by     By
	mask   uint64
	rules  [][]int32 // by operand, sorted
}

// BuildVectors makes vectors of rules. Groups are the patterns, each in one of them. Errors are *LimitError.
func BuildVectors(rules []Rule, groups []PatternGroup, opt Options) (*Vectors, error) {
	if len(rules) > MaxVectorRules {
		return nil, limit("%d rules: bit vectors hold %d", len(rules), MaxVectorRules)
	}
	b := &vectorBuilder{opt: opt, rules: rules, rows: map[string]int32{}}
	b.dimensions(groups)
	if err := b.choose(); err != nil {
		return nil, err
	}
	return b.build()
}

// dimensions makes those that some rule asks for, or one that says nothing if none does.
func (b *vectorBuilder) dimensions(groups []PatternGroup) {
	b.dimension(BySrc, b.opt.Family, 0, func(r *Rule) []Span { return r.Src })
	b.dimension(ByDst, b.opt.Family, 0, func(r *Rule) []Span { return r.Dst })
	b.dimension(BySrcPort, IPv4, 0, func(r *Rule) []Span { return portSpans(r.SrcPorts) })
	b.dimension(ByDstPort, IPv4, 0, func(r *Rule) []Span { return portSpans(r.DstPorts) })
	for _, g := range groups {
		spans := g.spans()
		b.dimension(ByPatterns, IPv6, g.Mask, func(r *Rule) []Span { return spans[r.Pattern] })
	}
	if len(b.dims) == 0 {
		b.dims = append(b.dims, newVectorDim(BySrc, b.opt.Family, 0, b.rules, func(*Rule) []Span { return nil }))
	}
}

func (b *vectorBuilder) dimension(by By, f Family, mask uint64, of func(*Rule) []Span) {
	if slices.ContainsFunc(b.rules, func(r Rule) bool { return of(&r) != nil }) {
		b.dims = append(b.dims, newVectorDim(by, f, mask, b.rules, of))
	}
}

func newVectorDim(by By, f Family, mask uint64, rules []Rule, of func(*Rule) []Span) *vectorDim {
	d := &vectorDim{dimension: newDimension(f, rules, of), family: f, by: by, mask: mask}
	d.rules = make([][]int32, d.n)
	for r, o := range d.operand {
		d.rules[o] = append(d.rules[o], int32(r))
	}
	return d
}

// portSpans is ports as numbers of 32 bits.
func portSpans(list []Ports) (out []Span) {
	if list == nil {
		return nil
	}
	out = []Span{}
	for _, p := range list {
		out = append(out, Span{Addr{Hi: uint64(p.From)}, Addr{Hi: uint64(p.To)}})
	}
	return out
}

// spans is, by pattern, the combinations of the group with the pattern in them; nil: the group says nothing of it. They are the upper halves
// of IPv6 addresses.
func (g *PatternGroup) spans() (out [64][]Span) {
	for p := range out {
		if g.Mask>>p&1 == 0 || !slices.ContainsFunc(g.Values, func(v uint64) bool { return v>>p&1 == 0 }) {
			continue
		}
		out[p] = []Span{}
		for _, v := range g.Values {
			if v>>p&1 != 0 {
				out[p] = append(out[p], Span{Addr{Hi: v}, Addr{v, math.MaxUint64}})
			}
		}
	}
	return out
}

// choose takes the largest blocks whose rows stay within the limit of memory, before any row is made.
func (b *vectorBuilder) choose() error {
	least := 0
	for _, size := range blocks {
		b.block = min(cmp.Or(b.opt.block, size), (len(b.rules)+63)&^63)
		if least = b.estimate(); least <= b.opt.MaxBytes {
			return nil
		}
	}
	return limit("%d rules: bit vectors of them may take %d KB, more than %d", len(b.rules), least>>10, b.opt.MaxBytes>>10)
}

func (b *vectorBuilder) blocks() int { return (len(b.rules) + b.block - 1) / b.block }

// row is the words of a row.
func (b *vectorBuilder) row() int { return 1 + b.block/64 }

// estimate is the most bytes that vectors in blocks of this size can take.
func (b *vectorBuilder) estimate() int {
	k := b.blocks()
	sum := 1<<12 + 8*len(b.rules)
	for _, d := range b.dims {
		n := len(d.cuts)
		if d.family == IPv6 {
			n *= 2 // of an upper half and of a lower one
		}
		sum += 4*min(perStart*n+16, maxWindows) + (n+n/8+1024)*(24+4*k)
		for i := range k {
			sum += 8 * b.row() * (1 + d.cutsIn(int32(i*b.block), int32((i+1)*b.block)))
		}
	}
	return sum
}

// cutsIn is how many cuts the rules from..to make.
func (d *vectorDim) cutsIn(from, to int32) (n int) {
	in := make([]bool, d.n)
	for o, rules := range d.rules {
		i, _ := slices.BinarySearch(rules, from)
		in[o] = i < len(rules) && rules[i] < to
	}
	last := int32(-1)
	for _, e := range d.events {
		if e.cut() != last && in[e.operand()] {
			n++
			last = e.cut()
		}
	}
	return n
}

// build makes the rows and lays everything out.
func (b *vectorBuilder) build() (*Vectors, error) {
	l := &layout{order: b.opt.Order, like: &Shape{}}
	v := &Vectors{Family: b.opt.Family, Block: b.block, Blocks: b.blocks(), Rules: len(b.rules)}
	for _, d := range b.dims {
		var views []*view
		for i := range v.Blocks {
			views = append(views, b.sweep(d, int32(i*b.block)))
		}
		list := intervals(d.cuts, views, func(_ int, row int32) uint32 { return uint32(row) })
		v.Dims = append(v.Dims, VectorDim{By: d.by, Mask: d.mask, Search: l.search(d.family, &l.like.Src, list, slices.Repeat([]int{4}, len(list[0].record)))})
	}
	v.Rows, v.Units = put(l, b.words, 64), len(b.words)
	v.Lowest = put(l, lowest(), 0)
	v.Answers = put(l, b.answers(), 0)
	v.Data = l.data
	if len(v.Data) > b.opt.MaxBytes {
		return nil, limit("%d rules: their bit vectors are %d bytes, more than %d", len(b.rules), len(v.Data), b.opt.MaxBytes)
	}
	return v, nil
}

// sweep goes through a dimension's values, and makes the rows of the block that begins with a rule. They stand for classes.
func (b *vectorBuilder) sweep(d *vectorDim, first int32) *view {
	set, key := make([]uint64, b.row()), make([]byte, 8*b.row())
	v := &view{runs: []run{{class: b.intern(set, key)}}}
	for i := 0; i < len(d.events); {
		cut, changed := d.events[i].cut(), false
		for ; i < len(d.events) && d.events[i].cut() == cut; i++ {
			changed = b.flip(set, d.rules[d.events[i].operand()], first) || changed
		}
		if changed {
			v.add(run{cut, b.intern(set, key)})
		}
	}
	return v
}

// flip turns the bits of rules over that are in the block, and reports whether there are any.
func (b *vectorBuilder) flip(set []uint64, rules []int32, first int32) bool {
	from, _ := slices.BinarySearch(rules, first)
	to, _ := slices.BinarySearch(rules, first+int32(b.block))
	for _, r := range rules[from:to] {
		bit := r - first
		w := &set[1+bit/64]
		*w ^= 1 << (bit % 64)
		set[0] &^= 1 << (bit / 64)
		if *w != 0 {
			set[0] |= 1 << (bit / 64)
		}
	}
	return from < to
}

// intern is where a row begins.
func (b *vectorBuilder) intern(set []uint64, key []byte) int32 {
	for i, w := range set {
		binary.LittleEndian.PutUint64(key[8*i:], w)
	}
	at, ok := b.rows[string(key)]
	if !ok {
		at = int32(len(b.words))
		b.rows[string(key)] = at
		b.words = append(b.words, set...)
	}
	return at
}

// lowest is Vectors.Lowest.
func lowest() []uint8 {
	out := make([]uint8, 64)
	for i := range out {
		out[uint64(DeBruijn)<<i>>58] = uint8(i)
	}
	return out
}

// answers is what the rules answer.
func (b *vectorBuilder) answers() []uint64 {
	out := make([]uint64, 0, len(b.rules))
	for _, r := range b.rules {
		var a [8]byte
		b.opt.Order.PutUint32(a[:], r.Slot)
		b.opt.Order.PutUint16(a[4:], uint16(r.Code))
		out = append(out, b.opt.Order.Uint64(a[:]))
	}
	return out
}

// Lookup is the first rule from one on that a key meets; false if it meets none. It reads the bytes as generated code does.
func (v *Vectors) Lookup(k Key, from uint32, order binary.ByteOrder) (rule uint32, ok bool) {
	r := &rowReader{Vectors: v, order: order}
	rule = r.find(k, from)
	return rule, rule != none
}

// Steps is how many words of each dimension a lookup reads.
func (v *Vectors) Steps(k Key, order binary.ByteOrder) int {
	r := &rowReader{Vectors: v, order: order}
	r.find(k, 0)
	return r.steps
}

// rowReader is a lookup on its way.
type rowReader struct {
	*Vectors
	order binary.ByteOrder
	rows  []int // of the block
	steps int
}

// find is the first rule from one on that a key meets, or none.
func (r *rowReader) find(k Key, from uint32) uint32 {
	records := make([]int, len(r.Dims))
	for i, d := range r.Dims {
		one := &reader{Table: &Table{Family: d.family(r.Family), Data: r.Data}, order: r.order}
		records[i] = one.record(d.Search, d.value(k))
	}
	for block := int(from) / r.Block; block < r.Blocks; block++ {
		r.rows = r.rows[:0]
		for _, at := range records {
			r.rows = append(r.rows, r.Rows+8*int(r.order.Uint32(r.Data[at+4*block:])))
		}
		for left := r.and(0); left != 0; left &= left - 1 {
			w := r.lowest(left)
			first, word := block*r.Block+64*w, r.and(8+8*w)
			if behind := int(from) - first; behind > 0 {
				word &= ^uint64(0) << behind
			}
			if word != 0 {
				return uint32(first + r.lowest(word))
			}
		}
	}
	return none
}

// lowest is the place of the lowest bit.
func (r *rowReader) lowest(word uint64) int {
	return int(r.Data[r.Lowest+int(word&-word*DeBruijn>>58)])
}

// and is the words of all rows at an offset.
func (r *rowReader) and(off int) uint64 {
	r.steps++
	word := ^uint64(0)
	for _, at := range r.rows {
		word &= r.order.Uint64(r.Data[at+off:])
	}
	return word
}

// family is the width of a dimension's values.
func (d *VectorDim) family(addrs Family) Family {
	switch d.By {
	case BySrc, ByDst:
		return addrs
	case ByPatterns:
		return IPv6
	}
	return IPv4
}

// value is what a key has for the dimension.
func (d *VectorDim) value(k Key) Addr {
	switch d.By {
	case BySrc:
		return k.Src
	case ByDst:
		return k.Dst
	case BySrcPort:
		return Addr{Hi: uint64(k.SrcPort)}
	case ByDstPort:
		return Addr{Hi: uint64(k.DstPort)}
	}
	return Addr{Hi: k.Patterns & d.Mask}
}
