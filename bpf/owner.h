/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Who sends a packet, from its socket. As xt_owner.c: the credentials with which the socket's file was opened, which neither fork()
 * nor setuid() nor passing it on changes. And as xt_cgroup.c: the control group (v2) in which it was made.
 */
#ifndef BPFWALL_OWNER_H
#define BPFWALL_OWNER_H

#define TCP_TIME_WAIT 6		/* linux/tcp.h of the kernel */
#define TCP_NEW_SYN_RECV 12

#define CGROUP_LEVELS 32	/* that are looked at */

/* The socket as xt_owner sees it (sk_to_full_sk): of a half-open connection the listener, none of one that only waits. */
static __always_inline struct sock *full_sock(struct sk_buff *k)
{
	struct sock *sk = k->sk;
	void *full = sk;

	if (!sk || sk->__sk_common.skc_state == TCP_TIME_WAIT)
		return 0;
	if (sk->__sk_common.skc_state == TCP_NEW_SYN_RECV)
		full = sk->__sk_common.skc_listener;
	return bpf_rdonly_cast(full, __builtin_btf_type_id(*(struct sock *)0, 1));
}

/* A socket that is open has a file, but for those of the kernel; one that is closed may still send. */
static __always_inline void read_owner(struct sock *sk, struct fw_pkt *pkt)
{
	struct socket *socket = sk->sk_socket;
	struct file *file;

	if (!socket)
		return;
	pkt->socket = 1;
	file = socket->file;
	if (!file)
		return;
	pkt->uid = file->f_cred->fsuid.val;
	pkt->gid = file->f_cred->fsgid.val;
}

static __always_inline void read_cgroups(struct __sk_buff *skb, struct fw_pkt *pkt)
{
	struct cgroup_bits *of;
	__u64 id;
	int level;

	pkt->cgroups = 0;
	for (level = 0; level < CGROUP_LEVELS; level++) {
		id = bpf_skb_ancestor_cgroup_id(skb, level);
		if (!id)
			return;
		of = bpf_map_lookup_elem(&cgroups, &id);
		if (of)
			pkt->cgroups |= of->bits[own_generation & 1];
	}
}

/* As bpf_skb_ancestor_cgroup_id, of a socket. */
static __always_inline __u64 cgroups_of(struct sock *sk)
{
	struct cgroup *c = sk->sk_cgrp_data.cgroup;
	struct cgroup_subsys_state *parent;
	struct cgroup_bits *of;
	__u64 id, bits = 0;
	int level;

	for (level = 0; level < CGROUP_LEVELS; level++) {
		if (!c)
			break;
		id = c->kn->id;
		of = bpf_map_lookup_elem(&cgroups, &id);
		if (of)
			bits |= of->bits[own_generation & 1];
		parent = c->self.parent;
		c = parent ? parent->cgroup : 0;
	}
	return bits;
}

static __always_inline void read_comm(struct bpf_sock *sk, struct fw_pkt *pkt)
{
	struct owner *owner = bpf_sk_storage_get(&sock_owner, sk, 0, 0);

	if (owner)
		__builtin_memcpy(pkt->comm, owner->comm, sizeof(pkt->comm));
}

__noinline int fw_owner(struct __sk_buff *skb, struct fw_pkt *pkt)
{
	struct sk_buff *k;
	struct sock *sk;

	if (!pkt || !cfg_owner)
		return 0;
	k = bpf_cast_to_kern_ctx(skb);
	sk = full_sock(k);
	if (sk && sk->__sk_common.skc_net.net == k->dev->nd_net.net)
		read_owner(sk, pkt);
	return 0;
}

static __always_inline void set_owner(struct __sk_buff *skb, struct fw_pkt *pkt)
{
	struct bpf_sock *sk = skb->sk;

	if (cfg_owner)
		fw_owner(skb, pkt);
	if (!(cfg_cgroups || cfg_comm) || !sk)
		return;
	sk = bpf_sk_fullsock(sk);
	if (!sk)
		return; /* of a half-open connection: xt_cgroup does not look at its listener either */
	if (cfg_cgroups)
		read_cgroups(skb, pkt);
	if (cfg_comm)
		read_comm(sk, pkt);
}

#endif
