/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Ports of this host that DNAT sends on, as container engines publish them. Under a policy of its own bpfwall judges their packets as
 * what they are to those who ask: input for the host's address and port, and output where they are answered.
 */
#ifndef BPFWALL_PUBLISHED_H
#define BPFWALL_PUBLISHED_H

/*
 * The hook that judges a packet of such a port, or an error about one; 0 for others. The address that was asked for is this host's if the
 * routing table says so, from the side of the one who asked.
 */
static __always_inline __u8 published(struct __sk_buff *skb, const struct fw_pkt *pkt, const struct translation *t)
{
	const struct tuple *asked = &t->tuples[ORIGINAL];
	struct bpf_fib_lookup f = { .family = pkt->family == 4 ? AF_INET : AF_INET6, .l4_protocol = pkt->proto };

	if (!cfg_published || !(t->status & STATUS_DST_NAT) || (!was_received(skb) && !t->related))
		return 0;
	f.ifindex = t->dir == ORIGINAL && pkt->in_ifindex ? pkt->in_ifindex : pkt->out_ifindex;
	__builtin_memcpy(f.ipv6_src, asked->saddr, 16);
	__builtin_memcpy(f.ipv6_dst, asked->daddr, 16);
	if (!ends_here(skb, &f))
		return 0;
	return t->dir == ORIGINAL ? FW_HOOK_INPUT : FW_HOOK_OUTPUT;
}

/* At egress: the packet as FORWARD or OUTPUT saw it. Before anything reads its addresses. */
__noinline int fw_nat_view(struct __sk_buff *skb, struct fw_pkt *pkt)
{
	struct translation t;

	if (!pkt || !cfg_nat || !translation_of(skb, &t))
		return 0;
	pkt->dnat = !!(t.status & STATUS_DST_NAT);
	pkt->published = published(skb, pkt, &t);
	if (pkt->published)
		answer_as_asked(&t);
	if (is_icmp(pkt) && t.related)
		view_error(pkt, &t);
	else
		view_ends(pkt, &t);
	return 0;
}

/* Input has no interface to leave by, and output none to come in by. */
static __always_inline void hide_interface(struct fw_pkt *pkt)
{
	if (pkt->published == FW_HOOK_INPUT) {
		pkt->out_ifindex = 0;
		pkt->out_name[0] = pkt->out_name[1] = 0;
	} else {
		pkt->in_ifindex = 0;
		pkt->in_name[0] = pkt->in_name[1] = 0;
	}
}

#endif
