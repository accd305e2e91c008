/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What one hook tells the next about a packet, in skb->tc_index: from ingress to the egress that judges a forwarded packet,
 * and from egress of lo to its ingress. It survives forwarding and lo. Ingress believes it on lo alone, where nobody else
 * sends, and clears it elsewhere: a veth hands it over from a namespace that is not ours.
 */
#ifndef BPFWALL_CARRY_H
#define BPFWALL_CARRY_H

enum direction { INGRESS, EGRESS };

#define CARRY_GROUP_SHIFT 10

#define LOOPBACK 1 /* its ifindex in every network namespace */

enum carry {
	CARRY_NOTRACK = 0x8000,	/* a prerouting rule said NOTRACK */
	CARRY_STATE = 0x4000,	/* the low byte is the state that egress of lo found */
	CARRY_ANSWER = 0x2000,	/* an answer that we made: not judged */
	CARRY_INPUT = 0x1000,	/* received; if the stack delivers it here, LOCAL_IN judges it (nat.h). The low byte is the interface's */
	CARRY_DAMAGED = 0x0200,	/* beside NAT: the transport checksum is wrong */
	CARRY_PIECE = 0x0100,	/* with CARRY_INPUT: came as a fragment. No rule has seen it yet; LOCAL_IN or FORWARD judges the whole */
	CARRY_GROUP = 0x0c00,	/* with CARRY_INPUT: it was a broadcast or multicast frame, PACKET_* */
};

/* What a packet of which the interface is known could gain by. */
#define CARRY_CLAIMS (CARRY_NOTRACK | CARRY_STATE | CARRY_ANSWER | CARRY_DAMAGED)

/* A received packet. */
static __always_inline __u32 carry_received(const struct __sk_buff *skb)
{
	return CARRY_INPUT | (skb->ifindex == LOOPBACK ? 0 : skb->ifindex & 0xff);
}

/*
 * At egress: whether it was received, rather than made here. The fragments that the stack makes of a forwarded IPv6 packet may lack the
 * interface (ip6_copy_metadata).
 */
static __always_inline int was_received(const struct __sk_buff *skb)
{
	return skb->ingress_ifindex || (skb->tc_index & CARRY_INPUT);
}

/* A whole that netfilter's FORWARD judges, and egress not any more: both go by this. */
static __always_inline int is_whole(__u32 carried)
{
	return (carried & (CARRY_INPUT | CARRY_PIECE)) == (CARRY_INPUT | CARRY_PIECE);
}

#endif
