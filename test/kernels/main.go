// Command kernels runs tests on other kernels than this one: Debian's, in virtual machines without KVM, one after the other. It prints a
// table of tests and kernels and ends with 1 if one failed. What a kernel lacks, so that bpfwall refuses the rules, is no failure.
package main

import (
	"flag"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"time"
)

// lines are the kernels, as test/kernels/fetch knows them.
var lines = []string{"5.10", "6.1", "6.12", "new"}

func main() {
	cache := flag.String("cache", "build/kernels", "`folder` of kernels, binaries and consoles")
	only := flag.String("jobs", "", "only these `jobs`, with commas between; all: "+strings.Join(jobNames(), ","))
	pattern := flag.String("run", "", "only these `tests` of the jobs, as go test -run")
	flag.Parse()
	if flag.NArg() > 0 {
		lines = flag.Args()
	}
	bad, err := run(*cache, chosen(*only, *pattern))
	if err != nil {
		fmt.Fprintln(os.Stderr, "kernels:", err)
		os.Exit(1)
	}
	if bad > 0 {
		fmt.Fprintf(os.Stderr, "kernels: %d tests failed; what they said is in %s\n", bad, *cache)
		os.Exit(1)
	}
}

// job is a program that a virtual machine runs.
type job struct {
	name    string
	of      string // package
	tests   string // regular expression; "": no test binary
	seconds int    // that it may take, without KVM
}

// jobs: the first is what a firewall is for. The others are samples of every package's tests that kernels matter to.
var jobs = []job{
	{"job", "./test/kernels", "TestFeatures|TestJob|TestGuard|TestCounted", 600},
	{"bpf", "./bpf", "TestObjectsLoad|TestDispatcher|TestTCPLife|TestTCPRefused|TestUDP$|TestICMP|TestRelated$|TestFragments$|TestPerSource$|TestParse$|TestFields$|" +
		"TestChecksums|TestSCTPChecksums|TestReset|TestError$|TestLimit|TestLog|TestSocketOwner|TestTransfer|TestSeal", 900},
	{"dataplane", "./dataplane", "TestApply|TestCountersFollowRules|TestFlowsSurvive|TestRollback$|TestConfirm|TestClsact|TestReaper|TestSetReaper|TestSetChanges|" +
		"TestStatusAndRefresh|TestNAT|TestEvents|TestGuardInXDP|TestMetersSurvive|TestRecentSurvives|TestFlowLimitSurvives|TestDisableWithoutPins|TestOneMoreRule|TestForwardingBegins", 1500},
	{"netns", "./test/netns", "TestStatefulRouter|TestEstablishedSurvivesSwap|TestRejectSeenBySockets|TestEssentials|TestEveryHook|TestFragmentsSameAsIptables|" +
		"TestNATSameAsIptables|TestOwnersAsIptables|TestReceivers$|TestListen|TestConnectRefused|TestSwapsInXDP|TestWatch", 1800},
	{"demo", "./demo", "", 900},
}

func jobNames() (names []string) {
	for _, j := range jobs {
		names = append(names, j.name)
	}
	return names
}

func chosen(only, pattern string) (some []job) {
	for _, j := range jobs {
		if only != "" && !strings.Contains(","+only+",", ","+j.name+",") {
			continue
		}
		if pattern != "" && j.tests != "" {
			j.tests = pattern
		}
		some = append(some, j)
	}
	return some
}

// binary is what it is called in the virtual machine.
func (j job) binary() string {
	if j.tests == "" {
		return filepath.Base(j.of)
	}
	return filepath.Base(j.of) + ".test"
}

func (j job) command() string {
	if j.tests == "" {
		return "./" + j.binary()
	}
	return fmt.Sprintf("./%s -test.v -test.short -test.timeout %ds -test.run '^(%s)$'", j.binary(), j.seconds-10, strings.ReplaceAll(j.tests, "$", ""))
}

// run runs jobs on all kernels and reports how many tests failed.
func run(cache string, some []job) (bad int, err error) {
	if err := os.MkdirAll(cache, 0o755); err != nil {
		return 0, err
	}
	if err := build(cache, some); err != nil {
		return 0, err
	}
	t := table{}
	for _, line := range lines {
		began := time.Now()
		out, err := boot(cache, line, some)
		if err != nil {
			return 0, fmt.Errorf("%s: %w", line, err)
		}
		if err := os.WriteFile(filepath.Join(cache, line+".console"), out, 0o644); err != nil {
			return 0, err
		}
		t.add(line, string(out), some)
		fmt.Fprintf(os.Stderr, "%s: %.0f s\n", line, time.Since(began).Seconds())
	}
	return t.print(os.Stdout), nil
}

// build makes everything that the virtual machines run.
func build(cache string, some []job) error {
	bin := filepath.Join(cache, "bin")
	commands := [][]string{{"go", "build", "-o", filepath.Join(bin, "bpfwall"), "./cmd/bpfwall"}}
	files := []string{filepath.Join(bin, "bpfwall")}
	for _, j := range some {
		to := filepath.Join(bin, j.binary())
		files = append(files, to)
		if j.tests == "" {
			commands = append(commands, []string{"go", "build", "-o", to, j.of})
		} else {
			commands = append(commands, []string{"go", "test", "-c", "-ldflags", "-s -w", "-o", to, j.of})
		}
	}
	commands = append(commands, append([]string{"test/kernels/tree", filepath.Join(cache, "tree")}, files...))
	for _, args := range commands {
		cmd := exec.Command(args[0], args[1:]...)
		cmd.Env = append(os.Environ(), "CGO_ENABLED=0")
		if out, err := cmd.CombinedOutput(); err != nil {
			return fmt.Errorf("%s: %w\n%s", strings.Join(args, " "), err, out)
		}
	}
	return nil
}

// boots is how often a kernel may try to start: where the machine is loaded, an emulated one now and then panics on its way.
const boots = 3

// boot has a kernel run the jobs and returns its console.
func boot(cache, line string, some []job) ([]byte, error) {
	fetch := exec.Command("test/kernels/fetch", cache, line)
	fetch.Stderr = os.Stderr
	out, err := fetch.Output()
	if err != nil {
		return nil, err
	}
	var name, version, folder string
	if _, err := fmt.Sscan(string(out), &name, &version, &folder); err != nil {
		return nil, fmt.Errorf("fetch: %w", err)
	}
	list, seconds := "", 120
	for _, j := range some {
		list += fmt.Sprintf("%s %d %s\n", j.name, j.seconds, j.command())
		seconds += j.seconds
	}
	path := filepath.Join(cache, "jobs")
	if err := os.WriteFile(path, []byte(list), 0o644); err != nil {
		return nil, err
	}
	for range boots {
		vm := exec.Command("test/kernels/boot", version, folder, filepath.Join(cache, "tree"), path, fmt.Sprint(seconds))
		vm.Stderr = os.Stderr
		if out, err = vm.Output(); err != nil || strings.Contains(string(out), "JOB-BEGIN ") {
			break
		}
		fmt.Fprintf(os.Stderr, "%s: the virtual machine did not start\n", line)
	}
	return out, err
}
