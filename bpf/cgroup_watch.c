//go:build ignore
/* SPDX-License-Identifier: GPL-2.0-only OR Apache-2.0 */
/*
 * Control groups come and go with their units: this follows those that rules name, by their paths, so that a unit which starts again is
 * known before it opens its first socket. It sees all of the machine's groups and changes none.
 */
#include <linux/types.h>
#include <linux/stddef.h>
#include <linux/bpf.h>
#include <bpf/bpf_helpers.h>
#include "fw.h"
#include "kernel.h"

struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 1024);
	__type(key, struct cgroup_path);
	__type(value, struct cgroup_bits);
} cgroup_paths SEC(".maps");

/* As in maps.h. */
struct {
	__uint(type, BPF_MAP_TYPE_HASH);
	__uint(max_entries, 4096);
	__type(key, __u64);
	__type(value, struct cgroup_bits);
} cgroups SEC(".maps");

/* 0 is the hierarchy of version 2. */
static __always_inline int is_v2(struct cgroup *c) { return c->root->hierarchy_id == 0; }

SEC("tp_btf/cgroup_mkdir")
int cgroup_made(__u64 *ctx)
{
	struct cgroup *c = (void *)ctx[0];
	struct cgroup_path key = {};
	struct cgroup_bits *bits;
	__u64 id;

	if (!is_v2(c) || bpf_probe_read_kernel_str(key.path, sizeof(key.path), (void *)ctx[1]) < 0)
		return 0;
	bits = bpf_map_lookup_elem(&cgroup_paths, &key);
	if (!bits)
		return 0;
	id = c->kn->id;
	bpf_map_update_elem(&cgroups, &id, bits, BPF_ANY);
	return 0;
}

/* Not when it is removed: sockets hold on to it. */
SEC("tp_btf/cgroup_release")
int cgroup_gone(__u64 *ctx)
{
	struct cgroup *c = (void *)ctx[0];
	__u64 id;

	if (!is_v2(c))
		return 0;
	id = c->kn->id;
	bpf_map_delete_elem(&cgroups, &id);
	return 0;
}

char _license[] SEC("license") = "GPL";
