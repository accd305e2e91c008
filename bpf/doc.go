// Package bpf is what runs in the kernel besides the compiled rules: C that parses packets, tracks connections, logs and
// answers, the dispatchers that choose a generation, and their Go bindings.
//
// Classifier holds the programs of one generation (tc_ingress, tc_egress, fw_judge) with a stub function for each hook, which
// the translator replaces; Xdp holds the one that judges prerouting rules before them, in XDP. Dispatcher holds what stays attached,
// Reaper and SetReaper the timers that clear away flows, and elements of sets, that are over, Cgroup what notes the owners of sockets,
// Probe what user space asks about the host.
// Layouts shared with C come from fw.h and set_reaper.c.
//
// To read the C, start with tc_classifier.c, which is the way of a packet; each step is a header of its own:
//
//	fw.h switches.h maps.h      the packet as rules see it, load-time switches, maps
//	parse.h transport.h meta.h  from the frame to struct fw_pkt
//	owner.h                     whose socket sends the packet
//	frag.h route.h              later fragments; for this host or passing through
//	nat.h published.h local_in.h  beside the kernel's NAT
//	ct_key.h conntrack.h        which flow a packet belongs to, and its state
//	ct_tcp.h ct_window.h        the TCP state table and windows
//	ct_icmp.h                   ICMP errors
//	hooks.h limit.h meter.h log.h      the stubs, and what generated code may call
//	reject.h answer.h sign.h    answers, and how the next hook knows them
//	carry.h                     what one hook tells the next in skb->tc_index
//	xdp_classifier.c xdp_head.h the XDP program, and how it reads frames
//	seal.h                      what it tells tc ingress
//	dhcp.h                      the packets that rules cannot keep from a packet socket
package bpf
