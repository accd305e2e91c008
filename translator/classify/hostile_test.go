package classify

import (
	"errors"
	"testing"
)

// TestTooManyClasses: rules whose addresses all overlap are refused, with numbers.
func TestTooManyClasses(t *testing.T) {
	var rules []Rule
	for i := range uint64(6000) {
		window := []Span{{Addr{Hi: i << 18}, Addr{Hi: 1<<31 + i<<18}}}
		rules = append(rules, Rule{Src: window, Dst: window})
	}
	_, err := Build(rules, testOptions(IPv4))
	var limit *LimitError
	if !errors.As(err, &limit) {
		t.Fatalf("%v, want a limit", err)
	}
	t.Log(err)
}
