//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The programs of a generation: what happens to a packet at tc ingress and egress, around the compiled rules (hooks.h). */
#include <linux/types.h>
#include <linux/bpf.h>
#include <linux/pkt_cls.h>
#include <linux/if_ether.h>
#include <linux/if_packet.h>
#include <linux/in.h>
#include <linux/ip.h>
#include <linux/ipv6.h>
#include <linux/udp.h>
#include <linux/rtnetlink.h>
#include <bpf/bpf_helpers.h>
#include <bpf/bpf_endian.h>
#include "fw.h"
#include "kernel.h"
#include "switches.h"
#include "maps.h"
#include "exchange.h"
#include "limit.h"
#include "meter.h"
#include "recent.h"
#include "log.h"
#include "hooks.h"
#include "carry.h"
#include "sign.h"
#include "seal.h"
#include "head.h"
#include "above.h"
#include "transport.h"
#include "parse.h"
#include "addr.h"
#include "meta.h"
#include "owner.h"
#include "receiver.h"
#include "sum.h"
#include "fib.h"
#include "synproxy.h"
#include "checksum.h"
#include "ct_key.h"
#include "ct_tcp.h"
#include "ct_sctp.h"
#include "nat.h"
#include "ct_icmp.h"
#include "conncount.h"
#include "conntrack.h"
#include "flows.h"
#include "frag.h"
#include "route.h"
#include "published.h"
#include "dhcp.h"
#include "answer.h"
#include "reject.h"
#include "syn_answer.h"

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

/* Everything that rules may read and that does not depend on the hook. Reports -1, or the enum fw_stat to drop under. */
static __always_inline int describe(struct __sk_buff *skb, struct fw_pkt *pkt, enum direction d)
{
	if (cfg_nat && d == EGRESS)
		fw_nat_view(skb, pkt);
	set_pkt_type(pkt, addressee(skb));
	set_addr_types(pkt);
	pkt->mark = skb->mark;
	if ((cfg_nat || cfg_defrag) && d == INGRESS)
		return -1; /* the stack puts fragments together before anything else judges them */
	return pkt->frag ? fw_later_fragment(pkt, d) : -1;
}

/* Accepted: the mark that the rules set goes on with the packet. */
static __always_inline int pass(struct __sk_buff *skb, const struct fw_pkt *pkt)
{
	if (skb->mark != pkt->mark)
		skb->mark = pkt->mark;
	return PASS;
}

/*
 * What is not accepted is gone; a rejected packet is answered. Malformed ones are dropped by the generated code, on hooks that have
 * a chain for them: no rule decides.
 */
static __always_inline int refuse(struct __sk_buff *skb, struct fw_pkt *pkt, int verdict)
{
	if (pkt->malformed && pkt->rule == FW_NO_RULE)
		count(FW_STAT_MALFORMED);
	if (verdict_kind(verdict) != FW_REJECT)
		return DROP;
	if (cfg_nat && pkt->hook != FW_HOOK_PREROUTING && fw_nat_undo(skb, pkt))
		return DROP;
	return fw_reject(skb, pkt, verdict_reject(verdict));
}

/* Only received packets have a checksum to go by. Beside NAT it is looked at before anything is translated. */
static __always_inline int is_damaged(struct __sk_buff *skb, struct fw_pkt *pkt, enum direction d)
{
	if (!cfg_checksums || !cfg_conntrack || pkt->notrack || (d == EGRESS && !was_received(skb)))
		return 0;
	if (cfg_nat && d == EGRESS)
		return !!(skb->tc_index & CARRY_DAMAGED);
	return !checksum_trusted(skb) && fw_checksum_wrong(skb, pkt);
}

/* Gives the packet its state: a later fragment has that of the first. */
static __always_inline void track(struct __sk_buff *skb, struct fw_pkt *pkt, enum direction d)
{
	if (!cfg_conntrack || pkt->frag)
		return;
	fw_track(skb, pkt, is_damaged(skb, pkt, d));
	if (pkt->more_frags)
		fw_remember_first(pkt, d);
}

