/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Is a received packet for this host, or passing through? */
#ifndef BPFWALL_ROUTE_H
#define BPFWALL_ROUTE_H

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
