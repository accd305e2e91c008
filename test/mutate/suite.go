package main

import (
	"context"
	"errors"
	"flag"
	"fmt"

	"os/exec"
	"path/filepath"
	"regexp"
	"slices"
	"strings"
	"time"
)

// suite is some tests that have to notice a change: a package and the arguments of its test binary.
type suite struct {
	name, dir string
	args      []string
}

// Tests of bpf that ask about other files than those that are changed.
const unconcerned = "TestPerSource|TestTableFull|TestDispatcher|TestXDP|TestLog|TestLimit|TestSocketOwner|TestLayout|TestStubs|TestPlainFlows"

// suites are in the order in which they run, behind the tests that watch a file the closest.
var suites = []suite{
	{"volume", "test/volume", []string{"-seed", "1", "-frames", "24000", "-each", "4000"}},
	{"conntrack", "test/conntrack", []string{"-test.run", "TestRecorded|TestTransitions|TestStateful", "-sequences", "4000", "-waiting", "150"}},
	{"bpf", "bpf", []string{"-test.skip", unconcerned}},
}

// beside are the tests that put what stands in tables through the kernel and through bpfwall.
func beside(tests string) suite {
	return suite{"conntrack: " + tests, "test/conntrack", []string{"-test.run", "^(" + tests + ")$"}}
}

func closest(tests string) suite {
	return suite{"bpf: " + tests, "bpf", []string{"-test.run", "^(" + tests + ")"}}
}

// first are the tests that notice changes of a file the soonest; they run before all suites.
var first = map[string][]suite{
	"parse.h":     {closest("TestFields|TestParse|TestMeta|TestNotJudged|TestSuper|TestHead")},
	"transport.h": {closest("TestFields|TestParse|TestTCPOptions|TestSACK|TestChunks|TestHead|TestSuper"), beside("TestAssociations|TestFlags")},
	"head.h":      {closest("TestHead|TestEthernet|TestSuper|TestPacketTypes|TestTagTakenOff|TestParse")},
	"meta.h":      {closest("TestParseAsDecode|TestMeta|TestAddrTypes|TestPacketTypes|TestForwardedMAC")},
	"frag.h":      {closest("TestFragment")},
	"checksum.h":  {closest("TestChecksums|TestSCTPChecksums|TestReset|TestError")},
	"fib.h":       {closest("TestLocal|TestRouted|TestForwardIsItsOwnFlow|TestAddressThatMovesHere")},
	"route.h":     {closest("TestLocal|TestRouted|TestForwardIsItsOwnFlow|TestAddressThatMovesHere")},
	"reject.h":    {closest("TestReset|TestError|TestNoAnswer|TestAnswered")},
	"answer.h":    {closest("TestReset|TestError|TestNoAnswer")},
	"conntrack.h": {closest("TestClock|TestKeys|TestUntrackable|TestTableFull|TestPlaceOfNoFlow|TestAddressThatMovesHere"), beside("TestTransitions|TestQueries")},
	"ct_key.h":    {closest("TestKeys|TestICMP"), beside("TestQueries|TestErrors")},
	"ends.h":      {closest("TestKeys"), beside("TestQueries|TestErrors")},
	"ct_icmp.h":   {closest("TestQuotes|TestRedirects|TestRelated|TestErrorsOfTheStack"), beside("TestErrors")},
	"ct_tcp.h":    {beside("TestTransitions|TestWindows|TestWindowsPatient|TestFlags"), closest("TestClock|TestTCP")},
	"ct_window.h": {beside("TestWindows|TestWindowsPatient"), closest("TestClock")},
	"ct_sctp.h":   {beside("TestAssociations"), closest("TestChunks|TestClock")},
	"":            {closest("TestTCPAsNetfilter|TestOthersAsNetfilter|TestICMP|TestRelated|TestRedirects")},
}

// beyond are tests that watch some files and nothing else does.
var beyond = map[string]suite{
	"head.h":      {"nat", "test/netns", []string{"-test.run", "TestNAT|TestPublished|TestDNAT"}}, // its copy of the headers is read there
	"conntrack.h": {"bounds", "bpf", []string{"-test.run", "TestPerSource|TestTableFull"}},
	"ct_icmp.h":   {"nat", "test/netns", []string{"-test.run", "TestNAT|TestPublished|TestDNAT"}}, // what errors quote is translated there
	"nat.h":       {"nat", "test/netns", []string{"-test.run", "TestNAT|TestPublished|TestDNAT"}},
	"local_in.h":  {"nat", "test/netns", []string{"-test.run", "TestNAT|TestPublished|TestDNAT"}},
	"frag.h":      {"fragments", "test/netns", []string{"-test.run", "TestFragments|TestRefragmented"}},
}

var onlyFirst = flag.Bool("first", false, "run only the tests that watch a file the closest: soon done, but what survives may be killed by others")

// suitesOf are the tests for a file, in their order.
func suitesOf(path string) []suite {
	file := filepath.Base(path)
	out := first[file]
	if out == nil {
		out = first[""]
	}
	if *onlyFirst {
		return out
	}
	out = slices.Concat(out, suites)
	if s, ok := beyond[file]; ok {
		out = append(out, s)
	}
	return out
}

// loading is what runs to tell programs that do not load from those that a test notices.
var loading = closest("TestObjectsLoad")

// errTimeout is of tests that took much longer than they do without a change.
var errTimeout = errors.New("timeout")

var failure = regexp.MustCompile(`(?m)^\s*--- FAIL: (\S+)|^(panic: .*)|^FAIL\s`)

// judged is what a suite says: the first test that failed, or none.
type judged struct {
	by  string
	out string
}

// runSuite runs a suite in the copy for at most limit. It reports errTimeout, or what failed.
func (c *copied) runSuite(s suite, limit time.Duration, extra ...string) (judged, error) {
	ctx, cancel := context.WithTimeout(context.Background(), limit)
	defer cancel()
	args := append([]string{"-test.failfast", "-test.short"}, s.args...)
	cmd := exec.CommandContext(ctx, c.binary[s.dir].path, append(args, extra...)...)
	cmd.Dir = filepath.Join(c.dir, s.dir)
	cmd.WaitDelay = time.Second
	out, err := cmd.CombinedOutput()
	if ctx.Err() != nil {
		return judged{}, fmt.Errorf("%s: %w after %s", s.name, errTimeout, limit.Round(time.Second))
	}
	if err == nil {
		return judged{}, nil
	}
	by := s.name + ": " + err.Error()
	for _, f := range failure.FindAllStringSubmatch(string(out), -1) {
		if name := f[1] + f[2]; name != "" && strings.Count(name, "/") >= strings.Count(by, "/") {
			by = name // a part of a test comes after the test
		}
	}
	return judged{by, string(out)}, nil
}

// usual is how long the suites take without a change, as things are on this machine.
func (c *copied) usual(paths []string) (map[string]time.Duration, error) {
	took := map[string]time.Duration{}
	watching := []suite{loading}
	for _, path := range paths {
		watching = append(watching, suitesOf(path)...)
	}
	for _, s := range watching {
		if took[s.name] != 0 {
			continue
		}
		start := time.Now()
		j, err := c.runSuite(s, 10*time.Minute)
		if err != nil {
			return nil, err
		}
		if j.by != "" {
			return nil, fmt.Errorf("%s fails without a change: %s\n%s", s.name, j.by, j.out)
		}
		took[s.name] = time.Since(start)
	}
	return took, nil
}
