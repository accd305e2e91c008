//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/* Who made a socket: what rules about a packet's owner ask at tc egress, where nothing but the socket is left of the process. */
#include <linux/types.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "fw.h"

struct {
	__uint(type, BPF_MAP_TYPE_SK_STORAGE);
	__uint(map_flags, BPF_F_NO_PREALLOC);
	__type(key, int);
	__type(value, struct owner);
} sock_owner SEC(".maps");

/* Never refuses a socket: one without a note has no owner. */
SEC("cgroup/sock_create")
int note_owner(struct bpf_sock *sk)
{
	__u64 ids = bpf_get_current_uid_gid();
	struct owner owner = { .uid = ids, .gid = ids >> 32 };

	bpf_sk_storage_get(&sock_owner, sk, &owner, BPF_SK_STORAGE_GET_F_CREATE);
	return 1;
}

char _license[] SEC("license") = "GPL";
