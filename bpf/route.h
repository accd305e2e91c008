/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Is a received packet for this host, or passing through? */
#ifndef BPFWALL_ROUTE_H
#define BPFWALL_ROUTE_H

#define AF_INET 2
#define AF_INET6 10
#define AF_PACKET 17

static __always_inline void fib_from(struct bpf_fib_lookup *f, const struct fw_pkt *pkt, __u32 ifindex)
{
	__builtin_memset(f, 0, sizeof(*f));
	f->family = pkt->family == 4 ? AF_INET : AF_INET6;
	f->l4_protocol = pkt->proto;
	f->ifindex = ifindex;
	__builtin_memcpy(f->ipv6_src, pkt->saddr, 16);
	__builtin_memcpy(f->ipv6_dst, pkt->daddr, 16);
	if (pkt->sport <= 0xffff && pkt->dport <= 0xffff) { /* for rules of the routing policy */
		f->sport = bpf_htons(pkt->sport);
		f->dport = bpf_htons(pkt->dport);
	}
	if (pkt->family == 4)
		f->tos = pkt->tos;
	else
		f->flowinfo = bpf_htonl((__u32)pkt->tos << 20);
}

/* Asks the routing table. What it cannot route is nobody's: the stack drops it, no input chain sees it. */
__noinline int fw_routed_here(struct __sk_buff *skb, struct fw_pkt *pkt)
{
	struct bpf_fib_lookup f;
	int rc;

	if (!pkt || pkt->pkt_type != 1)
		return 1;
	if (pkt->family == 6 && (pkt->daddr[0] & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000))
		return 1; /* link-local */
	fib_from(&f, pkt, skb->ifindex);
	rc = bpf_fib_lookup(skb, &f, sizeof(f), 0);
	return rc == BPF_FIB_LKUP_RET_NOT_FWDED || rc == BPF_FIB_LKUP_RET_FWD_DISABLED || rc < 0;
}

/* The first packet of a flow settles it for the rest. */
static __always_inline int is_local(struct __sk_buff *skb, struct fw_pkt *pkt)
{
	int place;

	if (!cfg_forwarding || skb->ifindex == LOOPBACK)
		return 1;
	place = cfg_conntrack ? fw_flow_place(pkt) : 0;
	return place ? place & CT_FLOW_LOCAL : fw_routed_here(skb, pkt);
}

#endif
