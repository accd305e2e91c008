package policies

import (
	"cmp"
	"fmt"
	"slices"
	"strings"
	"time"

	"github.com/bpfwall/bpfwall/ruleset"
)

// table is a table of the file: its path and the values that the decoder found. Reading a key of the wrong type gives nothing;
// the walk has reported it.
type table struct {
	p    *parser
	path string
	m    map[string]any
}

// check reports every unknown key, wrong type and unsupported feature of a table and of the tables in it.
func (t table) check(where scope) {
	for _, key := range t.keys() {
		r := lookup(where, key)
		switch {
		case r == nil:
			t.unknownKey(where, key)
		case r.later != "":
			e := t.p.fail(t.keyPos(key), "%s: not supported yet", key)
			e.Help = r.later
		default:
			t.checkValue(r, key)
		}
	}
}

func (t table) checkValue(r *row, key string) {
	f, bad := formOf(t.m[key])
	if bad >= 0 {
		t.p.fail(t.p.posOf(item(t.at(key), bad)), "%s: a list of strings has something else in it", key).Help = quoteAdvice(r)
		return
	}
	empty, isEmpty := t.m[key].([]any)
	if isEmpty && len(empty) == 0 && r.form&(isList|isTables) != 0 {
		if r.form&isList != 0 {
			t.p.fail(t.pos(key), "%s: an empty list matches nothing", key).Help = "leave the key out to match everything"
		}
		return
	}
	if f&r.form == 0 {
		t.p.fail(t.pos(key), "%s: must be %s, not %s", key, r.form, f).Help = t.misplaced(key, quoteAdvice(r))
		return
	}
	for _, inner := range t.tables(key) {
		inner.check(r.sub)
	}
}

// quoteAdvice is for numbers where text is wanted.
func quoteAdvice(r *row) string {
	if r.form&isText != 0 && r.example != "" {
		return "for example " + r.example
	}
	return ""
}

func (t table) unknownKey(where scope, key string) {
	if why, ok := elsewhere[key]; ok && where&inRule != 0 {
		t.p.fail(t.keyPos(key), "%s: not in rules of this kind", key).Help = why
		return
	}
	e := t.p.fail(t.keyPos(key), "unknown key %q", key)
	e.Hint = suggest(key, keysOf(where))
	e.Help = t.misplaced(key, "")
	if e.Hint == "" && e.Help == "" && where&inTop != 0 && lookup(inRule, key) != nil {
		e.Help = "keys of a rule stand under [[inbound]], [[outbound]], [[forward]] or [[guard]]"
	}
}

// known reports whether every key of the table is one of the language.
func (t table) known(where scope) bool {
	for key := range t.m {
		if lookup(where, key) == nil {
			return false
		}
	}
	return true
}

// elsewhere says why a key that some rules have is not for all.
var elsewhere = map[string]string{
	"reject":    "guard runs at the earliest hook, where there is nobody to answer; use drop",
	"with":      "guard runs at the earliest hook, where there is nobody to answer; use drop",
	"state":     "guard runs before connections are known",
	"in":        "what this host sends has not come in by an interface; use out",
	"out":       "what this host receives does not leave by an interface; use in",
	"user":      ofSocket,
	"group":     ofSocket,
	"unit":      ofSocket,
	"cgroup":    ofSocket,
	"socket":    ofSocket,
	"connected": "only a packet to this host gets to a socket here: it belongs to inbound rules",
	"dnat":      "guard judges before addresses are translated",
	"mac":       "what this host sends has no sender's MAC address yet",
	"notrack":   "only guard runs before connection tracking",

	"synproxy": "only guard sees SYNs before connection tracking",
}

const ofSocket = "only packets from or to this host have a socket here: it belongs to outbound or inbound rules"

// misplaced explains the trap that a list of rules after a [table] header belongs to that table.
func (t table) misplaced(key, otherwise string) string {
	f, _ := formOf(t.m[key])
	if t.path == "" || t.path == "rules" || f&(isTables|isList) == 0 || lookup(inRules, key) == nil {
		return otherwise
	}
	return fmt.Sprintf("this line is inside [%s]; rules in the one-line spelling belong under [rules]", t.path)
}

