package policies

import (
	"flag"
	"fmt"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var updateDocs = flag.Bool("update-docs", false, "rewrite the tables of docs/policy.md")

const reference = "../docs/policy.md"

// chapters are the tables of the reference: the kinds of table, and of those the keys, that each lists.
var chapters = []struct {
	name  string
	where scope
	only  func(key string) bool
}{
	{"file", inTop, nil},
	{"zones", inZones | inZone, nil},
	{"services", inServices, nil},
	{"sets", inSets | inSet, nil},
	{"defaults", inDefaults | inFamilies, nil},
	{"safety", inSafety | inFailsafe | inLogging | inEssentials, nil},
	{"conntrack", inConntrack | inTimeouts, nil},
	{"verbs", inRule, isVerb},
	{"conditions", inRule, isCondition},
	{"extras", inRule | inLog, func(key string) bool { return !isVerb(key) && !isCondition(key) }},
	{"groups", inGroups | inGroup, nil},
	{"tests", inTest, nil},
}

func isVerb(key string) bool {
	for _, v := range verbs {
		if v.key == key {
			return true
		}
	}
	return false
}

func isCondition(key string) bool {
	return slices.ContainsFunc(conditionRows(), func(r row) bool { return r.key == key })
}

// TestReference: docs/policy.md has the tables that the schema gives.
func TestReference(t *testing.T) {
	text, err := os.ReadFile(reference)
	if err != nil {
		t.Fatal(err)
	}
	got := string(text)
	listed := map[string]bool{}
	for _, c := range chapters {
		got = replaceBlock(t, got, "keys: "+c.name, keyTable(c.where, c.only, listed))
	}
	got = replaceBlock(t, got, "services", serviceTable())
	got = replaceBlock(t, got, "later", laterList(listed))
	for _, r := range schema {
		if !listed[rowID(r)] {
			t.Errorf("key %q is in no chapter", r.key)
		}
	}
	if *updateDocs {
		if err := os.WriteFile(reference, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	} else if got != string(text) {
		t.Errorf("%s is not what the schema says: run go test ./policies -run Reference -update-docs", reference)
	}
}

func rowID(r row) string { return fmt.Sprintf("%d %s", r.in, r.key) }

func replaceBlock(t *testing.T, text, name, block string) string {
	t.Helper()
	from := "<!-- " + name + " -->\n"
	before, rest, ok := strings.Cut(text, from)
	_, after, ok2 := strings.Cut(rest, "<!-- end -->")
	if !ok || !ok2 {
		t.Fatalf("%s: no block %q", reference, name)
	}
	return before + from + block + "<!-- end -->" + after
}

func keyTable(where scope, only func(string) bool, listed map[string]bool) string {
	var b strings.Builder
	b.WriteString("| key | in | value | meaning | example |\n|---|---|---|---|---|\n")
	for _, r := range schema {
		if r.in&where == 0 || only != nil && !only(r.key) && r.in&inLog == 0 || r.later != "" || r.in&inTest != 0 && r.in&inRule == 0 && where != inTest {
			continue
		}
		listed[rowID(r)] = true
		name := "`" + r.key + "`"
		if r.key == "*" {
			name = "*name*"
		}
		fmt.Fprintf(&b, "| %s | %s | %s | %s | `%s` |\n", name, homeOf(r.in&where), r.form, strings.ReplaceAll(r.doc, "|", `\|`), r.example)
	}
	return b.String()
}

// homes name the kinds of table.
var homes = []struct {
	in   scope
	name string
}{
	{inTop, "the file"}, {inZones, "`[zones]`"}, {inZone, "a zone"}, {inServices, "`[services]`"}, {inSets, "`[sets]`"}, {inSet, "a set"},
	{inDefaults, "`[defaults]`"}, {inFamilies, "a default"}, {inSafety, "`[safety]`"}, {inFailsafe, "`failsafe`"}, {inLogging, "`[log]`"},
	{inEssentials, "`[essentials]`"}, {inConntrack, "`[conntrack]`"}, {inTimeouts, "`timeouts`"}, {inGroups, "`[groups]`"}, {inGroup, "a group"}, {inLog, "`log`"}, {inTest, "`[[test]]`"},
}

// homeOf says where a key stands; for rules, in which of them it does not.
func homeOf(in scope) string {
	for _, h := range homes {
		if in&h.in != 0 {
			return h.name
		}
	}
	kinds := []struct {
		in   scope
		name string
	}{{inInbound, "inbound"}, {inOutbound, "outbound"}, {inForward, "forward"}, {inGuard, "guard"}, {inGroupRule, "groups"}}
	var yes, no []string
	for _, k := range kinds {
		if in&k.in != 0 {
			yes = append(yes, k.name)
		} else {
			no = append(no, k.name)
		}
	}
	switch {
	case len(no) == 0:
		return "rules"
	case len(no) < len(yes):
		return "rules but " + strings.Join(no, ", ")
	}
	return strings.Join(yes, ", ")
}

func serviceTable() string {
	var names []string
	for n := range composites {
		names = append(names, n)
	}
	slices.Sort(names)
	var b strings.Builder
	b.WriteString("| name | is |\n|---|---|\n")
	for _, n := range names {
		fmt.Fprintf(&b, "| `%s` | %s |\n", n, strings.Join(composites[n], ", "))
	}
	return b.String()
}

func laterList(listed map[string]bool) string {
	var b strings.Builder
	for _, r := range schema {
		if r.later != "" {
			listed[rowID(r)] = true
			fmt.Fprintf(&b, "- `%s`: %s\n", r.key, r.later)
		}
	}
	return b.String()
}

// around is what an example needs to stand in a policy: %s is the example. The first kind of table that the key is allowed in counts.
var around = []struct {
	in   scope
	text string
}{
	{inTop, "%s\n"}, {inZones | inZone, "[zones]\n%s\n"}, {inServices, "[services]\n%s\n"}, {inSets | inSet, "[sets]\n%s\n"},
	{inDefaults | inFamilies, "[defaults]\n%s\n"}, {inSafety | inFailsafe, "[safety]\n%s\n"}, {inLogging, "[log]\n%s\n"},
	{inEssentials, "[essentials]\n%s\n"}, {inConntrack | inTimeouts, "[conntrack]\n%s\n"}, {inGroups, "%s\n"}, {inGroup, "[groups.g]\n%s\n"},
	{inInbound | inLog, "[[inbound]]\n%s\n"}, {inForward, "[[forward]]\n%s\n"}, {inOutbound, "[[outbound]]\n%s\n"}, {inGuard, "[[guard]]\n%s\n"}, {inListen, "[[listen]]\n%s\n"}, {inTest, "[[test]]\n%s\n"},
}

// with is what a key needs beside it.
var with = map[string]string{
	"over": "allow = \"ssh\"\nlimit = \"1/second\"", "after_limit": "allow = \"ssh\"\nlimit = \"1/second\"\nover = \"next\"", "with": `reject = "any"`,
	"service": `use = "g"`, "notrack": `continue = "any"`,
}

// TestExamplesOfKeys: every key of the schema is documented and its example is a policy, but for the names that it takes for granted.
func TestExamplesOfKeys(t *testing.T) {
	dangling := regexp.MustCompile(`^unknown (set|group)|there is none of that name on this host|^set ".*": open|test ".*": expects nothing|has no action`)
	for _, r := range schema {
		if r.later != "" {
			continue
		}
		if r.doc == "" || r.example == "" {
			t.Errorf("key %q: has no documentation or no example", r.key)
		}
		if r.in&inMatch != 0 && r.key != "*" && !strings.Contains(r.example, r.key) {
			t.Errorf("key %q: its example is %s", r.key, r.example)
		}
		src := "version = 1\n" + exampleOf(r)
		src = strings.Replace(src, "version = 1\nversion = 1\n", "version = 1\n", 1)
		_, err := Parse("example.toml", []byte(src), Options{})
		if err == nil {
			continue
		}
		for line := range strings.SplitSeq(err.Error(), "\n") {
			if _, msg, _ := strings.Cut(line, ": "); !dangling.MatchString(msg) {
				t.Errorf("key %q: %s\n%s", r.key, line, src)
			}
		}
	}
}

func exampleOf(r row) string {
	for _, a := range around {
		if r.in&a.in == 0 {
			continue
		}
		example := r.example
		switch extra := with[r.key]; {
		case r.in&(inRule|inLog) == 0 || isVerb(r.key):
		case extra != "":
			example += "\n" + extra
		default:
			example += "\nallow = \"any\""
		}
		return fmt.Sprintf(a.text, example)
	}
	return ""
}

// TestReferencePolicies: the policies in the text of the reference are policies, and pass their tests.
func TestReferencePolicies(t *testing.T) {
	var text []byte
	for _, name := range []string{reference, "../docs/sockets.md"} {
		b, err := os.ReadFile(name)
		if err != nil {
			t.Fatal(err)
		}
		text = append(text, b...)
	}
	blocks := regexp.MustCompile("(?s)```toml\n(.*?)```").FindAllStringSubmatch(string(text), -1)
	for _, b := range blocks {
		p, err := Parse("policy.md", []byte(b[1]), Options{})
		if err != nil {
			t.Errorf("%v\n%s", err, b[1])
			continue
		}
		for _, r := range p.RunTests(nil) {
			if r.Problem != nil {
				t.Error(r.Problem)
			}
		}
	}
	if len(blocks) < 3 {
		t.Errorf("only %d policies", len(blocks))
	}
}
