/* SPDX-License-Identifier: GPL-2.0-only */
/* From a struct sk_buff to the fields of a record: where it is, whom it touches, what it holds. */
#pragma once

#include "common.bpf.h"

#define ETH_P_IP 0x0800
#define ETH_P_ARP 0x0806
#define ETH_P_8021Q 0x8100
#define ETH_P_8021AD 0x88A8
#define ETH_P_IPV6 0x86DD
#define VLAN_HLEN 4

#define NFPROTO_IPV4 2
#define NFPROTO_IPV6 10

#define SKB_DST_PTRMASK (~1UL) /* include/linux/skbuff.h */
#define NFCT_PTRMASK (~7UL)    /* include/linux/netfilter/nf_conntrack_common.h */
#define NFCT_INFOMASK 7UL
#define IP_CT_IS_REPLY 3 /* this ctinfo and above, but for IP_CT_UNTRACKED */
#define IP_CT_UNTRACKED 7

/* Where a packet was when it was dropped. */
struct place {
	__u64 net;		/* struct net * as a number */
	struct net_device *dev; /* NULL if the skb has none or the pointer is not a device */
	__u32 netns;
	__u32 sk_netns;
	__u32 flags; /* DT_HAS_DEVICE, DT_NETNS_FROM_* */
};

/*
 * The namespace of a device, NULL if the pointer is not one: skb->dev shares its bytes with
 * dev_scratch (UDP receive queues) and with an rb_node (TCP queues, reassembly). A real namespace
 * is recognised by its loopback device pointing back to it.
 */
static __always_inline struct net *net_of_device(const struct net_device *dev)
{
	struct net *net = BPF_CORE_READ(dev, nd_net.net);

	if (!net || BPF_CORE_READ(net, loopback_dev, nd_net.net) != net)
		return NULL;
	return net;
}

static __always_inline __u32 inum_of(const struct net *net)
{
	return net ? BPF_CORE_READ(net, ns.inum) : 0;
}

/* Device first, then socket, then route: packets dropped in LOCAL_OUT have no device yet. */
static __always_inline void find_place(const struct sk_buff *skb, struct place *place)
{
	struct net_device *dev = BPF_CORE_READ(skb, dev);
	struct sock *sk = BPF_CORE_READ(skb, sk);
	struct net *net = dev ? net_of_device(dev) : NULL;

	struct net *sk_net = sk ? BPF_CORE_READ(sk, __sk_common.skc_net.net) : NULL;

	place->sk_netns = inum_of(sk_net);
	if (net) {
		place->dev = dev;
		place->net = (__u64)net;
		place->netns = inum_of(net);
		place->flags = DT_HAS_DEVICE;
		return;
	}
	if (place->sk_netns) {
		place->net = (__u64)sk_net;
		place->netns = place->sk_netns;
		place->flags = DT_NETNS_FROM_SOCKET;
		return;
	}
	struct dst_entry *dst = (void *)(BPF_CORE_READ(skb, _skb_refdst) & SKB_DST_PTRMASK);

	if (!dst)
		return;
	dev = BPF_CORE_READ(dst, dev);
	net = dev ? net_of_device(dev) : NULL;
	if (net) {
		place->net = (__u64)net;
		place->netns = inum_of(net);
		place->flags = DT_NETNS_FROM_ROUTE;
	}
}

/* Start of the network header, NULL if it was never set. */
static __always_inline unsigned char *network_header(const struct sk_buff *skb)
{
	__u16 offset = BPF_CORE_READ(skb, network_header);

	if (!offset || offset == (__u16)~0U)
		return NULL;
	return BPF_CORE_READ(skb, head) + offset;
}

/* include/uapi/linux/netfilter/nf_conntrack_common.h */
#define IP_CT_NEW 2
#define IPS_NAT_MASK (1 << 4 | 1 << 5)

static __always_inline void read_tuple(const struct nf_conntrack_tuple *from, struct dt_tuple *to)
{
	BPF_CORE_READ_INTO(&to->src, from, src.u3);
	BPF_CORE_READ_INTO(&to->dst, from, dst.u3);
	to->sport = BPF_CORE_READ(from, src.u.all);
	to->dport = BPF_CORE_READ(from, dst.u.all);
	to->family = BPF_CORE_READ(from, src.l3num);
	to->protocol = BPF_CORE_READ(from, dst.protonum);
}

