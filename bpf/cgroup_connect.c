//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * The rules of a generation when a TCP socket is told to connect, or a UDP socket to send to somebody it is not connected to, so that a
 * process learns at once what tc would do to its packets. Only what the rules are sure to refuse is refused here; the rest is left to
 * tc, which judges every packet. And the rules of a generation for who may listen.
 */
#include <linux/types.h>
#include <linux/stddef.h>
#include <linux/bpf.h>
#include <asm-generic/errno.h>
#include <linux/in.h>
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
#include "owner.h"
#include "addr.h"
#include "epoch.h"
#include "known.h"

#define LEAVE 0x3e	/* reject's answer where the rules cannot tell: see translator/connect.go */
#define SYN 2

volatile const __u8 cfg_asks_lo; /* a rule asks whether the packet stays on this host */

/* Reports 0 if the packet may leave otherwise than the routing table says of its address, or that is not known. */
static __always_inline int set_way(struct bpf_sock_addr *ctx, struct sock *sk, struct fw_pkt *pkt)
{
	if (!cfg_asks_lo)
		return 1;
	if (ctx->sk->bound_dev_if || !epoch_holds(sk->__sk_common.skc_net.net))
		return 0;
	if (addr_type(pkt->family, pkt->daddr) == 1 << RTN_LOCAL)
		pkt->out_name[0] = bpf_htonl('l' << 24 | 'o' << 16);
	return 1;
}

static __always_inline void first_packet(struct fw_pkt *pkt, __u8 proto)
{
	pkt->proto = proto;
	pkt->tcp_flags = proto == IPPROTO_TCP ? SYN : FW_ABSENT8;
	pkt->ct_state = FW_STATE_NEW;
	pkt->sport = pkt->tcp_mss = FW_ABSENT16;
	pkt->icmp_type = pkt->icmp_code = pkt->routing = FW_ABSENT8;
	pkt->smac = FW_ABSENT48;
	pkt->uid = pkt->gid = FW_NO_OWNER;
	pkt->cgroups = FW_ABSENT63;
	pkt->rule = FW_NO_RULE;
}

/* What the process would hear if the answer came by the network: icmp_err_convert, tab_unreach of the kernel. */
static __always_inline int errno_of(int verdict, int family)
{
	int six = family == 6;

	if (verdict_kind(verdict) == FW_DROP)
		return EPERM;
	switch (verdict_reject(verdict)) {
	case 3: /* RejectHost */
		return EHOSTUNREACH;
	case 4: /* RejectNet */
		return ENETUNREACH;
	case 5: /* RejectProto */
		return six ? ECONNREFUSED : ENOPROTOOPT;
	case 6: /* RejectNetProhib */
		return six ? EACCES : ENETUNREACH;
	case 7: /* RejectHostProhib */
	case 8: /* RejectAdminProhib */
	case 9: /* RejectPolicyFail */
	case 10: /* RejectRoute */
		return six ? EACCES : EHOSTUNREACH;
	}
	return ECONNREFUSED;
}

/* What the rules say of the first packet. */
static __always_inline int judge(struct sock *sk, struct fw_pkt *pkt)
{
	int verdict;

	read_owner(sk, pkt);
	if (cfg_cgroups)
		pkt->cgroups = cgroups_of(sk);
	verdict = fw_raw_output(pkt);
	if (verdict_kind(verdict) == FW_ACCEPT)
		verdict = fw_output(pkt);
	return verdict;
}

/* Reports 1 if the call may go on. */
static __always_inline int goes_on(int verdict) { return verdict_kind(verdict) == FW_ACCEPT || verdict_reject(verdict) == LEAVE; }

/* Refuses the call, and counts it as the one packet that there will not be. */
static __always_inline int refuse(const struct fw_pkt *pkt, int verdict, enum fw_stat what)
{
	count(what);
	bpf_set_retval(-errno_of(verdict, pkt->family));
	return 0;
}

/* Reports 1 to let connect() go on. */
static __always_inline int judge_connect(struct bpf_sock_addr *ctx, struct fw_pkt *pkt)
{
	struct sock *sk = bpf_rdonly_cast(ctx->sk, __builtin_btf_type_id(*(struct sock *)0, 1));
	int verdict;

	pkt->dport = bpf_ntohs(ctx->user_port);
	first_packet(pkt, IPPROTO_TCP);
	if (!set_way(ctx, sk, pkt))
		return 1;
	verdict = judge(sk, pkt);
	return goes_on(verdict) ? 1 : refuse(pkt, verdict, FW_STAT_CONNECT_REFUSED);
}

/*
 * Reports 1 to let sendmsg() go on. A datagram that may belong to a flow is left to tc, and so is one to an address of this host
 * if rules ask for lo: an option of the message may send it elsewhere.
 */
static __always_inline int judge_send(struct bpf_sock_addr *ctx, struct fw_pkt *pkt)
{
	struct sock *sk = bpf_rdonly_cast(ctx->sk, __builtin_btf_type_id(*(struct sock *)0, 1));
	int verdict;

	pkt->dport = bpf_ntohs(ctx->user_port);
	first_packet(pkt, IPPROTO_UDP);
	if (!set_way(ctx, sk, pkt) || pkt->out_name[0])
		return 1;
	verdict = judge(sk, pkt);
	if (goes_on(verdict))
		return 1;
	pkt->sport = ctx->sk->src_port;
	if (cfg_conntrack && (!epoch_holds(sk->__sk_common.skc_net.net) || fw_may_be_known(pkt)))
		return 1;
	return refuse(pkt, verdict, FW_STAT_SEND_REFUSED);
}

