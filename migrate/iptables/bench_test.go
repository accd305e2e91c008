package iptables

import (
	"fmt"
	"strings"
	"testing"
)

// BenchmarkImport imports 10000 rules.
func BenchmarkImport(b *testing.B) {
	var text strings.Builder
	text.WriteString("*filter\n")
	for i := range 10000 {
		fmt.Fprintf(&text, "-A INPUT -s 10.0.%d.%d/32 -p tcp -m tcp --dport %d -m conntrack --ctstate NEW -j ACCEPT\n", i>>8, i&255, i+1)
	}
	text.WriteString("COMMIT\n")
	for b.Loop() {
		if _, _, err := Import([]Source{{Name: "f", Text: []byte(text.String())}}, Options{}); err != nil {
			b.Fatal(err)
		}
	}
}
