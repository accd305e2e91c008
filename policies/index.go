package policies

import (
	"bytes"
	"sort"
	"strconv"

	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/pelletier/go-toml/v2/unstable"
)

// span is a range of bytes of the source.
type span struct{ start, end int }

// place is where a key and its value stand. A table header has its key only.
type place struct{ key, value span }

// source is a TOML file with the place of everything in it. The decoder that makes the values knows no positions; this
// index, made from a second parse, does. Both name a thing by the same path: zones.wan, inbound[2].allow[1].
type source struct {
	name   string
	text   []byte
	lines  []int // offset of the start of each line
	places map[string]place
	counts map[string]int // elements so far of each array of tables
}

func newSource(name string, text []byte) *source {
	s := &source{name: name, text: text, lines: []int{0}, places: map[string]place{}, counts: map[string]int{}}
	for i, c := range text {
		if c == '\n' {
			s.lines = append(s.lines, i+1)
		}
	}
	return s
}

// index fills in the places.
func (s *source) index() error {
	var p unstable.Parser
	p.Reset(s.text)
	table := ""
	for p.NextExpression() {
		switch e := p.Expression(); e.Kind {
		case unstable.Table:
			table = s.header(e.Key(), s.open)
		case unstable.ArrayTable:
			table = s.header(e.Key(), s.appendTable)
		case unstable.KeyValue:
			s.keyValue(table, e)
		}
	}
	return p.Error()
}

// header notes the keys of a [table] or [[table]] header and gives the path of the table it opens.
func (s *source) header(keys unstable.Iterator, last func(string, span) string) string {
	path := ""
	for keys.Next() {
		n := keys.Node()
		at := rangeOf(n)
		path = sub(path, string(n.Data))
		if keys.IsLast() {
			return last(path, at)
		}
		s.note(path, place{key: at, value: at})
		path = s.latest(path)
	}
	return path
}

// open notes a [table] header, which says more than a mention of the same table as a part of another name.
func (s *source) open(path string, at span) string {
	s.places[path] = place{key: at, value: at}
	return path
}

// appendTable notes one more element of an array of tables.
func (s *source) appendTable(path string, at span) string {
	s.note(path, place{key: at, value: at})
	s.counts[path]++
	path = s.latest(path)
	s.places[path] = place{key: at, value: at}
	return path
}

// latest is the path of the last element, if path is an array of tables.
func (s *source) latest(path string) string {
	if n := s.counts[path]; n > 0 {
		return item(path, n-1)
	}
	return path
}

// keyValue notes a key, with the tables that its dots make, and its value.
func (s *source) keyValue(table string, e *unstable.Node) {
	path, key := table, span{}
	for keys := e.Key(); keys.Next(); {
		key = rangeOf(keys.Node())
		path = sub(path, string(keys.Node().Data))
		if !keys.IsLast() {
			s.note(path, place{key: key, value: key})
		}
	}
	s.places[path] = place{key: key, value: s.valueAfter(key.end, rangeOf(e).end)}
	s.children(path, e.Value())
}

// valueAfter is the value between the end of its key and the end of the expression.
func (s *source) valueAfter(from, to int) span {
	for from < to && (s.text[from] == '=' || s.text[from] == ' ' || s.text[from] == '\t') {
		from++
	}
	return span{from, to}
}

// children notes what is inside an array or inline table.
func (s *source) children(path string, v *unstable.Node) {
	i := 0
	for it := v.Children(); it.Next(); i++ {
		n := it.Node()
		switch v.Kind {
		case unstable.InlineTable:
			s.keyValue(path, n)
		case unstable.Array:
			elem := item(path, i)
			at := rangeOf(n)
			if n.Kind == unstable.Array {
				at = s.places[path].value
			}
			s.places[elem] = place{key: at, value: at}
			s.children(elem, n)
			s.stretch(elem, n)
		}
	}
}

// stretch makes the place of an inline table reach to the end of its last key.
func (s *source) stretch(path string, table *unstable.Node) {
	if table.Kind != unstable.InlineTable {
		return
	}
	at := s.places[path].value
	for it := table.Children(); it.Next(); {
		at.end = rangeOf(it.Node()).end
	}
	if i := bytes.IndexByte(s.text[at.end:], '}'); i >= 0 && len(bytes.TrimSpace(s.text[at.end:at.end+i])) == 0 {
		at.end += i + 1
	}
	s.places[path] = place{key: at, value: at}
}

// note records a place unless a better one is known.
func (s *source) note(path string, at place) {
	if _, ok := s.places[path]; !ok {
		s.places[path] = at
	}
}

func rangeOf(n *unstable.Node) span {
	return span{int(n.Raw.Offset), int(n.Raw.Offset + n.Raw.Length)}
}

// pos is a span as a position; one that goes over several lines is cut at the end of the first.
func (s *source) pos(at span) ruleset.Pos {
	line := sort.SearchInts(s.lines, at.start+1) - 1
	end := len(s.text)
	if line+1 < len(s.lines) {
		end = s.lines[line+1] - 1
	}
	return ruleset.Pos{File: s.name, Line: line + 1, Col: at.start - s.lines[line] + 1, Len: max(1, min(at.end, end)-at.start)}
}

// sub is the path of a key in the table at path.
func sub(path, key string) string {
	if !bareKey(key) {
		key = strconv.Quote(key)
	}
	if path == "" {
		return key
	}
	return path + "." + key
}

// item is the path of an element of the array at path.
func item(path string, i int) string { return path + "[" + strconv.Itoa(i) + "]" }

// bareKey reports whether TOML lets the key stand without quotes.
func bareKey(key string) bool {
	for _, c := range []byte(key) {
		if !('a' <= c && c <= 'z' || 'A' <= c && c <= 'Z' || '0' <= c && c <= '9' || c == '-' || c == '_') {
			return false
		}
	}
	return key != ""
}
