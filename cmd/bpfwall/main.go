// Command bpfwall is the firewall's command line: flags, output and exit codes. What it does is in the packages that it calls.
package main

import (
	"os"
)

func main() {
	collectLess()
	os.Exit(run(osEnv(), os.Args[1:]))
}