// formOf is the type of a value; for a list of strings with something else in it, bad is the index of the first such element.
func formOf(v any) (f form, bad int) {
	switch v := v.(type) {
	case string:
		return isText, -1
	case bool:
		return isBool, -1
	case int64:
		return isInt, -1
	case time.Time:
		return isDate, -1
	case map[string]any:
		return isTable, -1
	case []map[string]any:
		return isTables, -1
	case []any:
		return formOfList(v)
	}
	return 0, -1
}

func formOfList(list []any) (f form, bad int) {
	tables := 0
	for i, e := range list {
		switch e.(type) {
		case map[string]any:
			tables++
		case string:
		default:
			return isList, i
		}
		if tables > 0 && tables <= i {
			return isList, i
		}
	}
	if tables > 0 {
		return isTables, -1
	}
	return isList, -1
}

func (f form) String() string {
	var names []string
	for _, n := range formNames {
		if f&n.form != 0 {
			names = append(names, n.name)
		}
	}
	if len(names) == 0 {
		return "a number with a point, or another type that the language does not use"
	}
	if last := len(names) - 1; last > 1 {
		return strings.Join(names[:last], ", ") + " or " + names[last]
	}
	return strings.Join(names, " or ")
}

// keys lists the keys in the order of the file.
func (t table) keys() []string {
	out := make([]string, 0, len(t.m))
	start := make(map[string]int, len(t.m))
	for k := range t.m {
		out = append(out, k)
		start[k] = t.p.src.places[t.at(k)].key.start
	}
	slices.SortFunc(out, func(a, b string) int { return cmp.Or(start[a]-start[b], strings.Compare(a, b)) })
	return out
}

func (t table) at(key string) string { return sub(t.path, key) }

// pos is the place of a key's value.
func (t table) pos(key string) ruleset.Pos { return t.p.posOf(t.at(key)) }

func (t table) keyPos(key string) ruleset.Pos {
	return t.p.src.pos(t.p.src.places[t.at(key)].key)
}

// self is the place of the table itself.
func (t table) self() ruleset.Pos { return t.p.posOf(t.path) }

func (p *parser) posOf(path string) ruleset.Pos { return p.src.pos(p.src.places[path].value) }

func (t table) has(key string) bool { _, ok := t.m[key]; return ok }

// text reads a string.
func (t table) text(key string) (text, bool) {
	s, ok := t.m[key].(string)
	if !ok {
		return text{}, false
	}
	return text{s, t.pos(key)}, true
}

// texts reads a string, a list of strings, or a truth value as the string "true" or "false".
func (t table) texts(key string) []text {
	switch v := t.m[key].(type) {
	case string:
		return []text{{v, t.pos(key)}}
	case bool:
		return []text{{fmt.Sprint(v), t.pos(key)}}
	case []any:
		var out []text
		for i, e := range v {
			if s, ok := e.(string); ok {
				out = append(out, text{s, t.p.posOf(item(t.at(key), i))})
			}
		}
		return out
	}
	return nil
}

// truth reads a truth value, false if it is absent.
func (t table) truth(key string) bool { b, _ := t.m[key].(bool); return b }

// table reads an inner table.
func (t table) table(key string) table {
	m, _ := t.m[key].(map[string]any)
	return table{t.p, t.at(key), m}
}

// tables reads a list of tables, in either spelling, or one table.
func (t table) tables(key string) []table {
	var out []table
	add := func(i int, m map[string]any) { out = append(out, table{t.p, item(t.at(key), i), m}) }
	switch v := t.m[key].(type) {
	case map[string]any:
		return []table{t.table(key)}
	case []map[string]any:
		for i, m := range v {
			add(i, m)
		}
	case []any:
		for i, e := range v {
			if m, ok := e.(map[string]any); ok {
				add(i, m)
			}
		}
	}
	return out
}