/* A socket of IPv6 sends IPv4 to addresses that say so (RFC 4291 2.5.5.2). */
static __always_inline void unmap(struct fw_pkt *pkt)
{
	if (pkt->daddr[0] || pkt->daddr[1] || pkt->daddr[2] != bpf_htonl(0xffff))
		return;
	pkt->family = 4;
	pkt->daddr[0] = pkt->daddr[3];
	pkt->daddr[2] = pkt->daddr[3] = 0;
}

static __always_inline int is_unspecified(const __be32 *a) { return !a[0] && !a[1] && !a[2] && !a[3]; }

/* Fills pkt->daddr. Reports 0 for the unspecified address, which becomes that of lo. */
static __always_inline int set_dest4(struct bpf_sock_addr *ctx, struct fw_pkt *pkt)
{
	pkt->daddr[0] = ctx->user_ip4;
	return !!pkt->daddr[0];
}

static __always_inline int set_dest6(struct bpf_sock_addr *ctx, struct fw_pkt *pkt)
{
	pkt->daddr[0] = ctx->user_ip6[0];
	pkt->daddr[1] = ctx->user_ip6[1];
	pkt->daddr[2] = ctx->user_ip6[2];
	pkt->daddr[3] = ctx->user_ip6[3];
	unmap(pkt);
	return !is_unspecified(pkt->daddr);
}

SEC("cgroup/connect4")
int connect4(struct bpf_sock_addr *ctx)
{
	struct fw_pkt pkt = { .family = 4 };

	return set_dest4(ctx, &pkt) ? judge_connect(ctx, &pkt) : 1;
}

SEC("cgroup/connect6")
int connect6(struct bpf_sock_addr *ctx)
{
	struct fw_pkt pkt = { .family = 6 };

	return set_dest6(ctx, &pkt) ? judge_connect(ctx, &pkt) : 1;
}

/* The source is what the message or bind() says; 0 if routing is to find it. */
SEC("cgroup/sendmsg4")
int sendmsg4(struct bpf_sock_addr *ctx)
{
	struct fw_pkt pkt = { .family = 4 };

	pkt.saddr[0] = ctx->msg_src_ip4;
	return set_dest4(ctx, &pkt) ? judge_send(ctx, &pkt) : 1;
}

/* The kernel runs sendmsg4 for IPv4 addresses in IPv6's. */
SEC("cgroup/sendmsg6")
int sendmsg6(struct bpf_sock_addr *ctx)
{
	struct fw_pkt pkt = { .family = 6 };

	pkt.saddr[0] = ctx->msg_src_ip6[0];
	pkt.saddr[1] = ctx->msg_src_ip6[1];
	pkt.saddr[2] = ctx->msg_src_ip6[2];
	pkt.saddr[3] = ctx->msg_src_ip6[3];
	return set_dest6(ctx, &pkt) ? judge_send(ctx, &pkt) : 1;
}

/*
 * Who may listen where: the rules of bind(). Unlike those above they are all the rules that there are, and have the last word. The
 * destination is the address that is bound. Port 0 is any that is free. Reports 1 to let bind() go on.
 */
static __always_inline int judge_bind(struct bpf_sock_addr *ctx, struct fw_pkt *pkt)
{
	struct sock *sk = bpf_rdonly_cast(ctx->sk, __builtin_btf_type_id(*(struct sock *)0, 1));
	int verdict;

	pkt->dport = bpf_ntohs(ctx->user_port);
	first_packet(pkt, ctx->protocol);
	pkt->hook = FW_HOOK_LISTEN;
	if (!pkt->dport)
		return 1;
	keep_helpers(pkt);
	read_owner(sk, pkt);
	if (cfg_cgroups)
		pkt->cgroups = cgroups_of(sk);
	verdict = fw_listen(pkt);
	return verdict_kind(verdict) == FW_ACCEPT ? 1 : refuse(pkt, FW_DROP, FW_STAT_BIND_REFUSED);
}

SEC("cgroup/bind4")
int bind4(struct bpf_sock_addr *ctx)
{
	struct fw_pkt pkt = { .family = 4 };

	set_dest4(ctx, &pkt);
	return judge_bind(ctx, &pkt);
}

SEC("cgroup/bind6")
int bind6(struct bpf_sock_addr *ctx)
{
	struct fw_pkt pkt = { .family = 6 };

	set_dest6(ctx, &pkt);
	return judge_bind(ctx, &pkt);
}

/* User space runs it in a network namespace, to ask for its epoch. */
SEC("tc")
int fw_epoch(struct __sk_buff *skb)
{
	struct sk_buff *k = bpf_cast_to_kern_ctx(skb);
	struct route_epoch e;
	__u32 now = 1;

	read_epoch(k->dev->nd_net.net, &e);
	bpf_map_update_elem(&epochs, &now, &e, BPF_ANY);
	return 0;
}

char _license[] SEC("license") = "GPL";
