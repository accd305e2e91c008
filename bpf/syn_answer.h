/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The SYN proxy at tc. */
#ifndef BPFWALL_SYN_ANSWER_H
#define BPFWALL_SYN_ANSWER_H

/* Makes the SYN its own answer, and sends it back. */
__noinline int fw_syn_answer(struct __sk_buff *skb, struct fw_pkt *pkt)
{
	struct syn_work *w = syn_work();
	struct answer a;

	if (!pkt || !w || !answerable(skb, pkt))
		return TC_ACT_SHOT;
	__builtin_memcpy(a.saddr, pkt->daddr, 16);
	__builtin_memcpy(a.daddr, pkt->saddr, 16);
	if (build_segment(skb, pkt, &a, &w->answer.tcp, sizeof(w->answer)))
		return TC_ACT_SHOT;
	return send_answer(skb, pkt);
}

/* Reports -1 if the packet goes on. */
static __always_inline int proxy(struct __sk_buff *skb, struct fw_pkt *pkt)
{
	if (!is_proxied(pkt))
		return -1;
	switch (fw_synproxy(skb, pkt)) {
	case SYN_ANSWER:
		return fw_syn_answer(skb, pkt);
	case SYN_DROP:
		return TC_ACT_SHOT;
	}
	return -1;
}

#endif
