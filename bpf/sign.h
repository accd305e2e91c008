/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The signs by which the next hook knows an answer of ours, which no rule judges. */
#ifndef BPFWALL_SIGN_H
#define BPFWALL_SIGN_H

/*
 * Answers that re-enter at ingress carry this mark besides, which a packet loses when it changes network namespaces
 * (skb_scrub_packet), so that none comes in with it.
 */
#define ANSWER_MARK 0xb9f3a11eU

static __always_inline void mark_answer(struct __sk_buff *skb)
{
	skb->tc_index = CARRY_ANSWER;
	skb->mark = ANSWER_MARK;
}

/* Reports 1 for an answer of ours, and takes the signs off, unless it is about to come in again by lo. */
static __always_inline int take_answer(struct __sk_buff *skb, enum direction d)
{
	if (skb->tc_index != CARRY_ANSWER || skb->mark != ANSWER_MARK)
		return 0;
	if (d == EGRESS && skb->ifindex == LOOPBACK && !cfg_idle_ingress)
		return 1;
	skb->tc_index = 0;
	skb->mark = 0;
	return 1;
}

/* Whether the hook that an answer goes by next is there to take the signs off. */
static __always_inline int will_take(const struct __sk_buff *skb, const struct fw_pkt *pkt)
{
	if (skb->ifindex == LOOPBACK || pkt->hook == FW_HOOK_FORWARD)
		return 1;
	return pkt->hook == FW_HOOK_OUTPUT || pkt->hook == FW_HOOK_RAW_OUTPUT ? !cfg_idle_ingress : !cfg_idle_egress;
}

#endif
