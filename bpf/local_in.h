/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What netfilter's hooks judge, where destinations are the translated ones and fragments are put together: at LOCAL_IN all input
 * beside the kernel's NAT; at LOCAL_IN and FORWARD what came as fragments. Ingress only marks what is to be judged there (CARRY_INPUT).
 *
 * Nothing can be sent from these hooks. A packet that a rule rejects is dropped there and noted; ingress answers the next one like
 * it, which a client that got no answer sends soon.
 */
#ifndef BPFWALL_LOCAL_IN_H
#define BPFWALL_LOCAL_IN_H

#define NF_DROP 0
#define NF_ACCEPT 1
#define REJECT_KEPT (10 * SECOND)

/*
 * A packet as its sender sent it, and what somebody who sends in its name cannot know. Else such a packet, rejected because it belongs to
 * no connection, would have the next one of a connection answered with a reset.
 */
struct reject_key {
	__be32 saddr[4];
	__be32 daddr[4];
	__u64 token;
	__u32 sport;
	__u32 dport;
	__u32 icmp;		/* type << 16 | id */
	__u8 family;
	__u8 proto;
	__u16 pad;
};

struct reject_note {
	__u64 expires;
	__u32 with;		/* enum reject_with */
	__u32 generation;
	__u8 hook;
	__u8 pad[7];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct reject_key);
	__type(value, struct reject_note);
} rejected SEC(".maps");

/* What is the same when the packet is sent again: TCP's sequence number, of others the first eight bytes, of UDP behind its header. */
static __always_inline __u64 reject_token(struct __sk_buff *skb, const struct fw_pkt *pkt)
{
	__u32 at = pkt->l4_off + (pkt->proto == IPPROTO_UDP ? 8 : 0);
	__u64 token = 0;
	__u32 part;

	if (pkt->proto == IPPROTO_TCP)
		return pkt->seq;
	if (is_icmp(pkt) || !load_bytes(skb, at, &token, sizeof(token)))
		return token;
	return load_bytes(skb, at, &part, sizeof(part)) ? 0 : part;
}

/* skb: NULL at LOCAL_IN. */
static __always_inline void reject_key(struct __sk_buff *skb, struct reject_key *k, const struct fw_pkt *pkt)
{
	__builtin_memset(k, 0, sizeof(*k));
	__builtin_memcpy(k->saddr, pkt->saddr, 16);
	__builtin_memcpy(k->daddr, pkt->daddr, 16);
	k->token = reject_token(skb, pkt);
	k->sport = pkt->sport;
	k->dport = pkt->dport;
	k->icmp = (__u32)pkt->icmp_type << 16 | pkt->icmp_id;
	k->family = pkt->family;
	k->proto = pkt->proto;
}

/* nfct: of the skb, see kernel.h. A function with a stack of its own. */
__noinline int fw_note_reject(struct fw_pkt *pkt, unsigned long nfct, __u32 with)
{
	struct reject_note n = { bpf_ktime_get_boot_ns() + REJECT_KEPT, with, own_generation };
	struct translation t;
	struct reject_key k;

	if (!pkt || (is_icmp(pkt) && icmp_role(pkt) != ICMP_REQUEST))
		return 0; /* their ids are easily guessed */
	n.hook = pkt->hook;
	if (cfg_nat && read_translation(&t, nfct))
		sent_ends(pkt, &t);
	reject_key(NULL, &k, pkt);
	return bpf_map_update_elem(&rejected, &k, &n, BPF_ANY);
}

/* At ingress: answers a packet like one that was rejected. Reports -1 if there was none, or the program's return value. */
static __always_inline int answer_rejected(struct __sk_buff *skb, struct fw_pkt *pkt)
{
	struct reject_note *n;
	struct reject_key k;
	__u32 with;

	reject_key(skb, &k, pkt);
	n = bpf_map_lookup_elem(&rejected, &k);
	if (!n)
		return -1;
	with = n->generation == own_generation && n->expires > bpf_ktime_get_boot_ns() ? n->with : REJECTS;
	pkt->hook = n->hook;
	bpf_map_delete_elem(&rejected, &k);
	if (with >= REJECTS)
		return -1;
	return fw_reject(skb, pkt, with);
}

/* At ingress: what netfilter's hooks, or egress, will want to know. */
static __always_inline int leave_to_stack(struct __sk_buff *skb, struct fw_pkt *pkt, __u32 carried)
{
	int rc = answer_rejected(skb, pkt);
	__u32 carry = carry_received(skb) | (pkt->pkt_type >> 1 << CARRY_GROUP_SHIFT & CARRY_GROUP); /* 2, 4: PACKET_BROADCAST, _MULTICAST */

	if (rc != -1)
		return rc;
	remember_mac(pkt);
	if (cfg_receiver)
		fw_remember_receiver(skb, pkt);
	if (cfg_defrag && is_piece(pkt))
		carry |= CARRY_PIECE;
	if (pkt->notrack)
		carry |= CARRY_NOTRACK;
	if (is_damaged(skb, pkt, INGRESS))
		carry |= CARRY_DAMAGED;
	if (skb->ifindex == LOOPBACK)
		carry |= carried & (CARRY_STATE | 0xff);
	skb->tc_index = carry;
	return pass(skb, pkt);
}

