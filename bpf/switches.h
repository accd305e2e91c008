/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What a ruleset and a host need, fixed when a generation is loaded: the verifier deletes the branches of what they do not. */
#ifndef BPFWALL_SWITCHES_H
#define BPFWALL_SWITCHES_H

volatile const __u8 cfg_conntrack;		/* a rule reads the state */
volatile const __u8 cfg_forwarding;		/* the host forwards: ask the routing table what is for itself */
volatile const __u8 cfg_prerouting;		/* there is a prerouting chain */
volatile const __u8 cfg_raw_output;		/* there is a raw output chain */
volatile const __u8 cfg_ifnames;		/* a rule reads an interface name */
volatile const __u8 cfg_addrtypes;		/* a rule reads the type of an address */
volatile const __u8 cfg_tcp_options;		/* a rule reads TCP options or the MSS */
volatile const __u8 cfg_mac;			/* a rule reads the source MAC */
volatile const __u8 cfg_reads_transport;	/* a rule reads a transport header: malformed ones are dropped */
volatile const __u8 cfg_dry;			/* judge without side effects: no logs, no tokens taken */
volatile const __u32 cfg_generation;		/* number of this generation, for events */
volatile const __u32 cfg_log_rate = 1000;	/* log events a second and CPU; 0: no bound */
volatile const __u32 cfg_log_burst = 1000;	/* events */

#endif
