// Command bpfwall is the firewall's command line: flags, output and exit codes. What it does is in the packages that it calls.
package main

import (
	"os"
	"runtime/debug"
)

func main() {
	collectLess()
	os.Exit(run(osEnv(), os.Args[1:]))
}

// collectLess spares a short run most of the garbage collector's work, a third of all where rules are many, as long as the memory that
// it then has is not much.
func collectLess() {
	if os.Getenv("GOGC") == "" && os.Getenv("GOMEMLIMIT") == "" {
		debug.SetGCPercent(400)
		debug.SetMemoryLimit(384 << 20)
	}
}