/* Reports 1 if the packet is to be dropped after all. */
static __always_inline int confirm(struct fw_pkt *pkt, __u32 where)
{
	int rc;

	if (!cfg_conntrack || pkt->frag || pkt->ct_state != FW_STATE_NEW)
		return 0;
	rc = fw_confirm(pkt, where);
	asm volatile("" : "+r"(rc)); /* clang knows that it is 0 or 1, the verifier does not */
	return rc != 0;
}

/* What the rules made of a packet, which has places to give back if it was not accepted. */
static __always_inline int settle(int verdict)
{
	if (cfg_flows && verdict_kind(verdict) != FW_ACCEPT)
		fw_abandon();
	return verdict;
}

/* Links what only these programs have, as keep_helpers. */
static __always_inline void keep_flows(struct fw_pkt *pkt)
{
	if (cfg_never)
		fw_flows(pkt, &no_flows);
}

/* What egress of lo found out about the packet holds for its ingress: there is one packet, and one update. */
static __always_inline int carried_state(struct fw_pkt *pkt, __u32 carried)
{
	if (!cfg_conntrack || pkt->in_ifindex != LOOPBACK || !(carried & CARRY_STATE))
		return 0;
	pkt->ct_state = carried & 0xff;
	return 1;
}

/* IPv4 puts datagrams together before INPUT, with conntrack or without (ip_local_deliver); with it, describe() has seen to that. */
static __always_inline void complete_local(struct fw_pkt *pkt)
{
	if (cfg_conntrack || !cfg_reads_transport || pkt->family != 4)
		return;
	if (pkt->frag)
		fw_complete(pkt, INGRESS);
	else
		fw_remember_first(pkt, INGRESS);
}

static __always_inline int judge_input(struct __sk_buff *skb, struct fw_pkt *pkt, __u32 carried)
{
	int verdict, known = carried_state(pkt, carried);

	complete_local(pkt);
	if (!known)
		track(skb, pkt, INGRESS);
	else if (!cfg_defrag && pkt->more_frags)
		fw_remember_first(pkt, INGRESS); /* later ones do not carry what they lack */
	if (cfg_receiver)
		fw_receiver(skb, pkt);
	pkt->hook = FW_HOOK_INPUT;
	verdict = settle(fw_input(pkt));
	if (verdict_kind(verdict) == FW_ACCEPT) {
		if (!known && confirm(pkt, CT_FLOW_LOCAL))
			return DROP;
		return pass(skb, pkt);
	}
	if (dhcp_unseen(skb, pkt)) {
		count(FW_STAT_DHCP_PASSED);
		return PASS;
	}
	return refuse(skb, pkt, verdict);
}

static __always_inline int judge_prerouting(struct fw_pkt *pkt)
{
	if (!cfg_prerouting)
		return FW_ACCEPT;
	pkt->hook = FW_HOOK_PREROUTING;
	return fw_prerouting(pkt);
}

/* The verdict that XDP came to, or -1. */
static __always_inline int unseal(struct __sk_buff *skb, struct fw_pkt *pkt)
{
	struct seal *s = (void *)(long)skb->data_meta;

	if (!cfg_sealed || !own_seal || (void *)(s + 1) > (void *)(long)skb->data || s->key != own_seal || s->ifindex != skb->ifindex)
		return -1;
	pkt->hook = FW_HOOK_PREROUTING;
	pkt->notrack = !!(s->said & SEAL_NOTRACK);
	pkt->cookie = !!(s->said & SEAL_COOKIE);
	return s->said & SEAL_VERDICT;
}

/* What egress is to know of a packet that passes through, if it judges any. */
static __always_inline __u32 carry_onward(const struct __sk_buff *skb) { return cfg_idle_egress ? 0 : carry_received(skb); }

/* A packet that passes through is judged at egress, where both interfaces are known. */
static __always_inline int pass_through(struct __sk_buff *skb, struct fw_pkt *pkt)
{
	if (cfg_conntrack && pkt->more_frags)
		fw_remember_first(pkt, INGRESS);
	remember_mac(pkt);
	skb->tc_index = carry_onward(skb) | (pkt->notrack ? CARRY_NOTRACK : 0);
	return pass(skb, pkt);
}

#include "local_in.h"

