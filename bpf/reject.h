/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Whether and with what a rejected packet is answered, and how the answer gets back. */
#ifndef BPFWALL_REJECT_H
#define BPFWALL_REJECT_H

#define ERRORS_PER_SECOND 1000 /* as net.ipv4.icmp_msgs_per_sec and its burst */
#define ERRORS_BURST 50

/* As ruleset.RejectWith. */
enum reject_with {
	REJECT_DEFAULT, REJECT_TCP_RESET, REJECT_PORT, REJECT_HOST, REJECT_NET, REJECT_PROTO, REJECT_NET_PROHIB, REJECT_HOST_PROHIB,
	REJECT_ADMIN_PROHIB, REJECT_POLICY_FAIL, REJECT_ROUTE, REJECTS = 16,
};

/* Codes of ICMP type 3 and ICMPv6 type 1. */
static const struct { __u8 v4, v6; } reject_codes[REJECTS] = {
	[REJECT_DEFAULT] = { 3, 4 },
	[REJECT_TCP_RESET] = { 3, 4 },
	[REJECT_PORT] = { 3, 4 },
	[REJECT_HOST] = { 1, 3 },
	[REJECT_NET] = { 0, 0 },
	[REJECT_PROTO] = { 2, 4 },
	[REJECT_NET_PROHIB] = { 9, 1 },
	[REJECT_HOST_PROHIB] = { 10, 1 },
	[REJECT_ADMIN_PROHIB] = { 13, 1 },
	[REJECT_POLICY_FAIL] = { 13, 5 },
	[REJECT_ROUTE] = { 13, 6 },
};

/* The token bucket of ICMP errors. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct limit_state);
} error_rate SEC(".maps");

static __always_inline int is_group(const struct fw_pkt *pkt, const __be32 *addr)
{
	if (pkt->family == 6)
		return (addr[0] & bpf_htonl(0xff000000)) == bpf_htonl(0xff000000);
	return (addr[0] & bpf_htonl(0xf0000000)) == bpf_htonl(0xe0000000) || addr[0] == 0xffffffff;
}

static __always_inline int is_unspecified(const __be32 *addr)
{
	return !(addr[0] | addr[1] | addr[2] | addr[3]);
}

/* RFC 1122 3.2.2, RFC 4443 2.4 (e): nobody is answered who may be many, or nobody; nor fragments that do not say to whom they belong. */
static __always_inline int answerable(struct __sk_buff *skb, const struct fw_pkt *pkt)
{
	return !pkt->frag && pkt->pkt_type == 1 && pkt->l3_off == link_len(skb) && !is_group(pkt, pkt->daddr) &&
	       !is_group(pkt, pkt->saddr) && !is_unspecified(pkt->saddr) && !(pkt->dst_type & (1 << RTN_BROADCAST));
}

static __always_inline int wants_reset(const struct fw_pkt *pkt, __u32 with)
{
	return pkt->proto == IPPROTO_TCP && (with == REJECT_DEFAULT || with == REJECT_TCP_RESET);
}

/* A reset never answers a reset, an error never an error. */
static __always_inline int may_reset(const struct fw_pkt *pkt)
{
	return !pkt->malformed && !(pkt->tcp_flags & TCP_RST);
}

static __always_inline int may_error(const struct fw_pkt *pkt)
{
	enum icmp_role role;

	if (!is_icmp(pkt))
		return 1;
	role = icmp_role(pkt);
	return !pkt->malformed && role != ICMP_ERROR && (role != ICMP_NONE || pkt->family == 6);
}

static __always_inline int error_allowed(void)
{
	__u32 zero = 0;
	struct limit_state *l = bpf_map_lookup_elem(&error_rate, &zero);

	return l && take_token(l, SECOND / ERRORS_PER_SECOND, SECOND / ERRORS_PER_SECOND * ERRORS_BURST);
}

