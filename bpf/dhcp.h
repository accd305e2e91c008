/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* DHCP clients read from packet sockets, before netfilter: its rules never keep an answer from them, so ours must not. */
#ifndef BPFWALL_DHCP_H
#define BPFWALL_DHCP_H

static __always_inline int dhcp_to_client(const struct fw_pkt *pkt)
{
	if (pkt->proto != IPPROTO_UDP || pkt->malformed)
		return 0;
	return pkt->family == 4 ? pkt->sport == 67 && pkt->dport == 68 : pkt->sport == 547 && pkt->dport == 546;
}

/* Reports 1 if an answer of a DHCP server would reach no UDP socket: only a packet socket can be waiting for it. */
static __always_inline int dhcp_unseen(struct __sk_buff *skb, const struct fw_pkt *pkt)
{
	struct bpf_sock_tuple t = {};
	struct bpf_sock *sk;

	if (!dhcp_to_client(pkt))
		return 0;
	if (pkt->family == 4) {
		t.ipv4.saddr = pkt->saddr[0];
		t.ipv4.daddr = pkt->daddr[0];
		t.ipv4.sport = bpf_htons(pkt->sport);
		t.ipv4.dport = bpf_htons(pkt->dport);
		sk = bpf_sk_lookup_udp(skb, &t, sizeof(t.ipv4), BPF_F_CURRENT_NETNS, 0);
	} else {
		__builtin_memcpy(t.ipv6.saddr, pkt->saddr, 16);
		__builtin_memcpy(t.ipv6.daddr, pkt->daddr, 16);
		t.ipv6.sport = bpf_htons(pkt->sport);
		t.ipv6.dport = bpf_htons(pkt->dport);
		sk = bpf_sk_lookup_udp(skb, &t, sizeof(t.ipv6), BPF_F_CURRENT_NETNS, 0);
	}
	if (!sk)
		return 1;
	bpf_sk_release(sk);
	return 0;
}

#endif