static __always_inline int drop_whole(enum fw_stat why)
{
	count(why);
	return NF_DROP;
}

/* Copies the packet's first bytes to where load_head finds them. */
static __always_inline int take_head(struct sk_buff *skb)
{
	struct head *h = the_head();
	struct bpf_dynptr p;
	__u32 n = skb->len;

	if (!h || bpf_dynptr_from_skb((struct __sk_buff *)skb, 0, &p))
		return -1;
	h->len = n;
	if (n > HEAD)
		n = HEAD;
	h->have = n;
	return bpf_dynptr_read(h->data, n, &p, 0, 0);
}

/* Everything that rules may read. Reports -1, or the enum fw_stat to drop under. */
static __always_inline int describe_whole(struct sk_buff *skb, const struct nf_hook_state *state, struct fw_pkt *pkt, __u32 carried)
{
	__u32 group = (carried & CARRY_GROUP) >> CARRY_GROUP_SHIFT, family = skb->protocol == bpf_htons(ETH_P_IPV6) ? 6 : 4;
	int rc;

	if (take_head(skb))
		return FW_STAT_INTERNAL;
	rc = fw_parse_head(pkt, family);
	if (rc != PARSE_OK)
		return rc == PARSE_TOO_LONG ? FW_STAT_CHAIN_TOO_LONG : FW_STAT_BAD_HEADER;
	if (pkt->frag)
		return FW_STAT_FRAG_UNKNOWN; /* the hook comes after defragmentation */
	set_interfaces(pkt, state->in->ifindex, 0);
	pkt->pkt_type = group ? 1 << group : 1;
	pkt->mark = skb->mark;
	pkt->notrack = !!(carried & CARRY_NOTRACK);
	set_addr_types(pkt);
	recall_mac(pkt);
	return -1;
}

/* The interfaces that are judged, if not all are. User space sets the size. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1);
	__type(key, char[16]);
	__type(value, __u8);
} judged_names SEC(".maps");

/* FORWARD is judged at the interface that a packet leaves by. */
static __always_inline int leaves_unjudged(const struct nf_hook_state *state)
{
	char name[16];

	if (!cfg_named)
		return 0;
	__builtin_memcpy(name, state->out->name, sizeof(name));
	return !bpf_map_lookup_elem(&judged_names, name);
}

static __always_inline int judge_whole_prerouting(struct fw_pkt *pkt, __u32 carried)
{
	return carried & CARRY_PIECE ? verdict_kind(judge_prerouting(pkt)) : FW_ACCEPT;
}

/* Gives the whole its state, and asks the rules of INPUT or FORWARD. */
static __always_inline int judge_whole(struct fw_pkt *pkt, __u32 carried, enum fw_hook hook)
{
	int verdict, known = hook == FW_HOOK_INPUT && carried_state(pkt, carried);

	if (cfg_conntrack && !known)
		fw_track_head(pkt, !!(carried & CARRY_DAMAGED));
	if (hook == FW_HOOK_INPUT)
		recall_receiver(pkt);
	pkt->hook = hook;
	verdict = settle(hook == FW_HOOK_INPUT ? fw_input(pkt) : fw_forward(pkt));
	if (verdict_kind(verdict) == FW_ACCEPT && !known && confirm(pkt, hook == FW_HOOK_INPUT ? CT_FLOW_LOCAL : CT_FLOW_FORWARDED))
		return FW_DROP;
	return verdict;
}

SEC("netfilter")
int nf_input(struct bpf_nf_ctx *ctx)
{
	enum fw_hook hook = ctx->state->hook == NF_INET_FORWARD ? FW_HOOK_FORWARD : FW_HOOK_INPUT;
	struct fw_pkt *pkt = scratch_pkt();
	struct sk_buff *skb = ctx->skb;
	__u32 carried = believed(ctx->state->in->ifindex, skb->tc_index);
	int rc, verdict;

	if (!pkt)
		return drop_whole(FW_STAT_INTERNAL);
	keep_helpers(pkt);
	keep_flows(pkt);
	rc = describe_whole(skb, ctx->state, pkt, carried);
	if (rc >= 0)
		return drop_whole(rc);
	if (judge_whole_prerouting(pkt, carried) != FW_ACCEPT)
		return NF_DROP;
	if (hook == FW_HOOK_FORWARD) {
		if (leaves_unjudged(ctx->state))
			return NF_ACCEPT;
		set_interfaces(pkt, pkt->in_ifindex, ctx->state->out->ifindex);
	}
	if (cfg_nat && cfg_dnat)
		pkt->dnat = changes_destination(skb->_nfct);
	verdict = judge_whole(pkt, carried, hook);
	if (verdict_kind(verdict) == FW_ACCEPT)
		return NF_ACCEPT;
	if (pkt->malformed && pkt->rule == FW_NO_RULE)
		count(FW_STAT_MALFORMED);
	if (verdict_kind(verdict) == FW_REJECT)
		fw_note_reject(pkt, skb->_nfct, verdict_reject(verdict));
	return NF_DROP;
}

#endif
