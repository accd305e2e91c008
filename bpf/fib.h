/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Asks the routing table, at tc and in XDP. */
#ifndef BPFWALL_FIB_H
#define BPFWALL_FIB_H

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

/* Whether the routing table would deliver it here, or knows nothing of it. rc: of bpf_fib_lookup. */
static __always_inline int ends(int rc)
{
	return rc == BPF_FIB_LKUP_RET_NOT_FWDED || rc == BPF_FIB_LKUP_RET_FWD_DISABLED || rc < 0;
}

static __always_inline int ends_here(FRAME *skb, struct bpf_fib_lookup *f) { return ends(bpf_fib_lookup(skb, f, sizeof(*f), 0)); }

#endif
