package stateless

import (
	"math/rand/v2"
	"os"
	"regexp"
	"slices"
	"strings"
	"testing"
)

var (
	matchRow  = regexp.MustCompile("(?m)^\\| `([a-z0-9]+)`[^|]*\\| (`--[^|]*) \\|")
	optionRE  = regexp.MustCompile("`--([a-z0-9-]+)`")
	targetRow = regexp.MustCompile("(?m)^\\| `([A-Z]+)` \\| (.*) \\|$")
)

// noNegation are the options that iptables does not let one negate.
var noNegation = []string{"comment", "ttl-lt", "ttl-gt", "hl-lt", "hl-gt"}

// noTarget are the targets that turn connection tracking on, SET, whose effect is on packets that follow (TestSetsSameAsIPSet),
// SYNPROXY, which answers for sockets (TestSynProxy), and options that say how a log line looks.
var noTarget = []string{"NOTRACK", "CT", "SET", "SYNPROXY", "log-level", "log-tcp-sequence", "log-tcp-options", "log-ip-options", "log-uid", "log-macdecode",
	"nflog-prefix", "nflog-range", "nflog-size", "nflog-threshold"}

// TestGrammar: every match that can be imported (docs/iptables.md lists them from the importer's own tables) is in the random rules, plain and
// negated, or in notHere with the reason.
func TestGrammar(t *testing.T) {
	doc, err := os.ReadFile("../../docs/iptables.md")
	if err != nil {
		t.Fatal(err)
	}
	imported, targets, _ := strings.Cut(string(doc), "## Targets")
	targets, _, _ = strings.Cut(targets, "## Read, but not imported")
	text := manyRules()
	rows := 0
	for _, row := range matchRow.FindAllStringSubmatch(imported, -1) {
		if notHere[row[1]] != "" {
			continue
		}
		for _, aliases := range strings.Split(row[2], ",") {
			rows++
			wantOption(t, text, row[1], optionRE.FindAllStringSubmatch(aliases, -1))
		}
	}
	for _, row := range targetRow.FindAllStringSubmatch(targets, -1) {
		for _, name := range append([][]string{{"", row[1]}}, optionRE.FindAllStringSubmatch(row[2], -1)...) {
			rows++
			if !slices.Contains(noTarget, name[1]) && !slices.Contains(noTarget, row[1]) && !strings.Contains(text, name[1]+" ") {
				t.Errorf("-j %s: %s is never in a rule", row[1], name[1])
			}
		}
	}
	if rows < 40 {
		t.Errorf("only %d options found in docs/iptables.md", rows)
	}
	for _, base := range []string{"-s", "-d", "-i", "-o", "-p", "-f"} {
		for _, not := range []string{" ", " ! "} {
			if !strings.Contains(text, not+base+" ") {
				t.Errorf("%q is never in a rule", not+base)
			}
		}
	}
}

// wantOption looks for an option under one of its names, plain and negated.
func wantOption(t *testing.T, text, ext string, names [][]string) {
	t.Helper()
	plain, negated := false, false
	for _, n := range names {
		plain = plain || strings.Contains(text, "-m "+ext+" --"+n[1]) || strings.Contains(text, " --"+n[1]+" ")
		negated = negated || strings.Contains(text, "! --"+n[1]) || slices.Contains(noNegation, n[1])
	}
	if !plain || !negated {
		t.Errorf("-m %s: %v is never in a rule, plain (%t) and negated (%t)", ext, names, plain, negated)
	}
	if !strings.Contains(text, "-m "+ext+" ") {
		t.Errorf("-m %s is never in a rule", ext)
	}
}

// manyRules is the text of many rulesets.
func manyRules() string {
	var b strings.Builder
	for s := range uint64(30) {
		g := &generator{rng: rand.New(rand.NewPCG(s, 2))}
		for _, f := range newRules(g, 100) {
			b.WriteString(f.text)
		}
	}
	return b.String()
}
