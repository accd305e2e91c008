package main

import (
	"strings"
	"testing"

	"github.com/google/go-cmp/cmp"
)

func TestMutantsOf(t *testing.T) {
	const src = `#include "x9.h" /* 1 < 2 */
#define SIZE 0x1fULL
static const __u8 tcp_next[2][1] = {
	{ SS, IV },
};
	if (p->a <= b >> c && x)
		return -1; // 5
`
	var got []string
	for _, m := range mutantsOf("f.h", src) {
		got = append(got, strings.TrimPrefix(m.String(), "f.h:"))
	}
	want := []string{"2:14: 0x1fULL → 0x20ULL", "3:28: 2 → 3", "3:31: 1 → 2", "6:11: <= → <", "6:21: && → ||", "7:11: 1 → 0", "4:4: SS → IV", "4:8: IV → IG"}
	if diff := cmp.Diff(want, got); diff != "" {
		t.Error(diff)
	}
	first := mutantsOf("f.h", src)[0].apply(src)
	if want := strings.Replace(src, "0x1f", "0x20", 1); first != want {
		t.Error(cmp.Diff(want, first))
	}
}

// Keys do not depend on where a line is, and every change that is called equivalent is one of the source as it is.
func TestKeys(t *testing.T) {
	const src = "static int f(int a)\n{\n\tif (a < 1) /* x */\n\t\treturn 1;\n\treturn 1 < 1;\n}\n"
	var keys []string
	for _, m := range mutantsOf("bpf/f.h", src) {
		keys = append(keys, m.key)
	}
	want := []string{"f.h f: if (a < 1) [< → <=]", "f.h f: if (a < 1) [1 → 2]", "f.h f: return 1; [1 → 0]",
		"f.h f: return 1 < 1; [1 → 0]", "f.h f: return 1 < 1; [< → <=]", "f.h f: return 1 < 1; [1 → 2]"}
	if diff := cmp.Diff(want, keys); diff != "" {
		t.Error(diff)
	}
}

func TestEquivalents(t *testing.T) {
	judged, err := readEquivalents(equivalents)
	if err != nil {
		t.Fatal(err)
	}
	t.Chdir("../..")
	all, err := allMutants(strings.Split(defaultFiles, ","), "")
	if err != nil {
		t.Fatal(err)
	}
	for _, m := range all {
		delete(judged, m.key)
	}
	for key := range judged {
		t.Errorf("equivalent.txt: no such change: %s", key)
	}
}