/* The address that a router's error comes from is its own; kernels before 6.7 do not tell: the address that was asked, then. */
static __always_inline void router_address(struct __sk_buff *skb, const struct fw_pkt *pkt, struct answer *a)
{
	struct bpf_fib_lookup f = { .family = pkt->family == 4 ? AF_INET : AF_INET6, .ifindex = pkt->in_ifindex };

	__builtin_memcpy(f.ipv6_dst, a->daddr, 16);
	if (bpf_fib_lookup(skb, &f, sizeof(f), BPF_FIB_LOOKUP_OUTPUT | BPF_FIB_LOOKUP_SRC | BPF_FIB_LOOKUP_SKIP_NEIGH))
		return;
	if (pkt->family == 4)
		a->saddr[0] = f.ipv4_src;
	else
		__builtin_memcpy(a->saddr, f.ipv6_src, 16);
}

static __always_inline void swap_macs(struct __sk_buff *skb)
{
	__u8 m[12], swapped[12];

	if (link_len(skb) < 14 || bpf_skb_load_bytes(skb, 0, m, sizeof(m)))
		return;
	__builtin_memcpy(swapped, m + 6, 6);
	__builtin_memcpy(swapped + 6, m, 6);
	bpf_skb_store_bytes(skb, 0, swapped, sizeof(swapped), 0);
}

/* bpf_redirect_neigh takes frames with an Ethernet header, whose addresses it fills in. */
static __always_inline int back_to_ingress(struct __sk_buff *skb, const struct fw_pkt *pkt)
{
	if (link_len(skb) == 0 && bpf_skb_change_head(skb, 14, 0))
		return TC_ACT_SHOT;
	return bpf_redirect_neigh(pkt->in_ifindex, 0, 0, 0);
}

/* Received: back out of the interface. Sent: into it, as if the other end had answered. Forwarded: to where it came from. */
static __always_inline int send_answer(struct __sk_buff *skb, const struct fw_pkt *pkt)
{
	if (will_take(skb, pkt))
		mark_answer(skb);
	if (pkt->hook == FW_HOOK_FORWARD)
		return back_to_ingress(skb, pkt);
	swap_macs(skb);
	/* On lo both ways are one, and only what is sent keeps the route that lets 127/8 in. */
	if ((pkt->hook == FW_HOOK_OUTPUT || pkt->hook == FW_HOOK_RAW_OUTPUT) && skb->ifindex != LOOPBACK)
		return bpf_redirect(skb->ifindex, BPF_F_INGRESS);
	return bpf_redirect(skb->ifindex, 0);
}

static __always_inline int build_answer(struct __sk_buff *skb, const struct fw_pkt *pkt, __u32 with)
{
	struct answer a;

	__builtin_memcpy(a.saddr, pkt->daddr, 16);
	__builtin_memcpy(a.daddr, pkt->saddr, 16);
	if (wants_reset(pkt, with))
		return may_reset(pkt) ? build_reset(skb, pkt, &a) : -1;
	if (!may_error(pkt) || !error_allowed())
		return -1;
	if (pkt->hook == FW_HOOK_FORWARD)
		router_address(skb, pkt, &a);
	asm volatile("" : "+r"(with));
	with &= REJECTS - 1;
	return build_error(skb, pkt, &a, pkt->family == 4 ? reject_codes[with].v4 : reject_codes[with].v6);
}

/* Answers a rejected packet, which is gone either way. Reports the program's return value. */
__noinline int fw_reject(struct __sk_buff *skb, struct fw_pkt *pkt, __u32 with)
{
	if (!pkt)
		return TC_ACT_SHOT;
	if (!answerable(skb, pkt) || build_answer(skb, pkt, with)) {
		count(FW_STAT_REJECT_SUPPRESSED);
		return TC_ACT_SHOT;
	}
	count(FW_STAT_REJECT_SENT);
	return send_answer(skb, pkt);
}

#endif
