package dataplane

import (
	"bytes"
	"encoding/gob"
	"encoding/json"
	"io"
	"net/netip"
	"os"
	"path/filepath"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bpfwall/bpfwall/internal/cases"
	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/bpfwall/bpfwall/translator"
)

var sameRules = cmp.Options{cmpopts.EquateEmpty(), cmp.Comparer(func(a, b netip.Addr) bool { return a == b }),
	cmp.Comparer(func(a, b netip.Prefix) bool { return a == b })}

// What is read from the disk is what was written, for every field and statement that there is.
func TestSavedRulesets(t *testing.T) {
	at := newLayout(Config{StateDir: t.TempDir()})
	for i, c := range cases.All() {
		rs, err := c.Ruleset()
		if err != nil {
			t.Fatal(err)
		}
		rs.AssignIDs()
		g := &Generation{Number: uint32(i + 1), Slots: translator.Slots{Counters: map[string]uint32{"a": 0, "b": 7}}}
		for _, r := range rs.Chains[0].Rules {
			g.Logs = append(g.Logs, translator.LogPoint{Rule: r, Log: ruleset.Log{Prefix: "x", Level: 4}})
		}
		d := at.beginGeneration(g.Number, nil, rs)
		d.slots(g)
		if err := d.finish(g); err != nil {
			t.Fatal(err)
		}
		back, err := at.readRuleset(g.Number)
		if err != nil {
			t.Fatalf("%s: %v", c.Name, err)
		}
		if diff := cmp.Diff(rs, back, sameRules); diff != "" {
			t.Errorf("%s: read back (+) other than written (-):\n%s", c.Name, diff)
		}
		g2, err := at.readGeneration(g.Number)
		if err != nil {
			t.Fatal(err)
		}
		if diff := cmp.Diff(g, g2, sameRules); diff != "" {
			t.Errorf("%s: read back (+) other than written (-):\n%s", c.Name, diff)
		}
	}
}

// Generations of versions that wrote all in JSON can still be read, and their meta.json be rewritten.
func TestOldGenerations(t *testing.T) {
	at := newLayout(Config{StateDir: t.TempDir()})
	c := cases.All()[0]
	rs, err := c.Ruleset()
	if err != nil {
		t.Fatal(err)
	}
	g := &Generation{Number: 3, Slots: translator.Slots{Counters: map[string]uint32{"a": 5}}}
	if err := os.MkdirAll(at.generation(3), 0o700); err != nil {
		t.Fatal(err)
	}
	for name, v := range map[string]any{metaFile: g, oldRulesFile: rs} {
		b, err := json.Marshal(v)
		if err == nil {
			err = os.WriteFile(filepath.Join(at.generation(3), name), b, 0o600)
		}
		if err != nil {
			t.Fatal(err)
		}
	}
	meta, err := at.readMeta(3)
	if err != nil {
		t.Fatal(err)
	}
	meta.Confirmed = true
	if err := at.rewriteMeta(meta); err != nil {
		t.Fatal(err)
	}
	g.Confirmed = true
	g2, err := at.readGeneration(3)
	if diff := cmp.Diff(g, g2, sameRules); diff != "" || err != nil {
		t.Errorf("%v; read back (+) other than written (-):\n%s", err, diff)
	}
	back, err := at.readRuleset(3)
	if diff := cmp.Diff(rs, back, sameRules); diff != "" || err != nil {
		t.Errorf("%v; read back (+) other than written (-):\n%s", err, diff)
	}
}

// Rules come back in order, however many parts they were written in; what is left of a file that was cut short does not.
func TestSavedManyRules(t *testing.T) {
	rs := &ruleset.Ruleset{Chains: []*ruleset.Chain{{Name: "a"}, {Name: "none"}, {Name: "b"}}}
	for i := range 2*rulesAtATime + 1 {
		pos := ruleset.Pos{File: "f", Line: i + 1}
		port := ruleset.Range{From: uint64(i), To: uint64(i)}
		for _, c := range []*ruleset.Chain{rs.Chains[0], rs.Chains[2]} {
			c.Rules = append(c.Rules, &ruleset.Rule{Pos: pos, Matches: []ruleset.Match{{Field: ruleset.FieldDstPort, Ranges: []ruleset.Range{port}, Pos: pos}}})
		}
	}
	var file bytes.Buffer
	if err := writeRules(&file, rs); err != nil {
		t.Fatal(err)
	}
	whole := file.Bytes()
	back := &ruleset.Ruleset{}
	err := readRules(bytes.NewReader(whole), back)
	if diff := cmp.Diff(rs, back, sameRules); diff != "" || err != nil {
		t.Errorf("%v; read back (+) other than written (-):\n%s", err, diff)
	}
	for n := 0; n < len(whole); n += len(whole) / 97 {
		if err := readRules(bytes.NewReader(whole[:n]), &ruleset.Ruleset{}); err == nil {
			t.Errorf("the first %d of %d bytes were read as if they were all", n, len(whole))
		}
	}
}

// Rules that a version wrote as one value can still be read.
func TestOldRules(t *testing.T) {
	at := newLayout(Config{StateDir: t.TempDir()})
	rs, err := cases.All()[0].Ruleset()
	if err != nil {
		t.Fatal(err)
	}
	if err := os.MkdirAll(at.generation(3), 0o700); err != nil {
		t.Fatal(err)
	}
	write := func(w io.Writer) error { return gob.NewEncoder(w).Encode(rs) }
	if err := writeSynced(filepath.Join(at.generation(3), gobRulesFile), write); err != nil {
		t.Fatal(err)
	}
	back, err := at.readRuleset(3)
	if diff := cmp.Diff(rs, back, sameRules); diff != "" || err != nil {
		t.Errorf("%v; read back (+) other than written (-):\n%s", err, diff)
	}
}
