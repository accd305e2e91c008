/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Whose socket will get a received packet: the stack's own lookup, made when the packet is judged. One to several (a multicast) has
 * no receiver, nor has what is not TCP or UDP.
 */
#ifndef BPFWALL_RECEIVER_H
#define BPFWALL_RECEIVER_H

/* linux/tcp.h of the kernel */
enum { SK_ESTABLISHED = 1, SK_LISTEN = 10 };

/* What ingress found, for netfilter's hooks, which cannot look. By the packet's ends. */
struct receiver_key {
	__be32 saddr[4];
	__be32 daddr[4];
	__u16 sport;
	__u16 dport;
	__u8 family;
	__u8 proto;
	__u8 pad[2];
};

struct receiver {
	__u64 uid, gid, cgroups;
	__u64 comm[2];
	__u8 socket, connected;
	__u8 pad[6];
};

struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct receiver_key);
	__type(value, struct receiver);
} receivers SEC(".maps");

static __always_inline struct sock *as_sock(void *sk) { return bpf_rdonly_cast(sk, __builtin_btf_type_id(*(struct sock *)0, 1)); }

/* Returns the tuple's length, which tells the family. */
static __always_inline __u32 socket_tuple(struct bpf_sock_tuple *t, const struct fw_pkt *pkt, __u32 sport)
{
	__builtin_memset(t, 0, sizeof(*t));
	if (pkt->family == 4) {
		t->ipv4.saddr = pkt->saddr[0];
		t->ipv4.daddr = pkt->daddr[0];
		t->ipv4.sport = bpf_htons(sport);
		t->ipv4.dport = bpf_htons(pkt->dport);
		return sizeof(t->ipv4);
	}
	__builtin_memcpy(t->ipv6.saddr, pkt->saddr, 16);
	__builtin_memcpy(t->ipv6.daddr, pkt->daddr, 16);
	t->ipv6.sport = bpf_htons(sport);
	t->ipv6.dport = bpf_htons(pkt->dport);
	return sizeof(t->ipv6);
}

/* For logs. */
static __always_inline void read_program(struct bpf_sock *sk, struct fw_pkt *pkt)
{
	struct bpf_sock *full;

	if (!cfg_comm)
		return;
	full = bpf_sk_fullsock(sk);
	if (full)
		read_comm(full, pkt);
}

/* The socket that listens: no connection has the source port 0. */
static __always_inline void read_listener(struct __sk_buff *skb, struct fw_pkt *pkt)
{
	struct bpf_sock_tuple t;
	__u32 len = socket_tuple(&t, pkt, 0);
	struct bpf_sock *sk = bpf_skc_lookup_tcp(skb, &t, len, BPF_F_CURRENT_NETNS, 0);

	if (!sk)
		return;
	read_owner(as_sock(sk), pkt);
	if (cfg_cgroups && !pkt->connected)
		pkt->cgroups = cgroups_of(as_sock(sk));
	read_program(sk, pkt);
	bpf_sk_release(sk);
}

/*
 * The listener's are: what is half open, a connection that nobody has accepted yet, and what is left of one that its process has closed.
 */
static __always_inline int is_listeners(const struct sock *sk)
{
	__u8 state = sk->__sk_common.skc_state;

	return state == TCP_NEW_SYN_RECV || state == TCP_TIME_WAIT || !sk->sk_socket;
}

static __always_inline int has_connection(const struct sock *sk)
{
	__u8 state = sk->__sk_common.skc_state;

	return state != TCP_NEW_SYN_RECV && state != TCP_TIME_WAIT && state != SK_LISTEN;
}

static __always_inline void tcp_receiver(struct __sk_buff *skb, struct fw_pkt *pkt)
{
	struct bpf_sock_tuple t;
	__u32 len = socket_tuple(&t, pkt, pkt->sport);
	struct bpf_sock *sk = bpf_skc_lookup_tcp(skb, &t, len, BPF_F_CURRENT_NETNS, 0);
	struct sock *k;
	int listeners;

	if (!sk)
		return;
	k = as_sock(sk);
	listeners = is_listeners(k);
	if (has_connection(k)) {
		pkt->connected = 1;
		if (cfg_cgroups)
			pkt->cgroups = cgroups_of(k);
	}
	if (!listeners) {
		read_owner(k, pkt);
		if (cfg_cgroups && !pkt->connected)
			pkt->cgroups = cgroups_of(k);
		read_program(sk, pkt);
	}
	bpf_sk_release(sk);
	if (listeners)
		read_listener(skb, pkt);
}

