//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What stays attached to control groups: who made a socket, which logs tell, and the way to a generation's rules for connect(),
 * sendmsg() and bind(). The hooks see the sockets of all network namespaces; only those of one are judged.
 */
#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include <linux/in.h>
#include "fw.h"
#include "generation.h"

volatile const __u64 own_netns; /* cookie of the network namespace */

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE); /* connections that come in have their listener's */
	__type(key, int);
	__type(value, struct owner);
} sock_owner SEC(".maps");

/* Never refuses a socket: one without a note has no owner. */
SEC("cgroup/sock_create")
int note_owner(struct bpf_sock *sk)
{
	__u64 ids = bpf_get_current_uid_gid();
	struct owner owner = { .uid = ids, .gid = ids >> 32 };

	if (own_netns && bpf_get_netns_cookie(sk) != own_netns)
		return 1;
	bpf_get_current_comm(owner.comm, sizeof(owner.comm));
	bpf_sk_storage_get(&sock_owner, sk, &owner, BPF_SK_STORAGE_GET_F_CREATE);
	return 1;
}

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} progs_connect4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} progs_connect6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} progs_sendmsg4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} progs_sendmsg6 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} progs_bind4 SEC(".maps");

struct {
	__uint(type, BPF_MAP_TYPE_PROG_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, __u32);
} progs_bind6 SEC(".maps");

/* No program: the generation leaves it all to tc. */
#define DISPATCH(ctx, proto, progs) \
	do { \
		__u32 now = generation(); \
\
		if (!now || (ctx)->protocol != (proto) || bpf_get_netns_cookie(ctx) != own_netns) \
			return 1; \
		GO_ON(ctx, progs, now); \
	} while (0)

SEC("cgroup/connect4")
int dispatch_connect4(struct bpf_sock_addr *ctx)
{
	DISPATCH(ctx, IPPROTO_TCP, progs_connect4);
	return 1;
}

SEC("cgroup/connect6")
int dispatch_connect6(struct bpf_sock_addr *ctx)
{
	DISPATCH(ctx, IPPROTO_TCP, progs_connect6);
	return 1;
}

SEC("cgroup/sendmsg4")
int dispatch_sendmsg4(struct bpf_sock_addr *ctx)
{
	DISPATCH(ctx, IPPROTO_UDP, progs_sendmsg4);
	return 1;
}

SEC("cgroup/sendmsg6")
int dispatch_sendmsg6(struct bpf_sock_addr *ctx)
{
	DISPATCH(ctx, IPPROTO_UDP, progs_sendmsg6);
	return 1;
}

/* No program: the generation has no rules for who may listen. */
SEC("cgroup/bind4")
int dispatch_bind4(struct bpf_sock_addr *ctx)
{
	DISPATCH(ctx, ctx->protocol == IPPROTO_UDP ? IPPROTO_UDP : IPPROTO_TCP, progs_bind4);
	return 1;
}

SEC("cgroup/bind6")
int dispatch_bind6(struct bpf_sock_addr *ctx)
{
	DISPATCH(ctx, ctx->protocol == IPPROTO_UDP ? IPPROTO_UDP : IPPROTO_TCP, progs_bind6);
	return 1;
}

char _license[] SEC("license") = "GPL";
