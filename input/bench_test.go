package input

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"
)

// BenchmarkLoad reads, checks and names 10000 rules of either language.
func BenchmarkLoad(b *testing.B) {
	const rules = 10000
	var lines, tables strings.Builder
	for i := range rules {
		address := fmt.Sprintf("10.%d.%d.%d", i>>16, i>>8&255, i&255)
		fmt.Fprintf(&lines, "-A INPUT -s %s/32 -d 192.0.2.0/24 -p tcp -m tcp --dport %d -j ACCEPT\n", address, i+1)
		fmt.Fprintf(&tables, "[[inbound]]\nallow = \"tcp/%d\"\nfrom = %q\nto = \"192.0.2.0/24\"\n", i+1, address)
	}
	for name, text := range map[string]string{
		"rules.v4": "*filter\n" + lines.String() + "COMMIT\n", "policy.toml": "version = 1\n" + tables.String(),
	} {
		path := filepath.Join(b.TempDir(), name)
		if err := os.WriteFile(path, []byte(text), 0o600); err != nil {
			b.Fatal(err)
		}
		b.Run(name, func(b *testing.B) {
			b.ReportAllocs()
			for b.Loop() {
				in, err := Load([]string{path}, Options{})
				if err != nil || in.Rules() < rules {
					b.Fatalf("%d rules: %v", in.Rules(), err)
				}
			}
		})
	}
}
