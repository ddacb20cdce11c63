/* SPDX-License-Identifier: GPL-2.0-only */
/* Recalls what nat.bpf.c has noted, for a packet that has lost its conntrack entry. */
#pragma once

#include "common.bpf.h"
#include "skb.bpf.h"

#define IPPROTO_TCP 6
#define IPPROTO_UDP 17
#define IPPROTO_SCTP 132

struct ipv4_start {
	__u8 version_ihl;
	__u8 tos;
	__be16 length;
	__be16 id;
	__be16 fragment;
	__u8 ttl;
	__u8 protocol;
	__be16 checksum;
	__u8 src[4];
	__u8 dst[4];
};

struct ipv6_start {
	__u8 version;
	__u8 flow[3];
	__be16 length;
	__u8 next_header;
	__u8 hop_limit;
	__u8 src[16];
	__u8 dst[16];
};

/* The packet's own tuple; false if it has no ports, or has IPv6 extension headers. */
static __always_inline bool read_packet_tuple(const struct sk_buff *skb, struct dt_tuple *tuple)
{
	unsigned char *header = network_header(skb);
	__be16 ports[2];

	if (!header)
		return false;
	if (BPF_CORE_READ(skb, protocol) == bpf_htons(ETH_P_IP)) {
		struct ipv4_start ip;

		if (bpf_probe_read_kernel(&ip, sizeof(ip), header))
			return false;
		__builtin_memcpy(tuple->src, ip.src, sizeof(ip.src));
		__builtin_memcpy(tuple->dst, ip.dst, sizeof(ip.dst));
		tuple->family = NFPROTO_IPV4;
		tuple->protocol = ip.protocol;
		header += 4 * (ip.version_ihl & 0xf);
	} else if (BPF_CORE_READ(skb, protocol) == bpf_htons(ETH_P_IPV6)) {
		struct ipv6_start ip;

		if (bpf_probe_read_kernel(&ip, sizeof(ip), header))
			return false;
		__builtin_memcpy(tuple->src, ip.src, sizeof(ip.src));
		__builtin_memcpy(tuple->dst, ip.dst, sizeof(ip.dst));
		tuple->family = NFPROTO_IPV6;
		tuple->protocol = ip.next_header;
		header += sizeof(ip);
	} else {
		return false;
	}
	if (tuple->protocol != IPPROTO_TCP && tuple->protocol != IPPROTO_UDP &&
	    tuple->protocol != IPPROTO_SCTP)
		return false;
	if (bpf_probe_read_kernel(ports, sizeof(ports), header))
		return false;
	tuple->sport = ports[0];
	tuple->dport = ports[1];
	return true;
}

static __always_inline void reverse_tuple(const struct dt_tuple *from, struct dt_tuple *to)
{
	__builtin_memcpy(to->src, from->dst, sizeof(to->src));
	__builtin_memcpy(to->dst, from->src, sizeof(to->dst));
	to->sport = from->dport;
	to->dport = from->sport;
	to->family = from->family;
	to->protocol = from->protocol;
	to->pad = 0;
}

/*
 * Fills original and reply from the note of this packet's connection and sets the conntrack flags;
 * leaves them alone if there is none.
 */
static __always_inline void recall_nat(const struct sk_buff *skb, struct dt_tuple *original,
				       struct dt_tuple *reply, __u32 *flags)
{
	struct dt_tuple own = {}, mirrored = {};
	struct dt_tuple *noted;

	if (!dt_config.note_nat || !read_packet_tuple(skb, &own))
		return;
	reverse_tuple(&own, &mirrored);
	noted = bpf_map_lookup_elem(&dt_nat, &mirrored);
	if (noted) { /* from the client: its answer would be the reply */
		*reply = mirrored;
		*flags |= DT_HAS_CONNTRACK;
	} else {
		noted = bpf_map_lookup_elem(&dt_nat, &own);
		if (!noted)
			return;
		*reply = own;
		*flags |= DT_HAS_CONNTRACK | DT_CONNTRACK_REPLY;
	}
	*original = *noted;
}

/* Goes on from what was before this namespace's NAT to what was before the node's, if noted. */
static __always_inline bool recall_earlier_nat(struct dt_tuple *original)
{
	struct dt_tuple mirrored = {};
	struct dt_tuple *noted;

	if (!dt_config.note_nat)
		return false;
	reverse_tuple(original, &mirrored);
	noted = bpf_map_lookup_elem(&dt_nat, &mirrored);
	if (!noted)
		return false;
	*original = *noted;
	return true;
}
