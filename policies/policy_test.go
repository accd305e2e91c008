package policies_test

import (
	"fmt"
	"net/netip"
	"strings"
	"testing"
	"time"

	"github.com/bpfwall/bpfwall/policies"
	"github.com/bpfwall/bpfwall/ruleset"
	"github.com/google/go-cmp/cmp"
)

func parse(t *testing.T, src string) *policies.Policy {
	t.Helper()
	p, err := policies.Parse("p.toml", []byte("version = 1\n"+src), options())
	if err != nil {
		t.Fatal(err)
	}
	return p
}

func TestLint(t *testing.T) {
	for _, c := range []struct{ name, src, want string }{
		{"unused names", "[zones]\na = \"eth0\"\n[sets]\nb = \"10.0.0.1\"\n[services]\nc = \"tcp/1\"\n[groups.d]\nrules = []\n",
			"p.toml:3:1: zone \"a\" is not used\np.toml:5:1: set \"b\" is not used\np.toml:7:1: service \"c\" is not used\np.toml:8:9: group \"d\" is not used"},
		{"behind a wall", "[rules]\nforward = [\n { drop = \"any\" },\n { allow = \"ssh\" },\n]\n", "p.toml:5:4: this rule is never reached"},
		{"said twice", "[rules]\ninbound = [\n { allow = \"ssh\" },\n { drop = \"tcp/22\" },\n]\n", "p.toml:5:4: this rule is never reached"},
		{"wide open", "[rules]\ninbound = [ { allow = \"any\" } ]\n", "p.toml:3:15: this rule allows everything from everywhere"},
		{"nearly a zone", "[zones]\nguest = \"eth0\"\n[rules]\ninbound = [ { allow = \"ssh\", in = [\"gest\", \"guest\"] } ]\n",
			"p.toml:5:36: \"gest\" is no zone, so it is taken for an interface"},
		{"never true", "[rules]\ninbound = [ { allow = \"any\", mark = \"2/1\" } ]\n", "p.toml:3:37: \"2/1\": the value has bits outside the mask, so it never matches"},
		{"over", "[rules]\ninbound = [ { allow = \"ssh\", expires = 2026-01-01 } ]\n", "p.toml:3:40: this rule expired on 2026-01-01 and is left out"},
		{"nothing", "[rules]\ninbound = [ { allow = \"ssh\" } ]\n", ""},
	} {
		t.Run(c.name, func(t *testing.T) {
			if diff := cmp.Diff(c.want, parse(t, c.src).Warnings.Error()); diff != "" {
				t.Error(diff)
			}
		})
	}
}

// TestFailingTests: what is said of expectations that do not hold.
func TestFailingTests(t *testing.T) {
	p := parse(t, `[defaults]
inbound = "drop"
[[inbound]]
name = "site"
allow = "http"
[[test]]
from = "203.0.113.9"
in = "eth0"
drop = ["ssh", "http"]
allow = "tcp/79-80"
[[test]]
in = "eth0"
allow = "http"
rule = "other"
`)
	var got []string
	for _, r := range p.RunTests(nil) {
		if r.Problem != nil {
			got = append(got, r.Problem.Error())
		}
	}
	want := []string{
		`p.toml:11:9: allow "tcp/79-80" from 203.0.113.9 in eth0: got DROP by inbound/default (p.toml:3)`,
		`p.toml:10:16: drop "http" from 203.0.113.9 in eth0: got ALLOW by inbound/site (p.toml:6)`,
		`p.toml:14:9: allow "http" in eth0: got ALLOW by inbound/site (p.toml:6), not by "other"`,
	}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
}

