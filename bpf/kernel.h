/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * What is read of the kernel's own structures: the tuples of a packet's nf_conn, and what netfilter's hooks are given. Only the
 * members that are used; the loader finds their places in the running kernel's type information.
 */
#ifndef BPFWALL_KERNEL_H
#define BPFWALL_KERNEL_H

#define RELOCATED __attribute__((preserve_access_index))

typedef struct { int counter; } atomic_t;

struct netns_ipv4 {
	atomic_t rt_genid;
	_Bool fib_has_custom_rules;	/* CONFIG_IP_MULTIPLE_TABLES */
} RELOCATED;

struct ipv6_devconf { __s32 forwarding; } RELOCATED;

struct netns_ipv6 {
	struct ipv6_devconf *devconf_all;
	atomic_t fib6_sernum;
	_Bool fib6_has_custom_rules;	/* CONFIG_IPV6_MULTIPLE_TABLES */
	unsigned int fib6_routes_require_src; /* CONFIG_IPV6_SUBTREES */
} RELOCATED;

struct netns_nf { unsigned int defrag_ipv6_users; } RELOCATED;

struct net {
	struct netns_ipv4 ipv4;
	struct netns_ipv6 ipv6;
	struct netns_nf nf;
} RELOCATED;

typedef struct { struct net *net; } possible_net_t;

struct net_device {
	int ifindex;
	char name[16];
	possible_net_t nd_net;
	unsigned short type;		/* ARPHRD_ */
	unsigned int priv_flags;	/* enum netdev_priv_flags */
	const unsigned char *dev_addr;
} RELOCATED;

enum netdev_priv_flags { IFF_MACVLAN_PORT = 1 << 8 };

typedef struct { __u32 val; } kuid_t;
typedef struct { __u32 val; } kgid_t;

struct cred {
	kuid_t fsuid;
	kgid_t fsgid;
} RELOCATED;

struct file { const struct cred *f_cred; } RELOCATED;

struct socket { struct file *file; } RELOCATED;

struct sock_common {
	unsigned char skc_state;
	possible_net_t skc_net;
	struct sock *skc_listener;	/* of TCP_NEW_SYN_RECV */
} RELOCATED;

struct kernfs_node { __u64 id; } RELOCATED;

struct cgroup_subsys_state {
	struct cgroup *cgroup;
	struct cgroup_subsys_state *parent;
} RELOCATED;

struct cgroup_root { int hierarchy_id; } RELOCATED;

struct cgroup {
	struct cgroup_subsys_state self;
	struct kernfs_node *kn;
	struct cgroup_root *root;
} RELOCATED;

struct sock_cgroup_data { struct cgroup *cgroup; } RELOCATED;

struct sock {
	struct sock_cgroup_data sk_cgrp_data;
	struct sock_common __sk_common;
	struct socket *sk_socket;
	__u8 sk_userlocks : 4;	/* SOCK_RCVBUF_LOCK and others */
} RELOCATED;

/* Begins with a struct sock. */
struct tcp_sock { __u32 window_clamp; } RELOCATED;

struct sk_buff {
	unsigned int len;
	struct net_device *dev;
	struct sock *sk;
	__u8 ip_summed : 2;	/* enum checksum */
	__be16 protocol;
	__u32 mark;
	__u16 tc_index;
	unsigned long _skb_refdst; /* where the stack sends it; 0: no route was looked up */
	unsigned long _nfct;	/* struct nf_conn *, with enum ip_conntrack_info in the low three bits */
} RELOCATED;

struct nf_hook_state {
	__u8 hook;		/* NF_INET_ */
	struct net_device *in, *out;
} RELOCATED;

enum { NF_INET_LOCAL_IN = 1, NF_INET_FORWARD = 2 }; /* linux/netfilter.h */

struct bpf_nf_ctx {
	const struct nf_hook_state *state;
	struct sk_buff *skb;
} RELOCATED;

union nf_inet_addr { __be32 all[4]; };

struct nf_conntrack_man {
	union nf_inet_addr u3;
	union { __be16 all; } u;	/* port, or id of an ICMP query */
} RELOCATED;

struct nf_conntrack_tuple {
	struct nf_conntrack_man src;
	struct {
		union nf_inet_addr u3;
		union {
			__be16 all;
			struct { __u8 type, code; } icmp;
		} u;
		__u8 protonum;
	} dst;
} RELOCATED;

struct nf_conntrack_tuple_hash { struct nf_conntrack_tuple tuple; } RELOCATED;

struct nf_conn {
	unsigned long status;
	struct nf_conntrack_tuple_hash tuplehash[2];
} RELOCATED;

/* linux/netfilter/nf_conntrack_common.h */
enum { CTINFO_RELATED = 1, CTINFO_IS_REPLY = 3, CTINFO_UNTRACKED = 7, CTINFO_MASK = 7 };
enum { STATUS_SRC_NAT = 1 << 4, STATUS_DST_NAT = 1 << 5 };

/* Weak: a kernel without them runs everything but what cfg_checksums and cfg_nat switch on. */
extern void *bpf_cast_to_kern_ctx(void *ctx) __ksym __weak;
extern void *bpf_rdonly_cast(const void *p, __u32 type) __ksym __weak;
extern int bpf_dynptr_from_skb(struct __sk_buff *skb, __u64 flags, struct bpf_dynptr *p) __ksym __weak;

#define IS_THERE(field) __builtin_preserve_field_info(field, 2) /* BPF_FIELD_EXISTS */

/*
 * For how many the kernel puts IPv6 fragments together before it routes them, in the packet's network namespace; -1: it does not tell.
 * 0 where it forwards none.
 */
static __always_inline int ipv6_defrag_users(struct __sk_buff *skb)
{
	struct net *net = ((struct sk_buff *)bpf_cast_to_kern_ctx(skb))->dev->nd_net.net;

	if (!net->ipv6.devconf_all->forwarding)
		return 0;
	return IS_THERE(net->nf.defrag_ipv6_users) ? (int)net->nf.defrag_ipv6_users : -1;
}

#endif
