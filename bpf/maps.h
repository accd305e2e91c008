/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* The maps. Shared ones carry no pinning attribute: user space pins them and hands them from generation to generation. */
#ifndef BPFWALL_MAPS_H
#define BPFWALL_MAPS_H

/* The packet under judgement. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fw_pkt);
} scratch SEC(".maps");

/* What fw_judge decided. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, enum fw_verdict);
} judged SEC(".maps");

/* By counter slot; user space sets the size. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fw_counter);
} counters SEC(".maps");

/* By limit slot; user space sets the size. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct limit_state);
} limits SEC(".maps");

/* By ifindex & 0xffff; an entry counts only if its ifindex is the one asked for. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 65536);
	__type(key, __u32);
	__type(value, struct iface);
} ifaces SEC(".maps");

/* What the routing table says of addresses: 1 << RTN_*. */
struct {
	__uint(type, BPF_MAP_TYPE_LPM_TRIE);
	__uint(max_entries, 4096);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, struct addr_key);
	__type(value, __u16);
} addr_types SEC(".maps");

/* By id of a control group that the rules name. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct cgroup_bits);
} cgroups SEC(".maps");

/* 0: when addr_types was filled; 1: now, as fw_epoch has found. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 2);
	__type(key, __u32);
	__type(value, struct route_epoch);
} epochs SEC(".maps");

/* The addresses of this host at the time of epochs[0], from the first entry on; family 0 ends them. */
struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, OWN_ADDRS);
	__type(key, __u32);
	__type(value, struct own_addr);
} own_addrs SEC(".maps");

/* Who made a socket, as cgroup_sock.c notes. */
struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC | BPF_F_CLONE);
	__type(key, int);
	__type(value, struct owner);
} sock_owner SEC(".maps");

/* Assured flows: newcomers never push them out. User space sets the size. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 262144);
	__type(key, struct ct_key);
	__type(value, struct ct_assured);
} ct SEC(".maps");

/* Flows without an answer yet: an attacker may churn these. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 131072);
	__type(key, struct ct_key);
	__type(value, struct ct_flow);
} ct_new SEC(".maps");

/*
 * What the checks of TCP need of a segment, in the order in which its fields are corrected, and the state that it leads to. In a map, where
 * the verifier knows nothing of it: what is read behind seen_as_one() is one path, whatever was before.
 */
struct segment {
	__u32 seq, end, ack, sack, win;
	__u8 index, dir, next, pad;
};

/* What one packet does to conntrack, while it is judged. */
struct ct_work {
	struct ct_key key;
	__u32 pad;
	__u8 dir;		/* 0 the originator's */
	__u8 low_src;		/* 1: the key's lower end sent the packet */
	__u8 op;		/* enum ct_op */
	__u8 taken;		/* of places */
	__u64 lock;		/* with flow: a value of ct; zero */
	struct ct_flow flow;
	struct conncount_place place;
	struct conncount_place_key place_key;
	struct conncount_place_key places[FLOWS_TAKEN]; /* that the flow which is about to begin has by rules */
	__u64 tick;		/* jiffies */
	__u64 now;		/* bpf_ktime_get_boot_ns in this tick */
	struct segment segment;
};

struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct ct_work);
} ct_scratch SEC(".maps");

/* The same for the packet that an ICMP error quotes. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fw_pkt);
} ct_quoted SEC(".maps");

/* First fragments, for the ports of the later ones. */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 8192);
	__type(key, struct frag_key);
	__type(value, struct frag_first);
} frags SEC(".maps");

/*
 * Source MACs of packets that pass through: at the egress that judges them the frame has a new header. By address and interface,
 * as there is no room for a MAC on the packet itself; two hosts that send with one address at the same time may be confused.
 */
struct {
	__uint(type, BPF_MAP_TYPE_LRU_HASH);
	__uint(max_entries, 4096);
	__type(key, struct mac_key);
	__type(value, __u64);
} macs SEC(".maps");

/* struct fw_event */
struct {
	__uint(type, BPF_MAP_TYPE_RINGBUF);
	__uint(max_entries, 1 << 20);
	__type(value, struct fw_event);
} events SEC(".maps");

/* The token bucket of log events, one a CPU. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct fw_bucket);
} log_rate SEC(".maps");

/* By enum fw_stat. */
struct {
	__uint(type, BPF_MAP_TYPE_PERCPU_ARRAY);
	__uint(max_entries, FW_STATS);
	__type(key, enum fw_stat);
	__type(value, __u64);
} stats SEC(".maps");

static __always_inline void count(enum fw_stat stat)
{
	__u32 key = stat;
	__u64 *n = bpf_map_lookup_elem(&stats, &key);

	if (n)
		*n += 1;
}

static __always_inline struct fw_pkt *scratch_pkt(void)
{
	__u32 zero = 0;

	return bpf_map_lookup_elem(&scratch, &zero);
}

#endif
