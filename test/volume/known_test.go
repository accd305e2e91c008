package volume

import (
	"encoding/hex"
	"encoding/json"
	"strings"
	"testing"

	"github.com/bpfwall/bpfwall/ruleset"
)

// known are disagreements that were found once.
var known = []struct {
	router bool
	frame  frame
	rules  string // a ruleset.Ruleset
}{
	// A malformed packet on a hook without a chain: accepted, though other chains read transport headers.
	{false, frame{data: unhex("81000000000000000000000008004c0000780000000000110000" + zeros), way: way{false, false}, dev: 0, from: 0, mark: 0x0},
		`{"chains":[{"name":"user1","rules":[{"matches":[{"field":8,"masked":[{"value":85,"mask":255}]}],"verdict":{},"pos":{"file":"user1","line":405}}]}]}`},
}

var zeros = strings.Repeat("00", 120)

func TestKnown(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	for _, k := range known {
		rs := &ruleset.Ruleset{}
		if err := json.Unmarshal([]byte(k.rules), rs); err != nil {
			t.Fatal(err)
		}
		m.router = k.router
		if err := m.load(rs); err != nil {
			t.Errorf("%s: %s", k.rules, err)
			continue
		}
		if diff := m.differNow(rs, &k.frame); diff != "" {
			t.Errorf("%x:\n%s\n%s", k.frame.data, diff, rs)
		}
	}
}

func unhex(s string) []byte {
	b, err := hex.DecodeString(s)
	if err != nil {
		panic(err)
	}
	return b
}