static __always_inline void udp_receiver(struct __sk_buff *skb, struct fw_pkt *pkt)
{
	struct bpf_sock_tuple t;
	__u32 len = socket_tuple(&t, pkt, pkt->sport);
	struct bpf_sock *sk = bpf_sk_lookup_udp(skb, &t, len, BPF_F_CURRENT_NETNS, 0);
	struct sock *k;

	if (!sk)
		return;
	k = as_sock(sk);
	pkt->connected = k->__sk_common.skc_state == SK_ESTABLISHED;
	read_owner(k, pkt);
	if (cfg_cgroups)
		pkt->cgroups = cgroups_of(k);
	read_program(sk, pkt);
	bpf_sk_release(sk);
}

static __always_inline int for_one(const struct fw_pkt *pkt)
{
	if (pkt->pkt_type != 1 || pkt->frag || pkt->sport > 0xffff || pkt->dport > 0xffff)
		return 0;
	return pkt->family == 4 ? (pkt->daddr[0] & bpf_htonl(0xf0000000)) != bpf_htonl(0xe0000000) && pkt->daddr[0] != 0xffffffff
				: (pkt->daddr[0] & bpf_htonl(0xff000000)) != bpf_htonl(0xff000000);
}

/* At ingress. */
__noinline int fw_receiver(struct __sk_buff *skb, struct fw_pkt *pkt)
{
	if (!pkt || !cfg_receiver || !for_one(pkt))
		return 0;
	if (pkt->proto == IPPROTO_TCP)
		tcp_receiver(skb, pkt);
	else if (pkt->proto == IPPROTO_UDP)
		udp_receiver(skb, pkt);
	return 0;
}

static __always_inline void receiver_key(struct receiver_key *k, const struct fw_pkt *pkt)
{
	__builtin_memset(k, 0, sizeof(*k));
	__builtin_memcpy(k->saddr, pkt->saddr, 16);
	__builtin_memcpy(k->daddr, pkt->daddr, 16);
	k->sport = pkt->sport;
	k->dport = pkt->dport;
	k->family = pkt->family;
	k->proto = pkt->proto;
}

/* At ingress, of what is left to the stack. Of a datagram in pieces, the first tells. */
__noinline int fw_remember_receiver(struct __sk_buff *skb, struct fw_pkt *pkt)
{
	struct receiver r = {};
	struct receiver_key k;

	if (!pkt || !for_one(pkt))
		return 0;
	fw_receiver(skb, pkt);
	r.uid = pkt->uid;
	r.gid = pkt->gid;
	r.cgroups = pkt->cgroups;
	r.comm[0] = pkt->comm[0];
	r.comm[1] = pkt->comm[1];
	r.socket = pkt->socket;
	r.connected = pkt->connected;
	receiver_key(&k, pkt);
	return bpf_map_update_elem(&receivers, &k, &r, BPF_ANY);
}

/* At netfilter's hooks. What the kernel has translated meanwhile has ends that ingress did not see: no receiver is known. */
static __always_inline void recall_receiver(struct fw_pkt *pkt)
{
	struct receiver *r;
	struct receiver_key k;

	if (!cfg_receiver || !for_one(pkt))
		return;
	receiver_key(&k, pkt);
	r = bpf_map_lookup_elem(&receivers, &k);
	if (!r)
		return;
	pkt->uid = r->uid;
	pkt->gid = r->gid;
	pkt->cgroups = r->cgroups;
	pkt->comm[0] = r->comm[0];
	pkt->comm[1] = r->comm[1];
	pkt->socket = r->socket;
	pkt->connected = r->connected;
}

#endif
