// SPDX-License-Identifier: GPL-2.0-only
/*
 * Looks at the other end of a veth for user space, which runs this with BPF_PROG_TEST_RUN. Inside a
 * container nothing else tells which namespace is the Docker host's: rtnetlink gives numbers that
 * mean something to those who can open the namespace.
 */
#include "common.bpf.h"

#define DEVICES_MAX 1024 /* of a namespace: those that were made first come first */
#define DEVICE_STEPS 32
#define NETDEV_ALIGN 32 /* include/linux/netdevice.h */

struct {
	__uint(type, BPF_MAP_TYPE_ARRAY);
	__uint(max_entries, 1);
	__type(key, __u32);
	__type(value, struct dt_peer);
} dt_peer_found SEC(".maps");

/* Where find_device() is in the list of devices. One search at a time runs. */
__u64 dt_device_at SEC(".bss");

/*
 * Some steps along the list of devices, as a function of its own: the verifier sees them once.
 * Returns 1 if dt_device_at is the device's entry, -1 at the end of the list, else 0.
 */
__noinline int find_device_some(__u64 head, __u32 ifindex)
{
	__u32 offset = bpf_core_field_offset(struct net_device, dev_list);

	for (int i = 0; i < DEVICE_STEPS; i++) {
		__u64 at = *(volatile __u64 *)&dt_device_at;
		struct net_device *dev = (void *)(at - offset);
		struct list_head *entry = (void *)at;

		if (!at || at == head)
			return -1;
		if ((__u32)BPF_CORE_READ(dev, ifindex) == ifindex)
			return 1;
		*(volatile __u64 *)&dt_device_at = (__u64)BPF_CORE_READ(entry, next);
	}
	return 0;
}

/* The device with this ifindex, as a number; 0 if there is none. */
static __always_inline __u64 find_device(struct net *net, __u32 ifindex)
{
	__u32 offset = bpf_core_field_offset(struct net_device, dev_list);
	__u64 head = (__u64)&net->dev_base_head;
	int found = 0;

	*(volatile __u64 *)&dt_device_at = (__u64)BPF_CORE_READ(net, dev_base_head.next);
	for (int i = 0; i < DEVICES_MAX / DEVICE_STEPS && !found; i++)
		found = find_device_some(head, ifindex);
	return found == 1 ? *(volatile __u64 *)&dt_device_at - offset : 0;
}

static __always_inline bool is_veth(const struct net_device *dev)
{
	const char *kind = BPF_CORE_READ(dev, rtnl_link_ops, kind);
	char name[8] = {};

	return kind && bpf_probe_read_kernel_str(name, sizeof(name), kind) == sizeof("veth") &&
	       name[0] == 'v' && name[1] == 'e' && name[2] == 't' && name[3] == 'h';
}

/* Finds the peer of the device with ifindex args[0] in the namespace of the calling thread. */
SEC("?raw_tp")
int dt_find_peer(struct bpf_raw_tracepoint_args *ctx)
{
	struct task_struct *task = (void *)bpf_get_current_task();
	struct net *net = BPF_CORE_READ(task, nsproxy, net_ns);
	__u32 ifindex = ctx->args[0], zero = 0;
	struct dt_peer *found = bpf_map_lookup_elem(&dt_peer_found, &zero);
	struct net_device *dev, *peer;
	struct veth_priv *veth;
	__u64 size;

	if (!found || !net || !bpf_core_type_exists(struct veth_priv))
		return 0;
	found->netns = 0;
	dev = (void *)find_device(net, ifindex);
	if (!dev || !is_veth(dev))
		return 0;
	/* netdev_priv(): behind the device, aligned. */
	size = (bpf_core_type_size(struct net_device) + NETDEV_ALIGN - 1) & ~(NETDEV_ALIGN - 1);
	veth = (void *)dev + size;
	peer = BPF_CORE_READ(veth, peer);
	if (!peer)
		return 0;
	found->ifindex = BPF_CORE_READ(peer, ifindex);
	BPF_CORE_READ_STR_INTO(&found->ifname, peer, name);
	found->netns = BPF_CORE_READ(peer, nd_net.net, ns.inum);
	return 0;
}
