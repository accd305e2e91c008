package main

import (
	"fmt"
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

const events = `{"Action":"run","Package":"p","Test":"TestA"}
{"Action":"output","Package":"p","Test":"TestA","Output":"=== RUN   TestA\n"}
{"Action":"output","Package":"p","Test":"TestA","Output":"    a_test.go:9: wrong\n"}
{"Action":"fail","Package":"p","Test":"TestA","Elapsed":0.1}
{"Action":"output","Package":"p","Test":"TestB","Output":"    b_test.go:1: needs root\n"}
{"Action":"skip","Package":"p","Test":"TestB"}
{"Action":"pass","Package":"p","Test":"TestC"}
{"Action":"output","Package":"p","Output":"FAIL\n"}
{"Action":"fail","Package":"p","Elapsed":1.5}
{"Action":"pass","Package":"q","Elapsed":2}
`

func TestSummary(t *testing.T) {
	var out strings.Builder
	s := newSummary(&out)
	if err := s.read(strings.NewReader(events)); err != nil {
		t.Fatal(err)
	}
	want := "=== RUN   TestA\n    a_test.go:9: wrong\nFAIL\n\n" +
		"FAIL  p                                                     1.5 s\n" +
		"ok    q                                                     2.0 s\n"
	if diff := cmp.Diff(want, out.String()); diff != "" {
		t.Errorf("-want +got:\n%s", diff)
	}
	if diff := cmp.Diff([]int{1, 2, 1}, []int{s.passed, s.failed, s.skipped}); diff != "" {
		t.Errorf("passed, failed, skipped: -want +got:\n%s", diff)
	}
	if diff := cmp.Diff("[p TestB: b_test.go:1: needs root]", fmt.Sprint(s.skips)); diff != "" {
		t.Errorf("skips: -want +got:\n%s", diff)
	}
}

// A compiler's error is no event; it must fail the run, not vanish.
func TestNoEvents(t *testing.T) {
	var out strings.Builder
	if err := newSummary(&out).read(strings.NewReader("# p\np.go:1: oops\n")); err == nil || !strings.Contains(err.Error(), "oops") {
		t.Errorf("got %v, want an error that quotes the text", err)
	}
}
