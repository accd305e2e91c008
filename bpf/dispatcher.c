//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* What stays attached: two instructions' worth of choice between the programs of the even and the odd generation. */
#include <linux/types.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <bpf/bpf_helpers.h>
#include "fw.h"
#include "carry.h"
#include "kernel.h"
#include "generation.h"

volatile const __u32 l2_len = 14; /* bytes before the IP header: 14 on Ethernet, 0 on tun, WireGuard and the like */

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} progs_ingress SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} progs_egress SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} progs_input SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} progs_xdp SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FW_STATS);
	__type(key, enum fw_stat);
	__type(value, __u64);
} stats SEC(".maps");

/* No program in the slot: closed. */
static __always_inline int no_program(void)
{
	__u32 key = FW_STAT_NO_PROGRAM;
	__u64 *n = bpf_map_lookup_elem(&stats, &key);

	if (n)
		*n += 1;
	return TC_ACT_SHOT;
}

/*
 * Generation 0 is a firewall that is being turned on or off: all interfaces pass until the word is set, so that turning on is one store
 * as well.
 */
#define DISPATCH(skb, progs) \
	do { \
		__u32 now = generation(); \
\
		if (!now) \
			return TC_ACT_UNSPEC; \
		(skb)->cb[0] = l2_len + 1; \
		GO_ON(skb, progs, now); \
	} while (0)

SEC("tc")
int tc_dispatch_ingress(struct __sk_buff *skb)
{
	DISPATCH(skb, progs_ingress);
	return no_program();
}

SEC("tc")
int tc_dispatch_egress(struct __sk_buff *skb)
{
	DISPATCH(skb, progs_egress);
	return no_program();
}

/* A generation without a program here has no prerouting rules, or judges them at tc ingress. */
SEC("xdp.frags")
int xdp_dispatch(struct xdp_md *frame)
{
	__u32 now = generation();

	if (!now)
		return XDP_PASS;
	GO_ON(frame, progs_xdp, now);
	return XDP_PASS;
}

/* Netfilter's LOCAL_IN and FORWARD: judges what ingress left to them. */
SEC("netfilter")
int nf_dispatch_input(struct bpf_nf_ctx *ctx)
{
	__u32 carried = ctx->skb->tc_index, now;

	if (!(carried & CARRY_INPUT) || (ctx->state->hook == NF_INET_FORWARD && !is_whole(carried)))
		return 1; /* NF_ACCEPT */
	now = generation();
	if (!now)
		return 1;
	GO_ON(ctx, progs_input, now);
	no_program();
	return 0; /* NF_DROP */
}

char _license[] SEC("license") = "GPL";
