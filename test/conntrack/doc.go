// Package conntrack compares the connection states that bpfwall gives packets with those of the kernel's conntrack, on scripts of
// packets: random ones, and the recorded ones in testdata.
package conntrack
