//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The programs of a generation: what happens to a packet at tc ingress and egress, around the compiled rules (hooks.h). */
#include <linux/types.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <linux/if_ether.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <linux/rtnetlink.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "fw.h"
#include "switches.h"
#include "maps.h"
#include "limit.h"
#include "log.h"
#include "hooks.h"
#include "transport.h"
#include "parse.h"
#include "meta.h"

#define PASS TC_ACT_UNSPEC /* TCX_NEXT: other programs of the hook and the stack go on */
#define DROP TC_ACT_SHOT

static __always_inline int drop(enum fw_stat why)
{
	count(why);
	return DROP;
}

/* What becomes of a frame that is no well-formed IP packet. */
static __always_inline int unparsed(int rc)
{
	switch (rc) {
	case PARSE_NOT_IP:
		return PASS;
	case PARSE_BAD_HEADER:
		return drop(FW_STAT_BAD_HEADER);
	case PARSE_TOO_LONG:
		return drop(FW_STAT_CHAIN_TOO_LONG);
	}
	return drop(FW_STAT_INTERNAL);
}

static __always_inline int is_malformed(const struct fw_pkt *pkt)
{
	return cfg_reads_transport && pkt->malformed;
}

/* Accepted: the mark that the rules set goes on with the packet. */
static __always_inline int pass(struct __sk_buff *skb, const struct fw_pkt *pkt)
{
	if (skb->mark != pkt->mark)
		skb->mark = pkt->mark;
	return PASS;
}

static __always_inline int judge_input(struct __sk_buff *skb, struct fw_pkt *pkt)
{
	if (is_malformed(pkt))
		return drop(FW_STAT_MALFORMED);
	pkt->hook = FW_HOOK_INPUT;
	return verdict_kind(fw_input(pkt)) == FW_ACCEPT ? pass(skb, pkt) : DROP;
}

SEC("tc")
int tc_ingress(struct __sk_buff *skb)
{
	struct fw_pkt *pkt = scratch_pkt();
	int rc;

	if (!pkt)
		return drop(FW_STAT_INTERNAL);
	keep_helpers(pkt);
	rc = fw_parse(skb, pkt);
	if (rc != PARSE_OK)
		return unparsed(rc);
	set_interfaces(pkt, skb->ifindex, 0);
	set_pkt_type(skb, pkt);
	set_addr_types(pkt);
	set_source_mac(skb, pkt);
	pkt->mark = skb->mark;
	if (cfg_prerouting) {
		pkt->hook = FW_HOOK_PREROUTING;
		if (is_malformed(pkt))
			return drop(FW_STAT_MALFORMED);
		if (verdict_kind(fw_prerouting(pkt)) != FW_ACCEPT)
			return DROP;
	}
	return judge_input(skb, pkt);
}

SEC("tc")
int tc_egress(struct __sk_buff *skb)
{
	struct fw_pkt *pkt = scratch_pkt();
	__u32 in = skb->ingress_ifindex;
	int rc;

	if (!pkt)
		return drop(FW_STAT_INTERNAL);
	keep_helpers(pkt);
	rc = fw_parse(skb, pkt);
	if (rc != PARSE_OK)
		return unparsed(rc);
	set_interfaces(pkt, in, skb->ifindex);
	set_pkt_type(skb, pkt);
	set_addr_types(pkt);
	pkt->mark = skb->mark;
	if (is_malformed(pkt))
		return drop(FW_STAT_MALFORMED);
	pkt->hook = in ? FW_HOOK_FORWARD : FW_HOOK_OUTPUT;
	if (!in && cfg_raw_output) {
		pkt->hook = FW_HOOK_RAW_OUTPUT;
		if (verdict_kind(fw_raw_output(pkt)) != FW_ACCEPT)
			return DROP;
		pkt->hook = FW_HOOK_OUTPUT;
	}
	rc = in ? fw_forward(pkt) : fw_output(pkt);
	return verdict_kind(rc) == FW_ACCEPT ? pass(skb, pkt) : DROP;
}

/* Runs the hook that user space names in scratch on the packet that it put there: for tests and explain. */
SEC("tc")
int fw_judge(struct __sk_buff *skb)
{
	struct fw_pkt *pkt = scratch_pkt();
	__u32 zero = 0, verdict = FW_DROP;

	if (!pkt)
		return drop(FW_STAT_INTERNAL);
	keep_helpers(pkt);
	switch (pkt->hook) {
	case FW_HOOK_PREROUTING:
		verdict = fw_prerouting(pkt);
		break;
	case FW_HOOK_RAW_OUTPUT:
		verdict = fw_raw_output(pkt);
		break;
	case FW_HOOK_INPUT:
		verdict = fw_input(pkt);
		break;
	case FW_HOOK_FORWARD:
		verdict = fw_forward(pkt);
		break;
	case FW_HOOK_OUTPUT:
		verdict = fw_output(pkt);
		break;
	}
	bpf_map_update_elem(&judged, &zero, &verdict, BPF_ANY);
	return PASS;
}

char _license[] SEC("license") = "GPL";
