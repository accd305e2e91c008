// Package stateless plays millions of random packets to random rulesets that read no connection state, in the kernel's iptables and in
// bpfwall, and compares what becomes of each packet. It has tests only.
package stateless
