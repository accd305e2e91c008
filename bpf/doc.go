// Package bpf is what runs in the kernel besides the compiled rules: C that parses packets, tracks connections, logs and
// answers, the dispatchers that choose a generation, and their Go bindings.
//
// Classifier holds the programs of one generation (tc_ingress, tc_egress, fw_judge) with a stub function for each hook, which
// the translator replaces. Dispatcher holds what stays attached, Cgroup what
// notes the owners of sockets. Layouts shared with C come from fw.h alone.
package bpf
