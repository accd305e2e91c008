// Package netns holds the end-to-end tests: the bpfwall program in network namespaces, judged by real packets and by the
// kernel's own iptables. It has nothing but tests; they need root.
package netns
