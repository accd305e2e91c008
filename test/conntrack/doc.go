// Package conntrack compares the connection states that bpfwall gives packets with those of the kernel's conntrack, on scripts of
// packets: random ones, and the recorded ones in testdata. After each script the entries of both are compared, with their states, flags,
// tags and packets. Scripts are played where the kernel forwards, where one end is the host, and on lo.
package conntrack