/* Whether ingress has nothing to do with a packet but to let it pass through, if that is where it goes. */
static __always_inline int only_passes(void) { return !cfg_prerouting && !cfg_synproxy && !cfg_nat && !cfg_mac; }

SEC("tc")
int tc_ingress(struct __sk_buff *skb)
{
	struct fw_pkt *pkt = scratch_pkt();
	__u32 carried = skb->tc_index;
	enum route route;
	int rc, sealed;

	if (cfg_idle_ingress) {
		skb->tc_index = 0;
		return PASS;
	}
	if (!pkt)
		return drop(FW_STAT_INTERNAL);
	keep_helpers(pkt);
	keep_flows(pkt);
	if (take_answer(skb, INGRESS))
		return PASS;
	skb->tc_index = 0;
	if (skb->pkt_type == PACKET_OTHERHOST)
		return PASS; /* the stack ignores it */
	route = glance(skb);
	if (route == ROUTE_ONWARD && only_passes()) {
		skb->tc_index = carry_onward(skb);
		return PASS;
	}
	rc = fw_parse(skb, pkt);
	if (rc != PARSE_OK)
		return unparsed(rc);
	set_interfaces(pkt, skb->ifindex, 0);
	rc = describe(skb, pkt, INGRESS);
	if (rc >= 0)
		return drop(rc);
	set_source_mac(skb, pkt);
	if (cfg_defrag && is_piece(pkt))
		return leave_to_stack(skb, pkt, carried);
	sealed = unseal(skb, pkt);
	rc = sealed < 0 ? judge_prerouting(pkt) : sealed;
	if (verdict_kind(rc) != FW_ACCEPT)
		return refuse(skb, pkt, rc);
	if (cfg_synproxy && sealed < 0) {
		rc = proxy(skb, pkt);
		if (rc >= 0)
			return rc;
	}
	if (cfg_nat)
		return leave_to_stack(skb, pkt, carried);
	return is_local(skb, pkt, route) ? judge_input(skb, pkt, carried) : pass_through(skb, pkt);
}

/* The verdict on a first fragment is that on the datagram. */
static __always_inline void remember_verdict(struct fw_pkt *pkt, int verdict)
{
	if (cfg_conntrack && pkt->more_frags)
		fw_remember_verdict(pkt, verdict_kind(verdict));
}

static __always_inline int judge_forward(struct __sk_buff *skb, struct fw_pkt *pkt)
{
	int verdict;

	pkt->notrack = !!(skb->tc_index & CARRY_NOTRACK);
	recall_mac(pkt);
	track(skb, pkt, EGRESS);
	skb->tc_index = 0;
	pkt->hook = FW_HOOK_FORWARD;
	verdict = settle(fw_forward(pkt));
	if (verdict_kind(verdict) == FW_ACCEPT && confirm(pkt, CT_FLOW_FORWARDED))
		verdict = FW_DROP;
	remember_verdict(pkt, verdict);
	return verdict_kind(verdict) == FW_ACCEPT ? pass(skb, pkt) : refuse(skb, pkt, verdict);
}

/*
 * At egress: what DNAT sends on from a port of this host is input, and the answer output. A function, so that rulesets for which
 * they are forwarded do without it (object.forget of the translator).
 */
__noinline int fw_judge_published(struct __sk_buff *skb, struct fw_pkt *pkt)
{
	__u32 in;
	int verdict;

	if (!pkt)
		return drop(FW_STAT_INTERNAL);
	in = pkt->in_ifindex;
	pkt->notrack = !!(skb->tc_index & CARRY_NOTRACK);
	recall_mac(pkt);
	track(skb, pkt, EGRESS);
	skb->tc_index = 0;
	pkt->hook = pkt->published;
	hide_interface(pkt);
	verdict = settle(pkt->hook == FW_HOOK_INPUT ? fw_input(pkt) : fw_output(pkt));
	if (verdict_kind(verdict) == FW_ACCEPT) {
		return confirm(pkt, CT_FLOW_FORWARDED) ? DROP : pass(skb, pkt);
	}
	pkt->in_ifindex = in;
	pkt->hook = FW_HOOK_FORWARD; /* that is how an answer finds its way */
	return refuse(skb, pkt, verdict);
}

