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

/* Whether the routing table would deliver it here, or knows nothing of it. */
static __always_inline int ends_here(struct __sk_buff *skb, struct bpf_fib_lookup *f)
{
	int rc = bpf_fib_lookup(skb, f, sizeof(*f), 0);

	return rc == BPF_FIB_LKUP_RET_NOT_FWDED || rc == BPF_FIB_LKUP_RET_FWD_DISABLED || rc < 0;
}

/*
 * What ip_route_input and ip6_rcv take for their own without asking the routing table, whatever the frame's address: groups,
 * limited broadcast, IPv4 addresses of a host that has none yet; and link-local ones.
 */
static __always_inline int here_by_value(const struct fw_pkt *pkt)
{
	__be32 d = pkt->daddr[0];

	if (pkt->family == 4)
		return !d || d == 0xffffffff || (d & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000);
	return (d & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000) || (d & bpf_htonl(0xffc00000)) == bpf_htonl(0xfe800000);
}

/* Asks the routing table. What it cannot route is nobody's: the stack drops it, no input chain sees it. */
__noinline int fw_routed_here(struct __sk_buff *skb, struct fw_pkt *pkt)
{
	struct bpf_fib_lookup f;

	if (!pkt || pkt->pkt_type != 1 || here_by_value(pkt))
		return 1;
	fib_from(&f, pkt, skb->ifindex);
	return ends_here(skb, &f);
}

/*
 * The first packet of a flow settles it for the rest, but for those that a socket here could take if the receiver's address has
 * become our own meanwhile: that no input chain would see. Segments other than SYNs find no connection.
 */
static __always_inline int is_local(struct __sk_buff *skb, struct fw_pkt *pkt)
{
	int place;

	if (!cfg_forwarding || skb->ifindex == LOOPBACK)
		return 1;
	place = cfg_conntrack ? fw_flow_place(pkt) : 0;
	if (place & CT_FLOW_LOCAL)
		return 1;
	if (place && pkt->proto == IPPROTO_TCP && !(pkt->tcp_flags & TCP_SYN))
		return 0;
	return fw_routed_here(skb, pkt);
}

#endif
