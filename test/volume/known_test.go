package volume

import (
	"encoding/hex"
	"encoding/json"
	"testing"

	"github.com/bpfwall/bpfwall/ruleset"
)

// known are disagreements that were found once.
var known = []struct {
	frame frame
	rules string // a ruleset.Ruleset
}{}

func TestKnown(t *testing.T) {
	m := newMachine(t)
	defer m.close()
	for _, k := range known {
		rs := &ruleset.Ruleset{}
		if err := json.Unmarshal([]byte(k.rules), rs); err != nil {
			t.Fatal(err)
		}
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
