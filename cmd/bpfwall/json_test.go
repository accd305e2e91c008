package main

import (
	"encoding/json"
	"strings"
	"testing"

	"github.com/spf13/cobra"
)

// schemaIn wants exactly one JSON object on stdout, and returns its schema.
func (o outcome) schemaIn(t *testing.T) string {
	t.Helper()
	var object map[string]any
	dec := json.NewDecoder(strings.NewReader(o.out))
	if err := dec.Decode(&object); err != nil {
		t.Fatalf("%v in %q (stderr %q)", err, o.out, o.err)
	}
	if dec.More() {
		t.Fatalf("more than one object: %s", o.out)
	}
	for key := range object {
		if key != strings.ToLower(key) {
			t.Errorf("member %q is not in lower case", key)
		}
	}
	s, _ := object["schema"].(string)
	return s
}

func TestJSON(t *testing.T) {
	_, at := host(t)
	policy := write(t, "p.toml", openPolicy)
	broken := write(t, "broken.toml", "version = 1\nx = 1\n")
	rules := write(t, "rules.v4", "*filter\n:INPUT ACCEPT [0:0]\n-A INPUT -m string --string x --algo bm -j DROP\nCOMMIT\n")
	for _, test := range []struct {
		line   string
		code   int
		schema string
	}{
		{"version", 0, "version"},
		{"status", 0, "status"},
		{"show rules", 1, "show-rules"},
		{"check " + policy, 0, "check"},
		{"check " + broken, exitPolicy, "check"},
		{"check " + rules, exitIncomplete, "check"},
		{"check --nonsense", exitUsage, "check"},
		{"import iptables " + rules, exitIncomplete, "import"},
		{"import iptables --allow-partial " + rules, 0, "import"},
		{"plan " + policy, 0, "plan"},
		{"apply " + policy, exitUsage, "apply"},
		{"apply --yes " + policy, 0, "apply"},
		{"plan --detailed-exitcode " + policy, 0, "plan"},
		{"test " + policy, 0, "test"},
		{"explain tcp to :22 in lan0", 0, "explain"},
		{"explain --expect allow tcp to :22 in lan0", exitTest, "explain"},
		{"explain nonsense", exitUsage, "explain"},
		{"status", 0, "status"},
		{"show rules", 0, "show-rules"},
		{"show sets friends", 0, "show-sets"},
		{"show sets foes", 1, "show-sets"},
		{"set list", 0, "set-list"},
		{"set show friends", 0, "set-show"},
		{"set add friends 10.0.0.1", exitRefused, "set-add"},
		{"set add banned 10.0.0.1 10.0.0.0/24 --timeout 1h", 0, "set-add"},
		{"set add banned 10.0.0.256", exitUsage, "set-add"},
		{"set add banned", exitUsage, "set-add"},
		{"set add foes 10.0.0.1", exitFailed, "set-add"},
		{"set test banned 10.0.0.9", 0, "set-test"},
		{"set test banned 10.0.1.9", exitTest, "set-test"},
		{"set del banned 10.0.0.1", 0, "set-del"},
		{"set save", 0, "set-save"},
		{"set flush banned", 0, "set-flush"},
		{"set refresh banned", exitRefused, "set-refresh"},
		{"set refresh", 0, "set-refresh"},
		{"show flows", 0, "show-flows"},
		{"forget --all", 0, "forget"},
		{"show code", 0, "show-code"},
		{"show services ssh", 0, "show-services"},
		{"show examples", 0, "show-examples"},
		{"show examples nosuch", exitUsage, "show-examples"},
		{"history", 0, "history"},
		{"confirm", 0, "confirm"},
		{"rollback", 1, "rollback"},
		{"disable --yes", 0, "disable"},
	} {
		o := at(append(strings.Fields(test.line), "--json")...)
		if o.code != test.code {
			t.Errorf("%s: exit code %d, want %d\n%s%s", test.line, o.code, test.code, o.out, o.err)
		}
		if got := o.schemaIn(t); got != "bpfwall."+test.schema+"/v1" {
			t.Errorf("%s: schema %q", test.line, got)
		}
	}
}

// Every command says what it is for, in one line without a full stop.
func TestHelp(t *testing.T) {
	a := &app{env: &env{getenv: func(string) string { return "" }}}
	var each func(*cobra.Command)
	each = func(c *cobra.Command) {
		if c.Short == "" || strings.HasSuffix(c.Short, ".") {
			t.Errorf("%s: short text %q", c.CommandPath(), c.Short)
		}
		for _, sub := range c.Commands() {
			each(sub)
		}
		do(nil, append(strings.Fields(c.CommandPath())[1:], "--help")...).want(t, 0)
	}
	each(a.command())
}