// TestStages: what the stages around the rules do to packets.
func TestStages(t *testing.T) {
	p := parse(t, `[sets]
admins = "10.0.0.0/24"
[safety]
failsafe = [{ allow = "ssh", from = "@admins" }]
confirm = "90s"
[[guard]]
drop = "any"
from = "10.0.0.0/8"
[[guard]]
drop = "udp/9"
out = "any"
[[inbound]]
drop = "any"
from = "192.0.2.6"
state = "any"
[[outbound]]
drop = "any"
[[test]]
name = "the failsafe passes guard, in every state"
in = "eth0"
from = "10.0.0.3"
allow = "ssh"
state = "invalid"
drop = ["http"]
[[test]]
name = "its answers too"
out = "eth0"
to = "10.0.0.3"
drop = ["ssh", "any"]
[[test]]
name = "known connections"
in = "eth0"
from = "192.0.2.5"
state = "established"
allow = "any"
[[test]]
name = "are cut by state any"
in = "eth0"
from = "192.0.2.6"
state = "established"
drop = "any"
[[test]]
name = "essentials: without the right hop limit"
in = "eth0"
drop = "icmpv6/neighbour-solicitation"
[[test]]
name = "loopback"
in = "lo"
allow = "any"
[[test]]
name = "guard sees what is sent"
out = "lo"
drop = "udp/9"
allow = "udp/10"
`)
	for _, r := range p.RunTests(nil) {
		if r.Problem != nil {
			t.Errorf("%v: %s", r.Problem, r.Problem.Help)
		}
	}
	if p.Confirm != 90*time.Second {
		t.Errorf("confirm: %v", p.Confirm)
	}
	answer := &ruleset.Packet{Out: "eth0", Family: ruleset.FamilyIPv4, Src: netip.MustParseAddr("192.0.2.1"), Dst: netip.MustParseAddr("10.0.0.3"),
		Proto: 6, SrcPort: 22, DstPort: 5000, TCPFlags: 0x12, State: ruleset.StateInvalid}
	if v, _ := p.Ruleset.Walk(ruleset.HookOutput, answer, nil); v.Kind != ruleset.Accept {
		t.Errorf("an answer of the failsafe: %v", v)
	}
}

// TestWriteRefuses: what the language cannot say is an error with its place, not left out.
func TestWriteRefuses(t *testing.T) {
	for _, c := range []struct {
		want    string
		matches []ruleset.Match
	}{
		{"would read as something else", []ruleset.Match{{Field: ruleset.FieldInIface, Names: []string{"a*b"}}}},
		{"range of MAC", []ruleset.Match{{Field: ruleset.FieldSrcMAC, Ranges: []ruleset.Range{{From: 1, To: 2}}}}},
		{"has no name", []ruleset.Match{{Field: ruleset.FieldSrcType, Masked: []ruleset.Masked{{Value: 1 << 12, Mask: 1 << 12}}}}},
	} {
		rs := &ruleset.Ruleset{Chains: []*ruleset.Chain{{Name: "INPUT", Hook: ruleset.HookInput, Policy: ruleset.Drop, Rules: []*ruleset.Rule{
			{Matches: c.matches, Verdict: ruleset.Verdict{Kind: ruleset.Accept}, Pos: ruleset.Pos{File: "f", Line: 7}},
		}}}}
		_, err := policies.Write(rs, "")
		if err == nil || !strings.Contains(err.Error(), c.want) || !strings.HasPrefix(err.Error(), "f:7: ") {
			t.Errorf("%s: %v", c.want, err)
		}
	}
}

// TestManyRules keeps an eye on cost: ten thousand rules are read in well under a few seconds, mistakes included.
func TestManyRules(t *testing.T) {
	var b strings.Builder
	b.WriteString("version = 1\n[rules]\ninbound = [\n")
	for i := range 10000 {
		fmt.Fprintf(&b, "  { name = \"r%d\", allow = \"tcp/%d\", from = \"10.%d.%d.0/24\", in = \"eth0\" },\n", i, i+1, i/256, i%256)
	}
	b.WriteString("]\n")
	start := time.Now()
	p, err := policies.Parse("p.toml", []byte(b.String()), options())
	if err != nil {
		t.Fatal(err)
	}
	read := time.Since(start)
	if _, err := policies.Write(p.Ruleset, ""); err != nil {
		t.Fatal(err)
	}
	t.Logf("read in %v, written in %v", read, time.Since(start)-read)
	if read > 10*time.Second {
		t.Errorf("reading took %v", read)
	}
}
