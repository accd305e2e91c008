package main

import (
	"os"
	"testing"

	"github.com/rogpeppe/go-internal/testscript"
)

func TestMain(m *testing.M) {
	testscript.Main(m, map[string]func(){"bpfwall": main})
}

// TestScripts runs testdata/*.txtar: command lines, what they print and how they end.
func TestScripts(t *testing.T) {
	testscript.Run(t, testscript.Params{
		Dir: "testdata",
		Cmds: map[string]func(*testscript.TestScript, bool, []string){
			"exits": exits,
		},
		UpdateScripts: os.Getenv("UPDATE") != "",
	})
}

// exits N COMMAND ARG...: runs a command and wants exit code N.
func exits(ts *testscript.TestScript, neg bool, args []string) {
	if neg || len(args) < 2 {
		ts.Fatalf("usage: exits CODE COMMAND ARG...")
	}
	want := args[0]
	err := ts.Exec("/bin/sh", append([]string{"-c", `"$@"; echo $? >$WORK/.code`, "sh"}, args[1:]...)...)
	if err != nil {
		ts.Fatalf("%v", err)
	}
	if got := ts.ReadFile(".code"); got != want+"\n" {
		ts.Fatalf("exit code %s, want %s", got[:len(got)-1], want)
	}
}
