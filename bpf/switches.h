/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What a ruleset and a host need, fixed when a generation is loaded: the verifier deletes the branches of what they do not. */
#ifndef BPFWALL_SWITCHES_H
#define BPFWALL_SWITCHES_H

volatile const __u8 cfg_conntrack;		/* a rule reads the state */
volatile const __u8 cfg_forwarding;		/* the host forwards: ask the routing table what is for itself */
volatile const __u8 cfg_route_notes;		/* the routing table's answers are kept as long as they hold; needs Linux 6.2 */
volatile const __u8 cfg_defrag;			/* without NAT: what comes in fragments is judged at netfilter's hooks, put together */
volatile const __u8 cfg_casts;			/* what the kernel has of a packet can be read; needs Linux 6.2 */
volatile const __u8 cfg_idle_ingress;		/* nothing is to be decided at tc ingress, where nothing is attached then */
volatile const __u8 cfg_idle_egress;		/* the same at tc egress */
volatile const __u8 cfg_named;			/* only interfaces in judged_names are judged */
volatile const __u8 cfg_nat;			/* the kernel translates addresses: see nat.h */
volatile const __u8 cfg_dnat;			/* a rule reads whether it changes destinations */
volatile const __u8 cfg_published;		/* what DNAT sends on from this host is input and output, not forward: see published.h */
volatile const __u8 cfg_prerouting;		/* there is a prerouting chain */
volatile const __u8 cfg_raw_output;		/* there is a raw output chain */
volatile const __u8 cfg_ifnames;		/* a rule reads an interface name */
volatile const __u8 cfg_addrtypes;		/* a rule reads the type of an address */
volatile const __u8 cfg_tcp_options;		/* a rule reads TCP options or the MSS */
volatile const __u8 cfg_mac;			/* a rule reads the source MAC */
volatile const __u8 cfg_owner;			/* a rule reads the owner of a socket; needs Linux 6.2 */
volatile const __u8 cfg_receiver;		/* a rule of input reads who owns a socket, or its control group; needs Linux 6.2 */
volatile const __u8 cfg_comm;			/* a rule logs what this host sends, and sockets are noted */
volatile const __u8 cfg_cgroups;		/* a rule reads the control group of a socket */
volatile const __u8 cfg_reads_transport;	/* a rule reads a transport header */
volatile const __u8 cfg_synproxy;		/* a rule has the SYN proxy answer */
volatile const __u8 cfg_syn_options;		/* it may offer what a timestamp carries: scaled windows and SACK */
volatile const __u8 cfg_syn_scale;		/* the window scale that the stack will take for its own */
volatile const __u8 cfg_exchanges = 1;	/* CPUs can exchange numbers in memory; needs Linux 5.12 */
volatile const __u8 cfg_long_frames = 1; /* XDP sees frames in several buffers; needs Linux 5.18 */
volatile const __u8 cfg_dry;			/* judge without side effects: no logs, no tokens taken */
volatile const __u8 cfg_sealed;			/* some interface judges in XDP (seal.h) */
volatile const __u32 cfg_log_rate = 1000;	/* log events a second and CPU; 0: no bound */
volatile const __u32 cfg_log_burst = 1000;	/* events */

/*
 * Which generation the programs are of. Not fixed, so that those that no generation uses any more serve for the next one, if its rules make
 * the same instructions: then nothing has to be verified again.
 */
volatile __u64 own_seal SEC(".data.own");	/* 0: nothing is sealed */
volatile __u32 own_generation SEC(".data.own");	/* its number */

/* Seconds; the first ten are enum ct_tcp_state. Defaults of nf_conntrack. */
enum ct_timeout {
	CT_TIME_MAX_RETRANS = 10, CT_TIME_UNACK, CT_TIME_UDP, CT_TIME_UDP_STREAM, CT_TIME_ICMP, CT_TIME_GENERIC, CT_TIME_GRE,
	CT_TIME_GRE_STREAM, CT_TIME_FRAG4, CT_TIME_FRAG6, CT_TIME_SCTP_CLOSED,
	CT_TIME_SCTP = CT_TIME_SCTP_CLOSED - 1, /* + enum ct_sctp_state */
	CT_TIMES = 32, /* a power of two, for the bound in seconds() */
};

volatile const __u32 cfg_ct_timeouts[CT_TIMES] = {
	/* none SYN_SENT SYN_RECV ESTABLISHED FIN_WAIT CLOSE_WAIT LAST_ACK TIME_WAIT CLOSE SYN_SENT2 */
	0, 120, 60, 432000, 120, 60, 30, 120, 10, 120,
	/* MAX_RETRANS UNACK UDP UDP_STREAM ICMP GENERIC GRE GRE_STREAM FRAG4 FRAG6 */
	300, 300, 30, 120, 30, 600, 30, 180, 30, 60,
	/* SCTP: CLOSED COOKIE_WAIT COOKIE_ECHOED ESTABLISHED SHUTDOWN_SENT SHUTDOWN_RECD SHUTDOWN_ACK_SENT HEARTBEAT_SENT */
	10, 3, 3, 210, 3, 3, 3, 30,
};
static __always_inline __u32 seconds(__u32 i)
{
	asm volatile("" : "+r"(i)); /* clang may know the bound already, the verifier does not */
	return cfg_ct_timeouts[i & (CT_TIMES - 1)];
}

volatile const __u8 cfg_checksums;		/* received packets with a wrong checksum are invalid; needs Linux 6.2 */
volatile const __u8 cfg_tcp_loose = 1;		/* pick up connections in the middle */
volatile const __u32 cfg_ct_per_source;		/* flows that a source may have; 0: any number */
volatile const __u8 cfg_flows;			/* a rule limits flows */
volatile const __u8 cfg_source_ipv4 = 32;	/* bits of an address that make a source */
volatile const __u8 cfg_source_ipv6 = 64;
volatile const __u8 cfg_tcp_liberal;		/* windows are no reason to call a segment invalid */

#endif
