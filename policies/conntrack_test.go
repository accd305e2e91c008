package policies

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
	"github.com/google/go-cmp/cmp/cmpopts"

	"github.com/bpfwall/bpfwall/ruleset"
)

const conntrackPolicy = `version = 1
[conntrack]
max = 1000
half_open = 5000
per_source = 100
source_ipv4 = 24
source_ipv6 = 48
loose = false
liberal = true
timeouts = { tcp_established = "1d", udp = "90s", icmp = "1m30s" }
`

func TestConntrack(t *testing.T) {
	want := &ruleset.Conntrack{Max: 1000, HalfOpen: 5000, PerSource: 100, SourceIPv4: 24, SourceIPv6: 48, Strict: true, Liberal: true,
		Timeouts: map[string]uint32{"tcp_established": 86400, "udp": 90, "icmp": 90}}
	p, err := Parse("a.toml", []byte(conntrackPolicy), Options{})
	if err != nil {
		t.Fatal(err)
	}
	noPos := cmpopts.IgnoreFields(ruleset.Conntrack{}, "Pos")
	if diff := cmp.Diff(want, p.Ruleset.Conntrack, noPos); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if line := "conntrack max 1000, half open 5000, 100 per source, source ipv4/24, source ipv6/48, strict, liberal, tcp_established 24h0m0s, udp 1m30s, icmp 1m30s"; !strings.HasPrefix(p.Ruleset.String(), line+"\n") {
		t.Errorf("%s", p.Ruleset)
	}
	text, err := Write(&ruleset.Ruleset{Conntrack: want}, "")
	if err != nil {
		t.Fatal(err)
	}
	back, err := Parse("b.toml", text, Options{})
	if err != nil {
		t.Fatal(err)
	}
	if diff := cmp.Diff(want, back.Ruleset.Conntrack, noPos); diff != "" {
		t.Errorf("written and read (-want +got):\n%s\n%s", diff, text)
	}
}

func TestConntrackErrors(t *testing.T) {
	for src, want := range map[string]string{
		`max = 3`:                            `a.toml:3:7: max 3: not from 16 to 16777216`,
		`half_open = -1`:                     `a.toml:3:13: half_open -1: not from 16 to 16777216`,
		`per_source = 0`:                     `a.toml:3:14: per_source 0: not from 1 to 16777216`,
		"per_source = 9\nsource_ipv4 = 33":   `a.toml:4:15: source_ipv4 33: not from 1 to 32`,
		"per_source = 9\nsource_ipv6 = 129":  `a.toml:4:15: source_ipv6 129: not from 1 to 128`,
		`max = "many"`:                       `a.toml:3:7: max: must be a number, not a string`,
		`timeouts = { udp = "0s" }`:          `a.toml:3:20: "0s": not a time such as 30s, 10m or 5d, from 1 second to a year`,
		`timeouts = { udp = "500d" }`:        `a.toml:3:20: "500d": not a time such as 30s, 10m or 5d, from 1 second to a year`,
		`timeouts = { udp = "1.5s" }`:        `a.toml:3:20: "1.5s": not a time such as 30s, 10m or 5d, from 1 second to a year`,
		`timeouts = { tcp_syn_snet = "1s" }`: `a.toml:3:14: unknown key "tcp_syn_snet"`,
		`loose = "no"`:                       `a.toml:3:9: loose: must be true or false, not a string`,
	} {
		_, err := Parse("a.toml", []byte("version = 1\n[conntrack]\n"+src+"\n"), Options{})
		if err == nil || !strings.HasPrefix(err.Error(), want) {
			t.Errorf("%s:\n%v, want\n%s", src, err, want)
		}
	}
}
