package ruleset_test

import (
	"encoding/json"
	"flag"
	"net/netip"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bpfwall/bpfwall/internal/cases"
	"github.com/bpfwall/bpfwall/ruleset"
)

var update = flag.Bool("update", false, "write the golden files")

// golden compares got with a file of testdata.
func golden(t *testing.T, name, got string) {
	t.Helper()
	path := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(path, []byte(got), 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(path)
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(string(want), got); diff != "" {
		t.Errorf("%s (-want +got):\n%s", path, diff)
	}
}

// testdata/cases.txt shows every case as it prints.
func TestPrint(t *testing.T) {
	var b strings.Builder
	for _, c := range cases.All() {
		rs, err := c.Ruleset()
		if err != nil {
			t.Fatal(err)
		}
		b.WriteString("# " + c.Name + "\n" + rs.String() + "\n")
	}
	golden(t, "cases.txt", b.String())
}

func TestRuleString(t *testing.T) {
	r := rule(accept, ruleset.Match{Field: ruleset.FieldProto, Ranges: []ruleset.Range{{From: 6, To: 6}}},
		from("10.0.0.0", "", "255.0.0.0"), port(22), bits(ruleset.FieldState, ruleset.StateNew, ruleset.StateNew))
	r.Statements = []ruleset.Statement{{Log: &ruleset.Log{Prefix: "ssh", Level: 4}}}
	r.Name, r.Note = "ssh", "from\x1b[31m inside"
	const want = `tcp from 10.0.0.0/8 to port 22 state new: log "ssh", accept`
	if got := r.String(); got != want {
		t.Errorf("got %s, want %s", got, want)
	}
	if got := chain("a", r).String(); got != "chain a\n  "+want+"  # ssh  # \"from\\x1b[31m inside\"\n" {
		t.Errorf("got %q", got)
	}
}

// Rules that do not mean the same do not read the same.
func TestPrintTellsApart(t *testing.T) {
	rules := []*ruleset.Rule{
		rule(accept), rule(drop), rule(back), rule(goOn), rule(to(ruleset.Jump, "drop")), rule(to(ruleset.Goto, "drop")),
		rule(reject(0)), rule(reject(1)), rule(to(ruleset.Jump, "a, accept")), rule(to(ruleset.Jump, `"a"`)), rule(to(ruleset.Jump, "a")),
		rule(accept, port(1)), rule(accept, port(1), port(2)), rule(accept, one(ruleset.FieldSrcPort, 1)),
		rule(accept, ruleset.Match{Field: ruleset.FieldDstPort, Not: true, Ranges: []ruleset.Range{{From: 1, To: 1}}}),
		rule(accept, ruleset.Match{Field: ruleset.FieldDstPort, Ranges: []ruleset.Range{{From: 1, To: 1}, {From: 2, To: 2}}}),
		rule(accept, ruleset.Match{Field: ruleset.FieldDstPort, Ranges: []ruleset.Range{{From: 1, To: 2}}}),
		rule(accept, bits(ruleset.FieldDstPort, 1, 2)), rule(accept, bits(ruleset.FieldDstPort, 1, 1)),
		rule(accept, one(ruleset.FieldProto, 6)), rule(accept, one(ruleset.FieldProto, 7)), rule(accept, bits(ruleset.FieldProto, 6, 255)),
		rule(accept, iface(ruleset.FieldInIface, "eth0")), rule(accept, iface(ruleset.FieldOutIface, "eth0")), rule(accept, iface(ruleset.FieldInIface, "not", "eth0")),
		rule(accept, ruleset.Match{Field: ruleset.FieldInIface, Not: true, Names: []string{"eth0"}}), rule(accept, iface(ruleset.FieldInIface, "not eth0")),
		rule(accept, iface(ruleset.FieldInIface, "not"), one(ruleset.FieldProto, 6)), rule(accept, ruleset.Match{Field: ruleset.FieldInIface, Not: true, Names: []string{"tcp"}}),
		rule(accept, iface(ruleset.FieldInIface, "a", "b")), rule(accept, iface(ruleset.FieldInIface, "a,b")),
		rule(accept, from("10.0.0.0", "", "255.0.0.0")), rule(accept, from("10.0.0.0", "", "255.0.255.0")), rule(accept, from("10.0.0.0", "10.0.0.1", "")),
		rule(accept, from("10.0.0.0", "10.0.0.0", "")), rule(accept, from("::", "", "::")), rule(accept, from("0.0.0.0", "", "0.0.0.0")),
		rule(accept, ruleset.Match{Field: ruleset.FieldSrcAddr, Set: "10.0.0.0"}), rule(accept, ruleset.Match{Field: ruleset.FieldSrcAddr, Set: "s"}),
		rule(accept, bits(ruleset.FieldState, 1, 1)), rule(accept, bits(ruleset.FieldState, 3, 3)),
		rule(accept, bits(ruleset.FieldTCPFlags, 2, 0x17)), rule(accept, bits(ruleset.FieldTCPFlags, 0, 0x17)), rule(accept, bits(ruleset.FieldTCPFlags, 0x17, 0x17)),
		rule(accept, bits(ruleset.FieldMark, 2, 0x17)), rule(accept, bits(ruleset.FieldTOS, 2, 0x17)),
		rule(accept, limit(5, 1e9, 5)), rule(accept, limit(5, 60e9, 5)), rule(accept, limit(5, 60e9, 6)), rule(accept, limit(5, 7, 5)),
		rule(accept, limit(1, 1e9, 2), port(1)), rule(accept, port(1), limit(1, 1e9, 2)),
		does(rule(accept), ruleset.Statement{Log: &ruleset.Log{}}), does(rule(accept), ruleset.Statement{Log: &ruleset.Log{Level: 4}}),
		does(rule(accept), ruleset.Statement{Log: &ruleset.Log{Group: 1}}), does(rule(accept), ruleset.Statement{Log: &ruleset.Log{Prefix: `", accept`}}),
		does(rule(goOn), ruleset.Statement{Log: &ruleset.Log{}}), does(rule(goOn), ruleset.Statement{NoTrack: &ruleset.NoTrack{}}),
		does(rule(goOn), ruleset.Statement{SetMark: &ruleset.SetMark{Value: 1}}), does(rule(goOn), ruleset.Statement{SetMark: &ruleset.SetMark{Value: 1, Mask: 1}}),
	}
	seen := map[string]int{}
	for i, r := range rules {
		if j, ok := seen[r.String()]; ok {
			t.Errorf("rules %d and %d are both %q", j, i, r)
		}
		seen[r.String()] = i
	}
}

// Nothing that a file says gets to the terminal as it is.
func TestPrintEscapes(t *testing.T) {
	const evil = "a\x1b]0;x\x07\n\u202e"
	rs := &ruleset.Ruleset{
		Sets: []*ruleset.Set{{Name: evil}},
		Chains: []*ruleset.Chain{{Name: evil, Rules: []*ruleset.Rule{{
			Name: evil, Note: evil, Matches: []ruleset.Match{iface(ruleset.FieldInIface, evil), {Field: ruleset.FieldSrcAddr, Set: evil}},
			Statements: []ruleset.Statement{{Log: &ruleset.Log{Prefix: evil}}}, Verdict: to(ruleset.Jump, evil),
		}}}},
	}
	for _, r := range rs.String() {
		if r != '\n' && (r < ' ' || r > '~') {
			t.Errorf("%q in %q", r, rs)
		}
	}
	if n := strings.Count(rs.String(), "\n"); n != 3 {
		t.Errorf("%d lines, want 3: %s", n, rs)
	}
}

// A ruleset is the same after it was stored.
func TestJSON(t *testing.T) {
	everything := &ruleset.Ruleset{Name: "n", Sets: []*ruleset.Set{{Name: "s", Members: from("10.0.0.0", "", "255.0.0.255").Addrs, Pos: ruleset.Pos{File: "f", Line: 1}}}}
	r := rule(reject(3), from("fd00::", "fd00::5", ""), bits(ruleset.FieldState, 3, 3), iface(ruleset.FieldInIface, "eth+"), limit(1, 2, 3), port(1))
	r.ID, r.Name, r.Note, r.Text, r.Pos = "id", "name", "note <&> \u2028", "text\x00", ruleset.Pos{File: "f", Line: 2, Col: 3, Len: 4}
	r.Matches[0].Not, r.Matches[0].Pos = true, ruleset.Pos{File: "f", Line: 2, Col: 9}
	r.Statements = []ruleset.Statement{{Log: &ruleset.Log{Prefix: "p", Level: 1, Group: 2}}, {Log: &ruleset.Log{}}, {SetMark: &ruleset.SetMark{Value: 1<<32 - 1}}, {NoTrack: &ruleset.NoTrack{}}}
	everything.Chains = []*ruleset.Chain{{Name: "c", Family: 6, Hook: ruleset.HookInput, Policy: ruleset.Drop, Rules: []*ruleset.Rule{r, {}}, Pos: ruleset.Pos{File: "g"}}}
	all := []*ruleset.Ruleset{everything, {}}
	for _, c := range cases.All() {
		rs, err := c.Ruleset()
		if err != nil {
			t.Fatal(err)
		}
		all = append(all, rs)
	}
	for _, rs := range all {
		text, err := json.Marshal(rs)
		if err != nil {
			t.Fatal(err)
		}
		got := &ruleset.Ruleset{}
		if err := json.Unmarshal(text, got); err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(rs, got, cmpopts.EquateComparable(netip.Addr{}, netip.Prefix{})); diff != "" {
			t.Errorf("%s (-want +got):\n%s", text, diff)
		}
	}
}
