/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What the C and the generated code share: the parsed packet, verdicts, maps. Go sees these types through bpf2go. */
#ifndef BPFWALL_FW_H
#define BPFWALL_FW_H

/* Numeric members of fw_pkt that a packet may lack hold a value above their width, so that no positive match can hold. */
#define FW_ABSENT16 0x10000U          /* sport, dport, tcp_mss */
#define FW_ABSENT8  0x100U            /* tcp_flags, icmp_type, icmp_code */
#define FW_ABSENT48 0x1000000000000ULL /* smac */

/*
 * A packet as the rules see it. Filled by the hook's C, read by the generated functions.
 * Addresses and names are as on the wire / in the kernel; all numbers are in host byte order.
 */
struct fw_pkt {
	__be32 saddr[4];	/* IPv4 in word 0, the rest 0 */
	__be32 daddr[4];
	__u64 in_name[2];	/* IFNAMSIZ bytes, zero padded; all 0 if there is no such interface */
	__u64 out_name[2];
	__u64 tcp_options[4];	/* bit n of the 256: option kind n is present */
	__u64 smac;		/* first byte most significant */
	__u32 in_ifindex;	/* 0: none */
	__u32 out_ifindex;
	__u32 mark;
	__u32 length;		/* bytes from the IP header on, as its length field says */
	__u32 sport;		/* FW_ABSENT16 without ports */
	__u32 dport;
	__u32 tcp_mss;
	__u32 rule;		/* out: counter slot of the rule or policy that decided */
	__u32 seq, ack, wnd;	/* TCP, for conntrack */
	__u32 payload;		/* TCP payload bytes */
	__u16 tcp_flags;	/* FW_ABSENT8 unless TCP */
	__u16 icmp_type;
	__u16 icmp_code;
	__u16 icmp_id;		/* of queries */
	__u16 src_type;		/* 1 << RTN_* */
	__u16 dst_type;
	__u16 l3_off;		/* bytes from skb->data to the IP header */
	__u16 l4_off;		/* bytes from skb->data to the transport header */
	__u8 family;		/* 4 or 6 */
	__u8 proto;		/* last header of an IPv6 chain */
	__u8 ttl;
	__u8 tos;
	__u8 frag;		/* 1: a fragment other than the first */
	__u8 more_frags;	/* 1: the first fragment of several */
	__u8 pkt_type;		/* 1 unicast, 2 broadcast, 4 multicast */
	__u8 ct_state;		/* one FW_STATE_ bit */
	__u8 notrack;		/* set by NOTRACK */
	__u8 malformed;		/* transport header cut short or lengths lie */
	__u8 hook;		/* FW_HOOK_ */
	__u8 tcp_wscale;	/* of a SYN; 255: no such option */
	__u32 pad;
};

/* As ruleset.Hook. */
enum fw_hook { FW_HOOK_NONE, FW_HOOK_PREROUTING, FW_HOOK_RAW_OUTPUT, FW_HOOK_INPUT, FW_HOOK_FORWARD, FW_HOOK_OUTPUT };

/* As the State bits of ruleset. */
enum fw_state {
	FW_STATE_INVALID = 1, FW_STATE_ESTABLISHED = 2, FW_STATE_RELATED = 4, FW_STATE_NEW = 8, FW_STATE_UNTRACKED = 16,
};

/*
 * What a verdict function returns: low byte one of these (the numbers are ruleset.VerdictKind's), for FW_REJECT the
 * second byte is ruleset.RejectWith. FW_CONTINUE comes back from a user chain that did not decide, never from a hook function.
 */
enum fw_verdict { FW_CONTINUE = 0, FW_ACCEPT = 1, FW_DROP = 2, FW_REJECT = 3 };

#endif