/* The packet's conntrack entry as the packet points to it, NULL if it has none. */
static __always_inline struct nf_conn *conntrack_of(const struct sk_buff *skb, __u32 *flags)
{
	unsigned long nfct;
	struct nf_conn *ct;

	if (!bpf_core_field_exists(skb->_nfct) || !bpf_core_type_exists(struct nf_conn))
		return NULL;
	nfct = BPF_CORE_READ(skb, _nfct);
	ct = (void *)(nfct & NFCT_PTRMASK);
	if (!ct)
		return NULL;
	*flags |= DT_HAS_CONNTRACK;
	if ((nfct & NFCT_INFOMASK) >= IP_CT_IS_REPLY && (nfct & NFCT_INFOMASK) < IP_CT_UNTRACKED)
		*flags |= DT_CONNTRACK_REPLY;
	return ct;
}

static __always_inline bool watched4(const __u8 *addr, __u32 watch)
{
	struct dt_cidr4 key = {.prefix_length = 32};
	__u8 *of_address;

	__builtin_memcpy(key.addr, addr, sizeof(key.addr));
	of_address = bpf_map_lookup_elem(&dt_cidrs4, &key);
	return of_address && (*of_address & watch);
}

static __always_inline bool watched6(const __u8 *addr, __u32 watch)
{
	struct dt_cidr6 key = {.prefix_length = 128};
	__u8 *of_address;

	__builtin_memcpy(key.addr, addr, sizeof(key.addr));
	of_address = bpf_map_lookup_elem(&dt_cidrs6, &key);
	return of_address && (*of_address & watch);
}

static __always_inline bool tuple_is_watched(const struct dt_tuple *tuple, __u32 watch)
{
	if (tuple->family == NFPROTO_IPV4)
		return watched4(tuple->src, watch) || watched4(tuple->dst, watch);
	if (tuple->family == NFPROTO_IPV6)
		return watched6(tuple->src, watch) || watched6(tuple->dst, watch);
	return false;
}

/* Does the packet itself name such an address? ARP asks for one too. watch: enum dt_watch. */
static __always_inline bool packet_is_watched(const struct sk_buff *skb, __u32 watch)
{
	unsigned char *header = network_header(skb);
	__u16 protocol = bpf_ntohs(BPF_CORE_READ(skb, protocol));
	__u8 addresses[32]; /* source, destination */
	__u8 first;

	if (!header)
		return false;
	if (protocol == ETH_P_8021Q || protocol == ETH_P_8021AD) {
		__be16 inner = 0;

		bpf_probe_read_kernel(&inner, sizeof(inner), header + 2);
		protocol = bpf_ntohs(inner);
		header += VLAN_HLEN;
	}
	if (!protocol && !bpf_probe_read_kernel(&first, sizeof(first), header)) {
		/* A local packet that has not been through __ip_local_out yet. */
		if (first >> 4 == 4)
			protocol = ETH_P_IP;
		else if (first >> 4 == 6)
			protocol = ETH_P_IPV6;
	}
	if (protocol == ETH_P_IP) {
		if (bpf_probe_read_kernel(addresses, 8, header + 12))
			return false;
		return watched4(addresses, watch) || watched4(addresses + 4, watch);
	}
	if (protocol == ETH_P_IPV6) {
		if (bpf_probe_read_kernel(addresses, 32, header + 8))
			return false;
		return watched6(addresses, watch) || watched6(addresses + 16, watch);
	}
	if (protocol == ETH_P_ARP) {
		/* RFC 826 over Ethernet: sender address at 14, target address at 24. */
		if (bpf_probe_read_kernel(addresses, 4, header + 14) ||
		    bpf_probe_read_kernel(addresses + 4, 4, header + 24))
			return false;
		return watched4(addresses, watch) || watched4(addresses + 4, watch);
	}
	return false;
}

/* Copies the packet from L3 on, as far as it is linear, and notes its whole length. */
static __always_inline void copy_packet(const struct sk_buff *skb, struct dt_drop *drop)
{
	unsigned char *header = network_header(skb);
	__s64 linear;
	__u64 length;

	drop->snapped = 0;
	drop->length = BPF_CORE_READ(skb, len);
	if (!header)
		return;
	/* skb->data may stand before (L2) or behind (L4) the network header. */
	drop->length += BPF_CORE_READ(skb, data) - header;
	linear = (__s64)BPF_CORE_READ(skb, tail) - BPF_CORE_READ(skb, network_header);
	if (linear <= 0)
		return;
	length = linear < dt_config.snaplen ? linear : dt_config.snaplen;
	barrier_var(length); /* else clang tests a copy, and the verifier sees no bound */
	if (length > DT_SNAPLEN_MAX)
		return;
	if (!bpf_probe_read_kernel(drop->packet, length, header))
		drop->snapped = length;
}
