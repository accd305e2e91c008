package main

import (
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"runtime"
	"strings"
)

// Machine is what was measured on.
type Machine struct {
	Kernel, CPU string
	CPUs        int
	MemoryGB    int
	Virtual     bool
	Mitigations []string // those that are on
	Versions    []string // of the contenders
	Load        string   // of the machine when the run began, the last minute's
}

func (m Machine) String() string {
	kind := ""
	if m.Virtual {
		kind = ", a virtual machine"
	}
	return fmt.Sprintf("Linux %s, %d CPUs (%s)%s, %d GB; load %s", m.Kernel, m.CPUs, m.CPU, kind, m.MemoryGB, m.Load)
}

// describe finds out what this machine is. What cannot be read is left empty.
func describe() Machine {
	read := func(path string) string {
		text, _ := os.ReadFile(path)
		return strings.TrimSpace(string(text))
	}
	cpu := read("/proc/cpuinfo")
	m := Machine{Kernel: read("/proc/sys/kernel/osrelease"), CPUs: runtime.NumCPU(), CPU: after(cpu, "model name"), Virtual: strings.Contains(cpu, " hypervisor")}
	var kb int
	if _, err := fmt.Sscan(after(read("/proc/meminfo"), "MemTotal"), &kb); err == nil {
		m.MemoryGB = (kb + 1<<19) >> 20
	}
	m.Load, _, _ = strings.Cut(read("/proc/loadavg"), " ")
	found, _ := filepath.Glob("/sys/devices/system/cpu/vulnerabilities/*")
	for _, f := range found {
		if text, ok := strings.CutPrefix(read(f), "Mitigation: "); ok {
			m.Mitigations = append(m.Mitigations, strings.ReplaceAll(filepath.Base(f), "_", " ")+": "+text)
		}
	}
	for _, args := range [][]string{{"iptables-legacy", "--version"}, {"iptables-nft", "--version"}, {"nft", "--version"}, {"ipset", "--version"}} {
		out, _ := exec.Command(args[0], args[1:]...).Output()
		line, _, _ := strings.Cut(string(out), "\n")
		m.Versions = append(m.Versions, strings.TrimSpace(line))
	}
	return m
}

// after is the value of the first line "name : value".
func after(text, name string) string {
	for _, line := range strings.Split(text, "\n") {
		if key, value, ok := strings.Cut(line, ":"); ok && strings.TrimSpace(key) == name {
			return strings.TrimSpace(value)
		}
	}
	return ""
}