static __always_inline int judge_output(struct __sk_buff *skb, struct fw_pkt *pkt)
{
	int verdict = FW_ACCEPT;

	pkt->hook = FW_HOOK_RAW_OUTPUT;
	if (cfg_raw_output)
		verdict = fw_raw_output(pkt);
	if (verdict_kind(verdict) != FW_ACCEPT)
		return refuse(skb, pkt, verdict);
	track(skb, pkt, EGRESS);
	pkt->hook = FW_HOOK_OUTPUT;
	verdict = settle(fw_output(pkt));
	remember_verdict(pkt, verdict);
	if (verdict_kind(verdict) != FW_ACCEPT)
		return refuse(skb, pkt, verdict);
	confirm(pkt, CT_FLOW_LOCAL);
	if (cfg_conntrack && skb->ifindex == LOOPBACK)
		skb->tc_index = CARRY_STATE | pkt->ct_state;
	return pass(skb, pkt);
}

/* netfilter's OUTPUT does not see what packet sockets send. */
static __always_inline int from_packet_socket(struct __sk_buff *skb)
{
	struct bpf_sock *sk = skb->sk;

	return sk && sk->family == AF_PACKET;
}

/* A fragment after one that was accepted. */
static __always_inline int pass_rest(struct __sk_buff *skb, const struct fw_pkt *pkt)
{
	if (was_received(skb))
		skb->tc_index = 0;
	else if (skb->ifindex == LOOPBACK)
		skb->tc_index = CARRY_STATE | pkt->ct_state;
	return pass(skb, pkt);
}

/*
 * A fragment of a datagram that came in fragments and went through FORWARD, which has judged it (nf_input). What something else
 * redirected past the stack has no route, and is judged here.
 */
static __always_inline int judged_whole(struct __sk_buff *skb)
{
	const struct sk_buff *k;

	if (!cfg_defrag || !is_whole(skb->tc_index) || (cfg_named && !skb->ingress_ifindex))
		return 0;
	k = bpf_cast_to_kern_ctx(skb);
	if (!k->_skb_refdst)
		return 0;
	skb->tc_index = 0;
	return 1;
}

SEC("tc")
int tc_egress(struct __sk_buff *skb)
{
	struct fw_pkt *pkt = scratch_pkt();
	int rc;

	if (cfg_idle_egress)
		return PASS;
	if (!pkt)
		return drop(FW_STAT_INTERNAL);
	keep_helpers(pkt);
	keep_flows(pkt);
	if (take_answer(skb, EGRESS) || from_packet_socket(skb) || from_above(skb) || judged_whole(skb))
		return PASS;
	rc = fw_parse(skb, pkt);
	if (rc != PARSE_OK)
		return unparsed(rc);
	skb->tc_index = cfg_idle_ingress ? unmarked(skb, pkt) : believed(skb->ingress_ifindex, skb->tc_index);
	set_interfaces(pkt, came_in_by(skb), skb->ifindex);
	if (!pkt->in_ifindex)
		set_owner(skb, pkt);
	rc = describe(skb, pkt, EGRESS);
	if (rc >= 0)
		return drop(rc);
	if (cfg_conntrack && pkt->more_frags && pkt->family == 6)
		pkt->length -= FRAGMENT_HEADER; /* which the whole has not */
	if (cfg_conntrack && pkt->frag) {
		rc = fw_follow_first(pkt);
		if (rc != FW_CONTINUE)
			return rc == FW_ACCEPT ? pass_rest(skb, pkt) : DROP;
	}
	if (!was_received(skb))
		return judge_output(skb, pkt);
	if (cfg_nat && cfg_published && pkt->published)
		return fw_judge_published(skb, pkt);
	return judge_forward(skb, pkt);
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
	keep_flows(pkt);
	if (cfg_flows)
		fw_expect(pkt);
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
	case FW_HOOK_LISTEN:
		verdict = fw_listen(pkt);
		break;
	}
	if (cfg_flows && verdict_kind(settle(verdict)) == FW_ACCEPT)
		fw_confirm(pkt, CT_FLOW_LOCAL);
	bpf_map_update_elem(&judged, &zero, &verdict, BPF_ANY);
	return PASS;
}

char _license[] SEC("license") = "GPL";
